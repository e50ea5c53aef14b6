package upload

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/meta"
)

// The state of a session is sealed as
//
//	version (1 byte) || length of the hash's state (2, big endian) || the hash's state || the blob store's state
//
// It is plain bytes with a MAC, never a serialised object (CVE-2026-32590).
const sessionVersion = 1

var errState = errors.New("the state of an upload session does not open")

// encode seals what a session needs to go on after the bytes received so far.
func (r *Receiver) encode(ctx context.Context, u meta.Upload, h *hasher, store []byte) ([]byte, error) {
	hash, err := h.state()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, 3+len(hash)+len(store))
	b = append(b, sessionVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(hash))) // a few hundred bytes
	b = append(b, hash...)
	return r.seal.Seal(ctx, u.Domain, purpose(u.ID), append(b, store...))
}

// decode gives the hash and the stage of a session as they were.
func (r *Receiver) decode(ctx context.Context, u meta.Upload) (*hasher, blob.Stage, error) {
	b, err := r.seal.Open(ctx, u.Domain, purpose(u.ID), u.State)
	if err != nil {
		return nil, blob.Stage{}, err
	}
	if len(b) < 3 || b[0] != sessionVersion {
		return nil, blob.Stage{}, errState
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if len(b) < 3+n {
		return nil, blob.Stage{}, errState
	}
	h, err := restoreHash(digest.Algorithm(u.Algorithm), b[3:3+n])
	stage := blob.Stage{ID: u.ID, Domain: u.Domain, Size: u.Size}
	if rest := b[3+n:]; len(rest) > 0 {
		stage.State = rest
	}
	return h, stage, err
}

// Stage is where the bytes of a session lie; without State there are none yet.
func (r *Receiver) Stage(ctx context.Context, u meta.Upload) (blob.Stage, error) {
	_, stage, err := r.decode(ctx, u)
	return stage, err
}

func purpose(id string) string { return "upload\x00" + id }
