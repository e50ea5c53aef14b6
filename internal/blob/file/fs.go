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
	return f, nil
}

// Mkdir is [os.Mkdir].
func (System) Mkdir(name string, perm fs.FileMode) error { return os.Mkdir(name, perm) }

// Rename is [os.Rename].
func (System) Rename(from, to string) error { return os.Rename(from, to) }

// Remove is [os.Remove].
func (System) Remove(name string) error { return os.Remove(name) }

// ReadDir is [os.ReadDir].
func (System) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(name) }
