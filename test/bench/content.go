package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	// tailSize is how many bytes at the end of a layer are its own.
	tailSize = 32
)

// A blob is content that no registry has seen before. A layer is the same
// random block over and over with an end of its own: it takes no memory and its
// digest costs one hash of the end, since the state of the hash before the end
// is kept for each size.
type blob struct {
	digest digest.Digest
	size   int64
	end    []byte // all of it, when there are no more bytes than these
}

// A source makes blobs.
type source struct {
	block []byte
	run   [16]byte // tells this run's contents from those of every other
	next  atomic.Uint64

	mu     sync.Mutex
	states map[int64]hash.Cloner // by the number of bytes hashed
}

func newSource() *source {
	s := &source{block: make([]byte, mib), states: map[int64]hash.Cloner{}}
	_, _ = rand.Read(s.block) // never fails (crypto/rand)
	_, _ = rand.Read(s.run[:])
	return s
}

// layer makes a layer of size bytes, at least [tailSize] of them.
func (s *source) layer(size int64) (blob, error) {
	size = max(size, tailSize)
	end := make([]byte, tailSize)
	copy(end, s.run[:])
	binary.BigEndian.PutUint64(end[16:], s.next.Add(1))
	h, err := s.prefix(size - tailSize)
	if err != nil {
		return blob{}, err
	}
	if _, err := h.Write(end); err != nil {
		return blob{}, err
	}
	return blob{digest.NewDigest(digest.SHA256, h), size, end}, nil
}

// prefix is the state of a hash that has read the first n bytes of a layer.
func (s *source) prefix(n int64) (hash.Hash, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state, ok := s.states[n]
	if !ok {
		if state, ok = sha256.New().(hash.Cloner); !ok {
			return nil, errors.New("this Go's SHA-256 cannot be copied")
		}
		if err := s.repeat(state, n); err != nil {
			return nil, err
		}
		s.states[n] = state
	}
	return state.Clone()
}

// repeat writes the first n bytes of what every layer begins with.
func (s *source) repeat(w io.Writer, n int64) error {
	for n > 0 {
		part := s.block[:min(n, int64(len(s.block)))]
		if _, err := w.Write(part); err != nil {
			return err
		}
		n -= int64(len(part))
	}
	return nil
}

// write sends a blob's bytes.
func (s *source) write(w io.Writer, b blob) error {
	if err := s.repeat(w, b.size-int64(len(b.end))); err != nil {
		return err
	}
	_, err := w.Write(b.end)
	return err
}

// An image is a manifest and what it names, config first.
type image struct {
	blobs    []blob
	manifest blob
}

// image makes an image of new layers of the sizes given.
func (s *source) image(sizes ...int64) (image, error) {
	var layers []blob
	for _, size := range sizes {
		layer, err := s.layer(size)
		if err != nil {
			return image{}, err
		}
		layers = append(layers, layer)
	}
	return s.imageOf(layers...)
}

// imageOf makes a new image of layers that there are already.
func (s *source) imageOf(layers ...blob) (image, error) {
	config := wrap(fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","author":"%s-%d","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`,
		hex.EncodeToString(s.run[:]), s.next.Add(1)))
	m := ocispec.Manifest{
		Versioned: ocispecs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: describe(ocispec.MediaTypeImageConfig, config),
	}
	for _, layer := range layers {
		m.Layers = append(m.Layers, describe(ocispec.MediaTypeImageLayerGzip, layer))
	}
	text, err := json.Marshal(m)
	return image{append([]blob{config}, layers...), wrap(text)}, err
}

func wrap(b []byte) blob { return blob{digest.FromBytes(b), int64(len(b)), b} }

func describe(mediaType string, b blob) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: b.digest, Size: b.size}
}

// same is n times one size.
func same(n int, size int64) []int64 {
	sizes := make([]int64, n)
	for i := range sizes {
		sizes[i] = size
	}
	return sizes
}
