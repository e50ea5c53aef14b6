package local

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"slices"

	"berth/internal/kms"
	"berth/internal/kms/envelope"
	"berth/internal/meta"
)

// A ciphertext is this version, the id of the material, and what
// [envelope.Seal] puts behind them.
const (
	cipherVersion = 1
	materialSize  = 32 // of the id, in bytes; 64 hexadecimal digits, as KeyMaterialId of AWS KMS
	headerSize    = 1 + materialSize
)

// keyContext names the ARN of the key in what is sealed, so that material that
// is moved to another key opens nothing.
const keyContext = "berth:kms:key"

// Key implements [kms.Provider]. The ARN may also be an alias's.
func (k *KMS) Key(arn string) kms.Wrapper { return wrapper{k, arn} }

type wrapper struct {
	kms *KMS
	arn string
}

// Wrap implements [kms.Wrapper].
func (w wrapper) Wrap(ctx context.Context, key []byte, c kms.Context) ([]byte, error) {
	sealed, _, err := w.kms.encrypt(ctx, w.arn, key, c, false)
	return sealed, err
}

// Unwrap implements [kms.Wrapper].
func (w wrapper) Unwrap(ctx context.Context, wrapped []byte, c kms.Context) ([]byte, error) {
	key, _, err := w.kms.decrypt(ctx, w.arn, wrapped, c, false)
	return key, err
}

// Encrypt encrypts for a user, and tells the ARN of the key and the id of the
// material.
func (k *KMS) Encrypt(ctx context.Context, arn string, plaintext []byte, c kms.Context) (sealed []byte, keyARN, material string, err error) {
	sealed, v, err := k.encrypt(ctx, arn, plaintext, c, true)
	return sealed, v.ARN, v.ID, err
}

// Decrypt decrypts for a user what the key encrypted, and tells its ARN and the
// id of the material.
func (k *KMS) Decrypt(ctx context.Context, arn string, sealed []byte, c kms.Context) (plaintext []byte, keyARN, material string, err error) {
	plaintext, v, err := k.decrypt(ctx, arn, sealed, c, true)
	return plaintext, v.ARN, v.ID, err
}

// CiphertextKey is the ARN of the key that made a ciphertext, and its account.
func (k *KMS) CiphertextKey(ctx context.Context, sealed []byte) (arn, account string, err error) {
	id, err := materialOf(sealed)
	if err != nil {
		return "", "", err
	}
	err = k.db.View(ctx, func(tx *meta.Tx) error {
		v, err := tx.KMSKeyVersion(id)
		if errors.Is(err, meta.ErrNotFound) {
			return invalidCipher(nil)
		}
		if err != nil {
			return err
		}
		key, err := k.load(tx, name{arn: v.ARN})
		arn, account = key.ARN, key.Scope.Account
		return err
	})
	return arn, account, err
}

func invalidCipher(cause error) error {
	return &kms.Error{Code: kms.InvalidCipher, Message: "The ciphertext is damaged, or was made with another key or encryption context.", Err: cause}
}

// materialOf reads the head of a ciphertext.
func materialOf(sealed []byte) (string, error) {
	if len(sealed) < headerSize || sealed[0] != cipherVersion {
		return "", invalidCipher(nil)
	}
	return hex.EncodeToString(sealed[1:headerSize]), nil
}

// encrypt uses the youngest material of a key. A user may not use a managed one.
func (k *KMS) encrypt(ctx context.Context, arn string, plaintext []byte, c kms.Context, user bool) ([]byte, meta.KMSKeyVersion, error) {
	n, err := k.byARN(arn)
	if err != nil {
		return nil, meta.KMSKeyVersion{}, err
	}
	var version meta.KMSKeyVersion
	err = k.db.View(ctx, func(tx *meta.Tx) error {
		key, err := k.loadUsable(tx, n, user)
		if err != nil {
			return err
		}
		version, err = tx.CurrentKMSKeyVersion(key.ARN)
		return err
	})
	if err != nil {
		return nil, version, err
	}
	material, err := k.material(ctx, version)
	if err != nil {
		return nil, version, err
	}
	id, err := hex.DecodeString(version.ID)
	if err != nil {
		return nil, version, err
	}
	sealed, err := envelope.Seal(material, append([]byte{cipherVersion}, id...), plaintext, bound(c, version.ARN))
	if errors.Is(err, envelope.ErrSize) {
		return nil, version, &kms.Error{Code: Validation, Message: err.Error(), Err: err}
	}
	return sealed, version, err
}

// decrypt uses the material that a ciphertext names, which must be the key's.
func (k *KMS) decrypt(ctx context.Context, arn string, sealed []byte, c kms.Context, user bool) ([]byte, meta.KMSKeyVersion, error) {
	n, err := k.byARN(arn)
	if err != nil {
		return nil, meta.KMSKeyVersion{}, err
	}
	var version meta.KMSKeyVersion
	err = k.db.View(ctx, func(tx *meta.Tx) error {
		key, err := k.loadUsable(tx, n, user)
		if err != nil {
			return err
		}
		id, err := materialOf(sealed)
		if err != nil {
			return err
		}
		version, err = tx.KMSKeyVersion(id)
		if errors.Is(err, meta.ErrNotFound) || err == nil && version.ARN != key.ARN {
			return invalidCipher(nil)
		}
		return err
	})
	if err != nil {
		return nil, version, err
	}
	material, err := k.material(ctx, version)
	if err != nil {
		return nil, version, err
	}
	plaintext, err := envelope.Open(material, sealed, headerSize, bound(c, version.ARN))
	if errors.Is(err, envelope.ErrSealed) {
		return nil, version, invalidCipher(err)
	}
	return plaintext, version, err
}

func (k *KMS) loadUsable(tx *meta.Tx, n name, user bool) (meta.KMSKey, error) {
	key, err := k.load(tx, n)
	if err != nil {
		return key, err
	}
	if user && key.Manager == AWS {
		return key, ErrManaged
	}
	return key, usable(key)
}

// bound adds the key to a context. A caller's own entry of that name is moved
// aside, not replaced, so that contexts stay apart.
func bound(c kms.Context, arn string) kms.Context {
	out := make(kms.Context, len(c)+1)
	for name, value := range c {
		if len(name) >= len(keyContext) && name[:len(keyContext)] == keyContext {
			name += "'"
		}
		out[name] = value
	}
	out[keyContext] = arn
	return out
}

// newVersion makes material and wraps it.
func (k *KMS) newVersion(ctx context.Context, arn, rotation string) (meta.KMSKeyVersion, error) {
	random := make([]byte, materialSize+envelope.KeySize)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	v := meta.KMSKeyVersion{ID: hex.EncodeToString(random[:materialSize]), ARN: arn, Rotation: rotation, CreatedAt: k.now()}
	var err error
	v.Wrapped, err = k.master.Wrap(ctx, random[materialSize:], masterContext(v))
	return v, outage(err)
}

// material unwraps that of a version.
func (k *KMS) material(ctx context.Context, v meta.KMSKeyVersion) ([]byte, error) {
	key, err := k.master.Unwrap(ctx, slices.Clone(v.Wrapped), masterContext(v))
	return key, outage(err)
}

func masterContext(v meta.KMSKeyVersion) kms.Context {
	return kms.Context{"berth:kms:key": v.ARN, "berth:kms:material": v.ID}
}

// outage says that the master key refused. That is no refusal of the caller's
// key, whose codes must not be taken for it (KMS API reference, Encrypt,
// KeyUnavailableException: "you can retry the request").
func outage(err error) error {
	var refused *kms.Error
	if errors.As(err, &refused) {
		return &kms.Error{Code: kms.KeyUnavailable, Message: "The master key cannot be used now; the log of the server says why.", Err: err}
	}
	return err
}
