package pullthrough

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/upstream"
)

// A blobKey names a blob on its way into a repository.
type blobKey struct {
	scope  meta.Scope
	name   string
	digest digest.Digest
}

// A flight is one blob on its way: from the upstream into the repository, and
// to everybody who reads it meanwhile.
type flight struct {
	key     blobKey
	size    int64
	spool   *spool
	readers atomic.Int64 // clients that began to read it

	mu       sync.Mutex
	written  int64
	verified bool          // what was written is all, and right
	moved    chan struct{} // closed and replaced when something changed
	over     bool
	err      error
}

// readable is how far readers may read, and what to wait for to learn more: the
// last byte stays back until the whole is known to be right.
func (f *flight) readable() (n int64, moved <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.verified {
		return f.size, f.moved, nil
	}
	return min(f.written, f.size-1), f.moved, f.err
}

// change changes the state under the lock, and tells everybody who waits.
func (f *flight) change(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
	close(f.moved)
	f.moved = make(chan struct{})
}

// end is whether the flight is over, how, and what to wait for when it is not.
func (f *flight) end() (over bool, moved <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.over, f.moved, f.err
}

// wait returns when the blob is in the repository, or failed to get there.
func (f *flight) wait(ctx context.Context) error {
	for {
		over, moved, err := f.end()
		if over {
			return err
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fly finds the flight of a blob, or starts one. nil: it has arrived meanwhile. A
// flight leaves the table after its blob is in the repository, so that who finds
// neither under the lock is the first.
func (c *Cache) fly(k blobKey, size int64, up *registry.Upstream) (*flight, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[k]; f != nil {
		f.spool.use()
		return f, nil
	}
	if c.closed {
		return nil, errClosed
	}
	if _, err := c.registry.ProbeBlob(c.background, k.scope, k.name, k.digest); !registry.Is(err, registry.LayerNotFound) {
		return nil, err
	}
	s, err := newSpool(c.dir, size)
	if err != nil {
		return nil, err
	}
	s.use() // the caller's, besides the flight's own
	f := &flight{key: k, size: size, spool: s, moved: make(chan struct{})}
	c.flights[k] = f
	c.work.Go(func() { c.carry(f, up) })
	return f, nil
}

// flying finds the flight of a blob, if there is one.
func (c *Cache) flying(k blobKey) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.flights[k]
	if f != nil {
		f.spool.use()
	}
	return f
}

// carry fetches a blob and stores it. The blob is in the repository, and has the
// right digest, before the flight is over without an error.
func (c *Cache) carry(f *flight, up *registry.Upstream) {
	ctx := c.background
	from := &fetch{c: c, ctx: ctx, flight: f, up: up}
	_, err := c.registry.PutBlobVerified(ctx, f.key.scope, f.key.name, f.key.digest, from, func() {
		f.change(func() { f.verified = true })
	})
	err = errors.Join(err, from.close())
	switch {
	case from.err != nil:
		err = from.err // more to the point than what became of it
	case registry.Is(err, registry.InvalidLayer):
		err = &upstream.Error{Kind: upstream.Malformed, Host: up.Rule.UpstreamURL, Message: "gave other bytes than those of the digest " + f.key.digest.String(), Err: err}
	}
	if err != nil {
		c.tally(up).failures.Add(1)
		c.log.Warn("a blob of an upstream could not be kept", "repository", f.key.name, "digest", f.key.digest, "upstream", up.Rule.UpstreamURL, "err", err)
	} else {
		t := c.tally(up)
		t.fetched.Add(1)
		t.fetchedBytes.Add(f.size)
	}
	c.mu.Lock()
	delete(c.flights, f.key)
	c.mu.Unlock()
	err = c.refusal(err, true)
	f.change(func() { f.over, f.err = true, err })
	if err := f.spool.done(); err != nil {
		c.log.Error("free the space of a blob on its way", "err", err)
	}
}

// maxResumes is how often a blob whose transfer broke off is continued.
const maxResumes = 3

// A fetch reads a blob of an upstream, goes on where a transfer broke off, and
// leaves what it read in the spool.
type fetch struct {
	c       *Cache
	ctx     context.Context
	flight  *flight
	up      *registry.Upstream
	body    *upstream.Blob
	read    int64
	resumed int
	scratch []byte
	err     error
}

// Read implements io.Reader.
func (r *fetch) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if len(p) > readSize {
		p = p[:readSize]
	}
	// A good part at a time: whoever reads is woken for each.
	n, err := r.next(p)
	for n < min(len(p), leastRead) && err == nil {
		var more int
		more, err = r.next(p[n:])
		n += more
	}
	if n > 0 {
		if r.scratch == nil {
			r.scratch = make([]byte, readSize)
		}
		if werr := r.flight.spool.write(p[:n], r.scratch[:n]); werr != nil {
			r.err = werr
			return 0, werr
		}
		r.read += int64(n)
		r.flight.change(func() { r.flight.written = r.read })
	}
	if err == io.EOF && r.read != r.flight.size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// readSize is how much is read at a time at most, and leastRead at least, in bytes.
const (
	readSize  = 256 << 10
	leastRead = 64 << 10
)

// next reads from the upstream, and opens the blob first when that is due.
func (r *fetch) next(p []byte) (int, error) {
	for {
		if r.body == nil {
			if err := r.open(); err != nil {
				if r.read > 0 && unreachable(err) && r.resume() {
					continue
				}
				return 0, err
			}
		}
		n, err := r.body.Read(p)
		if err == nil || err == io.EOF {
			return n, err
		}
		_ = r.body.Close() // it broke off; that is what is reported
		r.body = nil
		if !r.resume() {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

// resume counts one more attempt to go on, and tells whether it may be made.
func (r *fetch) resume() bool {
	if r.resumed >= maxResumes || r.ctx.Err() != nil {
		return false
	}
	r.resumed++
	return true
}

// unreachable is whether the upstream gave no answer, or one that may be another
// soon.
func unreachable(err error) bool {
	var e *upstream.Error
	return errors.As(err, &e) && e.Kind == upstream.Unavailable
}

func (r *fetch) open() error {
	src, err := r.c.source(r.ctx, r.flight.key.scope, r.up)
	if err != nil {
		return err
	}
	r.c.tally(r.up).requests.Add(1)
	b, err := r.c.client.Blob(r.ctx, src, r.flight.key.digest, r.read)
	if err != nil {
		return err
	}
	if b.Size >= 0 && b.Size != r.flight.size {
		return errors.Join(&upstream.Error{Kind: upstream.Malformed, Host: src.Host, Message: "has another size of the layer than its manifest says"}, b.Close())
	}
	r.body = &b
	return nil
}

func (r *fetch) close() error {
	if r.body == nil {
		return nil
	}
	return r.body.Close()
}

// A stream reads a blob on its way, from anywhere in it. It implements
// blob.Reader.
type stream struct {
	ctx    context.Context
	flight *flight
	at     int64
}

// Size implements blob.Reader.
func (s *stream) Size() int64 { return s.flight.size }

// Read gives what is there, and waits when nothing is. The last byte comes only
// when the blob is known to be right.
func (s *stream) Read(p []byte) (int, error) {
	if s.at >= s.flight.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		readable, moved, err := s.flight.readable()
		if err != nil {
			return 0, err
		}
		if n := min(readable-s.at, int64(len(p))); n > 0 {
			got, err := s.flight.spool.read(p[:n], s.at)
			s.at += int64(got)
			if got > 0 {
				err = nil
			}
			return got, err
		}
		select {
		case <-moved:
		case <-s.ctx.Done():
			return 0, s.ctx.Err()
		}
	}
}

// Seek implements io.Seeker.
func (s *stream) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.flight.size
	}
	if offset < 0 {
		return 0, errors.New("a blob has nothing before its beginning")
	}
	s.at = offset
	return offset, nil
}

// Close implements io.Closer.
func (s *stream) Close() error { return s.flight.spool.done() }
