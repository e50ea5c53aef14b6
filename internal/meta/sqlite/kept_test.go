package sqlite_test

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"berth/internal/meta"
)

func TestKept(t *testing.T) {
	ctx := context.Background()
	db := open(t, filepath.Join(t.TempDir(), "meta.db"))
	var kept meta.Kept[int]
	reads := 0
	get := func(key string, failing error) (int, error) {
		return kept.Get(db, key, func() (int, error) { reads++; return reads, failing })
	}
	write := func(id string) {
		t.Helper()
		err := db.Update(ctx, func(tx *meta.Tx) error {
			return tx.PutAccessKey(meta.AccessKey{ID: id, Sealed: []byte{1}, CreatedAt: time.Now()})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	expect := func(key string, want int) {
		t.Helper()
		if got, err := get(key, nil); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", key, got, err, want)
		}
	}
	expect("a", 1)
	expect("a", 1)
	if _, err := get("b", errors.New("no")); err == nil {
		t.Error("the error of a read is lost")
	}
	expect("b", 3) // errors are not kept
	expect("b", 3)
	write("AKIDONE")
	expect("a", 4)
	expect("b", 5)
	for i := range 10_000 { // it is bounded
		expect(strconv.Itoa(i), 6+i)
	}
	expect("a", 10_006)
}

// What a reader sees after a write has returned is never older than the write.
func TestKeptIsNeverStale(t *testing.T) {
	ctx := context.Background()
	db := open(t, filepath.Join(t.TempDir(), "meta.db"))
	var kept meta.Kept[string]
	read := func() (string, error) {
		return kept.Get(db, "key", func() (secret string, err error) {
			err = db.Read(ctx, func(tx *meta.Tx) error {
				k, err := tx.AccessKey("AKID")
				secret = string(k.Sealed)
				return err
			})
			return secret, err
		})
	}
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					if _, err := read(); err != nil && !errors.Is(err, meta.ErrNotFound) {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range 200 {
		want := strconv.Itoa(i)
		err := db.Update(ctx, func(tx *meta.Tx) error {
			return tx.PutAccessKey(meta.AccessKey{ID: "AKID", Sealed: []byte(want), CreatedAt: time.Now()})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := read(); err != nil || got != want {
			t.Fatalf("read %q, %v after %q was written", got, err, want)
		}
	}
	close(stop)
	others.Wait()
}
