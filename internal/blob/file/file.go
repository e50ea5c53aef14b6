// Package file keeps blobs as files in a directory tree.
//
//	<root>/blobs/<domain>/<algorithm>/<2 hex>/<hex>   committed bytes
//	<root>/uploads/<id>                              staged bytes
//
// A commit is: fsync the staged file, rename it to its final name, fsync the
// directory that got the name. Every error of that sequence is reported and
// leaves the store as it was.
package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"

	"berth/internal/blob"
)

// Store is a [blob.Store] on a local file system.
type Store struct {
	root string

	mu   sync.Mutex
	dirs map[string]bool // directories known to exist durably
}

// Open prepares the directory tree below root, which must exist.
func Open(root string) (*Store, error) {
	root = filepath.Clean(root) // ensureDir goes up to it by name
	s := &Store{root: root, dirs: map[string]bool{}}
	for _, d := range []string{s.uploads(), filepath.Join(root, "blobs")} {
		if err := s.ensureDir(d); err != nil {
			return nil, fmt.Errorf("prepare the blob store: %w", err)
		}
	}
	return s, nil
}

func (s *Store) uploads() string { return filepath.Join(s.root, "uploads") }

// Staging ids and domains become path elements, so their alphabet is closed.
var (
	idPattern     = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	domainPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

func (s *Store) stagedPath(id string) (string, error) {
	if !idPattern.MatchString(id) {
		return "", fmt.Errorf("staging id %q is not of the form [a-z0-9-]{1,64}", id)
	}
	return filepath.Join(s.uploads(), id), nil
}

func (s *Store) path(k blob.Key) (string, error) {
	if !domainPattern.MatchString(k.Domain) {
		return "", fmt.Errorf("blob domain %q has characters that a path must not have", k.Domain)
	}
	if err := k.Digest.Validate(); err != nil {
		return "", fmt.Errorf("blob digest %q: %w", k.Digest, err)
	}
	hex := k.Digest.Encoded()
	return filepath.Join(s.root, "blobs", k.Domain, k.Digest.Algorithm().String(), hex[:2], hex), nil
}

// Append implements [blob.Store].
func (s *Store) Append(_ context.Context, id string, offset int64) (blob.Staged, error) {
	p, err := s.stagedPath(id)
	if err != nil {
		return nil, err
	}
	flags := os.O_WRONLY
	if offset == 0 {
		flags |= os.O_CREATE
	}
	f, err := os.OpenFile(p, flags, 0o600)
	if err != nil {
		return nil, mapError(err)
	}
	if err := seekEnd(f, offset); err != nil {
		return nil, errors.Join(mapError(err), f.Close())
	}
	return &staged{f: f}, nil
}

// seekEnd makes offset the end of the file and the place of the next write.
func seekEnd(f *os.File, offset int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < offset {
		return fmt.Errorf("staged file %s has %d bytes where the session says %d: %w",
			f.Name(), info.Size(), offset, blob.ErrNotFound)
	}
	if info.Size() > offset {
		if err := f.Truncate(offset); err != nil {
			return err
		}
	}
	_, err = f.Seek(offset, io.SeekStart)
	return err
}

type staged struct{ f *os.File }

func (s *staged) Write(p []byte) (int, error) {
	n, err := s.f.Write(p)
	return n, mapError(err)
}

func (s *staged) Close() error { return mapError(s.f.Close()) }

// OpenStaged implements [blob.Store].
func (s *Store) OpenStaged(_ context.Context, id string) (io.ReadCloser, error) {
	p, err := s.stagedPath(id)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(p)
	if err != nil {
		return nil, mapError(err)
	}
	return f, nil
}

// Commit implements [blob.Store].
func (s *Store) Commit(_ context.Context, id string, key blob.Key) error {
	from, err := s.stagedPath(id)
	if err != nil {
		return err
	}
	to, err := s.path(key)
	if err != nil {
		return err
	}
	if err := s.ensureDir(filepath.Dir(to)); err != nil {
		return mapError(err)
	}
	if err := syncPath(from); err != nil {
		return mapError(err)
	}
	if err := os.Rename(from, to); err != nil {
		return mapError(err)
	}
	return mapError(syncPath(filepath.Dir(to)))
}

// Discard implements [blob.Store].
func (s *Store) Discard(_ context.Context, id string) error {
	p, err := s.stagedPath(id)
	if err != nil {
		return err
	}
	return removeIfThere(p)
}

// Open implements [blob.Store].
func (s *Store) Open(_ context.Context, key blob.Key) (blob.Reader, error) {
	p, err := s.path(key)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(p)
	if err != nil {
		return nil, mapError(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &reader{File: f, size: info.Size()}, nil
}

type reader struct {
	*os.File
	size int64
}

func (r *reader) Size() int64 { return r.size }

// Delete implements [blob.Store].
func (s *Store) Delete(_ context.Context, key blob.Key) error {
	p, err := s.path(key)
	if err != nil {
		return err
	}
	return removeIfThere(p)
}

// Check implements [blob.Checker]: the tree must still be there and writable.
func (s *Store) Check(context.Context) error {
	f, err := os.CreateTemp(s.uploads(), "check-*")
	if err != nil {
		return mapError(err)
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

func removeIfThere(p string) error {
	err := os.Remove(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ensureDir makes a directory and its parents below root, fsyncing each parent
// that got a new entry. What is known to exist costs nothing.
func (s *Store) ensureDir(dir string) error {
	s.mu.Lock()
	known := s.dirs[dir]
	s.mu.Unlock()
	if known {
		return nil
	}
	if dir != s.root && dir != filepath.Dir(dir) {
		if err := s.ensureDir(filepath.Dir(dir)); err != nil {
			return err
		}
		err := os.Mkdir(dir, 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Synced also when it exists: whoever made it may not have got that far.
		if err := syncPath(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.dirs[dir] = true
	s.mu.Unlock()
	return nil
}

// syncPath flushes a file or directory to stable storage.
func syncPath(p string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// mapError gives the store's own errors for what callers tell apart.
func mapError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", blob.ErrNoSpace, err)
	default:
		return err
	}
}
