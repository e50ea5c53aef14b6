package sqlite

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"berth/internal/meta"
)

// Commits that back an answer flush the log; only those that may be lost do
// not, and only when they are among themselves.
func TestInvariant01_CommitsAreSynchronous(t *testing.T) {
	ctx := context.Background()
	var b *backend
	db, err := Open(ctx, filepath.Join(t.TempDir(), "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	db.Wrap(func(in meta.Backend) meta.Backend {
		b = in.(*backend)
		return in
	})
	level := func(q meta.Querier) (n int) {
		if err := q.QueryRow("PRAGMA synchronous").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	const normal, full = 1, 2
	var got int
	see := func(q meta.Querier) error { got = level(q); return nil }
	for _, step := range []struct {
		update func(context.Context, func(meta.Querier) error) error
		want   int
	}{{b.Update, full}, {b.UpdateRelaxed, normal}, {b.UpdateRelaxed, normal}, {b.Update, full}, {b.Update, full}} {
		if err := step.update(ctx, see); err != nil || got != step.want {
			t.Errorf("synchronous=%d (%v), want %d", got, err, step.want)
		}
	}
	// Whoever shares a commit with one that must not be lost waits with it.
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			update := b.UpdateRelaxed
			if i%2 == 0 {
				update = b.Update
			}
			var got int
			if err := update(ctx, func(q meta.Querier) error { got = level(q); return nil }); err != nil {
				t.Error(err)
			}
			if i%2 == 0 && got != full {
				t.Errorf("an update that must not be lost ran with synchronous=%d", got)
			}
		})
	}
	wg.Wait()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}
