package file_test

import (
	"testing"

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
