package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"berth/internal/iam"
	"berth/internal/kms"
	"berth/internal/kms/envelope"
	"berth/internal/meta"
)

// Keys of the installation itself. Each is a setting of the database that the
// master key wrapped.
const (
	signingKey = "token-key"  // of registry passwords, session tokens and cursors
	secretsKey = "secret-key" // of the secrets of access keys
)

// ownKeySize is the length of these keys in bytes.
const ownKeySize = 32

// underMasterKey are the settings that the master key wrapped.
func underMasterKey() []string { return []string{MasterProof, signingKey, secretsKey} }

// openOwnKeys opens the installation's own keys, which the first start makes,
// and seals the secrets that older versions kept as they came. Whoever opens the
// stores does it first, so that a backup never holds one.
func (s *Storage) openOwnKeys(ctx context.Context) (err error) {
	if s.signing, err = s.ownKey(ctx, signingKey); err != nil {
		return err
	}
	key, err := s.ownKey(ctx, secretsKey)
	if err != nil {
		return err
	}
	if s.secrets, err = envelope.NewMemory(key); err != nil {
		return err
	}
	return iam.SealSecrets(ctx, s.DB, s.secrets)
}

func purpose(name string) kms.Context { return kms.Context{"berth:purpose": name} }

// ownKey reads a key of the installation, or makes it. Servers that start
// together agree on one. Schema versions before 7 kept it as it is; that is
// wrapped now.
func (s *Storage) ownKey(ctx context.Context, name string) ([]byte, error) {
	held, err := s.setting(ctx, name)
	if err != nil && !errors.Is(err, meta.ErrNotFound) {
		return nil, err
	}
	if len(held) > ownKeySize { // what wraps a key is longer than it
		return s.unwrapOwn(ctx, name, held)
	}
	key := held
	if err != nil {
		key = make([]byte, ownKeySize)
		_, _ = rand.Read(key) // never fails (crypto/rand)
	}
	wrapped, err := s.master.Wrap(ctx, key, purpose(name))
	if err != nil {
		return nil, fmt.Errorf("wrap the installation's %s: %w", name, err)
	}
	var now []byte
	err = s.DB.Update(ctx, func(tx *meta.Tx) (err error) {
		if held != nil {
			if err = tx.ReplaceSetting(name, held, wrapped); err != nil && !errors.Is(err, meta.ErrNotFound) {
				return err
			} // not found: another server wrapped it meanwhile
		}
		now, err = tx.EnsureSetting(name, wrapped)
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.unwrapOwn(ctx, name, now)
}

func (s *Storage) unwrapOwn(ctx context.Context, name string, wrapped []byte) ([]byte, error) {
	key, err := s.master.Unwrap(ctx, wrapped, purpose(name))
	if err == nil && len(key) != ownKeySize {
		err = fmt.Errorf("it has %d bytes and not %d", len(key), ownKeySize)
	}
	if err != nil {
		return nil, fmt.Errorf("unwrap the installation's %s: %w", name, err)
	}
	return key, nil
}

func (s *Storage) setting(ctx context.Context, name string) (value []byte, err error) {
	err = s.DB.Read(ctx, func(tx *meta.Tx) error {
		value, err = tx.Setting(name)
		return err
	})
	return value, err
}

// rewrapOwn wraps what the master key wrapped of the installation's own keys
// under the current master key.
func (s *Storage) rewrapOwn(ctx context.Context) (n int, err error) {
	for _, name := range underMasterKey() {
		old, err := s.setting(ctx, name)
		if err != nil {
			return n, err
		}
		if !s.Keyring.Stale(old) {
			continue
		}
		key, err := s.Keyring.Unwrap(ctx, old, purpose(name))
		if err != nil {
			return n, fmt.Errorf("unwrap the installation's %s: %w", name, err)
		}
		fresh, err := s.Keyring.Wrap(ctx, key, purpose(name))
		if err != nil {
			return n, fmt.Errorf("wrap the installation's %s: %w", name, err)
		}
		if err := s.DB.Update(ctx, func(tx *meta.Tx) error { return tx.ReplaceSetting(name, old, fresh) }); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
