package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Rotate adds a key that wraps from now on, durable when it returns, and gives
// its id. What older keys wrapped is to be wrapped anew before they are retired.
func (k *Keyring) Rotate() (string, error) {
	fresh := newKey(time.Now())
	err := k.change(func(file contents) (contents, error) {
		file.Keys = append(slices.Clone(file.Keys), fresh)
		file.Current = fresh.ID
		return file, nil
	})
	return fresh.ID, err
}

// Retire forgets keys: what they wrap is lost. The current key cannot be
// retired; an unknown id is [ErrUnknownKey], and then none is.
func (k *Keyring) Retire(ids []string) error {
	return k.change(func(file contents) (contents, error) {
		for _, id := range ids {
			if _, ok := file.find(id); !ok {
				return file, fmt.Errorf("retire the master key %q: %w", id, ErrUnknownKey)
			}
			if id == file.Current {
				return file, fmt.Errorf("retire the master key %q: it is the current one: rotate first", id)
			}
		}
		file.Keys = slices.DeleteFunc(slices.Clone(file.Keys), func(m masterKey) bool { return slices.Contains(ids, m.ID) })
		return file, nil
	})
}

// change replaces the file with what edit makes of its present contents.
func (k *Keyring) change(edit func(contents) (contents, error)) error {
	err := locked(k.path, func() error {
		file, err := load(k.path)
		if err != nil {
			return err
		}
		if file, err = edit(file); err != nil {
			return err
		}
		if err := save(k.path, file); err != nil {
			return err
		}
		k.mu.Lock()
		k.file, k.info = file, nil
		k.mu.Unlock()
		return nil
	})
	if err != nil {
		return fmt.Errorf("change the keyring %s: %w", k.path, err)
	}
	return nil
}

// locked runs fn while no other process is in a locked of the same keyring. The
// lock is a file beside it, for the keyring itself is replaced; the system
// drops it when a process dies.
func locked(path string, fn func() error) (err error) {
	f, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX)
		if err == nil {
			return fn()
		}
		if !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("lock %s: %w", f.Name(), err)
		}
	}
}

// load reads a file that only its owner may read.
func load(path string) (_ contents, err error) {
	f, err := os.Open(path)
	if err != nil {
		return contents{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return contents{}, err
	}
	if !info.Mode().IsRegular() {
		return contents{}, errors.New("it is not a regular file")
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return contents{}, fmt.Errorf("others than its owner may use it (mode %04o): check who did, then chmod 600 it", mode)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return contents{}, err
	}
	if len(data) > maxFile {
		return contents{}, fmt.Errorf("it has more than %d bytes: restore it from a backup", maxFile)
	}
	return parse(data)
}

// save replaces the file as a whole; when it returns, the new one stays.
func save(path string, file contents) error {
	data, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	if _, err := parse(data); err != nil {
		return fmt.Errorf("refuse to write a keyring that could not be read: %w", err)
	}
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(data, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, ignoreMissing(os.Remove(tmp.Name())))
	}
	sweepTemporary(path)
	return syncDir(dir)
}

// sweepTemporary removes what a crash left of earlier saves. It runs under the
// lock, so nobody writes one now.
func sweepTemporary(path string) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return // the next save tries again
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "."+filepath.Base(path)+"-") {
			_ = os.Remove(filepath.Join(filepath.Dir(path), e.Name())) // the next save tries again
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
