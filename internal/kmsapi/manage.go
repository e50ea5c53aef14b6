package kmsapi

import (
	"maps"
	"slices"
	"strconv"

	"berth/internal/ecr"
	"berth/internal/kms"
	"berth/internal/kms/local"
)

// policyName is the only name that a key policy can have (KMS API reference, GetKeyPolicy).
const policyName = "default"

// checkPolicyName refuses other names.
func checkPolicyName(name string) error {
	if name != "" && name != policyName {
		return &kms.Error{Code: kms.NotFound, Message: "No such policy exists"}
	}
	return nil
}

type policyAnswer struct{ Policy, PolicyName string }

func getKeyPolicy(in *input) action {
	name := in.text("PolicyName", false, 1, 128)
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) {
		if err := checkPolicyName(name); err != nil {
			return nil, err
		}
		key, err := c.kms.Describe(c.ctx, c.arns[0])
		return policyAnswer{key.Policy, policyName}, err
	}}
}

func putKeyPolicy(in *input) action {
	name, policy := in.text("PolicyName", false, 1, 128), in.text("Policy", true, 1, 131072)
	bypass := in.boolean("BypassPolicyLockoutSafetyCheck")
	return onKey(in, func(c *call, arn string) error {
		if err := checkPolicyName(name); err != nil {
			return err
		}
		return c.kms.SetPolicy(c.ctx, arn, policy, c.asks(arn, c.scope.Account), bypass)
	})
}

type policiesAnswer struct {
	PolicyNames []string
	Truncated   bool
}

func listKeyPolicies(in *input) action {
	w := in.window("policies", 100, 1000)
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) {
		out := policiesAnswer{PolicyNames: []string{}}
		if w.after == "" {
			out.PolicyNames = []string{policyName}
		}
		_, err := c.kms.Describe(c.ctx, c.arns[0])
		return out, err
	}}
}

type rotationAnswer struct {
	KeyID                string `json:"KeyId"`
	KeyRotationEnabled   bool
	RotationPeriodInDays int      `json:",omitempty"`
	NextRotationDate     ecr.Time `json:",omitzero"`
}

// getKeyRotationStatus tells that a key which is pending deletion is not
// rotated (KMS API reference, GetKeyRotationStatus).
func getKeyRotationStatus(in *input) action {
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) {
		k, err := c.kms.Describe(c.ctx, c.arns[0])
		out := rotationAnswer{KeyID: k.ARN}
		if k.RotationDays > 0 && k.State != local.PendingDeletion {
			out.KeyRotationEnabled, out.RotationPeriodInDays, out.NextRotationDate = true, k.RotationDays, ecr.At(k.RotationAt)
		}
		return out, err
	}}
}

func enableKeyRotation(in *input) action {
	days := in.integer("RotationPeriodInDays", 365, 90, 2560)
	return onKey(in, func(c *call, arn string) error { return c.kms.EnableRotation(c.ctx, arn, days) })
}

func disableKeyRotation(in *input) action {
	return onKey(in, func(c *call, arn string) error { return c.kms.DisableRotation(c.ctx, arn) })
}

func rotateKeyOnDemand(in *input) action {
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) {
		k, err := c.kms.Rotate(c.ctx, c.arns[0])
		return keyIDAnswer{k.ID}, err
	}}
}

// rotation is RotationsListEntry (KMS API reference).
type rotation struct {
	KeyID            string `json:"KeyId"`
	KeyMaterialID    string `json:"KeyMaterialId"`
	KeyMaterialState string
	RotationDate     ecr.Time `json:",omitzero"`
	RotationType     string   `json:",omitempty"`
}

type rotationsAnswer struct {
	Rotations  []rotation
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

func listKeyRotations(in *input) action {
	w := in.window("rotations", 100, 1000)
	all := in.enum("IncludeKeyMaterial", "ROTATIONS_ONLY", "ROTATIONS_ONLY", "ALL_KEY_MATERIAL") == "ALL_KEY_MATERIAL"
	var after int64
	if w.after != "" {
		n, err := strconv.ParseInt(w.after, 10, 64)
		if err != nil {
			in.refuse(&kms.Error{Code: codeInvalidMarker, Message: "Could not deserialize marker"})
		}
		after = n
	}
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) {
		key, err := c.kms.Describe(c.ctx, c.arns[0])
		if err != nil {
			return nil, err
		}
		limit, first := w.limit, !all && after == 0
		if first {
			limit++ // the first material of a key, which no rotation made, is left out
		}
		list, more, err := c.kms.Materials(c.ctx, key.ARN, after, limit)
		if first && len(list) > 0 {
			list = list[1:]
		}
		out := rotationsAnswer{Rotations: []rotation{}, Truncated: more}
		for _, v := range list {
			r := rotation{KeyID: key.ID, KeyMaterialID: v.ID, KeyMaterialState: "NON_CURRENT", RotationType: v.Rotation}
			if v.ID == key.Material {
				r.KeyMaterialState = "CURRENT"
			}
			if v.Rotation != "" {
				r.RotationDate = ecr.At(v.CreatedAt)
			}
			out.Rotations = append(out.Rotations, r)
			out.NextMarker = w.next(more, strconv.FormatInt(v.Number, 10))
		}
		return out, err
	}}
}

type tag struct{ TagKey, TagValue string }

type tagsAnswer struct {
	Tags       []tag
	NextMarker string `json:",omitempty"`
	Truncated  bool
}

func listResourceTags(in *input) action {
	w := in.window("tags", 50, 50)
	return action{keys: []string{in.key("KeyId")}, run: func(c *call) (any, error) {
		key, err := c.kms.Describe(c.ctx, c.arns[0])
		out := tagsAnswer{Tags: []tag{}}
		for _, name := range slices.Sorted(maps.Keys(key.Tags)) {
			if name <= w.after && w.after != "" {
				continue
			}
			if len(out.Tags) == w.limit {
				out.Truncated, out.NextMarker = true, w.next(true, out.Tags[w.limit-1].TagKey)
				break
			}
			out.Tags = append(out.Tags, tag{name, key.Tags[name]})
		}
		return out, err
	}}
}

func tagResource(in *input) action {
	tags := in.tags(true)
	a := onKey(in, func(c *call, arn string) error { return c.kms.Tag(c.ctx, arn, tags) })
	a.tags = tags
	return a
}

func untagResource(in *input) action {
	names := in.names("TagKeys")
	a := onKey(in, func(c *call, arn string) error { return c.kms.Untag(c.ctx, arn, names) })
	a.tagKeys = names
	return a
}
