package collect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"berth/internal/blob"
	"berth/internal/meta"
)

// Options are what a collector is made of. All fields but Holder are required.
type Options struct {
	DB    *meta.DB
	Blobs blob.Store
	Log   *slog.Logger
	Now   func() time.Time
	Lease time.Duration // a blob stays for so long after its upload, mount or last probe
	Grace time.Duration // bytes stay for so long after their row died
	// Holder is who claims the work: one that comes back after a crash takes its
	// claim over at once. Empty: one that will not.
	Holder string
}

// Collector collects garbage.
type Collector struct {
	Options
	holder string
}

// New makes a collector.
func New(o Options) *Collector {
	return &Collector{Options: o, holder: cmp.Or(o.Holder, uuid.NewString())}
}

// batchSize bounds what one transaction looks at.
const batchSize = 500

// Names of claims. Whoever holds BackupClaim keeps bytes from being deleted.
const (
	collectClaim = "collect"
	BackupClaim  = "backup"
)

// claimFor is how long a collector may be silent before another takes over.
const claimFor = 2 * time.Minute

// ErrBusy says that another server collects now.
var ErrBusy = errors.New("another server collects garbage now")

// A Report says what one collection did.
type Report struct {
	Memberships int   `json:"memberships"` // repositories' unused blobs
	Blobs       int   `json:"blobs"`       // rows that died
	Copies      int   `json:"copies"`      // copies deleted
	Bytes       int64 `json:"bytes"`       // of those copies, before sealing
	Waiting     bool  `json:"waiting"`     // a backup keeps bytes from being deleted
}

// Run collects at each interval until ctx ends.
func (c *Collector) Run(ctx context.Context, interval time.Duration) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		r, err := c.Collect(ctx)
		switch {
		case errors.Is(err, ErrBusy) || ctx.Err() != nil:
		case err != nil:
			c.Log.Error("collect garbage", "err", err)
		case r != Report{}:
			c.Log.Info("collected garbage", "memberships", r.Memberships, "blobs", r.Blobs, "copies", r.Copies, "bytes", r.Bytes)
		}
	}
}

// Collect goes over everything once. ErrBusy: somebody else does.
func (c *Collector) Collect(ctx context.Context) (r Report, err error) {
	if err := c.claim(ctx); err != nil {
		return r, err
	}
	defer func() {
		rerr := c.DB.Update(context.WithoutCancel(ctx), func(tx *meta.Tx) error { return tx.Release(collectClaim, c.holder) })
		err = errors.Join(err, rerr)
	}()
	for _, step := range []func(context.Context, *Report) error{c.memberships, c.blobs, c.trash} {
		if err := step(ctx, &r); err != nil {
			return r, err
		}
	}
	return r, nil
}

// claim takes the work or holds on to it.
func (c *Collector) claim(ctx context.Context) error {
	now := c.Now()
	var mine bool
	err := c.DB.Update(ctx, func(tx *meta.Tx) (err error) {
		mine, err = tx.Claim(collectClaim, c.holder, now, now.Add(claimFor))
		return err
	})
	if err == nil && !mine {
		return ErrBusy
	}
	return err
}

// unused picks the memberships of a page that can end.
func unused(page []meta.Membership, leasedBefore time.Time) (out []meta.Membership) {
	for _, m := range page {
		if !m.Referenced && m.LeasedAt.Before(leasedBefore) {
			out = append(out, m)
		}
	}
	return out
}

func (c *Collector) memberships(ctx context.Context, r *Report) error {
	var last meta.Membership
	for {
		var page []meta.Membership
		err := c.DB.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.Memberships(last.RepositoryID, last.Digest, batchSize)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1]
		before := c.Now().Add(-c.Lease)
		garbage := unused(page, before)
		if len(garbage) == 0 {
			continue
		}
		if err := c.claim(ctx); err != nil {
			return err
		}
		ended := 0
		err = c.DB.Update(ctx, func(tx *meta.Tx) error {
			ended = 0
			for _, m := range garbage {
				switch err := tx.RemoveUnused(m.RepositoryID, m.Digest, before); {
				case err == nil:
					ended++
				case !errors.Is(err, meta.ErrNotFound): // otherwise it is needed after all
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.Memberships += ended
	}
}

// orphans picks the blobs of a page that no repository has.
func orphans(page []meta.OwnedBlob) (out []int64) {
	for _, b := range page {
		if !b.Owned {
			out = append(out, b.ID)
		}
	}
	return out
}

func (c *Collector) blobs(ctx context.Context, r *Report) error {
	var last int64
	for {
		var page []meta.OwnedBlob
		err := c.DB.View(ctx, func(tx *meta.Tx) (err error) {
			page, err = tx.OwnedBlobs(last, batchSize)
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		last = page[len(page)-1].ID
		garbage := orphans(page)
		if len(garbage) == 0 {
			continue
		}
		if err := c.claim(ctx); err != nil {
			return err
		}
		dead := 0
		err = c.DB.Update(ctx, func(tx *meta.Tx) error {
			dead = 0
			for _, id := range garbage {
				switch _, err := tx.DropBlob(id, c.Now()); {
				case err == nil:
					dead++
				case !errors.Is(err, meta.ErrNotFound):
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.Blobs += dead
	}
}

// trash deletes the copies whose time of grace is over. The bytes go before
// the row that remembers them, so that a crash in between only repeats work.
func (c *Collector) trash(ctx context.Context, r *Report) error {
	for {
		if err := c.claim(ctx); err != nil {
			return err
		}
		var old []meta.Trash
		err := c.DB.View(ctx, func(tx *meta.Tx) (err error) {
			if r.Waiting, err = tx.Claimed(BackupClaim, c.Now()); err != nil || r.Waiting {
				return err
			}
			old, err = tx.OldTrash(c.Now().Add(-c.Grace), batchSize)
			return err
		})
		if err != nil || len(old) == 0 {
			return err
		}
		for i, t := range old {
			if err := c.Blobs.Delete(ctx, blob.Copy{Domain: t.Domain, ID: t.Location, DataKey: t.DataKey, Size: t.Size, Cold: t.Cold}); err != nil {
				return errors.Join(fmt.Errorf("delete the bytes of %s: %w", t.Location, err), c.forget(ctx, old[:i]))
			}
			r.Copies++
			r.Bytes += t.Size
		}
		if err := c.forget(ctx, old); err != nil {
			return err
		}
	}
}

func (c *Collector) forget(ctx context.Context, gone []meta.Trash) error {
	return c.DB.Update(context.WithoutCancel(ctx), func(tx *meta.Tx) error {
		for _, t := range gone {
			if err := tx.DeleteTrash(t.Location); err != nil {
				return err
			}
		}
		return nil
	})
}
