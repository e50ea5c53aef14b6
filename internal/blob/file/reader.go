package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/minio/sio"

	"berth/internal/blob"
)

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, c blob.Copy) (blob.Reader, error) {
	p, err := s.path(c.Domain, c.ID)
	if err != nil {
		return nil, err
	}
	f, err := s.fs.OpenFile(p, os.O_RDONLY, 0)
	if err != nil {
		return nil, mapError(err)
	}
	cfg, err := s.secret(ctx, c.Domain, c.DataKey, c.ID)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err == nil && info.Size() != sealedSize(c.Size) {
		err = fmt.Errorf("%w: %s has %d bytes where %d are expected", blob.ErrDamaged, p, info.Size(), sealedSize(c.Size))
	}
	if err != nil {
		return nil, errors.Join(mapError(err), f.Close())
	}
	return &reader{f: f, cfg: cfg, size: c.Size}, nil
}

// A reader opens packages one after the other. Reads of whole packages at
// their borders open into the caller's buffer; others cost one copy.
type reader struct {
	f    File
	cfg  sio.Config
	size int64
	at   int64
	from io.Reader // of the opened bytes, at the place at; nil after a Seek
}

// Size implements [blob.Reader].
func (r *reader) Size() int64 { return r.size }

// Seek implements io.Seeker.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the start of a blob")
	}
	if offset != r.at {
		r.at, r.from = offset, nil
	}
	return offset, nil
}

// Read implements io.Reader.
func (r *reader) Read(p []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if r.from == nil {
		if err := r.position(); err != nil {
			return 0, mapError(err)
		}
	}
	n, err := r.from.Read(p)
	r.at += int64(n)
	if errors.Is(err, io.EOF) && r.at < r.size {
		err = fmt.Errorf("%w: it ends at byte %d of %d", blob.ErrDamaged, r.at, r.size)
	}
	return n, mapError(err)
}

// position begins to open at the package that holds the place.
func (r *reader) position() error {
	n := r.at / payload
	cfg := r.cfg
	cfg.SequenceNumber = uint32(n)
	start := n * packageSize
	from, err := sio.DecryptReader(io.NewSectionReader(r.f, start, sealedSize(r.size)-start), cfg)
	if err != nil {
		return err
	}
	if skip := r.at % payload; skip > 0 {
		if _, err := io.CopyN(io.Discard, from, skip); err != nil {
			return err
		}
	}
	r.from = from
	return nil
}

// Close implements io.Closer.
func (r *reader) Close() error { return r.f.Close() }
