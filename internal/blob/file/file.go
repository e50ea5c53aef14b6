// Package file keeps blobs as sealed files in a directory tree.
//
//	<root>/blobs/<domain>/<2 of the id>/<id>-<writing>        a copy
//	<root>/blobs/<domain>/<2 of the id>/<id>-<writing>.part   a stage
//
// A commit is: write what is left, fsync the file, rename it to its final name
// in the same directory, fsync the directory. Every error of that sequence is
// reported and leaves nothing behind that could be taken for the bytes.
//
// # Sealing
//
// Bytes are sealed while they are written (DARE 2.0: AES-256-GCM in packages
// of 64 KiB, each bound to its place; github.com/minio/sio), so a read from
// anywhere costs what it reads. Each file has a key of its own, derived from
// the data key of its domain and the name of the file. A name is for one
// writing: bytes that may have been written before under the same key and
// place, and were never acknowledged, make the next round begin a new file.
package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"

	"github.com/minio/sio"

	"berth/internal/blob"
)

// Keys gives the keys that seal copies.
type Keys interface {
	// Sealing names the data key that seals new copies of a domain.
	Sealing(ctx context.Context, domain string) (dataKey int64, err error)
	// Derive gives n secret bytes for a label under a data key of the domain.
	Derive(ctx context.Context, domain string, dataKey int64, label string, n int) ([]byte, error)
}

// Store is a [blob.Store] on a file system. It is a [blob.Checker] and a
// [blob.Lister] too.
type Store struct {
	fs   FS
	root string
	keys Keys

	mu   sync.Mutex
	dirs map[string]bool // directories known to exist durably
}

// Open prepares the directory tree below root, which must exist.
func Open(fsys FS, root string, keys Keys) (*Store, error) {
	root = filepath.Clean(root) // ensureDir goes up to it by name
	s := &Store{fs: fsys, root: root, keys: keys, dirs: map[string]bool{}}
	if err := s.ensureDir(s.blobs()); err != nil {
		return nil, fmt.Errorf("prepare the blob store: %w", mapError(err))
	}
	return s, nil
}

func (s *Store) blobs() string { return filepath.Join(s.root, "blobs") }

// partSuffix ends the names of files that are not committed.
const partSuffix = ".part"

// IDs and domains become path elements, so their alphabet is closed. The id of
// a copy is its stage's and a number for the writing.
var (
	idPattern     = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)
	copyPattern   = regexp.MustCompile(`^([a-z0-9-]{1,64})-[a-z2-7]{13}$`)
	domainPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// newWriting names one writing of a stage; no name comes twice.
func newWriting() string { return strings.ToLower(rand.Text()[:13]) }

// dir is where the files of a domain's stages and copies with an id lie.
func (s *Store) dir(domain, id string) (string, error) {
	if !domainPattern.MatchString(domain) {
		return "", fmt.Errorf("blob domain %q has characters that a path must not have", domain)
	}
	if !idPattern.MatchString(id) {
		return "", fmt.Errorf("stage id %q is not of the form [a-z0-9-]{1,64}", id)
	}
	return filepath.Join(s.blobs(), domain, (id + "__")[:2]), nil
}

func (s *Store) path(domain, id string) (string, error) {
	stage := id
	if m := copyPattern.FindStringSubmatch(id); m != nil {
		stage = m[1]
	}
	dir, err := s.dir(domain, stage) // an id of another form names nothing, safely
	return filepath.Join(dir, id), err
}

// secret is the key and the first nonce of one file.
func (s *Store) secret(ctx context.Context, domain string, dataKey int64, name string) (sio.Config, error) {
	return secret(ctx, s.keys, domain, dataKey, name)
}

func secret(ctx context.Context, keys Keys, domain string, dataKey int64, name string) (sio.Config, error) {
	b, err := keys.Derive(ctx, domain, dataKey, name, 32+12)
	if err != nil {
		return sio.Config{}, err
	}
	return sio.Config{
		MinVersion: sio.Version20, MaxVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM},
		Key: b[:32], Nonce: (*[12]byte)(b[32:]),
	}, nil
}

const (
	payload     = 64 << 10     // bytes sealed in one package
	packageSize = payload + 32 // bytes that a full package takes
)

// sealedSize is what n bytes take once they are sealed.
func sealedSize(n int64) int64 {
	size := n / payload * packageSize
	if rest := n % payload; rest > 0 {
		size += rest + packageSize - payload
	}
	return size
}

// Delete implements [blob.Store].
func (s *Store) Delete(_ context.Context, c blob.Copy) error {
	p, err := s.path(c.Domain, c.ID)
	if errors.Is(err, blob.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.removeIfThere(p)
}

// Check implements [blob.Checker]: the tree must still be there and writable.
func (s *Store) Check(context.Context) error {
	p := filepath.Join(s.blobs(), "check-"+newWriting())
	f, err := s.fs.OpenFile(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return mapError(err)
	}
	return mapError(errors.Join(f.Close(), s.fs.Remove(p)))
}

func (s *Store) removeIfThere(p string) error {
	err := s.fs.Remove(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return mapError(err)
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
		err := s.fs.Mkdir(dir, 0o700)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Synced also when it exists: whoever made it may not have got that far.
		if err := s.syncPath(filepath.Dir(dir)); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.dirs[dir] = true
	s.mu.Unlock()
	return nil
}

// syncPath flushes a directory to stable storage.
func (s *Store) syncPath(p string) error {
	f, err := s.fs.OpenFile(p, os.O_RDONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// mapError gives the store's own errors for what callers tell apart.
func mapError(err error) error {
	var sealed sio.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", blob.ErrNoSpace, err)
	case errors.As(err, &sealed):
		return fmt.Errorf("%w: %w", blob.ErrDamaged, err)
	default:
		return err
	}
}
