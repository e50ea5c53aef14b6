package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
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

func BenchmarkStore(b *testing.B) {
	metatest.Benchmark(b, open(b, filepath.Join(b.TempDir(), "meta.db")))
}

// zot#3963: a full disk lost every tag. Here an update that does not fit is
// refused as such, and what was there stays.
func TestFullDatabase(t *testing.T) {
	ctx := context.Background()
	db := open(t, filepath.Join(t.TempDir(), "meta.db"))
	put := func(name string, size int) error {
		return db.Update(ctx, func(tx *meta.Tx) error {
			_, err := tx.EnsureSetting(name, make([]byte, size))
			return err
		})
	}
	if err := put("before", 1000); err != nil {
		t.Fatal(err)
	}
	db.Wrap(func(b meta.Backend) meta.Backend {
		err := b.Update(ctx, func(q meta.Querier) error {
			_, err := q.Exec("PRAGMA max_page_count = 1") // what it has now
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return b
	})
	for range 2 {
		if err := put("large", 1<<20); !errors.Is(err, meta.ErrNoSpace) {
			t.Fatalf("an update that does not fit: %v", err)
		}
	}
	err := db.View(ctx, func(tx *meta.Tx) error {
		if b, err := tx.Setting("before"); err != nil || len(b) != 1000 {
			t.Errorf("what was there before: %d bytes, %v", len(b), err)
		}
		if _, err := tx.Setting("large"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("what did not fit: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// quay#4193 and its like: whoever writes while others write or read waits for
// them. "database is locked" reaches nobody, also with a second program on the
// file, as the commands beside the server are.
func TestNeverLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "meta.db")
	both := []*meta.DB{open(t, path), open(t, path)}
	ctx := context.Background()
	var wg sync.WaitGroup
	for i := range 8 {
		db := both[i%2]
		wg.Go(func() {
			for n := range 40 {
				update := db.Update
				if n%2 == 0 {
					update = db.UpdateRelaxed
				}
				err := update(ctx, func(tx *meta.Tx) error {
					return tx.AddTrash(meta.Trash{Location: fmt.Sprint(i, "-", n), Domain: "d", Since: time.Unix(int64(n), 0)})
				})
				if err != nil {
					t.Errorf("write: %v", err)
					return
				}
			}
		})
		wg.Go(func() {
			for range 40 {
				err := db.View(ctx, func(tx *meta.Tx) error {
					_, err := tx.OldTrash(time.Unix(1000, 0), 1000)
					return err
				})
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	err := both[0].View(ctx, func(tx *meta.Tx) error {
		all, err := tx.OldTrash(time.Unix(1000, 0), 1000)
		if len(all) != 8*40 {
			t.Errorf("%d rows, want %d", len(all), 8*40)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
