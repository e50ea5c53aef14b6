package secrets

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"berth/internal/kms"
	"berth/internal/meta"
)

// A Value is what a secret holds.
type Value struct {
	Binary bool // it came as bytes, not as text
	Bytes  []byte
}

// keyContext binds the key of a version to it, in the words of AWS (Secrets
// Manager User Guide, "Encryption context").
func keyContext(arn, id string) kms.Context {
	return kms.Context{"SecretARN": arn, "SecretVersionId": id}
}

// seal encrypts a value as
//
//	AES-256-GCM(kind (1 byte) || value) under a key of its own, nonce first
//
// with the secret and the version as additional data, and wraps that key.
func (s *Store) seal(ctx context.Context, v *meta.SecretVersion, value Value) error {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	aead, err := newAEAD(key)
	if err != nil {
		return err
	}
	if v.Wrapped, err = s.wrapper(v.KMSKey).Wrap(ctx, key, keyContext(v.ARN, v.ID)); err != nil {
		var refused *kms.Error
		if errors.As(err, &refused) {
			return &Error{Code: EncryptionFailure, Message: "Secrets Manager can't encrypt the protected secret text using the provided KMS key: " + refused.Message, Err: err}
		}
		return fmt.Errorf("wrap the key of a secret: %w", err)
	}
	kind := byte('s')
	if value.Binary {
		kind = 'b'
	}
	v.Value = aead.Seal(nil, nil, append([]byte{kind}, value.Bytes...), additional(v.ARN, v.ID))
	return nil
}

// open decrypts the value of a version.
func (s *Store) open(ctx context.Context, v meta.SecretVersion) (Value, error) {
	key, err := s.wrapper(v.KMSKey).Unwrap(ctx, v.Wrapped, keyContext(v.ARN, v.ID))
	if err != nil {
		var refused *kms.Error
		if errors.As(err, &refused) {
			return Value{}, &Error{Code: DecryptionFailure, Message: "Secrets Manager can't decrypt the protected secret text using the provided KMS key: " + refused.Message, Err: err}
		}
		return Value{}, fmt.Errorf("unwrap the key of the secret %s: %w", v.ARN, err)
	}
	aead, err := newAEAD(key)
	if err != nil {
		return Value{}, err
	}
	text, err := aead.Open(nil, nil, v.Value, additional(v.ARN, v.ID))
	if err != nil || len(text) == 0 {
		return Value{}, fmt.Errorf("the value of the secret %s does not open: its row was altered", v.ARN)
	}
	return Value{Binary: text[0] == 'b', Bytes: text[1:]}, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func additional(arn, id string) []byte { return []byte("secret\x00" + arn + "\x00" + id) }

func (s *Store) wrapper(key string) kms.Wrapper {
	if key == "" {
		return s.master
	}
	return s.keys.Key(key)
}

// Rewrap wraps the keys of all versions anew that the master key wraps and that
// stale says are not under its newest version; it returns how many.
func (s *Store) Rewrap(ctx context.Context, stale func(wrapped []byte) bool) (n int, err error) {
	err = s.each(ctx, func(v meta.SecretVersion) error {
		if !stale(v.Wrapped) {
			return nil
		}
		key, err := s.master.Unwrap(ctx, v.Wrapped, keyContext(v.ARN, v.ID))
		if err != nil {
			return fmt.Errorf("unwrap the key of the secret %s: %w", v.ARN, err)
		}
		wrapped, err := s.master.Wrap(ctx, key, keyContext(v.ARN, v.ID))
		if err != nil {
			return fmt.Errorf("wrap the key of the secret %s: %w", v.ARN, err)
		}
		err = s.db.Update(ctx, func(tx *meta.Tx) error { return tx.RewrapSecretVersion(v.ARN, v.ID, wrapped) })
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		n++
		return err
	})
	return n, err
}

// Wrapped calls fn with every key of a version that the master key wraps.
func (s *Store) Wrapped(ctx context.Context, fn func(wrapped []byte) error) error {
	return s.each(ctx, func(v meta.SecretVersion) error { return fn(v.Wrapped) })
}

func (s *Store) each(ctx context.Context, fn func(meta.SecretVersion) error) error {
	arn, id := "", ""
	for {
		var page []meta.SecretVersion
		err := s.db.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.MasterSecretVersions(arn, id, 100)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		for _, v := range page {
			arn, id = v.ARN, v.ID
			if err := fn(v); err != nil {
				return err
			}
		}
	}
}
