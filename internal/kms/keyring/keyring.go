// Package keyring keeps the master keys of an installation in one file.
//
// # Guarantees
//
//   - The file is readable by its owner only, is never overwritten by a new one
//     of somebody else, and holds a key durably (file and directory fsynced)
//     before that key wraps anything.
//   - The current key wraps, all of them unwrap. A keyring reads the file again
//     when it changed before it wraps, and when it meets a key that it does not
//     know: another process may have rotated it.
//   - Processes that change one file take turns; none loses a key of another.
//   - Key material never prints.
//
// Who has the file and the wrapped keys has everything; who loses the file has
// lost everything that it wraps.
package keyring

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/internal/kms"
	"berth/internal/kms/envelope"
)

// fileVersion is the version of the file's form.
const fileVersion = 1

// wrapVersion is the version of the wrapped form: this byte, the length of the
// master key's id in one byte, the id, and what [envelope.Seal] puts behind it.
const wrapVersion = 1

// maxFile bounds what is read, in bytes: some thousand keys.
const maxFile = 1 << 20

// ErrUnknownKey says that a master key is not in the keyring.
var ErrUnknownKey = errors.New("the keyring does not have this master key")

// A masterKey is one key of the file.
type masterKey struct {
	ID      string    `json:"id"`
	Key     secret    `json:"key"`
	Created time.Time `json:"created"`
}

// A secret is written to the file and nowhere else.
type secret []byte

// String, GoString and LogValue keep the key out of logs and errors.
func (secret) String() string       { return "[secret]" }
func (secret) GoString() string     { return "[secret]" }
func (secret) LogValue() slog.Value { return slog.StringValue("[secret]") }

// Format prints the same whatever the verb: %x would show the bytes otherwise.
func (secret) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, "[secret]") }

// contents are those of the file.
type contents struct {
	Version int         `json:"version"`
	Current string      `json:"current"`
	Keys    []masterKey `json:"keys"`
}

// A Keyring wraps keys under the master keys of one file. It is safe for
// concurrent use.
type Keyring struct {
	path string

	mu   sync.RWMutex
	file contents
	info fs.FileInfo // of the file when it was read; nil when that is not known
}

// String, GoString and LogValue name the keyring and tell no key.
func (k *Keyring) String() string       { return "keyring " + k.path }
func (k *Keyring) GoString() string     { return k.String() }
func (k *Keyring) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Format prints the name whatever the verb.
func (k *Keyring) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, k.String()) }

// Open reads a keyring. One that does not exist is [fs.ErrNotExist].
func Open(path string) (*Keyring, error) {
	k := &Keyring{path: path}
	if err := k.Reload(); err != nil {
		return nil, err
	}
	return k, nil
}

// Create makes a keyring with one new key, durable when it returns. One that
// exists is left alone: [fs.ErrExist].
func Create(path string) (*Keyring, error) {
	first := newKey(time.Now())
	file := contents{Version: fileVersion, Current: first.ID, Keys: []masterKey{first}}
	err := locked(path, func() error {
		if _, err := os.Lstat(path); err == nil {
			return &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return save(path, file)
	})
	if err != nil {
		return nil, fmt.Errorf("make the keyring %s: %w", path, err)
	}
	return &Keyring{path: path, file: file}, nil
}

// OpenOrCreate opens the keyring, or makes it when there is none. Processes that
// start together agree on one.
func OpenOrCreate(path string) (*Keyring, error) {
	k, err := Open(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return k, err
	}
	k, err = Create(path)
	if errors.Is(err, fs.ErrExist) {
		return Open(path)
	}
	return k, err
}

// newKey makes a master key that no file has yet.
func newKey(now time.Time) masterKey {
	key := make([]byte, envelope.KeySize)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return masterKey{ID: "mk-" + strings.ToLower(rand.Text()), Key: key, Created: now.UTC().Truncate(time.Second)}
}

// Reload reads the file again.
func (k *Keyring) Reload() error {
	// Looked at before it is read: a change in between is seen the next time.
	info, err := os.Stat(k.path)
	if err != nil {
		return fmt.Errorf("read the keyring %s: %w", k.path, err)
	}
	file, err := load(k.path)
	if err != nil {
		return fmt.Errorf("read the keyring %s: %w", k.path, err)
	}
	k.mu.Lock()
	k.file, k.info = file, info
	k.mu.Unlock()
	return nil
}

// refresh reads the file again when it is another than the one that was read:
// a key that another process retired must wrap nothing more.
func (k *Keyring) refresh() error {
	k.mu.RLock()
	had := k.info
	k.mu.RUnlock()
	now, err := os.Stat(k.path)
	if err != nil {
		return fmt.Errorf("read the keyring %s: %w", k.path, err)
	}
	if had != nil && os.SameFile(had, now) && had.ModTime().Equal(now.ModTime()) && had.Size() == now.Size() {
		return nil
	}
	return k.Reload()
}

// parse reads the contents of a file and refuses what cannot be right: a
// keyring that is half understood would make keys that nobody opens again.
func parse(data []byte) (contents, error) {
	var file contents
	if err := json.Unmarshal(data, &file); err != nil {
		return contents{}, fmt.Errorf("it is not JSON of a keyring (%w): restore it from a backup", err)
	}
	if file.Version != fileVersion {
		return contents{}, fmt.Errorf("its version is %d and this program knows %d: use the program that wrote it", file.Version, fileVersion)
	}
	seen := map[string]bool{}
	for _, key := range file.Keys {
		switch {
		case key.ID == "" || len(key.ID) > 255 || seen[key.ID]:
			return contents{}, fmt.Errorf("the id %q of a key is empty, too long or there twice: restore it from a backup", key.ID)
		case len(key.Key) != envelope.KeySize:
			return contents{}, fmt.Errorf("the key %s has %d bytes, not %d: restore it from a backup", key.ID, len(key.Key), envelope.KeySize)
		}
		seen[key.ID] = true
	}
	if !seen[file.Current] {
		return contents{}, fmt.Errorf("its current key %q is not among its keys: restore it from a backup", file.Current)
	}
	return file, nil
}

// snapshot is the state of now; its slices are never changed, only replaced.
func (k *Keyring) snapshot() contents {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.file
}

func (c contents) find(id string) (masterKey, bool) {
	i := slices.IndexFunc(c.Keys, func(m masterKey) bool { return m.ID == id })
	if i < 0 {
		return masterKey{}, false
	}
	return c.Keys[i], true
}

// IDs are the ids of the keys in the order of the file, oldest first.
func (k *Keyring) IDs() []string {
	var ids []string
	for _, m := range k.snapshot().Keys {
		ids = append(ids, m.ID)
	}
	return ids
}

// Current is the id of the key that wraps.
func (k *Keyring) Current() string { return k.snapshot().Current }

// Path is the file.
func (k *Keyring) Path() string { return k.path }

// Created is when a key was made; the zero time when it is not there.
func (k *Keyring) Created(id string) time.Time {
	m, _ := k.snapshot().find(id)
	return m.Created
}

// KeyID is the id of the master key that wrapped a value.
func (k *Keyring) KeyID(wrapped []byte) (string, error) {
	id, _, err := header(wrapped)
	return id, err
}

// Stale tells whether a wrapped key should be wrapped anew, because another key
// than the current one did it.
func (k *Keyring) Stale(wrapped []byte) bool {
	id, _, err := header(wrapped)
	return err != nil || id != k.Current()
}

// header reads the head of a wrapped key: the master key's id and its own length.
func header(wrapped []byte) (id string, n int, err error) {
	if len(wrapped) < 2 || wrapped[0] != wrapVersion || wrapped[1] == 0 || len(wrapped) < 2+int(wrapped[1]) {
		return "", 0, &kms.Error{Code: kms.InvalidCipher, Message: "the bytes are not a key that a keyring wrapped"}
	}
	n = 2 + int(wrapped[1])
	return string(wrapped[2:n]), n, nil
}

// Wrap implements [kms.Wrapper] with the current key.
func (k *Keyring) Wrap(_ context.Context, key []byte, c kms.Context) ([]byte, error) {
	if err := k.refresh(); err != nil {
		return nil, err
	}
	file := k.snapshot()
	master, ok := file.find(file.Current)
	if !ok {
		return nil, fmt.Errorf("wrap a key under %q: %w", file.Current, ErrUnknownKey)
	}
	head := append([]byte{wrapVersion, byte(len(master.ID))}, master.ID...)
	return envelope.Seal(master.Key, head, key, c)
}

// Unwrap implements [kms.Wrapper] with whichever key wrapped.
func (k *Keyring) Unwrap(_ context.Context, wrapped []byte, c kms.Context) ([]byte, error) {
	id, n, err := header(wrapped)
	if err != nil {
		return nil, err
	}
	master, ok := k.snapshot().find(id)
	if !ok {
		if err := k.Reload(); err != nil {
			return nil, err
		}
		if master, ok = k.snapshot().find(id); !ok {
			return nil, &kms.Error{Code: kms.NotFound, Message: fmt.Sprintf("the keyring %s has no master key %q", k.path, id), Err: ErrUnknownKey}
		}
	}
	key, err := envelope.Open(master.Key, wrapped, n, c)
	if errors.Is(err, envelope.ErrSealed) {
		return nil, &kms.Error{Code: kms.InvalidCipher, Message: err.Error(), Err: err}
	}
	return key, err
}
