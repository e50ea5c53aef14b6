package server_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"berth/internal/meta"
	"berth/internal/server"
)

var errStopped = errors.New("stopped here by the test")

// stopping is a database that takes a number of updates and no more, as for a
// process that is killed. Claims that it leaves behind are not in the way: its
// successor is the same process in this test and the claims are deleted.
type stopping struct {
	meta.Backend
	left *atomic.Int64
}

func (s stopping) Update(ctx context.Context, fn func(meta.Querier) error) error {
	if s.left.Add(-1) < 0 {
		return errStopped
	}
	return s.Backend.Update(ctx, fn)
}

// withUpdates opens the stores and lets fn make a number of updates.
func withUpdates(ctx context.Context, cfg server.Config, updates int, fn func(*server.Storage) error) error {
	left := &atomic.Int64{}
	left.Store(int64(updates))
	var inner meta.Backend
	cfg.WrapDatabase = func(b meta.Backend) meta.Backend {
		inner = b
		return stopping{b, left}
	}
	s, err := server.OpenStorage(ctx, cfg)
	if err != nil {
		return err
	}
	err = fn(s)
	if err != nil {
		err = errors.Join(err, inner.Update(ctx, func(q meta.Querier) error {
			_, err := q.Exec("DELETE FROM claims")
			return err
		}))
	}
	return errors.Join(err, s.Close())
}

// untilDone runs fn again and again with one update more, until it gets through.
func untilDone(t *testing.T, cfg server.Config, fn func(*server.Storage) error) {
	t.Helper()
	for updates := 0; ; updates++ {
		err := withUpdates(t.Context(), cfg, updates, fn)
		if err == nil {
			return
		}
		if !errors.Is(err, errStopped) || updates == 300 {
			t.Fatalf("with %d updates: %v", updates, err)
		}
	}
}
