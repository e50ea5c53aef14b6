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
//	version (1 byte) || length of the hash's state (2, big endian) || the hash's state || a kind (1) || the rest
//
// where the rest is all bytes received, or the blob store's state. Version 1 had
// no kind, and always the latter. It is plain bytes with a MAC, never a serialised
// object (CVE-2026-32590).
const (
	sessionVersion    = 2
	oldSessionVersion = 1
)

const (
	kindSmall  = 's'
	kindStaged = 't'
)

var errState = errors.New("the state of an upload session does not open")

// encode seals what a session needs to go on after the bytes received so far.
func (r *Receiver) encode(ctx context.Context, u meta.Upload, s *session) ([]byte, error) {
	hash, err := s.hash.state()
	if err != nil {
		return nil, err
	}
	kind, rest := byte(kindSmall), s.small
	if s.staged() {
		kind, rest = kindStaged, s.stage.State
	}
	b := make([]byte, 0, 4+len(hash)+len(rest))
	b = append(b, sessionVersion)
	b = binary.BigEndian.AppendUint16(b, uint16(len(hash))) // a few hundred bytes
	b = append(append(b, hash...), kind)
	return r.seal.Seal(ctx, u.Domain, purpose(u.ID), append(b, rest...))
}

// decode gives a session as it was.
func (r *Receiver) decode(ctx context.Context, u meta.Upload) (*session, error) {
	b, err := r.seal.Open(ctx, u.Domain, purpose(u.ID), u.State)
	if err != nil {
		return nil, err
	}
	s := &session{stage: blob.Stage{ID: u.ID, Domain: u.Domain}}
	hash, rest, ok := cutHash(b)
	if !ok {
		return nil, errState
	}
	kind := byte(kindStaged)
	switch {
	case b[0] == oldSessionVersion && len(rest) == 0:
		kind = kindSmall
	case b[0] == sessionVersion && len(rest) > 0:
		kind, rest = rest[0], rest[1:]
	case b[0] != oldSessionVersion:
		return nil, errState
	}
	switch {
	case kind == kindStaged && len(rest) > 0:
		s.stage.Size, s.stage.State = u.Size, rest
	case kind == kindSmall && int64(len(rest)) == u.Size:
		s.small = rest
	default:
		return nil, errState
	}
	s.hash, err = restoreHash(digest.Algorithm(u.Algorithm), hash)
	return s, err
}

// cutHash takes the version and the hash's state off a session's state.
func cutHash(b []byte) (hash, rest []byte, ok bool) {
	if len(b) < 3 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b[1:]))
	if len(b) < 3+n {
		return nil, nil, false
	}
	return b[3 : 3+n], b[3+n:], true
}

// Stage is where the bytes of a session lie; without State there are none in the
// blob store.
func (r *Receiver) Stage(ctx context.Context, u meta.Upload) (blob.Stage, error) {
	s, err := r.decode(ctx, u)
	if err != nil {
		return blob.Stage{}, err
	}
	return s.stage, nil
}

func purpose(id string) string { return "upload\x00" + id }
