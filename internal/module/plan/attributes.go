package plan

import (
	"fmt"
	"maps"
	"strings"

	"berth/internal/module/desired"
	"berth/internal/module/live"
)

func (b *builder) note(format string, args ...any) {
	b.plan.Notes = append(b.plan.Notes, fmt.Sprintf(format, args...))
}

func (b *builder) block(format string, args ...any) {
	b.plan.Blockers = append(b.plan.Blockers, fmt.Sprintf(format, args...))
}

// Foreign is a repository that the configuration names and that it does not own.
type Foreign struct {
	Name  string
	Owner string // the value of its tag; empty for none
	Stack string // the stack that asks for it
}

// ForeignError says that repositories exist that this stack does not own.
type ForeignError struct {
	Repositories []Foreign
}

// Error implements error with one line for each repository.
func (e *ForeignError) Error() string {
	lines := make([]string, len(e.Repositories))
	for i, f := range e.Repositories {
		advice := "pass --adopt to take it over, or give yours another name"
		if other := desired.StackOf(f.Owner); other != "" {
			advice = fmt.Sprintf("pass --stack %q if this configuration is that stack, or --adopt to take the repository over", other)
		}
		lines[i] = fmt.Sprintf("repository %q exists but is not managed by stack %q (%s): %s", f.Name, f.Stack, ownership(f.Owner), advice)
	}
	return strings.Join(lines, "\n")
}

func ownership(owner string) string {
	if owner == "" {
		return "it has no tag " + desired.OwnerTag
	}
	return fmt.Sprintf("its tag %s is %q", desired.OwnerTag, owner)
}

// WantedTags are the tags of a repository including the one that marks it.
func WantedTags(want desired.Repository, stackID string) map[string]string {
	tags := maps.Clone(want.Tags)
	if tags == nil {
		tags = map[string]string{}
	}
	tags[desired.OwnerTag] = stackID
	return tags
}

// ManagedTags are the tags that may be changed: those that AWS reserves for itself are not.
func ManagedTags(tags map[string]string) map[string]string {
	own := map[string]string{}
	for key, value := range tags {
		if !strings.HasPrefix(key, "aws:") {
			own[key] = value
		}
	}
	return own
}

// SameEncryption says whether a repository has the encryption that is asked for. Without a key of its own, any key
// that AWS manages will do. An alias and the key that it stands for cannot be told apart through the ECR API, and a
// doubt must not replace a repository.
func SameEncryption(want desired.Repository, have live.Repository) bool {
	switch {
	case want.EncryptionType != have.EncryptionType:
		return false
	case want.EncryptionType != desired.KMS, want.KMSKey == "", want.KMSKey == have.KMSKey:
		return true
	}
	return strings.Contains(want.KMSKey, ":alias/") != strings.Contains(have.KMSKey, ":alias/")
}

func repositoryAttributes(name, mutability, encryption, key string, scan, force bool, tags map[string]string) map[string]any {
	var kmsKey any
	if key != "" {
		kmsKey = key
	}
	return map[string]any{
		"name":                         name,
		"image_tag_mutability":         mutability,
		"force_delete":                 force,
		"image_scanning_configuration": []any{map[string]any{"scan_on_push": scan}},
		"encryption_configuration":     []any{map[string]any{"encryption_type": encryption, "kms_key": kmsKey}},
		"tags":                         anyMap(tags),
		"tags_all":                     anyMap(tags),
	}
}

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// repositoryBefore are the attributes of what exists. Whether a repository may be deleted with its images is not a
// property of the repository, so the current configuration is shown.
func repositoryBefore(have live.Repository, force bool) map[string]any {
	attrs := repositoryAttributes(have.Name, have.Mutability, have.EncryptionType, have.KMSKey, have.ScanOnPush, force, ManagedTags(have.Tags))
	attrs["arn"], attrs["id"] = have.ARN, have.Name
	attrs["registry_id"], attrs["repository_url"] = have.RegistryID, have.URI
	return attrs
}

func repositoryUnknown() map[string]bool {
	return map[string]bool{"arn": true, "id": true, "registry_id": true, "repository_url": true}
}

func repositoryAfter(m desired.Module, want desired.Repository) map[string]any {
	return repositoryAttributes(want.Name, want.Mutability, want.EncryptionType, want.KMSKey, want.ScanOnPush, m.ForceDelete, WantedTags(want, m.StackID))
}

func newRepository(m desired.Module, want desired.Repository) Change {
	return Change{
		Module: m.Address, Type: TypeRepository, Index: want.Name, Action: Create,
		After: repositoryAfter(m, want), Unknown: repositoryUnknown(),
	}
}

func existingRepository(m desired.Module, want desired.Repository, have live.Repository) Change {
	c := Change{
		Module: m.Address, Type: TypeRepository, Index: want.Name,
		Before: repositoryBefore(have, m.ForceDelete), After: repositoryAfter(m, want),
	}
	if !SameEncryption(want, have) {
		c.Action, c.Unknown, c.Forces = Replace, repositoryUnknown(), []string{"encryption_configuration"}
		return c
	}
	for _, name := range []string{"arn", "id", "registry_id", "repository_url", "encryption_configuration"} {
		c.After[name] = c.Before[name]
	}
	if have.Mutability != want.Mutability || have.ScanOnPush != want.ScanOnPush ||
		!maps.Equal(ManagedTags(have.Tags), WantedTags(want, m.StackID)) {
		c.Action = Update
	}
	return c
}

func policyAttributes(repository, text, registryID string) map[string]any {
	attrs := map[string]any{"repository": repository, "policy": text}
	if registryID != "" {
		attrs["id"], attrs["registry_id"] = repository, registryID
	}
	return attrs
}

// createPolicy is the creation of a policy, or nothing when there is none to create.
func createPolicy(m desired.Module, typ, repository, text string) Change {
	if text == "" {
		return Change{}
	}
	return Change{
		Module: m.Address, Type: typ, Index: repository, Action: Create,
		After: policyAttributes(repository, text, ""), Unknown: map[string]bool{"id": true, "registry_id": true},
	}
}

// replacePolicy turns a creation into what happens to a policy whose repository is replaced.
func replacePolicy(c *Change, m desired.Module, typ string, have live.Repository, text string) {
	if text == "" {
		return
	}
	before := policyAttributes(have.Name, text, have.RegistryID)
	if c.Type == "" {
		*c = Change{Module: m.Address, Type: typ, Index: have.Name, Action: Delete, Before: before}
		return
	}
	c.Action, c.Before, c.Forces = Replace, before, []string{"repository"}
}

func policyChange(m desired.Module, typ string, have live.Repository, old, want string, same func(a, b string) bool) Change {
	c := Change{Module: m.Address, Type: typ, Index: have.Name}
	if old != "" {
		c.Before = policyAttributes(have.Name, old, have.RegistryID)
	}
	switch {
	case old == "" && want == "":
		return Change{}
	case old == "":
		return createPolicy(m, typ, have.Name, want)
	case want == "":
		c.Action = Delete
	case same(old, want):
		c.After = c.Before
	default:
		c.Action, c.After = Update, policyAttributes(have.Name, want, have.RegistryID)
	}
	return c
}

func ruleAttributes(r desired.CacheRule) map[string]any {
	optional := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	attrs := map[string]any{
		"ecr_repository_prefix": r.Prefix, "upstream_registry_url": r.UpstreamURL,
		"credential_arn": optional(r.CredentialARN), "custom_role_arn": optional(r.CustomRoleARN),
		"upstream_repository_prefix": optional(r.UpstreamPrefix),
	}
	if r.RegistryID != "" {
		attrs["id"], attrs["registry_id"] = r.Prefix, r.RegistryID
	}
	return attrs
}

// ruleDifferences names the attributes in which two rules differ.
func ruleDifferences(want, have desired.CacheRule) []string {
	var list []string
	for _, f := range []struct {
		name       string
		want, have string
	}{
		{"upstream_registry_url", host(want.UpstreamURL), host(have.UpstreamURL)},
		{"upstream_repository_prefix", rootless(want.UpstreamPrefix), rootless(have.UpstreamPrefix)},
		{"credential_arn", want.CredentialARN, have.CredentialARN},
		{"custom_role_arn", want.CustomRoleARN, have.CustomRoleARN},
	} {
		if f.want != f.have {
			list = append(list, f.name)
		}
	}
	return list
}

// host is the upstream without what makes no difference.
func host(url string) string {
	return strings.TrimSuffix(strings.TrimPrefix(url, "https://"), "/")
}

// rootless treats ROOT as the absence of a prefix, which is what it means.
func rootless(prefix string) string {
	if prefix == "ROOT" {
		return ""
	}
	return prefix
}

// ruleAction decides between an update, which can set credentials but not take them away, and a replacement.
// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_UpdatePullThroughCacheRule.html
func ruleAction(want, have desired.CacheRule) (Action, []string) {
	var forces []string
	differing := ruleDifferences(want, have)
	for _, name := range differing {
		removed := name == "credential_arn" && want.CredentialARN == "" || name == "custom_role_arn" && want.CustomRoleARN == ""
		if removed || strings.HasPrefix(name, "upstream_") {
			forces = append(forces, name)
		}
	}
	switch {
	case len(forces) > 0:
		return Replace, forces
	case len(differing) > 0:
		return Update, nil
	}
	return NoOp, nil
}
