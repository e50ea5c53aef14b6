package file_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/blob/file"
)

func open(t testing.TB, root string) *file.Store {
	t.Helper()
	s, err := file.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return open(t, t.TempDir()) })
}

func TestOpenNeedsItsDirectory(t *testing.T) {
	if _, err := file.Open("/nonexistent/berth"); err == nil {
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
	for _, root := range []string{base, "./" + base, base + "/", ".//" + base + "/.", dir + "/x/..", dir} {
		if root == dir+"/x/.." {
			if err := os.MkdirAll(filepath.Join(dir, "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		s := open(t, root)
		w, err := s.Append(t.Context(), "up-1", 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(t.Context(), "up-1", blob.Key{Domain: "d", Digest: digest.FromString("")}); err != nil {
			t.Errorf("commit below %q: %v", root, err)
		}
	}
}
