// Package faultfs is a file system for tests that fails, or stops the process,
// at chosen steps.
package faultfs

import (
	"errors"
	"io/fs"
	"os"

	"berth/internal/blob/file"
)

// An Op is one kind of step.
type Op string

// The steps. Sync is that of a file, SyncDir that of a directory.
const (
	Open     Op = "open"
	Create   Op = "create"
	Mkdir    Op = "mkdir"
	Rename   Op = "rename"
	Remove   Op = "remove"
	ReadDir  Op = "readdir"
	Read     Op = "read"
	Write    Op = "write"
	Seek     Op = "seek"
	Truncate Op = "truncate"
	Stat     Op = "stat"
	Sync     Op = "sync"
	SyncDir  Op = "syncdir"
	Close    Op = "close"
)

// FS passes every step to Fault first, and does what it says.
type FS struct {
	file.FS
	// Fault is asked before each step; nil lets it happen. An error fails the
	// step: nothing of it happens, but a Write takes half of its bytes, as on a
	// disk that is full.
	Fault func(op Op, path string) error
	// Done, when not nil, is told about each step that happened.
	Done func(op Op, path string)
}

func (f FS) step(op Op, path string, do func() error) error {
	if err := f.Fault(op, path); err != nil {
		return &fs.PathError{Op: string(op), Path: path, Err: err}
	}
	err := do()
	if err == nil && f.Done != nil {
		f.Done(op, path)
	}
	return err
}

// OpenFile implements file.FS.
func (f FS) OpenFile(name string, flag int, perm fs.FileMode) (out file.File, err error) {
	op := Open
	if flag&os.O_CREATE != 0 {
		op = Create
	}
	err = f.step(op, name, func() error {
		out, err = f.FS.OpenFile(name, flag, perm)
		return err
	})
	if err != nil {
		return nil, err
	}
	info, err := out.Stat()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return faultFile{out, f, name, info.IsDir()}, nil
}

// Mkdir implements file.FS.
func (f FS) Mkdir(name string, perm fs.FileMode) error {
	return f.step(Mkdir, name, func() error { return f.FS.Mkdir(name, perm) })
}

// Rename implements file.FS.
func (f FS) Rename(from, to string) error {
	return f.step(Rename, to, func() error { return f.FS.Rename(from, to) })
}

// Remove implements file.FS.
func (f FS) Remove(name string) error {
	return f.step(Remove, name, func() error { return f.FS.Remove(name) })
}

// ReadDir implements file.FS.
func (f FS) ReadDir(name string) (out []fs.DirEntry, err error) {
	err = f.step(ReadDir, name, func() error {
		out, err = f.FS.ReadDir(name)
		return err
	})
	return out, err
}

type faultFile struct {
	file.File
	fs   FS
	path string
	dir  bool
}

func (f faultFile) Write(p []byte) (n int, err error) {
	if err := f.fs.Fault(Write, f.path); err != nil {
		n, werr := f.File.Write(p[:len(p)/2])
		return n, errors.Join(&fs.PathError{Op: string(Write), Path: f.path, Err: err}, werr)
	}
	n, err = f.File.Write(p)
	if err == nil && f.fs.Done != nil {
		f.fs.Done(Write, f.path)
	}
	return n, err
}

func (f faultFile) ReadAt(p []byte, at int64) (n int, err error) {
	ferr := f.fs.step(Read, f.path, func() error {
		n, err = f.File.ReadAt(p, at)
		return nil
	})
	if ferr != nil {
		return 0, ferr
	}
	return n, err
}

func (f faultFile) Seek(offset int64, whence int) (at int64, err error) {
	err = f.fs.step(Seek, f.path, func() error {
		at, err = f.File.Seek(offset, whence)
		return err
	})
	return at, err
}

func (f faultFile) Truncate(size int64) error {
	return f.fs.step(Truncate, f.path, func() error { return f.File.Truncate(size) })
}

func (f faultFile) Stat() (info fs.FileInfo, err error) {
	err = f.fs.step(Stat, f.path, func() error {
		info, err = f.File.Stat()
		return err
	})
	return info, err
}

func (f faultFile) Sync() error {
	op := Sync
	if f.dir {
		op = SyncDir
	}
	return f.fs.step(op, f.path, f.File.Sync)
}

// Close closes the file whatever happens, and then fails if it is to fail.
func (f faultFile) Close() error {
	err := f.fs.Fault(Close, f.path)
	if err != nil {
		err = &fs.PathError{Op: string(Close), Path: f.path, Err: err}
	}
	return errors.Join(err, f.File.Close())
}
