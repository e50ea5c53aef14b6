package keyring

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"berth/internal/kms"
	"berth/internal/kms/kmstest"
)

func create(t testing.TB) *Keyring {
	t.Helper()
	k, err := Create(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSuite(t *testing.T) { kmstest.Wrapper(t, create(t)) }

func TestFileIsPrivateAndStays(t *testing.T) {
	k := create(t)
	info, err := os.Stat(k.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	before, _ := os.ReadFile(k.path)
	if _, err := Create(k.path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create: %v", err)
	}
	again, err := OpenOrCreate(k.path)
	if err != nil || !slices.Equal(again.IDs(), k.IDs()) {
		t.Errorf("%v, %v", again, err)
	}
	if after, _ := os.ReadFile(k.path); !bytes.Equal(before, after) {
		t.Error("the file was written again")
	}
	var file struct {
		Version int
		Current string
		Keys    []struct{ ID, Key, Created string }
	}
	if err := json.Unmarshal(before, &file); err != nil || file.Version != 1 || file.Current != file.Keys[0].ID || file.Keys[0].Created == "" {
		t.Errorf("%s, %v", before, err)
	}
	entries, err := os.ReadDir(filepath.Dir(k.path))
	if err != nil || len(entries) != 2 {
		t.Errorf("the directory holds %v, %v: want the file and its lock", entries, err)
	}
	if err := os.Chmod(k.path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(k.path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a file that a group may read: %v", err)
	}
	if _, err := Open(k.path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestFirstStartsAgree(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring.json")
	ids := make([]string, 8)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() {
			k, err := OpenOrCreate(path)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = k.Current()
		})
	}
	wg.Wait()
	if slices.Sort(ids); ids[0] == "" || len(slices.Compact(ids)) != 1 {
		t.Errorf("first starts made %v", ids)
	}
}

func TestRotation(t *testing.T) {
	ctx, c := context.Background(), kms.Context{"a": "b"}
	k := create(t)
	other, err := Open(k.path)
	if err != nil {
		t.Fatal(err)
	}
	old, err := k.Wrap(ctx, []byte("old"), c)
	if err != nil {
		t.Fatal(err)
	}
	first := k.Current()
	second, err := k.Rotate()
	if err != nil || k.Current() != second || second == first || !slices.Equal(k.IDs(), []string{first, second}) {
		t.Fatalf("%v %v", k.IDs(), err)
	}
	if got, err := k.Unwrap(ctx, old, c); err != nil || string(got) != "old" || !k.Stale(old) {
		t.Errorf("%q, %v, stale %t", got, err, k.Stale(old))
	}
	fresh, err := k.Wrap(ctx, []byte("new"), c)
	if id, _ := k.KeyID(fresh); err != nil || id != second || k.Stale(fresh) {
		t.Errorf("wrapped by %q, %v", id, err)
	}
	// The other process does not know the key yet: it reads the file again.
	if got, err := other.Unwrap(ctx, fresh, c); err != nil || string(got) != "new" {
		t.Errorf("%q, %v", got, err)
	}
	if err := k.Retire([]string{second}); err == nil || len(k.IDs()) != 2 {
		t.Errorf("the current key was retired: %v", err)
	}
	if err := k.Retire([]string{first, "mk-none"}); !errors.Is(err, ErrUnknownKey) || len(k.IDs()) != 2 {
		t.Errorf("an unknown key was retired: %v", err)
	}
	if err := k.Retire([]string{first}); err != nil || !slices.Equal(k.IDs(), []string{second}) {
		t.Errorf("%v, %v", k.IDs(), err)
	}
	if _, err := k.Unwrap(ctx, old, c); kmstest.Code(err) != kms.NotFound || !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a retired key: %v", err)
	}
}

// Two processes that rotate one file at once must not lose a key that has wrapped something.
func TestRotationsTakeTurns(t *testing.T) {
	k := create(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			mine, err := Open(k.path)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := mine.Rotate(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := k.Reload(); err != nil || len(k.IDs()) != 9 {
		t.Errorf("%d keys, %v", len(k.IDs()), err)
	}
}

func TestBrokenFiles(t *testing.T) {
	key := base64.StdEncoding.EncodeToString(make([]byte, 32))
	for name, text := range map[string]string{
		"empty": "", "not JSON": "{", "no version": `{}`, "of the future": `{"version":2}`,
		"no key":        `{"version":1,"current":"a","keys":[]}`,
		"other current": `{"version":1,"current":"a","keys":[{"id":"b","key":"` + key + `"}]}`,
		"short key":     `{"version":1,"current":"a","keys":[{"id":"a","key":"AAAA"}]}`,
		"twice":         `{"version":1,"current":"a","keys":[{"id":"a","key":"` + key + `"},{"id":"a","key":"` + key + `"}]}`,
		"no id":         `{"version":1,"current":"","keys":[{"id":"","key":"` + key + `"}]}`,
		"too large":     strings.Repeat(" ", maxFile+1),
	} {
		path := filepath.Join(t.TempDir(), "k")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if k, err := OpenOrCreate(path); err == nil || k != nil {
			t.Errorf("%s: opened", name)
		}
		if now, err := os.ReadFile(path); err != nil || string(now) != text {
			t.Errorf("%s: the file was changed (%v)", name, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	k := create(t)
	key := k.file.Keys[0].Key
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "keyring", k, "file", k.file, "key", key)
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "keyring", k, "key", key)
	out := logged.String()
	for _, v := range []any{k, k.file, k.file.Keys[0], key, &k.file} {
		out += fmt.Sprintf("%v %+v %#v %s %x %q %d", v, v, v, v, v, v, v)
	}
	for _, shown := range []string{base64.StdEncoding.EncodeToString(key), hex.EncodeToString(key), fmt.Sprint([]byte(key)), string(key)} {
		if strings.Contains(out, shown) {
			t.Fatalf("a key is printed as %s", shown)
		}
	}
}

func FuzzUnwrap(f *testing.F) {
	k := create(f)
	wrapped, err := k.Wrap(context.Background(), []byte("secret"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(wrapped)
	f.Add([]byte{1, 255, 'a'})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		// Nobody but the keyring makes what it opens.
		if _, err := k.Unwrap(context.Background(), b, kms.Context{"x": ""}); kmstest.Code(err) == "" {
			t.Fatalf("%x: %v", b, err)
		}
	})
}

// A keyring that was opened before another process rotated and retired its key
// must not wrap with the old one: nobody could unwrap that any more.
func TestWrapFollowsTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	server, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	first := server.Current()
	if _, err := server.Wrap(t.Context(), []byte("key"), nil); err != nil {
		t.Fatal(err)
	}
	command, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command.Rotate(); err != nil {
		t.Fatal(err)
	}
	if err := command.Retire([]string{first}); err != nil {
		t.Fatal(err)
	}
	wrapped, err := server.Wrap(t.Context(), []byte("key"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command.Unwrap(t.Context(), wrapped, nil); err != nil {
		t.Errorf("the rotated keyring does not open what a running server wrapped: %v", err)
	}
}
