package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"berth/internal/blob"
)

// sealedFile is a copy as it lies on disk.
type sealedFile struct {
	File
	at   int64
	size int64
	path string
}

// Size implements [blob.Sealed].
func (f *sealedFile) Size() int64 { return f.size }

// Path implements [blob.Sealed].
func (f *sealedFile) Path() string { return f.path }

// Read implements io.Reader.
func (f *sealedFile) Read(p []byte) (int, error) {
	n, err := f.ReadAt(p, f.at)
	f.at += int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// Sealed implements [blob.Porter].
func (s *Store) Sealed(_ context.Context, c blob.Copy) (blob.Sealed, error) {
	p, err := s.path(c.Domain, c.ID)
	if err != nil {
		return nil, err
	}
	f, err := s.fs.OpenFile(p, os.O_RDONLY, 0)
	if err != nil {
		return nil, mapError(err)
	}
	info, err := f.Stat()
	if err == nil && info.Size() != sealedSize(c.Size) {
		err = fmt.Errorf("%w: %s has %d bytes where %d are expected", blob.ErrDamaged, p, info.Size(), sealedSize(c.Size))
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &sealedFile{File: f, size: info.Size(), path: p}, nil
}

// Import implements [blob.Porter].
func (s *Store) Import(_ context.Context, c blob.Copy, from io.Reader) error {
	p, err := s.path(c.Domain, c.ID)
	if err != nil {
		return err
	}
	dir := filepath.Dir(p)
	if err := s.ensureDir(dir); err != nil {
		return mapError(err)
	}
	f, err := s.fs.OpenFile(p+partSuffix, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return mapError(err)
	}
	n, err := io.Copy(onlyWriter{f}, from)
	if err == nil && n != sealedSize(c.Size) {
		err = fmt.Errorf("%w: %d bytes where %d are expected", blob.ErrDamaged, n, sealedSize(c.Size))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.fs.Rename(p+partSuffix, p)
	}
	if err != nil {
		return errors.Join(mapError(err), s.removeIfThere(p+partSuffix))
	}
	return mapError(s.syncPath(dir))
}
