package trail

import (
	"errors"
	"fmt"
	"os"
)

// A File is a log file that is renamed when it has grown: NAME becomes NAME.1,
// that NAME.2 and so on, and the oldest goes. It is readable by its owner only.
type File struct {
	name string
	size int64 // from which on a file is renamed
	keep int   // files beside the one that is written
	f    *os.File
	at   int64
}

// OpenFile opens or makes a log file. It is renamed when a line would take it
// beyond size bytes; keep older files stay.
func OpenFile(name string, size int64, keep int) (*File, error) {
	l := &File{name: name, size: size, keep: keep}
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("open the audit log: %w", err)
	}
	return l, nil
}

func (l *File) open() error {
	f, err := os.OpenFile(l.name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	l.f, l.at = f, info.Size()
	return nil
}

// Write appends one line. Lines are never split over two files. It is for one
// goroutine at a time.
func (l *File) Write(line []byte) (int, error) {
	if l.f == nil { // what went wrong before may be over
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	if l.at > 0 && l.at+int64(len(line)) > l.size {
		if err := l.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := l.f.Write(line)
	l.at += int64(n)
	return n, err
}

func (l *File) rotate() error {
	f := l.f
	l.f = nil
	if err := f.Close(); err != nil {
		return err
	}
	for i := l.keep; i > 0; i-- {
		from := l.name
		if i > 1 {
			from = fmt.Sprintf("%s.%d", l.name, i-1)
		}
		if err := os.Rename(from, fmt.Sprintf("%s.%d", l.name, i)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if l.keep == 0 {
		if err := os.Remove(l.name); err != nil {
			return err
		}
	}
	return l.open()
}

// Close closes the file.
func (l *File) Close() error {
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}
