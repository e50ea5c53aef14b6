package secretsapi

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"

	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/secrets"
)

// routes are all operations that the door offers.
func routes() map[string]route {
	return map[string]route{
		"CreateSecret":             createSecret,
		"DescribeSecret":           describeSecret,
		"GetSecretValue":           getSecretValue,
		"PutSecretValue":           putSecretValue,
		"UpdateSecret":             updateSecret,
		"UpdateSecretVersionStage": updateSecretVersionStage,
		"DeleteSecret":             deleteSecret,
		"RestoreSecret":            restoreSecret,
		"ListSecrets":              listSecrets,
		"ListSecretVersionIds":     listSecretVersionIDs,
		"GetResourcePolicy":        getResourcePolicy,
		"TagResource":              tagResource,
		"UntagResource":            untagResource,
	}
}

// Actions on KMS keys that values need.
const (
	encryptAction = "kms:GenerateDataKey"
	decryptAction = "kms:Decrypt"
)

// named is how answers name a secret and, where there is one, a version.
type named struct {
	ARN           string
	Name          string
	VersionID     string   `json:"VersionId,omitempty"`
	VersionStages []string `json:",omitempty"`
}

func createSecret(in *input) action {
	n := secrets.NewSecret{
		Name: in.name(), Description: in.text("description", in.Description, false, 0, 2048), KMSKey: in.text("kmsKeyId", in.KMSKeyID, false, 0, 2048),
		Token: in.token(), Value: in.value(false),
	}
	tags, list := in.tags(false)
	n.Tags = tags
	if len(in.AddReplicaRegions) > 0 {
		in.refuse(secrets.InvalidParameter, "Replicas of secrets in other regions are not supported: leave AddReplicaRegions out.")
	}
	if or(in.Type) != "" {
		in.refuse(secrets.InvalidParameter, "Managed external secrets are not supported: leave Type out.")
	}
	return action{create: n.Name, tags: list, kms: encryptAction, key: func() string { return n.KMSKey }, run: func(c *call) (any, error) {
		n.ARN = c.secret.ARN
		v, version, err := c.store.Create(c.ctx, c.scope, n)
		return named{ARN: v.ARN, Name: v.Name, VersionID: version}, err
	}}
}

// a description is what DescribeSecret and ListSecrets tell of a secret.
type description struct {
	ARN              string
	Name             string
	Description      string `json:",omitempty"`
	KMSKeyID         string `json:"KmsKeyId,omitempty"`
	CreatedDate      ecr.Time
	LastChangedDate  ecr.Time
	LastAccessedDate ecr.Time `json:",omitzero"`
	DeletedDate      ecr.Time `json:",omitzero"`
	Tags             []tag
	Versions         map[string][]string `json:"VersionIdsToStages,omitempty"`
	ListedVersions   map[string][]string `json:"SecretVersionsToStages,omitempty"`
}

type tag struct{ Key, Value string }

func describe(v meta.Secret) description {
	d := description{
		ARN: v.ARN, Name: v.Name, Description: v.Description, KMSKeyID: v.KMSKey, CreatedDate: ecr.At(v.CreatedAt),
		LastChangedDate: ecr.At(v.ChangedAt), LastAccessedDate: ecr.At(v.AccessedAt), DeletedDate: ecr.At(v.DeletedAt), Tags: []tag{},
	}
	for _, k := range slices.Sorted(maps.Keys(v.Tags)) {
		d.Tags = append(d.Tags, tag{k, v.Tags[k]})
	}
	return d
}

func stagesOf(versions []meta.SecretVersion) map[string][]string {
	out := map[string][]string{}
	for _, v := range versions {
		if len(v.Stages) > 0 {
			out[v.ID] = v.Stages
		}
	}
	return out
}

func describeSecret(in *input) action {
	return action{secret: in.secretID(), run: func(c *call) (any, error) {
		d := describe(c.secret)
		versions, err := c.store.Versions(c.ctx, c.secret.ARN)
		d.Versions = stagesOf(versions)
		return d, err
	}}
}

type secretValue struct {
	named
	CreatedDate  ecr.Time
	SecretString *string `json:",omitempty"`
	SecretBinary []byte  `json:",omitempty"`
}

func getSecretValue(in *input) action {
	id, stage := in.text("versionId", in.VersionID, false, 32, 64), in.text("versionStage", in.VersionStage, false, 1, 256)
	return action{secret: in.secretID(), kms: decryptAction, run: func(c *call) (any, error) {
		of, v, value, err := c.store.Value(c.ctx, c.secret, id, stage)
		if err != nil {
			return nil, err
		}
		out := secretValue{named: named{of.ARN, of.Name, v.ID, v.Stages}, CreatedDate: ecr.At(v.CreatedAt)}
		if value.Binary {
			out.SecretBinary = value.Bytes
		} else {
			text := string(value.Bytes)
			out.SecretString = &text
		}
		return out, c.store.NoteAccess(c.ctx, of, v)
	}}
}

func putSecretValue(in *input) action {
	token, value := in.token(), in.value(true)
	return action{secret: in.secretID(), kms: encryptAction, run: func(c *call) (any, error) {
		v, err := c.store.Put(c.ctx, c.secret, token, *value, in.VersionStages)
		if err != nil {
			return nil, err
		}
		return named{c.secret.ARN, c.secret.Name, v.ID, v.Stages}, nil
	}}
}

func updateSecret(in *input) action {
	token, value := in.token(), in.value(false)
	in.text("description", in.Description, false, 0, 2048)
	in.text("kmsKeyId", in.KMSKeyID, false, 0, 2048)
	return action{secret: in.secretID(), kms: encryptAction, key: func() string { return or(in.KMSKeyID) }, run: func(c *call) (any, error) {
		v, err := c.store.Update(c.ctx, c.secret, secrets.Update{Description: in.Description, KMSKey: in.KMSKeyID})
		out := named{ARN: v.ARN, Name: v.Name}
		if err == nil && value != nil {
			var put *meta.SecretVersion
			if put, err = c.store.Put(c.ctx, v, token, *value, nil); err == nil {
				out.VersionID = put.ID
			}
		}
		return out, err
	}}
}

func updateSecretVersionStage(in *input) action {
	stage := in.text("versionStage", in.VersionStage, true, 1, 256)
	return action{secret: in.secretID(), run: func(c *call) (any, error) {
		err := c.store.MoveStage(c.ctx, c.secret, stage, or(in.RemoveFromVersionID), or(in.MoveToVersionID))
		return named{ARN: c.secret.ARN, Name: c.secret.Name}, err
	}}
}

func deleteSecret(in *input) action {
	force := is(in.ForceDeleteWithoutRecovery)
	if force && in.RecoveryWindowInDays != nil {
		in.refuse(secrets.InvalidParameter, "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
	}
	days := 30
	if in.RecoveryWindowInDays != nil {
		days = *in.RecoveryWindowInDays
		if days < 7 || days > 30 {
			in.refuse(secrets.InvalidParameter, "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
		}
	}
	return action{secret: in.secretID(), run: func(c *call) (any, error) {
		at, err := c.store.Delete(c.ctx, c.secret, days, force)
		return struct {
			ARN, Name    string
			DeletionDate ecr.Time
		}{c.secret.ARN, c.secret.Name, ecr.At(at)}, err
	}}
}

func restoreSecret(in *input) action {
	return action{secret: in.secretID(), run: func(c *call) (any, error) {
		return named{ARN: c.secret.ARN, Name: c.secret.Name}, c.store.Restore(c.ctx, c.secret)
	}}
}

// A filter of ListSecrets chooses secrets of which some value begins with one of
// its own; a value with "!" before it must not.
type filter struct {
	Key    string
	Values []string
}

// of are the texts of a secret that a filter looks at.
func (f filter) of(v meta.Secret) []string {
	tags := slices.Sorted(maps.Keys(v.Tags))
	values := slices.Sorted(maps.Values(v.Tags))
	switch f.Key {
	case "name":
		return []string{v.Name}
	case "description":
		return []string{v.Description}
	case "tag-key":
		return tags
	case "tag-value":
		return values
	case "all":
		return append(append([]string{v.Name, v.Description}, tags...), values...)
	}
	return nil // primary-region and owning-service: of no secret here
}

func (f filter) chooses(v meta.Secret) bool {
	for _, want := range f.Values {
		want, not := strings.CutPrefix(want, "!")
		fold := f.Key == "description" || f.Key == "all" // the others mind the case (API_Filter)
		has := slices.ContainsFunc(f.of(v), func(have string) bool {
			if fold {
				return strings.Contains(strings.ToLower(have), strings.ToLower(want))
			}
			return strings.HasPrefix(have, want)
		})
		if has != not {
			return true
		}
	}
	return false
}

var filterKeys = []string{"description", "name", "tag-key", "tag-value", "primary-region", "owning-service", "all"}

func listSecrets(in *input) action {
	limit := in.integer("maxResults", in.MaxResults, 100, 1, 100)
	for _, f := range in.Filters {
		if !slices.Contains(filterKeys, f.Key) {
			in.violate("filters.1.member.key", f.Key, "Member must satisfy enum value set: ["+strings.Join(filterKeys, ", ")+"]")
		}
	}
	if (in.SortBy != nil && *in.SortBy != "name") || (in.SortOrder != nil && *in.SortOrder != "asc") {
		in.refuse(secrets.InvalidParameter, "Secrets are listed by name, in ascending order: leave SortBy and SortOrder out, or say name and asc.")
	}
	after, ok := openToken(or(in.NextToken))
	if !ok {
		in.refuse("InvalidNextTokenException", "The NextToken value is invalid.")
	}
	return action{everything: true, run: func(c *call) (any, error) {
		out := struct {
			SecretList []description
			NextToken  string `json:",omitempty"`
		}{SecretList: []description{}}
		for {
			page, more, err := c.store.List(c.ctx, c.scope, after, is(in.IncludePlannedDeletion), limit)
			if err != nil {
				return nil, err
			}
			for _, v := range page {
				after = v.Name
				if slices.ContainsFunc(in.Filters, func(f filter) bool { return !f.chooses(v) }) {
					continue
				}
				d := describe(v)
				versions, err := c.store.Versions(c.ctx, v.ARN)
				if err != nil {
					return nil, err
				}
				d.ListedVersions = stagesOf(versions)
				out.SecretList = append(out.SecretList, d)
			}
			if !more {
				return out, nil
			}
			if len(out.SecretList) > 0 {
				out.NextToken = sealToken(after)
				return out, nil
			}
		}
	}}
}

// Tokens of lists name the last secret that was looked at.
func sealToken(after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte("secrets\n" + after))
}

func openToken(s string) (after string, ok bool) {
	if s == "" {
		return "", true
	}
	raw, err := base64.RawURLEncoding.DecodeString(s)
	after, mine := strings.CutPrefix(string(raw), "secrets\n")
	return after, err == nil && mine && namePattern.MatchString(after)
}

func listSecretVersionIDs(in *input) action {
	in.integer("maxResults", in.MaxResults, 100, 1, 100)
	return action{secret: in.secretID(), run: func(c *call) (any, error) {
		type version struct {
			VersionID        string `json:"VersionId"`
			VersionStages    []string
			CreatedDate      ecr.Time
			LastAccessedDate ecr.Time `json:",omitzero"`
		}
		list, err := c.store.Versions(c.ctx, c.secret.ARN)
		out := struct {
			ARN, Name string
			Versions  []version
		}{c.secret.ARN, c.secret.Name, []version{}}
		for _, v := range list { // 100 at most, so always one page
			if len(v.Stages) > 0 || is(in.IncludeDeprecated) {
				out.Versions = append(out.Versions, version{v.ID, v.Stages, ecr.At(v.CreatedAt), ecr.At(v.AccessedAt)})
			}
		}
		return out, err
	}}
}

// getResourcePolicy tells that there is none, as of every secret here.
func getResourcePolicy(in *input) action {
	return action{secret: in.secretID(), run: func(c *call) (any, error) {
		return named{ARN: c.secret.ARN, Name: c.secret.Name}, nil
	}}
}

func tagResource(in *input) action {
	tags, list := in.tags(true)
	return action{secret: in.secretID(), tags: list, run: func(c *call) (any, error) {
		return struct{}{}, c.store.SetTags(c.ctx, c.secret, tags, nil)
	}}
}

func untagResource(in *input) action {
	if in.TagKeys == nil {
		in.violate("tagKeys", "null", "Member must not be null")
	}
	return action{secret: in.secretID(), tagKeys: in.TagKeys, run: func(c *call) (any, error) {
		return struct{}{}, c.store.SetTags(c.ctx, c.secret, nil, in.TagKeys)
	}}
}
