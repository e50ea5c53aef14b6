package upload

import (
	// The digest algorithms of sessions.
	_ "crypto/sha256"
	_ "crypto/sha512"
	"encoding"
	"fmt"
	"hash"

	"github.com/opencontainers/go-digest"
)

// A hasher is a digest under way whose state can be stored between requests.
type hasher struct {
	algorithm digest.Algorithm
	hash      hash.Hash
}

func newHash(a digest.Algorithm) *hasher { return &hasher{algorithm: a, hash: a.Hash()} }

func (h *hasher) write(p []byte) { _, _ = h.hash.Write(p) } // a hash never fails (hash.Hash)

func (h *hasher) sum() digest.Digest { return digest.NewDigest(h.algorithm, h.hash) }

// state is the standard library's own versioned encoding of a running hash.
func (h *hasher) state() ([]byte, error) {
	m, ok := h.hash.(encoding.BinaryMarshaler)
	if !ok {
		return nil, fmt.Errorf("the state of a %s digest cannot be stored", h.algorithm)
	}
	return m.MarshalBinary()
}

func restoreHash(a digest.Algorithm, state []byte) (*hasher, error) {
	h := newHash(a)
	m, ok := h.hash.(encoding.BinaryUnmarshaler)
	if !ok {
		return nil, fmt.Errorf("the state of a %s digest cannot be restored", a)
	}
	if err := m.UnmarshalBinary(state); err != nil {
		return nil, fmt.Errorf("restore the digest of an upload: %w", err)
	}
	return h, nil
}
