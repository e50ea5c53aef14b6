// Package envelope is the one form in which keys of this program encrypt other
// keys: AES-256-GCM with a random nonce, after a header that says what opens it.
//
// # Guarantees
//
//   - Header and context are authenticated: what was sealed under one pair opens
//     under no other. Contexts are written so that no two share an encoding.
//   - Open takes any bytes; what it does not know it refuses.
//
// A key may seal 2^32 times before random nonces are likely to repeat
// (NIST SP 800-38D, section 8.3): far more than data keys are ever wrapped.
package envelope

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"berth/internal/kms"
)

// KeySize is the length of keys in bytes.
const KeySize = 32

// MaxKey is how many bytes may be sealed (KMS API reference, Encrypt, Plaintext).
const MaxKey = 4096

// ErrSealed says that bytes were not sealed under this key, header and context.
var ErrSealed = errors.New("the ciphertext is damaged, or was made with another key or context")

// ErrSize says that a key to seal is empty or too long.
var ErrSize = fmt.Errorf("only keys of 1 to %d bytes can be wrapped", MaxKey)

// domain keeps these uses of a key apart from any other.
const domain = "berth kms envelope v1"

// Seal encrypts plaintext and puts the header before it.
func Seal(key, header, plaintext []byte, c kms.Context) ([]byte, error) {
	if len(plaintext) == 0 || len(plaintext) > MaxKey {
		return nil, ErrSize
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	return aead.Seal(slices.Clone(header), nil, plaintext, additional(header, c)), nil
}

// Open decrypts what Seal made; its header is the first n bytes.
func Open(key, sealed []byte, n int, c kms.Context) ([]byte, error) {
	if n < 0 || n > len(sealed) {
		return nil, ErrSealed
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, sealed[n:], additional(sealed[:n], c))
	if err != nil || len(plaintext) == 0 {
		return nil, ErrSealed
	}
	return plaintext, nil
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("a key of %d bytes is needed and this one has %d", KeySize, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// additional is the authenticated data: every text behind its length, the
// context in the order of its names. An empty context and none are the same.
func additional(header []byte, c kms.Context) []byte {
	out := text([]byte(domain), string(header))
	out = binary.BigEndian.AppendUint32(out, uint32(len(c)))
	for _, name := range slices.Sorted(maps.Keys(c)) {
		out = text(out, name)
		out = text(out, c[name])
	}
	return out
}

func text(dst []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(len(s))), s...)
}

// memoryVersion is the header of what a key in memory wraps.
const memoryVersion = 1

// A Memory wraps keys under a key that the program holds: small secrets that
// are read with every request, which a call of a KMS would make slow. It
// implements [kms.Wrapper], is safe for concurrent use and never prints its key.
type Memory struct{ key [KeySize]byte }

// NewMemory makes one of a key of [KeySize] bytes.
func NewMemory(key []byte) (*Memory, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("a key of %d bytes is needed and this one has %d", KeySize, len(key))
	}
	return &Memory{key: [KeySize]byte(key)}, nil
}

// Wrap implements kms.Wrapper.
func (m *Memory) Wrap(_ context.Context, key []byte, c kms.Context) ([]byte, error) {
	return Seal(m.key[:], []byte{memoryVersion}, key, c)
}

// Unwrap implements kms.Wrapper.
func (m *Memory) Unwrap(_ context.Context, wrapped []byte, c kms.Context) ([]byte, error) {
	if len(wrapped) == 0 || wrapped[0] != memoryVersion {
		return nil, ErrSealed
	}
	return Open(m.key[:], wrapped, 1, c)
}

// Format prints no key, whatever the verb.
func (m *Memory) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "[key in memory]") }
