package iam

import (
	"context"
	"errors"

	"berth/internal/access"
	"berth/internal/meta"
)

// CreateAccount adds an account and gives its root user a key.
func (s *Store) CreateAccount(ctx context.Context, id string) (Credentials, error) {
	if !access.IsAccountID(id) {
		return Credentials{}, Constraint("accountId", id, `Member must satisfy regular expression pattern: \d{12}`)
	}
	c := newCredentials("AKIA")
	err := s.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.InsertAccount(meta.Account{ID: id, CreatedAt: s.now()}); err != nil {
			return err
		}
		return s.putRootKey(ctx, tx, id, c)
	})
	if errors.Is(err, meta.ErrExists) {
		err = exists("Account %s already exists.", id)
	}
	return c, err
}

// replaceRootKeys puts one key in place of all that a root user has, and ends
// the sessions that were made with them.
func (s *Store) replaceRootKeys(ctx context.Context, tx *meta.Tx, account string, old []meta.AccessKey, c Credentials) error {
	for _, k := range old {
		if err := tx.DeleteAccessKey(k.ID); err != nil {
			return err
		}
	}
	if err := tx.DeleteRootSessions(account); err != nil {
		return err
	}
	return s.putRootKey(ctx, tx, account, c)
}

func (s *Store) putRootKey(ctx context.Context, tx *meta.Tx, account string, c Credentials) error {
	sealed, err := s.sealSecret(ctx, c)
	if err != nil {
		return err
	}
	root := access.Root(account, "")
	return tx.PutAccessKey(meta.AccessKey{
		ID: c.AccessKeyID, Account: account, Principal: root.ARN, UserID: root.UserID, Sealed: sealed, Active: true, CreatedAt: s.now(),
	})
}

// Accounts lists all accounts by id, the home account among them.
func (s *Store) Accounts(ctx context.Context) (out []meta.Account, err error) {
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		out, err = tx.Accounts()
		return err
	})
	return out, err
}

func account(tx *meta.Tx, id string) error {
	_, err := tx.Account(id)
	if errors.Is(err, meta.ErrNotFound) {
		return noSuch("The account %s cannot be found.", id)
	}
	return err
}

// DeleteAccount removes an account that has no repositories and whose KMS keys
// encrypt those of no other, with its KMS keys, users,
// roles, policies and keys.
func (s *Store) DeleteAccount(ctx context.Context, id string) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error {
		if err := account(tx, id); err != nil {
			return err
		}
		some, err := tx.HasRepositories(id)
		if err == nil && some {
			err = conflict("Cannot delete an account that has repositories.")
		}
		if err == nil {
			if some, err = tx.SealedForOthers(id); err == nil && some {
				err = conflict("Cannot delete an account whose KMS keys encrypt repositories of another account.")
			}
		}
		if err != nil {
			return err
		}
		return tx.DeleteAccount(id)
	})
}

// RotateRootKey gives the root user of an account a new key in place of those
// that it has. What was signed in with them ends at once.
func (s *Store) RotateRootKey(ctx context.Context, id string) (Credentials, error) {
	c := newCredentials("AKIA")
	err := s.db.Update(ctx, func(tx *meta.Tx) error {
		if err := account(tx, id); err != nil {
			return err
		}
		keys, err := tx.AccessKeys(access.Root(id, "").ARN)
		if err != nil {
			return err
		}
		return s.replaceRootKeys(ctx, tx, id, keys, c)
	})
	return c, err
}
