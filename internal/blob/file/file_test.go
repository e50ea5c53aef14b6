package file_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/blob/file"
)

func open(t testing.TB, root string) *file.Store {
	t.Helper()
	s, err := file.Open(file.System{}, root, keys{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t testing.TB, s *file.Store, id string, b []byte) blob.Copy {
	t.Helper()
	stage, err := round(s, blob.Stage{ID: id, Domain: "d"}, b)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Commit(t.Context(), stage)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSuite(t *testing.T) {
	blobtest.Run(t, blobtest.Backend{InState: 64 << 10, Fresh: func(t *testing.T) func(t *testing.T) blob.Store {
		dir := t.TempDir()
		return func(t *testing.T) blob.Store { return open(t, dir) }
	}})
}

func TestOpenNeedsItsDirectory(t *testing.T) {
	if _, err := file.Open(file.System{}, "/nonexistent/berth", keys{}); err == nil {
		t.Error("opened a store below a directory that does not exist")
	}
}

func TestCheck(t *testing.T) {
	if err := open(t, t.TempDir()).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// Every way to write a path names the same store.
func TestOpenTakesAnyFormOfPath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(filepath.Dir(dir))
	base := filepath.Base(dir)
	if err := os.MkdirAll(filepath.Join(dir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{base, "./" + base, base + "/", ".//" + base + "/.", dir + "/x/..", dir} {
		put(t, open(t, root), "up-1", nil)
	}
}

// Nothing of a blob is readable on the disk, staged or committed, and a change
// of any byte shows.
func TestBytesAreSealed(t *testing.T) {
	root := t.TempDir()
	s := open(t, root)
	marker := []byte("a marker that must not be on the disk")
	b := bytes.Repeat(marker, 5000)
	stage, err := round(s, blob.Stage{ID: "up-1", Domain: "d"}, b)
	if err != nil {
		t.Fatal(err)
	}
	search(t, root, marker)
	c, err := s.Commit(t.Context(), stage)
	if err != nil {
		t.Fatal(err)
	}
	search(t, root, marker)
	path := filepath.Join(root, "blobs", "d", "up", c.ID)
	sealed, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 5, 16, 100, 65_568, len(sealed) / 2, len(sealed) - 1} {
		changed := bytes.Clone(sealed)
		changed[at] ^= 1
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := readAll(s, c); !errors.Is(err, blob.ErrDamaged) || !bytes.HasPrefix(b, got) {
			t.Errorf("bit flipped at %d: %d bytes, %v; want ErrDamaged", at, len(got), err)
		}
	}
	// Whole packages that change places, or come from another file.
	const size = 65_568
	swapped := append(append(bytes.Clone(sealed[size:2*size]), sealed[:size]...), sealed[2*size:]...)
	if err := os.WriteFile(path, swapped, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(s, c); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("packages swapped: %v", err)
	}
	other := put(t, s, "up-2", b)
	if err := os.Rename(filepath.Join(root, "blobs", "d", "up", other.ID), path); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(s, c); !errors.Is(err, blob.ErrDamaged) {
		t.Errorf("the file of another copy: %v", err)
	}
	for _, length := range []int64{0, 1, size, int64(len(sealed)) - 1, int64(len(sealed)) + 1} {
		if err := os.Truncate(path, length); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(t.Context(), c); !errors.Is(err, blob.ErrDamaged) {
			t.Errorf("%d bytes instead of %d: %v", length, len(sealed), err)
		}
	}
}

func search(t *testing.T, root string, marker []byte) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if bytes.Contains(b, marker[:12]) {
			t.Errorf("%s has the bytes as they came", p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzState(f *testing.F) {
	f.Add([]byte{1}, int64(5))
	f.Add(append([]byte{1, 0, 0, 0, 0, 0, 0, 0, 7}, "abcdefghijklmtail"...), int64(4))
	f.Fuzz(func(t *testing.T, state []byte, size int64) {
		s := open(t, t.TempDir())
		stage := blob.Stage{ID: "up-1", Domain: "d", Size: size, State: state}
		if w, err := s.Append(t.Context(), stage); err == nil {
			if _, err := w.Close(); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = s.Commit(t.Context(), stage) // must not panic
	})
}

func BenchmarkPut(b *testing.B) {
	for name, size := range map[string]int{"4KiB": 4 << 10, "4MiB": 4 << 20} {
		b.Run(name, func(b *testing.B) {
			s, data := open(b, b.TempDir()), pattern(1, size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				c := put(b, s, "up-1", data)
				if err := s.Delete(b.Context(), c); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	s := open(b, b.TempDir())
	const size = 4 << 20
	c := put(b, s, "up-1", pattern(1, size))
	buf := make([]byte, 256<<10)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		r, err := s.Open(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		for err == nil {
			_, err = r.Read(buf)
		}
		if err != io.EOF {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
