// Package iam knows who may sign in: principals and their access keys.
//
// # Guarantees
//
//   - There is no built-in key and no default password. The root key of the
//     home account is made from random bytes on the first start, unless the
//     operator gives one.
//   - A registry password is good only while the access key it was made with
//     exists, is active and belongs to the same principal.
//   - Secrets never appear in errors or logs.
package iam

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/access/token"
	"berth/internal/meta"
)

// A TokenParser reads registry passwords.
type TokenParser interface {
	Parse(password string) (token.Claims, error)
}

// Store finds principals by their credentials.
type Store struct {
	db     *meta.DB
	tokens TokenParser
	now    func() time.Time

	mu      sync.Mutex
	version uint64 // of the keys known
	known   map[string]meta.AccessKey
}

// New makes a store.
func New(db *meta.DB, tokens TokenParser, now func() time.Time) *Store {
	return &Store{db: db, tokens: tokens, now: now}
}

// Secret implements sigv4.KeyLookup. All keys are lasting ones, so a session
// token never goes with them.
func (s *Store) Secret(ctx context.Context, accessKeyID, sessionToken string) (sigv4.Secret, error) {
	k, err := s.key(ctx, accessKeyID)
	if errors.Is(err, meta.ErrNotFound) || (err == nil && sessionToken != "") {
		return sigv4.Secret{}, sigv4.ErrUnknownKey
	}
	if err != nil {
		return sigv4.Secret{}, err
	}
	return sigv4.Secret{SecretAccessKey: k.Secret, Principal: principal(k), Active: k.Active}, nil
}

// maxKnown bounds the keys that are kept.
const maxKnown = 10_000

// key finds an access key. It asks the database unless nobody can have changed
// a key since it last did.
func (s *Store) key(ctx context.Context, id string) (k meta.AccessKey, err error) {
	version, sole := s.db.KeysVersion() // before the read: a change after it shows next time
	if !sole {
		return s.readKey(ctx, id)
	}
	s.mu.Lock()
	k, ok := s.known[id]
	ok = ok && s.version == version
	s.mu.Unlock()
	if ok {
		return k, nil
	}
	if k, err = s.readKey(ctx, id); err != nil {
		return k, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.version != version || len(s.known) >= maxKnown || s.known == nil {
		s.version, s.known = version, map[string]meta.AccessKey{}
	}
	s.known[id] = k
	return k, nil
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
		return access.Principal{}, token.ErrInvalid
	}
	if err != nil {
		return access.Principal{}, err
	}
	if p := principal(k); k.Active && p == claims.Principal {
		return p, nil
	}
	return access.Principal{}, token.ErrInvalid
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
	root := access.Root(account, "")
	chosen := given
	err := s.db.Update(ctx, func(tx *meta.Tx) error {
		keys, err := tx.AccessKeys(root.ARN)
		if err != nil {
			return err
		}
		if given.AccessKeyID == "" && len(keys) > 0 {
			chosen = Credentials{keys[0].ID, keys[0].Secret}
			return nil
		}
		for _, k := range keys {
			if err := tx.DeleteAccessKey(k.ID); err != nil {
				return err
			}
		}
		if given.AccessKeyID == "" {
			chosen = newCredentials()
		}
		return tx.PutAccessKey(meta.AccessKey{
			ID: chosen.AccessKeyID, Account: account, Principal: root.ARN, UserID: root.UserID,
			Secret: chosen.SecretAccessKey, Active: true, CreatedAt: s.now(),
		})
	})
	return chosen, err
}

// newCredentials makes a key of the form that AWS gives: AKIA and 16 letters
// and digits, and a secret of 40 characters.
func newCredentials() Credentials {
	id, secret := make([]byte, 10), make([]byte, 30)
	_, _ = rand.Read(id) // never fails (crypto/rand)
	_, _ = rand.Read(secret)
	return Credentials{
		AccessKeyID:     "AKIA" + base32.StdEncoding.EncodeToString(id),
		SecretAccessKey: base64.StdEncoding.EncodeToString(secret),
	}
}

// UserCreated is when a root user's key was made; the API's users have a
// creation date.
func (s *Store) UserCreated(ctx context.Context, p access.Principal) (time.Time, error) {
	k, err := s.key(ctx, p.AccessKeyID)
	return k.CreatedAt, err
}
