package token

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// KeySize is the length of the signing key in bytes.
const KeySize = 32

const (
	version  = 1
	saltSize = 16
	tagSize  = 16
	overhead = 1 + saltSize + tagSize
)

// errSealed is the one answer to every text that does not open: nothing says why.
var errSealed = errors.New("sealed text is not ours or was altered")

// sealer seals and opens short texts under one signing key.
//
//	sealed = version || salt || AES-256-GCM(key, nonce, text, version || purpose)
//	key || nonce = HKDF-Expand(HKDF-Extract(signing key), purpose || 0x00 || salt)
type sealer struct{ prk []byte }

func newSealer(key []byte) (*sealer, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("token: signing key has %d bytes, want %d", len(key), KeySize)
	}
	prk, err := hkdf.Extract(sha256.New, key, []byte("berth token v1"))
	if err != nil {
		return nil, fmt.Errorf("token: derive from the signing key: %w", err)
	}
	return &sealer{prk: prk}, nil
}

// aead returns the cipher and nonce of one salt.
func (s *sealer) aead(purpose string, salt []byte) (cipher.AEAD, []byte, error) {
	okm, err := hkdf.Expand(sha256.New, s.prk, purpose+"\x00"+string(salt), 32+12)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(okm[:32])
	if err != nil {
		return nil, nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, nil, err
	}
	return gcm, okm[32:], nil
}

// seal returns text sealed for a purpose, in unpadded URL-safe base64.
func (s *sealer) seal(purpose string, text []byte) (string, error) {
	out := make([]byte, 1+saltSize, overhead+len(text))
	out[0] = version
	if _, err := rand.Read(out[1:]); err != nil {
		return "", fmt.Errorf("token: read random bytes: %w", err)
	}
	gcm, nonce, err := s.aead(purpose, out[1:1+saltSize])
	if err != nil {
		return "", fmt.Errorf("token: set up the cipher: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(gcm.Seal(out, nonce, text, additional(purpose))), nil
}

// open returns the text of a sealed one, or errSealed.
func (s *sealer) open(purpose, sealed string) ([]byte, error) {
	// One text has one sealed form: Strict covers trailing bits, and line breaks,
	// which the decoder would skip, are refused.
	if strings.ContainsAny(sealed, "\r\n") {
		return nil, errSealed
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < overhead || raw[0] != version {
		return nil, errSealed
	}
	gcm, nonce, err := s.aead(purpose, raw[1:1+saltSize])
	if err != nil {
		return nil, errSealed
	}
	text, err := gcm.Open(nil, nonce, raw[1+saltSize:], additional(purpose))
	if err != nil {
		return nil, errSealed
	}
	return text, nil
}

func additional(purpose string) []byte { return append([]byte{version}, purpose...) }
