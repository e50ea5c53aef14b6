package iam

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"

	"berth/internal/access"
	"berth/internal/meta"
)

// maxKeys is how many access keys a user may have (IAM User Guide, "IAM and AWS
// STS quotas").
const maxKeys = 2

// An Owner has access keys: a user, or the root user of an account.
type Owner struct {
	Account string
	ARN     string
	UserID  string
	Name    string // empty: the root user
}

// KeyOwner finds whose access keys a request is about: the user's with the
// name, or without one the caller's own.
func (s *Store) KeyOwner(ctx context.Context, caller access.Principal, name string) (Owner, error) {
	if name == "" {
		own, ok := UserName(caller)
		if !ok {
			if caller.IsRoot() {
				return Owner{caller.Account, caller.ARN, caller.UserID, ""}, nil
			}
			return Owner{}, Invalid("Must specify userName when calling with non-User credentials")
		}
		name = own
	}
	u, err := s.Principal(ctx, Ref{meta.KindUser, caller.Account, name})
	return Owner{u.Account, ARN(u), u.ID, u.Name}, err
}

// CreateAccessKey makes a key; its secret is told this once.
func (s *Store) CreateAccessKey(ctx context.Context, o Owner) (meta.AccessKey, Credentials, error) {
	c := newCredentials("AKIA")
	sealed, err := s.sealSecret(ctx, c)
	if err != nil {
		return meta.AccessKey{}, Credentials{}, err
	}
	k := meta.AccessKey{ID: c.AccessKeyID, Account: o.Account, Principal: o.ARN, UserID: o.UserID, Sealed: sealed, Active: true, CreatedAt: s.now()}
	err = s.db.Update(ctx, func(tx *meta.Tx) error {
		if o.Name != "" { // it may have gone meanwhile, and another with its name come
			if _, err := tx.IAMPrincipalByID(o.UserID); errors.Is(err, meta.ErrNotFound) {
				return Ref{Kind: meta.KindUser, Name: o.Name}.missing()
			} else if err != nil {
				return err
			}
		}
		keys, err := tx.AccessKeys(o.ARN)
		if err == nil && len(keys) >= maxKeys {
			err = limit("Cannot exceed quota for AccessKeysPerUser: %d", maxKeys)
		}
		if err != nil {
			return err
		}
		return tx.PutAccessKey(k)
	})
	return k, c, err
}

// AccessKeys lists keys, oldest first.
func (s *Store) AccessKeys(ctx context.Context, o Owner) (keys []meta.AccessKey, err error) {
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		keys, err = tx.AccessKeys(o.ARN)
		return err
	})
	return keys, err
}

// AccessKeyOwner tells which account and principal a key belongs to.
func (s *Store) AccessKeyOwner(ctx context.Context, id string) (Owner, error) {
	k, err := s.key(ctx, id)
	if errors.Is(err, meta.ErrNotFound) {
		var session meta.IAMSession
		session, err = s.session(ctx, id)
		k = meta.AccessKey{Account: session.Account, Principal: session.Principal, UserID: session.UserID}
	}
	if errors.Is(err, meta.ErrNotFound) {
		return Owner{}, keyMissing(id)
	}
	name, _ := UserName(access.Principal{ARN: k.Principal})
	return Owner{k.Account, k.Principal, k.UserID, name}, err
}

func keyMissing(id string) error { return noSuch("The Access Key with id %s cannot be found.", id) }

// own finds a key of an owner.
func own(tx *meta.Tx, o Owner, id string) (meta.AccessKey, error) {
	k, err := tx.AccessKey(id)
	if errors.Is(err, meta.ErrNotFound) || err == nil && k.Principal != o.ARN {
		return k, keyMissing(id)
	}
	return k, err
}

// SetAccessKey switches a key on or off.
func (s *Store) SetAccessKey(ctx context.Context, o Owner, id string, active bool) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error {
		k, err := own(tx, o, id)
		if err != nil {
			return err
		}
		k.Active = active
		return tx.PutAccessKey(k)
	})
}

// DeleteAccessKey removes a key. What was signed in with it ends at once.
func (s *Store) DeleteAccessKey(ctx context.Context, o Owner, id string) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error {
		if _, err := own(tx, o, id); err != nil {
			return err
		}
		return tx.DeleteAccessKey(id)
	})
}

// newCredentials makes a key of the form that AWS gives: a prefix and 16 letters
// and digits, and a secret of 40 characters.
func newCredentials(prefix string) Credentials {
	secret := make([]byte, 30)
	_, _ = rand.Read(secret) // never fails (crypto/rand)
	return Credentials{AccessKeyID: prefix + random(16), SecretAccessKey: base64.StdEncoding.EncodeToString(secret)}
}

// newID makes a unique id (IAM User Guide, "IAM identifiers"): 21 characters.
func newID(prefix string) string { return prefix + random(17) }

// random is n capital letters and digits.
func random(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base32.StdEncoding.EncodeToString(b)[:n]
}
