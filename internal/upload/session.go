package upload

import (
	"bytes"
	"context"
	"io"

	"berth/internal/blob"
)

// A session is the bytes of an upload as they come: in memory as long as they
// are few enough for a row, in a stage of the blob store from then on.
type session struct {
	hash  *hasher
	small []byte     // all bytes; nothing when they are in the stage
	stage blob.Stage // without State there are no bytes in it
}

func (s *session) staged() bool { return s.stage.State != nil }

func (s *session) size() int64 {
	if s.staged() {
		return s.stage.Size
	}
	return int64(len(s.small))
}

// write adds body and hashes it on the way. When body fails half way, the
// session has what came before.
func (r *Receiver) write(ctx context.Context, s *session, body io.Reader) error {
	buf := r.bufs.Get().(*[]byte)
	defer r.bufs.Put(buf)
	if !s.staged() {
		room := max(r.MaxSmall, -1) - len(s.small)
		n, err := fill(body, (*buf)[:room+1])
		if n <= room {
			s.small = append(s.small, (*buf)[:n]...)
			s.hash.write((*buf)[:n])
			return clientError(err)
		}
		body = io.MultiReader(bytes.NewReader(bytes.Clone((*buf)[:n])), failing{body, err})
	}
	w, err := r.blobs.Append(ctx, s.stage)
	if err != nil {
		return err
	}
	_, err = w.Write(s.small)
	if err == nil {
		_, err = copyHashed(w, s.hash, body, *buf, MaxLayerSize-s.size())
	}
	next, cerr := w.Close()
	s.stage = next
	if cerr != nil {
		// Also when the client failed: what it sent may not all be here.
		return cerr
	}
	s.small = nil
	return err
}

// failing goes on with a reader that may have failed already.
type failing struct {
	from io.Reader
	err  error
}

func (f failing) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.from.Read(p)
}

// clientError is what an error of a request's body means.
func clientError(err error) error {
	if err == nil || err == io.EOF {
		return nil
	}
	return &ClientError{err}
}

// open reads the bytes of a session.
func (r *Receiver) open(ctx context.Context, s *session) (io.ReadCloser, error) {
	if !s.staged() {
		return io.NopCloser(bytes.NewReader(s.small)), nil
	}
	return r.blobs.OpenStaged(ctx, s.stage)
}

// discard removes what there is of a session in the blob store.
func (r *Receiver) discard(ctx context.Context, s *session) error {
	if !s.staged() {
		return nil
	}
	return r.blobs.Discard(context.WithoutCancel(ctx), s.stage)
}
