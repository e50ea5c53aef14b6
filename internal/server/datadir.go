package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// A dirLock keeps a second server out of a data directory.
type dirLock struct{ f *os.File }

// lockDir makes the data directory, for its owner only, and takes it.
func lockDir(dir string) (*dirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory %s: %w: choose another with --data", dir, pathCause(err))
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the data directory %s: %w: choose another with --data", dir, pathCause(err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		err = fmt.Errorf("the data directory %s is in use by another berth: stop it, or choose another with --data", dir)
		return nil, errors.Join(err, f.Close())
	}
	return &dirLock{f}, nil
}

func (l *dirLock) release() error { return l.f.Close() }

// pathCause leaves out the path of a file error, which the sentence has already.
func pathCause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// CredentialsFile is where a server leaves the key of its root user, below the
// data directory, in the format of AWS's shared credentials file.
const CredentialsFile = "credentials"

// writeCredentials replaces the credentials file as a whole.
func (s *Server) writeCredentials() error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by berth at each start. Readable by its owner only.\n[default]\n")
	fmt.Fprintf(&b, "aws_access_key_id = %s\naws_secret_access_key = %s\n", s.root.AccessKeyID, s.root.SecretAccessKey)
	fmt.Fprintf(&b, "region = %s\nendpoint_url = %s\n", s.names.home.Region, s.Endpoint())
	path := filepath.Join(s.cfg.Data, CredentialsFile)
	tmp := path + ".new"
	// What a crash left behind may have another mode, or lead elsewhere.
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write the credentials file: %w", err)
	}
	if err := writeNew(tmp, b.String()); err != nil {
		return fmt.Errorf("write the credentials file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write the credentials file: %w", err)
	}
	return nil
}

// writeNew makes a file that only its owner can read.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
