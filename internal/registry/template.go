package registry

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"berth/internal/access"
	"berth/internal/access/policy"
	"berth/internal/kms"
	"berth/internal/lifecycle"
	"berth/internal/meta"
)

// What creation templates may be applied for (API_CreateRepositoryCreationTemplate,
// appliedFor).
const (
	ForReplication  = "REPLICATION"
	ForPullThrough  = "PULL_THROUGH_CACHE"
	ForCreateOnPush = "CREATE_ON_PUSH"
)

// Root is the prefix of the template that counts where no other does.
const Root = "ROOT"

// maxTemplates bounds the creation templates of a registry. AWS publishes no
// number; that of its cache rules, which templates go with, is taken.
const maxTemplates = 50

// A TemplateChange is what UpdateTemplate changes; nil leaves a setting as it
// is. With Mutability come all of its filters; an empty mode leaves the mode as
// it is.
type TemplateChange struct {
	Description   *string
	Encryption    *Encryption
	ResourceTags  []meta.ResourceTag // nil: as they are; empty: none
	Mutability    *Mutability
	Policy        *string // empty: none
	Lifecycle     *string // empty: none
	AppliedFor    []string
	CustomRoleARN *string
	// MayUseKey is asked whether the key of Encryption may be used, by its ARN;
	// nil: it may. The repositories that the template makes use it in the name of
	// who named it here, since the custom role is not assumed.
	MayUseKey func(ctx context.Context, arn string) error
}

// checkKey asks about the key that the change names.
func (c TemplateChange) checkKey(ctx context.Context) error {
	if c.MayUseKey == nil || c.Encryption == nil || c.Encryption.Key == "" {
		return nil
	}
	err := c.MayUseKey(ctx, c.Encryption.Key)
	var refused *kms.Error
	if errors.As(err, &refused) { // KmsException is not modelled for templates
		e := invalid("encryptionConfiguration.kmsKey", refused.Message)
		e.Err = err
		return e
	}
	return err
}

// Encryption is how a repository is to be encrypted.
type Encryption struct {
	Kind string // AES256, KMS or KMS_DSSE; empty is AES256
	Key  string // of KMS and KMS_DSSE; empty is the account's default key
}

// apply makes the change to a template and checks what comes of it.
func (c TemplateChange) apply(t *meta.CreationTemplate) error {
	if c.Description != nil {
		t.Description = *c.Description
	}
	if c.Encryption != nil {
		t.Encryption, t.KMSKey = c.Encryption.Kind, c.Encryption.Key
	}
	if c.ResourceTags != nil {
		t.ResourceTags = c.ResourceTags
	}
	if c.Mutability != nil {
		if c.Mutability.Mode != "" {
			t.Mutability = c.Mutability.Mode
		}
		t.MutabilityFilters = c.Mutability.Filters
	}
	if c.Policy != nil {
		t.Policy = *c.Policy
	}
	if c.Lifecycle != nil {
		t.Lifecycle = *c.Lifecycle
	}
	if c.AppliedFor != nil {
		t.AppliedFor = c.AppliedFor
	}
	if c.CustomRoleARN != nil {
		t.CustomRoleARN = *c.CustomRoleARN
	}
	return checkTemplate(t)
}

// rolePattern is the form of a role's ARN.
var rolePattern = regexp.MustCompile(`^arn:aws(?:-[a-z]+)*:iam::([0-9]{12}):role/[\w+=,.@/-]+$`)

// checkTemplate fills in defaults and refuses settings that no repository could
// have. Whether there is such a KMS key or role is seen when a repository is
// created.
func checkTemplate(t *meta.CreationTemplate) error {
	m, err := Mutability{t.Mutability, t.MutabilityFilters}.normalise()
	if err != nil {
		return err
	}
	t.Mutability, t.MutabilityFilters = m.Mode, m.Filters
	switch t.Encryption {
	case "":
		t.Encryption = EncryptionAES
		fallthrough
	case EncryptionAES:
		if t.KMSKey != "" {
			return aesWithKey()
		}
	case EncryptionKMS, EncryptionDual:
	default:
		return unknownEncryption()
	}
	if err := checkResourceTags(t.ResourceTags); err != nil {
		var e *Error
		if errors.As(err, &e) { // not modelled for templates
			return invalid("resourceTags", e.Message)
		}
		return err
	}
	if len(t.ResourceTags) > maxResourceTags {
		return invalid("resourceTags", "Member must have length less than or equal to 50")
	}
	if t.Policy != "" {
		if _, err := policy.ParseRepositoryPolicy(t.Policy); err != nil {
			return &Error{Code: InvalidParameter, Message: err.Error(), Err: err}
		}
	}
	if t.Lifecycle != "" {
		if _, err := lifecycle.Parse(t.Lifecycle); err != nil {
			return &Error{Code: InvalidParameter, Message: err.Error(), Err: err}
		}
	}
	return checkTemplateUse(t)
}

func checkTemplateUse(t *meta.CreationTemplate) error {
	if len(t.AppliedFor) == 0 {
		return invalid("appliedFor", "Member must have length greater than or equal to 1")
	}
	known := []string{ForReplication, ForPullThrough, ForCreateOnPush}
	for i, use := range t.AppliedFor {
		switch {
		case !slices.Contains(known, use):
			return invalid("appliedFor", "Member must satisfy enum value set: ["+strings.Join(known, ", ")+"]")
		case slices.Contains(t.AppliedFor[:i], use):
			return invalid("appliedFor", "Member must have unique values")
		}
	}
	if t.CustomRoleARN == "" {
		return nil
	}
	// "This role must be in the same account as the registry that you are
	// configuring" (API_CreateRepositoryCreationTemplate).
	if parts := rolePattern.FindStringSubmatch(t.CustomRoleARN); parts == nil || parts[1] != t.Scope.Account {
		return invalid("customRoleArn", "The role must be a role of the account "+t.Scope.Account+" of the registry")
	}
	return nil
}

// CreateTemplate adds a creation template, whose empty settings take the
// defaults of repositories.
//
// CREATE_ON_PUSH decides about pushes from now on, see [Registry.CreateOnPush].
// Templates that are applied for PULL_THROUGH_CACHE or REPLICATION are kept and
// returned; pulling through and replicating come later and will create their
// repositories by [Registry.TemplateFor] and [Registry.CreateFromTemplate].
func (r *Registry) CreateTemplate(ctx context.Context, s meta.Scope, prefix string, c TemplateChange) (meta.CreationTemplate, error) {
	now := r.now()
	t := meta.CreationTemplate{Scope: s, Prefix: prefix, CreatedAt: now, UpdatedAt: now}
	if err := c.apply(&t); err != nil {
		return t, err
	}
	if err := c.checkKey(ctx); err != nil {
		return t, err
	}
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		all, err := tx.CreationTemplates(s, "", maxTemplates)
		if err != nil {
			return err
		}
		err = tx.InsertCreationTemplate(t)
		if errors.Is(err, meta.ErrExists) {
			return refuse(TemplateAlreadyExists, "The repository creation template with the prefix '%s' already exists in the registry with id '%s'", prefix, s.Account)
		}
		if err == nil && len(all) >= maxTemplates {
			return refuse(LimitExceeded, "The registry with id '%s' has the maximum of %d repository creation templates", s.Account, maxTemplates)
		}
		return err
	})
	return t, err
}

// UpdateTemplate changes a creation template. Repositories that it made stay as
// they are.
func (r *Registry) UpdateTemplate(ctx context.Context, s meta.Scope, prefix string, c TemplateChange) (t meta.CreationTemplate, err error) {
	if err := c.checkKey(ctx); err != nil {
		return t, err
	}
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		if t, err = findTemplate(tx, s, prefix); err != nil {
			return err
		}
		if err := c.apply(&t); err != nil {
			return err
		}
		t.UpdatedAt = r.now()
		return tx.SaveCreationTemplate(t)
	})
	return t, err
}

// DeleteTemplate removes a creation template and returns it.
func (r *Registry) DeleteTemplate(ctx context.Context, s meta.Scope, prefix string) (t meta.CreationTemplate, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		if t, err = findTemplate(tx, s, prefix); err != nil {
			return err
		}
		return tx.DeleteCreationTemplate(s, prefix)
	})
	return t, err
}

func findTemplate(tx *meta.Tx, s meta.Scope, prefix string) (meta.CreationTemplate, error) {
	t, err := tx.CreationTemplate(s, prefix)
	if errors.Is(err, meta.ErrNotFound) {
		err = refuse(TemplateNotFound, "The repository creation template with the prefix '%s' was not found in the registry with id '%s'", prefix, s.Account)
	}
	return t, err
}

// Templates lists the templates of the prefixes given, leaving out prefixes that
// have none, or up to limit in prefix order after the cursor. next is empty on
// the last page.
func (r *Registry) Templates(ctx context.Context, s meta.Scope, prefixes []string, cursor string, limit int) (out []meta.CreationTemplate, next string, err error) {
	const listing = "creation-templates"
	after, err := r.openNameCursor(listing, s, cursor)
	if err != nil {
		return nil, "", err
	}
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		for _, p := range prefixes {
			t, err := tx.CreationTemplate(s, p)
			if errors.Is(err, meta.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			out = append(out, t)
		}
		if len(prefixes) > 0 {
			return nil
		}
		out, err = tx.CreationTemplates(s, after, limit+1)
		if err == nil && len(out) > limit {
			out = out[:limit]
			next, err = r.sealNameCursor(listing, s, out[limit-1].Prefix)
		}
		return err
	})
	return out, next, err
}

// TemplateFor finds the template by which a repository is created for one of the
// uses above: of those that are applied for it, the one with the longest prefix
// of the name. A prefix ends at a slash, whether it is written or not, and ROOT
// is a prefix of every name. nil: there is none.
//
// Source: ECR User Guide, "Templates to control repositories created during a
// pull through cache, create on push, or replication action".
func (r *Registry) TemplateFor(ctx context.Context, s meta.Scope, name, use string) (*meta.CreationTemplate, error) {
	var all []meta.CreationTemplate
	err := r.db.Read(ctx, func(tx *meta.Tx) (err error) {
		all, err = tx.CreationTemplates(s, "", maxTemplates)
		return err
	})
	return longest(all, name, use), err
}

func longest(all []meta.CreationTemplate, name, use string) (best *meta.CreationTemplate) {
	reach := -1
	for i, t := range all {
		prefix := strings.TrimSuffix(t.Prefix, "/") + "/"
		if t.Prefix == Root {
			prefix = ""
		}
		if strings.HasPrefix(name, prefix) && slices.Contains(t.AppliedFor, use) && len(prefix) > reach {
			best, reach = &all[i], len(prefix)
		}
	}
	return best
}

// CreateFromTemplate adds a repository with the settings of a template, or with
// the defaults for nil. Whether that may be is for the caller to ask before.
//
// A template with resource tags or a KMS key needs a custom role, else the
// repository cannot be created (ECR User Guide, "Creating a repository creation
// template"). The role is not assumed: the registry acts for itself.
func (r *Registry) CreateFromTemplate(ctx context.Context, s meta.Scope, name string, t *meta.CreationTemplate) (Repository, error) {
	if t == nil {
		return r.CreateRepository(ctx, s, NewRepository{Name: name})
	}
	if t.CustomRoleARN == "" && (len(t.ResourceTags) > 0 || t.KMSKey != "") {
		return Repository{}, refuse(TemplateUnusable, "The repository with name '%s' cannot be created in the registry with id '%s': "+
			"the repository creation template with the prefix '%s' has resource tags or a KMS key, for which it needs a customRoleArn", name, s.Account, t.Prefix)
	}
	return r.CreateRepository(ctx, s, NewRepository{
		Name: name, Tags: t.ResourceTags, Mutability: Mutability{t.Mutability, t.MutabilityFilters},
		Encryption: t.Encryption, KMSKey: t.KMSKey, Policy: t.Policy, Lifecycle: t.Lifecycle,
	})
}

// CreateOnPush creates the repository that a push found missing, when there is a
// template that is applied for CREATE_ON_PUSH. may is asked before anything is
// created whether the caller may create the repository with the template's tags
// (ecr:CreateRepository); that it may push comes before. created is false when
// there is no template.
//
// Source: ECR User Guide, "Templates to control repositories created during a
// pull through cache, create on push, or replication action".
func (r *Registry) CreateOnPush(ctx context.Context, s meta.Scope, name string, may func(tags []access.Tag) error) (created bool, err error) {
	t, err := r.TemplateFor(ctx, s, name, ForCreateOnPush)
	if err != nil || t == nil {
		return false, err
	}
	var tags []access.Tag
	for _, tag := range t.ResourceTags {
		tags = append(tags, access.Tag{Key: tag.Key, Value: tag.Value})
	}
	if err := may(tags); err != nil {
		return false, err
	}
	_, err = r.CreateFromTemplate(ctx, s, name, t)
	if Is(err, RepositoryAlreadyExists) { // another layer of the same push was faster
		err = nil
	}
	return err == nil, err
}
