package desired

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"slices"

	"github.com/zclconf/go-cty/cty"
)

// OwnerTag is the key of the tag by which the native engine knows the repositories that it manages. Its value is a
// StackID. It is the one difference between what Terraform and the native engine leave in a registry.
const OwnerTag = "berth:module"

// Encryption types of a repository, as in the API type EncryptionConfiguration.
const (
	AES256 = "AES256"
	KMS    = "KMS"
)

// Repository is a repository as the module asks for it, with the policies that belong to it.
type Repository struct {
	Name           string
	Mutability     string // MUTABLE or IMMUTABLE
	ScanOnPush     bool
	EncryptionType string // AES256 or KMS
	KMSKey         string // ARN; empty means the key that AWS manages
	ForceDelete    bool   // may be deleted or replaced while it holds images
	Tags           map[string]string
	Lifecycle      string // lifecycle policy, JSON with sorted keys
	Policy         string // repository policy, JSON with sorted keys; empty for none
}

// CacheRule is a pull-through cache rule. Empty fields are not set.
type CacheRule struct {
	Prefix         string
	UpstreamURL    string
	CredentialARN  string
	CustomRoleARN  string
	UpstreamPrefix string
	RegistryID     string // of a rule that exists
}

// Module is what one instance of the module asks for.
type Module struct {
	Address      string // module.ecr
	StackID      string // the value of OwnerTag on its repositories
	ForceDelete  bool   // of the module; it also holds for repositories that were removed from the configuration
	Repositories map[string]Repository
	CacheRules   map[string]CacheRule
}

// Build computes what an instance asks for from its inputs, which must be wholly known and converted to the types of
// modules/ecr. DefaultTags are those of the provider, which the tags of the module override. The error names the entry.
func Build(address, stackID string, inputs map[string]cty.Value, defaultTags map[string]string) (Module, error) {
	in := reader{}
	m := Module{
		Address: address, StackID: stackID, ForceDelete: in.boolean(inputs["force_delete"]),
		Repositories: map[string]Repository{}, CacheRules: map[string]CacheRule{},
	}
	encryption, key := in.text(inputs["encryption_type"]), in.text(inputs["kms_key_arn"])
	common := merge(defaultTags, inputs["common_tags"])
	for name, v := range elements(inputs["repositories"]) {
		if v.IsNull() {
			return m, fmt.Errorf("repositories[%q] is null: write {} for a repository with the defaults", name)
		}
		if key != "" && encryption != KMS {
			return m, fmt.Errorf("repositories[%q]: kms_key_arn has no effect with encryption_type %q: set encryption_type = \"KMS\" or remove kms_key_arn", name, encryption)
		}
		repo := Repository{
			Name: name, Mutability: in.text(v.GetAttr("image_tag_mutability")), ScanOnPush: in.boolean(v.GetAttr("scan_on_push")),
			EncryptionType: encryption, KMSKey: key, ForceDelete: m.ForceDelete, Tags: merge(common, v.GetAttr("tags")),
		}
		if _, taken := repo.Tags[OwnerTag]; taken {
			return m, fmt.Errorf("repositories[%q]: the tag %q is reserved, since berth marks with it the repositories that it manages: use another key", name, OwnerTag)
		}
		var err error
		repo.Lifecycle, err = lifecyclePolicy(v.GetAttr("untagged_days"), v.GetAttr("max_image_count"))
		if err != nil {
			return m, fmt.Errorf("repositories[%q]: %w", name, err)
		}
		if policy := v.GetAttr("repository_policy"); !policy.IsNull() {
			repo.Policy, err = normalise(policy.AsString())
			if err != nil {
				return m, fmt.Errorf("repositories[%q]: repository_policy is not a JSON object: %w", name, err)
			}
		}
		m.Repositories[name] = repo
	}
	for prefix, v := range elements(inputs["pull_through_cache_rules"]) {
		if v.IsNull() {
			return m, fmt.Errorf("pull_through_cache_rules[%q] is null: a rule needs at least upstream_registry_url", prefix)
		}
		m.CacheRules[prefix] = CacheRule{
			Prefix: prefix, UpstreamURL: in.text(v.GetAttr("upstream_registry_url")),
			CredentialARN: in.optional(v, "credential_arn"), CustomRoleARN: in.optional(v, "custom_role_arn"),
			UpstreamPrefix: in.optional(v, "upstream_repository_prefix"),
		}
	}
	return m, in.err
}

// reader extracts Go values and keeps the first error, which means that the module declares another type than ours.
type reader struct{ err error }

func (r *reader) fail(v cty.Value, want string) {
	if r.err == nil {
		r.err = fmt.Errorf("an input of the module is a %s where the native engine expects a %s", v.Type().FriendlyName(), want)
	}
}

func (r *reader) text(v cty.Value) string {
	switch {
	case v == cty.NilVal || v.IsNull():
		return ""
	case v.Type() != cty.String:
		r.fail(v, "string")
		return ""
	}
	return v.AsString()
}

func (r *reader) optional(v cty.Value, name string) string {
	if !v.Type().HasAttribute(name) {
		return ""
	}
	return r.text(v.GetAttr(name))
}

func (r *reader) boolean(v cty.Value) bool {
	switch {
	case v == cty.NilVal || v.IsNull():
		return false
	case v.Type() != cty.Bool:
		r.fail(v, "bool")
		return false
	}
	return v.True()
}

func elements(v cty.Value) map[string]cty.Value {
	if v == cty.NilVal || v.IsNull() {
		return nil
	}
	return v.AsValueMap()
}

// merge lays the tags of v over base; a null removes a tag, as it does in the provider.
func merge(base map[string]string, v cty.Value) map[string]string {
	tags := maps.Clone(base)
	if tags == nil {
		tags = map[string]string{}
	}
	for key, value := range elements(v) {
		if value.IsNull() {
			delete(tags, key)
			continue
		}
		tags[key] = value.AsString()
	}
	return tags
}

// lifecyclePolicy renders the two rules of the module. ECR wants a rule for tagStatus "any" to have the largest
// priority, so the rule for untagged images comes first.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
func lifecyclePolicy(untaggedDays, maxImages cty.Value) (string, error) {
	days, err := whole("untagged_days", untaggedDays)
	if err != nil {
		return "", err
	}
	count, err := whole("max_image_count", maxImages)
	if err != nil {
		return "", err
	}
	type object = map[string]any
	expire := object{"type": "expire"}
	b, err := json.Marshal(object{"rules": []any{
		object{
			"rulePriority": 1, "description": fmt.Sprintf("Expire untagged images after %d days", days), "action": expire,
			"selection": object{"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": days},
		},
		object{
			"rulePriority": 2, "description": fmt.Sprintf("Keep last %d images", count), "action": expire,
			"selection": object{"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": count},
		},
	}})
	return string(b), err
}

// whole returns a whole number of 1 or more.
func whole(name string, v cty.Value) (int64, error) {
	if v.IsNull() || v.Type() != cty.Number {
		return 0, fmt.Errorf("%s must be a number", name)
	}
	n, accuracy := v.AsBigFloat().Int64()
	if accuracy != big.Exact || n < 1 {
		return 0, fmt.Errorf("%s must be a whole number, 1 or more", name)
	}
	return n, nil
}

// normalise compacts a JSON object and sorts its keys, which is how the provider sends it.
func normalise(text string) (string, error) {
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return "", err
	}
	if len(object) == 0 {
		return "", fmt.Errorf("it is empty")
	}
	b, err := json.Marshal(object)
	return string(b), err
}

// Conflict returns an error when two instances of the module ask for the same repository or cache rule.
func Conflict(modules []Module) error {
	repositories, rules := map[string]string{}, map[string]string{}
	for _, m := range modules {
		for _, name := range slices.Sorted(maps.Keys(m.Repositories)) {
			if other, dup := repositories[name]; dup {
				return fmt.Errorf("repository %q is asked for by %s and by %s: remove it from one of them", name, other, m.Address)
			}
			repositories[name] = m.Address
		}
		for _, prefix := range slices.Sorted(maps.Keys(m.CacheRules)) {
			if other, dup := rules[prefix]; dup {
				return fmt.Errorf("pull-through cache rule %q is asked for by %s and by %s: remove it from one of them", prefix, other, m.Address)
			}
			rules[prefix] = m.Address
		}
	}
	return nil
}
