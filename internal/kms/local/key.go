package local

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"berth/internal/access"
	"berth/internal/kms"
	"berth/internal/meta"
)

// Limits (KMS API reference, CreateKey and ScheduleKeyDeletion; KMS Developer
// Guide, "Resource quotas").
const (
	MaxDescription  = 8192  // characters
	MaxPolicy       = 32768 // bytes
	MaxTags         = 50
	minDeletionDays = 7
	maxDeletionDays = 30
)

// A NewKey is what CreateKey asks for.
type NewKey struct {
	Description string
	Policy      string // empty: DefaultPolicy
	Tags        map[string]string
	// Caller is who asks, and Bypass says that the caller may make a policy that
	// the caller cannot change again.
	Caller access.Request
	Bypass bool
}

// A Key is a key and the id of the material that encrypts.
type Key struct {
	meta.KMSKey
	Material string
}

// Create makes a customer's key.
func (k *KMS) Create(ctx context.Context, s meta.Scope, in NewKey) (Key, error) {
	if err := checkDescription(in.Description); err != nil {
		return Key{}, err
	}
	if err := checkTags(in.Tags); err != nil {
		return Key{}, err
	}
	key := k.newKey(s, uuid.NewString())
	key.Description, key.Tags = in.Description, in.Tags
	if in.Policy != "" {
		if err := k.checkPolicy(in.Policy, in.Caller, in.Bypass); err != nil {
			return Key{}, err
		}
		key.Policy = in.Policy
	}
	if err := k.insert(ctx, key, ""); err != nil {
		return Key{}, err
	}
	return k.Describe(ctx, key.ARN)
}

// Describe tells what a key is, whatever its state.
func (k *KMS) Describe(ctx context.Context, arn string) (Key, error) {
	n, err := k.byARN(arn)
	if err != nil {
		return Key{}, err
	}
	var out Key
	err = k.db.View(ctx, func(tx *meta.Tx) error {
		key, err := k.load(tx, n)
		if err != nil {
			return err
		}
		v, err := tx.CurrentKMSKeyVersion(key.ARN)
		out = Key{key, v.ID}
		return err
	})
	return out, err
}

// DescribeManaged is Describe that makes the AWS managed key for ECR when that
// is named and does not exist yet (KMS API reference, DescribeKey: "If you
// specify a predefined AWS alias ... AWS KMS associates the alias with an AWS
// managed key").
func (k *KMS) DescribeManaged(ctx context.Context, arn string) (Key, error) {
	key, err := k.Describe(ctx, arn)
	n, parseErr := k.byARN(arn)
	if !isAbsent(err) || parseErr != nil || n.alias != ECRAlias {
		return key, err
	}
	made, err := k.createManaged(ctx, n)
	if err != nil {
		return Key{}, err
	}
	return k.Describe(ctx, made.ARN)
}

// Keys lists up to limit keys of an account and region in the order of their
// ARNs, after the one given, and whether there are more.
func (k *KMS) Keys(ctx context.Context, s meta.Scope, after string, limit int) (keys []meta.KMSKey, more bool, err error) {
	if err := k.reap(ctx); err != nil {
		return nil, false, err
	}
	err = k.db.View(ctx, func(tx *meta.Tx) (err error) {
		keys, err = tx.KMSKeys(s, after, limit+1)
		return err
	})
	keys, more = page(keys, limit)
	return keys, more, err
}

func page[T any](all []T, limit int) ([]T, bool) {
	if len(all) > limit {
		return all[:limit], true
	}
	return all, false
}

// change edits a customer's key in one transaction. edit may run more than once.
func (k *KMS) change(ctx context.Context, arn string, edit func(*meta.Tx, *meta.KMSKey) error) (key meta.KMSKey, err error) {
	n, err := k.byARN(arn)
	if err != nil {
		return key, err
	}
	err = k.db.Update(ctx, func(tx *meta.Tx) (err error) {
		if key, err = k.load(tx, n); err != nil {
			return err
		}
		if key.Manager == AWS {
			return ErrManaged
		}
		key.Tags = maps.Clone(key.Tags)
		if err := edit(tx, &key); err != nil {
			return err
		}
		return tx.SaveKMSKey(key)
	})
	return key, err
}

// Enable lets a disabled key work again.
func (k *KMS) Enable(ctx context.Context, arn string) error { return k.setState(ctx, arn, Enabled) }

// Disable ends the use of a key until it is enabled again.
func (k *KMS) Disable(ctx context.Context, arn string) error { return k.setState(ctx, arn, Disabled) }

func (k *KMS) setState(ctx context.Context, arn, state string) error {
	_, err := k.change(ctx, arn, func(_ *meta.Tx, key *meta.KMSKey) error {
		if err := notPending(*key); err != nil {
			return err
		}
		key.State = state
		return nil
	})
	return err
}

// ScheduleDeletion ends the use of a key, and the key itself after 7 to 30 days.
func (k *KMS) ScheduleDeletion(ctx context.Context, arn string, days int) (meta.KMSKey, error) {
	if days < minDeletionDays || days > maxDeletionDays {
		return meta.KMSKey{}, refuse(Validation, "PendingWindowInDays must be between 7 and 30 inclusive")
	}
	return k.change(ctx, arn, func(_ *meta.Tx, key *meta.KMSKey) error {
		if err := notPending(*key); err != nil {
			return err
		}
		key.State, key.DeletionDays = PendingDeletion, days
		key.DeletionAt = k.stamp().AddDate(0, 0, days)
		return nil
	})
}

// CancelDeletion keeps a key that was to be deleted; it is disabled then.
func (k *KMS) CancelDeletion(ctx context.Context, arn string) (meta.KMSKey, error) {
	return k.change(ctx, arn, func(_ *meta.Tx, key *meta.KMSKey) error {
		if key.State != PendingDeletion {
			return refuse(kms.InvalidState, key.ARN+" is not pending deletion.")
		}
		key.State, key.DeletionDays, key.DeletionAt = Disabled, 0, time.Time{}
		return nil
	})
}

// SetDescription replaces the description.
func (k *KMS) SetDescription(ctx context.Context, arn, text string) error {
	if err := checkDescription(text); err != nil {
		return err
	}
	_, err := k.change(ctx, arn, func(_ *meta.Tx, key *meta.KMSKey) error {
		key.Description = text
		return notPending(*key)
	})
	return err
}

func checkDescription(text string) error {
	if utf8.RuneCountInString(text) > MaxDescription {
		return refuse(Validation, "1 validation error detected: Value at 'description' failed to satisfy constraint: "+
			"Member must have length less than or equal to 8192")
	}
	return nil
}

// SetPolicy replaces the key policy. caller is who asks: unless bypass is given,
// the policy must let that one change it again.
func (k *KMS) SetPolicy(ctx context.Context, arn, policy string, caller access.Request, bypass bool) error {
	_, err := k.change(ctx, arn, func(_ *meta.Tx, key *meta.KMSKey) error {
		key.Policy = policy
		return k.checkPolicy(policy, caller, bypass)
	})
	return err
}

// Tag adds tags or replaces their values.
func (k *KMS) Tag(ctx context.Context, arn string, tags map[string]string) error {
	if err := checkTags(tags); err != nil {
		return err
	}
	_, err := k.change(ctx, arn, func(_ *meta.Tx, key *meta.KMSKey) error {
		if err := notPending(*key); err != nil {
			return err
		}
		if key.Tags == nil {
			key.Tags = map[string]string{}
		}
		maps.Copy(key.Tags, tags)
		return checkTags(key.Tags)
	})
	return err
}

// Untag removes tags; those that a key does not have are no error.
func (k *KMS) Untag(ctx context.Context, arn string, names []string) error {
	_, err := k.change(ctx, arn, func(_ *meta.Tx, key *meta.KMSKey) error {
		maps.DeleteFunc(key.Tags, func(name, _ string) bool { return slices.Contains(names, name) })
		return notPending(*key)
	})
	return err
}

// checkTags checks tags (KMS API reference, Tag; KMS Developer Guide, "Tags in AWS KMS").
func checkTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return refuse(LimitExceeded, "A key can have at most 50 tags.")
	}
	for name, value := range tags {
		switch {
		case name == "" || utf8.RuneCountInString(name) > 128 || utf8.RuneCountInString(value) > 256:
			return refuse(TagInvalid, "Tag keys have 1 to 128 characters and tag values at most 256.")
		case strings.HasPrefix(strings.ToLower(name), "aws:"):
			return refuse(TagInvalid, "Tag keys that begin with aws: are reserved.")
		}
	}
	return nil
}
