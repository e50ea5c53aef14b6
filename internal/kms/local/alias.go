package local

import (
	"context"
	"errors"
	"strings"
	"time"

	"berth/internal/meta"
)

// maxAliases is how many aliases one key may have (KMS Developer Guide, "Resource quotas").
const maxAliases = 50

// CreateAlias gives a customer's key another name in its own account and region.
func (k *KMS) CreateAlias(ctx context.Context, s meta.Scope, alias, arn string) error {
	if err := k.checkAlias(alias); err != nil {
		return err
	}
	return k.onTarget(ctx, s, arn, func(tx *meta.Tx, key meta.KMSKey) error {
		_, err := tx.KMSAlias(s, alias)
		if err == nil {
			return refuse(AlreadyExists, "An alias with the name "+arnOf(s, alias)+" already exists")
		}
		if !errors.Is(err, meta.ErrNotFound) {
			return err
		}
		if err := roomForAlias(tx, key.ARN); err != nil {
			return err
		}
		now := k.stamp()
		return tx.InsertKMSAlias(meta.KMSAlias{Scope: s, Name: alias, ARN: key.ARN, CreatedAt: now, UpdatedAt: now})
	})
}

// UpdateAlias points an alias at another customer's key.
func (k *KMS) UpdateAlias(ctx context.Context, s meta.Scope, alias, arn string) error {
	if err := k.checkAlias(alias); err != nil {
		return err
	}
	return k.onTarget(ctx, s, arn, func(tx *meta.Tx, key meta.KMSKey) error {
		a, err := tx.KMSAlias(s, alias)
		if errors.Is(err, meta.ErrNotFound) {
			return absent(name{arn: arnOf(s, alias), alias: alias})
		}
		if err != nil {
			return err
		}
		if a.ARN != key.ARN {
			if err := roomForAlias(tx, key.ARN); err != nil {
				return err
			}
		}
		a.ARN, a.UpdatedAt = key.ARN, k.stamp()
		return tx.MoveKMSAlias(a)
	})
}

// DeleteAlias removes an alias; the key stays.
func (k *KMS) DeleteAlias(ctx context.Context, s meta.Scope, alias string) error {
	if err := k.checkAlias(alias); err != nil {
		return err
	}
	if err := k.reap(ctx); err != nil {
		return err
	}
	return k.db.Update(ctx, func(tx *meta.Tx) error {
		err := tx.DeleteKMSAlias(s, alias)
		if errors.Is(err, meta.ErrNotFound) {
			return absent(name{arn: arnOf(s, alias), alias: alias})
		}
		return err
	})
}

// Aliases lists up to limit aliases of an account and region in the order of
// their names, after the one given, and whether there are more. With an ARN
// they are those of that key.
func (k *KMS) Aliases(ctx context.Context, s meta.Scope, arn, after string, limit int) (out []meta.KMSAlias, more bool, err error) {
	if err := k.reap(ctx); err != nil {
		return nil, false, err
	}
	err = k.db.View(ctx, func(tx *meta.Tx) (err error) {
		if arn == "" {
			out, err = tx.KMSAliases(s, after, limit+1)
			return err
		}
		n, err := k.byARN(arn)
		if err != nil {
			return err
		}
		key, err := k.load(tx, n)
		if err != nil {
			return err
		}
		out, err = tx.KMSAliasesOf(key.ARN, after, limit+1)
		return err
	})
	out, more = page(out, limit)
	return out, more, err
}

// onTarget runs fn in a transaction with a customer's key that may get an alias.
func (k *KMS) onTarget(ctx context.Context, s meta.Scope, arn string, fn func(*meta.Tx, meta.KMSKey) error) error {
	n, err := k.byARN(arn)
	if err != nil {
		return err
	}
	if err := k.reap(ctx); err != nil {
		return err
	}
	return k.db.Update(ctx, func(tx *meta.Tx) error {
		key, err := k.load(tx, n)
		if err != nil {
			return err
		}
		if key.Manager == AWS {
			return ErrManaged
		}
		if key.Scope != s {
			return absent(name{arn: key.ARN}) // aliases name keys of their own account and region
		}
		if err := notPending(key); err != nil {
			return err
		}
		return fn(tx, key)
	})
}

func roomForAlias(tx *meta.Tx, arn string) error {
	have, err := tx.KMSAliasesOf(arn, "", maxAliases)
	if err == nil && len(have) == maxAliases {
		return refuse(LimitExceeded, "A key can have at most 50 aliases.")
	}
	return err
}

// checkAlias checks the name of an alias that a user makes, moves or deletes
// (KMS API reference, CreateAlias, AliasName). The texts are those that the
// tests of getmoto/moto expect of AWS.
func (k *KMS) checkAlias(alias string) error {
	switch {
	case !strings.HasPrefix(alias, aliasPrefix):
		return refuse(Validation, "Invalid identifier")
	case strings.HasPrefix(alias, managedPrefix):
		return refuse(NotAuthorized, "Aliases that begin with alias/aws/ are reserved for AWS managed keys.")
	case !k.patterns.alias.MatchString(alias):
		return refuse(InvalidAliasName, alias+" contains invalid characters for an alias")
	case len(alias) > 256:
		return refuse(Validation, "1 validation error detected: Value '"+alias+"' at 'aliasName' failed to satisfy constraint: "+
			"Member must have length less than or equal to 256")
	}
	return nil
}

// stamp is the time of now as the wire carries it.
func (k *KMS) stamp() time.Time { return k.now().UTC().Truncate(time.Millisecond) }
