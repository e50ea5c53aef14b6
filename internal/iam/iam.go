// Package iam knows who may sign in and what was said about them: accounts,
// users, roles, their policies, access keys and sessions. It keeps the rules of
// IAM and STS; what the policies mean is for the evaluator to say.
//
// # Guarantees
//
//   - There is no built-in key and no default password. The root key of the
//     home account is made from random bytes on the first start, unless the
//     operator gives one.
//   - A registry password is good only while the access key it was made with
//     exists, is active and belongs to the same principal; one that was made
//     with temporary credentials ends with them.
//   - The secrets of access keys are stored sealed only, each bound to its key.
//     Those of temporary credentials are not stored. A session ends with
//     its user or role.
//   - A role without a policy that trusts the caller is assumed by nobody.
//   - Secrets never appear in errors or logs.
package iam

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/access/token"
	"berth/internal/kms"
	"berth/internal/meta"
)

// Tokens reads registry passwords, and seals session tokens.
type Tokens interface {
	Parse(password string) (token.Claims, error)
	SealCursor(purpose string, v []byte) (string, error)
	OpenCursor(purpose, s string) ([]byte, error)
}

// Store keeps principals and finds them by their credentials. The functions are
// set before it is used, or never.
type Store struct {
	// CheckPolicy and CheckTrustPolicy refuse texts that are no such policies; nil
	// takes every JSON object.
	CheckPolicy, CheckTrustPolicy func(text string) error
	// Issuers gives the keys of identity providers; nil: they cannot be reached.
	Issuers Issuers

	db      *meta.DB
	tokens  Tokens
	secrets kms.Wrapper
	now     func() time.Time

	keys        meta.Kept[meta.AccessKey] // by ID
	permissions meta.Kept[*compiled]      // by ARN and access key
}

// New makes a store. secrets seals the secrets of access keys; it is asked with
// every request, so it answers from memory.
func New(db *meta.DB, tokens Tokens, secrets kms.Wrapper, now func() time.Time) *Store {
	return &Store{db: db, tokens: tokens, secrets: secrets, now: now}
}

// Secret implements sigv4.KeyLookup.
func (s *Store) Secret(ctx context.Context, accessKeyID, sessionToken string) (sigv4.Secret, error) {
	if sessionToken != "" {
		return s.sessionSecret(ctx, accessKeyID, sessionToken)
	}
	k, err := s.key(ctx, accessKeyID)
	if errors.Is(err, meta.ErrNotFound) {
		return sigv4.Secret{}, sigv4.ErrUnknownKey
	}
	if err != nil {
		return sigv4.Secret{}, err
	}
	secret, err := s.openSecret(ctx, k)
	return sigv4.Secret{SecretAccessKey: secret, Principal: principal(k), Active: k.Active}, err
}

// key finds an access key.
func (s *Store) key(ctx context.Context, id string) (meta.AccessKey, error) {
	return s.keys.Get(s.db, id, func() (meta.AccessKey, error) { return s.readKey(ctx, id) })
}

func (s *Store) readKey(ctx context.Context, id string) (k meta.AccessKey, err error) {
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		k, err = tx.AccessKey(id)
		return err
	})
	return k, err
}

func principal(k meta.AccessKey) access.Principal {
	return access.Principal{Account: k.Account, ARN: k.Principal, UserID: k.UserID, AccessKeyID: k.ID}
}

// Password finds the principal that a registry password was issued to. It
// fails with token.ErrExpired, or with token.ErrInvalid when the password is
// not ours or its access key is gone or switched off.
func (s *Store) Password(ctx context.Context, password string) (access.Principal, error) {
	claims, err := s.tokens.Parse(password)
	if err != nil {
		return access.Principal{}, err
	}
	k, err := s.key(ctx, claims.Principal.AccessKeyID)
	if errors.Is(err, meta.ErrNotFound) {
		return s.sessionPassword(ctx, claims.Principal)
	}
	if err != nil {
		return access.Principal{}, err
	}
	if p := principal(k); k.Active && p == claims.Principal {
		return p, nil
	}
	return access.Principal{}, token.ErrInvalid
}

// sessionPassword is Password for those that were made with temporary credentials.
func (s *Store) sessionPassword(ctx context.Context, claimed access.Principal) (access.Principal, error) {
	session, p, err := s.sessionPrincipal(ctx, claimed.AccessKeyID)
	claimed.Role = p.Role // a password does not say it; the session's own ARN names the role
	switch {
	case errors.Is(err, meta.ErrNotFound):
		return access.Principal{}, token.ErrInvalid
	case err != nil:
		return access.Principal{}, err
	case p != claimed:
		return access.Principal{}, token.ErrInvalid
	case !s.now().Before(session.ExpiresAt):
		return access.Principal{}, token.ErrExpired
	default:
		return p, nil
	}
}

// Credentials are an access key with its secret.
type Credentials struct {
	AccessKeyID     string
	SecretAccessKey string
}

// String, GoString and LogValue keep the secret out of logs.
func (c Credentials) String() string       { return "credentials of " + c.AccessKeyID }
func (c Credentials) GoString() string     { return c.String() }
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

var keyIDPattern = regexp.MustCompile(`^[A-Za-z0-9_]{4,128}$`)

// EnsureRoot makes sure that the root user of an account has a key, and
// returns it. A given key becomes the only one; without one, the stored key
// is kept, or a random one made.
func (s *Store) EnsureRoot(ctx context.Context, account string, given Credentials) (Credentials, error) {
	if (given.AccessKeyID == "") != (given.SecretAccessKey == "") {
		return Credentials{}, errors.New("a root access key needs both its id and its secret: give both or neither")
	}
	if given.AccessKeyID != "" && !keyIDPattern.MatchString(given.AccessKeyID) {
		return Credentials{}, fmt.Errorf("root access key id %q must be 4 to 128 letters, digits or underscores", given.AccessKeyID)
	}
	if given.SecretAccessKey != "" && len(given.SecretAccessKey) < 16 {
		return Credentials{}, errors.New("the root secret access key must have at least 16 characters")
	}
	chosen := given
	err := s.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.EnsureAccount(meta.Account{ID: account, CreatedAt: s.now()}); err != nil {
			return err
		}
		keys, err := tx.AccessKeys(access.Root(account, "").ARN)
		if err != nil {
			return err
		}
		if given.AccessKeyID == "" && len(keys) > 0 {
			secret, err := s.openSecret(ctx, keys[0])
			chosen = Credentials{keys[0].ID, secret}
			return err
		}
		if len(keys) == 1 && keys[0].ID == given.AccessKeyID && keys[0].Active {
			// One that cannot be opened is replaced by the one given.
			if secret, err := s.openSecret(ctx, keys[0]); err == nil && secret == given.SecretAccessKey {
				return nil // the same key again: sessions go on
			}
		}
		if given.AccessKeyID == "" {
			chosen = newCredentials("AKIA")
		}
		return s.replaceRootKeys(ctx, tx, account, keys, chosen)
	})
	return chosen, err
}

// UserCreated is when a root user's key was made; the API's users have a
// creation date.
func (s *Store) UserCreated(ctx context.Context, p access.Principal) (time.Time, error) {
	k, err := s.key(ctx, p.AccessKeyID)
	if errors.Is(err, meta.ErrNotFound) {
		session, err := s.session(ctx, p.AccessKeyID)
		return session.CreatedAt, err
	}
	return k.CreatedAt, err
}
