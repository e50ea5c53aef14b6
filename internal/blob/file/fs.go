package file

import (
	"io"
	"io/fs"
	"os"
)

// An FS is the file system that a store works on. Tests put one in its place
// that fails at chosen steps.
type FS interface {
	OpenFile(name string, flag int, perm fs.FileMode) (File, error)
	Mkdir(name string, perm fs.FileMode) error
	Rename(from, to string) error
	Remove(name string) error
	ReadDir(name string) ([]fs.DirEntry, error)
}

// A File is an open file or directory.
type File interface {
	io.WriteCloser
	io.ReaderAt
	Seek(offset int64, whence int) (int64, error)
	Truncate(size int64) error
	Stat() (fs.FileInfo, error)
	// Sync flushes a file or directory to stable storage.
	Sync() error
}

// System is the file system of the machine.
type System struct{}

// OpenFile is [os.OpenFile].
func (System) OpenFile(name string, flag int, perm fs.FileMode) (File, error) {
	f, err := os.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err // not a nil *os.File in the interface
	}
	return &systemFile{File: f}, nil
}

// Bytes are sent on to the disk while more are written, in steps of
// writebackStep: a layer then waits for its last bytes only when it is flushed,
// instead of for all of them. A page that is not full yet stays, since it would
// be written twice.
const (
	writebackStep = 1 << 20
	pageSize      = 4 << 10
)

// systemFile is a file whose bytes go to the disk while more are written.
type systemFile struct {
	*os.File
	at   int64 // where the next byte goes
	sent int64 // up to where they are on their way
}

// Write is [os.File.Write].
func (f *systemFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	f.at += int64(n)
	if f.at-f.sent >= writebackStep {
		to := f.at &^ (pageSize - 1)
		writeback(f.File, f.sent, to-f.sent)
		f.sent = to
	}
	return n, err
}

// Seek is [os.File.Seek].
func (f *systemFile) Seek(offset int64, whence int) (int64, error) {
	at, err := f.File.Seek(offset, whence)
	f.at, f.sent = at, at
	return at, err
}

// Mkdir is [os.Mkdir].
func (System) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }

// Rename is [os.Rename].
func (System) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is [os.Remove].
func (System) Remove(name string) error { return os.Remove(name) }

// ReadDir is [os.ReadDir].
func (System) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
