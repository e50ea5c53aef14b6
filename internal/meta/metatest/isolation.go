package metatest

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"berth/internal/meta"
)

// lostUpdates lets many updates read a value and write the next one: none may
// be lost, which needs updates to be serialised by what they read.
func lostUpdates(t *testing.T, db *meta.DB) {
	r := newRepository("counter")
	update(t, db, func(tx *meta.Tx) error { return tx.InsertRepository(r) })
	const workers, rounds = 8, 10
	inParallel(workers, func(int) {
		for range rounds {
			err := db.Update(context.Background(), func(tx *meta.Tx) error {
				row, err := tx.Repository(home, "counter")
				if err != nil {
					return err
				}
				n, err := strconv.Atoi("0" + row.Policy)
				if err != nil {
					return err
				}
				row.Policy = strconv.Itoa(n + 1)
				return tx.SaveRepository(row)
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	view(t, db, func(tx *meta.Tx) error {
		row, err := tx.Repository(home, "counter")
		if row.Policy != strconv.Itoa(workers*rounds) {
			t.Errorf("%d updates counted to %s", workers*rounds, row.Policy)
		}
		return err
	})
}

// writeSkew lets updates each read that something is absent and then add
// something else because of it. Serialised, exactly one finds it absent.
func writeSkew(t *testing.T, db *meta.DB) {
	for round := range 10 {
		r := newRepository("skew-" + strconv.Itoa(round))
		update(t, db, func(tx *meta.Tx) error { return tx.InsertRepository(r) })
		const workers = 6
		inParallel(workers, func(i int) {
			err := db.Update(context.Background(), func(tx *meta.Tx) error {
				all, err := tx.ResourceTags(r.ID)
				if err != nil || len(all) > 0 {
					return err
				}
				return tx.PutResourceTag(r.ID, meta.ResourceTag{Key: strconv.Itoa(i), Value: "first"})
			})
			if err != nil {
				t.Error(err)
			}
		})
		view(t, db, func(tx *meta.Tx) error {
			all, err := tx.ResourceTags(r.ID)
			if len(all) != 1 {
				t.Errorf("%d updates found the repository without tags: %v", len(all), all)
			}
			return err
		})
	}
}

// uniqueRace inserts one name many times at once.
func uniqueRace(t *testing.T, db *meta.DB) {
	const workers = 8
	errs := make([]error, workers)
	inParallel(workers, func(i int) {
		errs[i] = db.Update(context.Background(), func(tx *meta.Tx) error { return tx.InsertRepository(newRepository("one")) })
	})
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, meta.ErrExists):
			t.Errorf("got %v, want ErrExists", err)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d inserts of one name succeeded", won, workers)
	}
}

// ensureRace lets many agree on one setting, as servers do that start together.
func ensureRace(t *testing.T, db *meta.DB) {
	const workers = 8
	got := make([]string, workers)
	inParallel(workers, func(i int) {
		err := db.Update(context.Background(), func(tx *meta.Tx) error {
			v, err := tx.EnsureSetting("key", []byte(strconv.Itoa(i)))
			got[i] = string(v)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	for _, v := range got {
		if v != got[0] || v == "" {
			t.Fatalf("the setting differs: %q", got)
		}
	}
}

// snapshot checks that a view does not see what is committed while it runs.
func snapshot(t *testing.T, db *meta.DB) {
	r := newRepository("app")
	update(t, db, func(tx *meta.Tx) error { return tx.InsertRepository(r) })
	view(t, db, func(tx *meta.Tx) error {
		before, err := tx.ResourceTags(r.ID)
		if err != nil {
			return err
		}
		update(t, db, func(tx *meta.Tx) error { return tx.PutResourceTag(r.ID, meta.ResourceTag{Key: "k"}) })
		after, err := tx.ResourceTags(r.ID)
		if len(before) != 0 || len(after) != 0 {
			t.Errorf("one view saw %v and then %v", before, after)
		}
		return err
	})
	err := db.View(context.Background(), func(tx *meta.Tx) error { return tx.PutResourceTag(r.ID, meta.ResourceTag{Key: "w"}) })
	if err == nil {
		t.Error("a view could write")
	}
	view(t, db, func(tx *meta.Tx) error {
		tags, err := tx.ResourceTags(r.ID)
		if len(tags) != 1 {
			t.Errorf("tags %v, want the committed one", tags)
		}
		return err
	})
}

// failures checks that a failing or panicking function costs nobody else anything.
func failures(t *testing.T, db *meta.DB) {
	for range 50 { // more than there are connections
		if err := db.Update(context.Background(), func(*meta.Tx) error { panic("bug") }); err == nil {
			t.Fatal("a panicking update reported success")
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := db.Update(ctx, func(*meta.Tx) error { t.Error("ran"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("update of a cancelled request: %v", err)
	}
	if err := db.View(ctx, func(*meta.Tx) error { return nil }); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("view of a cancelled request: %v", err)
	}
	// A request that ends while its transaction runs does not undo it.
	ctx, cancel = context.WithCancel(context.Background())
	if err := db.Update(ctx, func(tx *meta.Tx) error {
		cancel()
		return tx.InsertRepository(newRepository("kept"))
	}); err != nil {
		t.Errorf("update whose request ended: %v", err)
	}
	view(t, db, func(tx *meta.Tx) error {
		_, err := tx.Repository(home, "kept")
		return err
	})
	if err := db.Ping(context.Background()); err != nil {
		t.Errorf("ping: %v", err)
	}
}

// closing checks that Close waits for what runs and that later calls fail.
func closing(t *testing.T, db *meta.DB) {
	started, finish, updated := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		var once sync.Once
		updated <- db.Update(context.Background(), func(tx *meta.Tx) error {
			once.Do(func() { close(started) })
			<-finish
			return tx.InsertRepository(newRepository("last"))
		})
	}()
	<-started
	closed := make(chan error, 1)
	go func() { closed <- db.Close() }()
	select {
	case err := <-closed:
		t.Fatalf("closed under a running update: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(finish)
	if err := errors.Join(<-updated, <-closed); err != nil {
		t.Error(err)
	}
	nothing := func(*meta.Tx) error { return nil }
	if err := db.Update(context.Background(), nothing); !errors.Is(err, meta.ErrUnavailable) {
		t.Errorf("update after Close: %v, want ErrUnavailable", err)
	}
	if err := db.View(context.Background(), nothing); !errors.Is(err, meta.ErrUnavailable) {
		t.Errorf("view after Close: %v, want ErrUnavailable", err)
	}
}

// inParallel runs fn n times at once, with its number.
func inParallel(n int, fn func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { fn(i) })
	}
	wg.Wait()
}
