package pullthrough

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"berth/internal/blob"
)

// inMemory is up to which size a blob on its way is kept in memory, in bytes.
const inMemory = 64 << 10

// A spool holds the bytes of a blob on its way, for those who read it meanwhile.
// Larger ones lie in a file without a name, encrypted under a key that is never
// stored: AES in counter mode, which can be read from anywhere. That their bytes
// are right is not the spool's to know.
type spool struct {
	block  cipher.Block
	file   *os.File
	memory []byte
	size   int64

	mu      sync.Mutex
	users   int
	written int64
}

func newSpool(dir string, size int64) (*spool, error) {
	if size <= inMemory {
		return &spool{memory: make([]byte, size), size: size, users: 1}, nil
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(dir, "blob-*")
	if err != nil {
		return nil, fmt.Errorf("make a file for a blob on its way: %w", err)
	}
	_ = os.Remove(f.Name()) // where open files keep their names, the end removes it
	return &spool{block: block, file: f, size: size, users: 1}, nil
}

// use counts one more who has to call done.
func (s *spool) use() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
}

// done ends the use of the spool by one; the last frees it.
func (s *spool) done() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.users--; s.users > 0 || s.file == nil {
		return nil
	}
	err := s.file.Close()
	if rerr := os.Remove(s.file.Name()); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
		err = errors.Join(err, rerr)
	}
	return err
}

// stream is the key stream from a place on.
func (s *spool) stream(at int64) cipher.Stream {
	iv := make([]byte, aes.BlockSize)
	binary.BigEndian.PutUint64(iv[8:], uint64(at/aes.BlockSize))
	c := cipher.NewCTR(s.block, iv)
	var skip [aes.BlockSize]byte
	c.XORKeyStream(skip[:at%aes.BlockSize], skip[:at%aes.BlockSize])
	return c
}

// errTooMuch says that more bytes came than the manifest said.
var errTooMuch = errors.New("more bytes came than the manifest lists")

// write adds bytes at the end; scratch is as long as they are.
func (s *spool) write(p, scratch []byte) error {
	if s.written+int64(len(p)) > s.size {
		return errTooMuch
	}
	if s.file == nil {
		copy(s.memory[s.written:], p)
	} else {
		s.stream(s.written).XORKeyStream(scratch, p)
		if _, err := s.file.WriteAt(scratch, s.written); err != nil {
			if errors.Is(err, syscall.ENOSPC) {
				err = errors.Join(blob.ErrNoSpace, err)
			}
			return fmt.Errorf("keep a blob on its way: %w", err)
		}
	}
	s.written += int64(len(p))
	return nil
}

// read reads bytes that were written before.
func (s *spool) read(p []byte, at int64) (int, error) {
	if s.file == nil {
		return copy(p, s.memory[at:]), nil
	}
	n, err := s.file.ReadAt(p, at)
	s.stream(at).XORKeyStream(p[:n], p[:n])
	return n, err
}

// PrepareSpool makes the directory for blobs on their way, and empties it of
// what an earlier process left where open files keep their names.
func PrepareSpool(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the directory for blobs on their way: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "blob-*"))
	for _, path := range old {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}
