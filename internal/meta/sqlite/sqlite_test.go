package sqlite_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/meta/metatest"
	"berth/internal/meta/sqlite"
)

func open(t testing.TB, path string) *meta.DB {
	t.Helper()
	db, err := sqlite.Open(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestSuite(t *testing.T) {
	metatest.Run(t, func(t *testing.T) *meta.DB { return open(t, filepath.Join(t.TempDir(), "meta.db")) })
}

func TestDatabaseFileIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd name?#%", "meta.db")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
}

func TestUpdateAfterCloseFails(t *testing.T) {
	db, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(context.Background(), func(*meta.Tx) error { return nil }); err == nil {
		t.Error("an update after Close reported success")
	}
}

func TestPanicInUpdateIsItsOwnError(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "meta.db"))
	if err := db.Update(context.Background(), func(*meta.Tx) error { panic("bug") }); err == nil {
		t.Fatal("a panicking update reported success")
	}
	if err := db.Update(context.Background(), func(*meta.Tx) error { return nil }); err != nil {
		t.Fatalf("the writer did not survive: %v", err)
	}
}

func TestCancelledUpdateIsNotRun(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "meta.db"))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := db.Update(ctx, func(*meta.Tx) error { t.Error("ran"); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func benchmarkStore(b *testing.B) (*meta.DB, int64) {
	db := open(b, filepath.Join(b.TempDir(), "meta.db"))
	r := &meta.Repository{Scope: meta.Scope{Account: "000000000000", Region: "us-east-1"}, Name: "app", Mutability: "MUTABLE", Encryption: "AES256"}
	err := db.Update(context.Background(), func(tx *meta.Tx) error {
		if err := tx.InsertRepository(r); err != nil {
			return err
		}
		m := &meta.StoredManifest{Image: meta.Image{RepositoryID: r.ID, Digest: "sha256:aa", PushedAt: time.Unix(1, 0)}, Bytes: make([]byte, 1200)}
		if err := tx.InsertImage(m); err != nil {
			return err
		}
		return tx.PutTag(r.ID, "latest", m.ID, time.Unix(1, 0))
	})
	if err != nil {
		b.Fatal(err)
	}
	return db, r.ID
}

func BenchmarkManifestByTag(b *testing.B) {
	db, repo := benchmarkStore(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			err := db.View(context.Background(), func(tx *meta.Tx) error {
				if _, err := tx.Repository(meta.Scope{Account: "000000000000", Region: "us-east-1"}, "app"); err != nil {
					return err
				}
				_, err := tx.ManifestByTag(repo, "latest")
				return err
			})
			if err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkUpdate(b *testing.B) {
	db, repo := benchmarkStore(b)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			err := db.Update(context.Background(), func(tx *meta.Tx) error {
				return tx.PutResourceTag(repo, meta.ResourceTag{Key: "k", Value: "v"})
			})
			if err != nil {
				b.Error(err)
			}
		}
	})
}
