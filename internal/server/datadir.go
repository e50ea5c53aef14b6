package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/uuid"
)

// A dirLock keeps a second server out of a data directory. Its id is the data
// directory's for good: a server that starts again takes over at once what the
// one before it had claimed, since that one cannot be there any more.
type dirLock struct {
	f  *os.File
	id string
}

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
	id, err := instanceID(f)
	if err != nil {
		err = fmt.Errorf("read the lock of the data directory %s: %w", dir, pathCause(err))
		return nil, errors.Join(err, f.Close())
	}
	return &dirLock{f, id}, nil
}

// instanceID reads the id that the lock file holds, or gives it one.
func instanceID(f *os.File) (string, error) {
	b := make([]byte, 36)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if id, err := uuid.ParseBytes(b[:n]); err == nil {
		return id.String(), nil
	}
	id := uuid.NewString()
	_, err = f.WriteAt([]byte(id), 0)
	return id, err
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
	if ca := s.CA(); ca != "" {
		fmt.Fprintf(&b, "ca_bundle = %s\n", ca)
	}
	path := filepath.Join(s.cfg.Data, CredentialsFile)
	if err := replaceFile(path, []byte(b.String())); err != nil {
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
