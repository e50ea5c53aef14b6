package registry

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"berth/internal/meta"
)

// Limits of backfills (API_StartReplicationBackfill, API_ListReplicationBackfills).
const (
	maxBackfills      = 10                  // under way in one registry
	backfillRetention = 90 * 24 * time.Hour // after the end
)

// StartBackfill asks for the replication of what the registry has already to a
// destination of its replication configuration. One at a time may be under way
// to a region.
//
// Replication comes later, and so nothing is copied yet: the backfill is kept
// in the queue from which it will be taken, PREPARING and without any progress,
// until it is stopped.
//
// Source: API_StartReplicationBackfill.
func (r *Registry) StartBackfill(ctx context.Context, s meta.Scope, to Destination) (b meta.Backfill, err error) {
	b = meta.Backfill{
		ID: uuid.NewString(), Scope: s, Destination: meta.Scope{Account: to.Account, Region: to.Region},
		Status: meta.BackfillPreparing, StartedAt: r.now(),
	}
	return b, r.db.Update(ctx, func(tx *meta.Tx) error {
		rules, _, err := readSetting[[]ReplicationRule](tx, s, replicationKind)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(rules, func(rule ReplicationRule) bool { return slices.Contains(rule.Destinations, to) }) {
			return invalid("destination", "The destination must be part of the replication configuration of the registry")
		}
		running, err := tx.RunningBackfills(s)
		if err != nil {
			return err
		}
		for _, other := range running {
			if other.Destination.Region == to.Region {
				return refuse(BackfillInProgress, "The replication backfill with id '%s' to the region %s is in progress in the registry with id '%s'", other.ID, to.Region, s.Account)
			}
		}
		if len(running) >= maxBackfills {
			return refuse(LimitExceeded, "The registry with id '%s' has the maximum of %d replication backfills in progress", s.Account, maxBackfills)
		}
		if err := tx.DeleteBackfills(s, b.StartedAt.Add(-backfillRetention)); err != nil {
			return err
		}
		return tx.PutBackfill(b)
	})
}

// StopBackfill ends a backfill. Nothing is being copied, so it is STOPPED at once.
//
// Source: API_StopReplicationBackfill.
func (r *Registry) StopBackfill(ctx context.Context, s meta.Scope, id string) (b meta.Backfill, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		if b, err = r.findBackfill(tx, s, id); err != nil {
			return err
		}
		if !b.EndedAt.IsZero() {
			return refuse(BackfillInvalidStatus, "The replication backfill with id '%s' in the registry with id '%s' has ended with the status %s", id, s.Account, b.Status)
		}
		b.Status, b.EndedAt = meta.BackfillStopped, r.now()
		return tx.PutBackfill(b)
	})
	return b, err
}

// Backfill finds a backfill. Results of single images come with replication.
func (r *Registry) Backfill(ctx context.Context, s meta.Scope, id string) (b meta.Backfill, err error) {
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		b, err = r.findBackfill(tx, s, id)
		return err
	})
	return b, err
}

func (r *Registry) findBackfill(tx *meta.Tx, s meta.Scope, id string) (meta.Backfill, error) {
	b, err := tx.Backfill(s, id)
	if errors.Is(err, meta.ErrNotFound) || err == nil && r.forgotten(b) {
		err = refuse(BackfillNotFound, "The replication backfill with id '%s' was not found in the registry with id '%s'", id, s.Account)
	}
	return b, err
}

// forgotten reports whether a backfill ended so long ago that it is not told of
// any more.
func (r *Registry) forgotten(b meta.Backfill) bool {
	return !b.EndedAt.IsZero() && b.EndedAt.Before(r.now().Add(-backfillRetention))
}

type backfillCursor struct {
	Scope   meta.Scope
	Started time.Time
	ID      string
}

// Backfills lists up to limit backfills, the newest first, after the cursor.
// next is empty on the last page.
//
// Source: API_ListReplicationBackfills.
func (r *Registry) Backfills(ctx context.Context, s meta.Scope, cursor string, limit int) (out []meta.Backfill, next string, err error) {
	const listing = "replication-backfills"
	var after backfillCursor
	if cursor != "" {
		if err := r.openCursor(listing, cursor, &after); err != nil {
			return nil, "", err
		}
		if after.Scope != s {
			return nil, "", invalid("NextToken", "Invalid next token provided")
		}
	}
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		out, err = tx.Backfills(s, meta.Backfill{ID: after.ID, StartedAt: after.Started}, limit+1)
		return err
	})
	if err == nil && len(out) > limit {
		out = out[:limit]
		last := out[limit-1]
		next, err = r.sealCursor(listing, backfillCursor{s, last.StartedAt, last.ID})
	}
	return slices.DeleteFunc(out, r.forgotten), next, err
}
