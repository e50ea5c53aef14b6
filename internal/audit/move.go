package audit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob/cold"
	"berth/internal/kms"
	"berth/internal/meta"
	"berth/internal/upload"
)

// Names of the mover's claims: a restore does not wait for what is archived meanwhile.
const (
	archiveClaim = "archive"
	restoreClaim = "restore"
)

// MoveOptions say when a mover works. Zero fields take the defaults.
type MoveOptions struct {
	Interval time.Duration // between two rounds of archiving; default an hour, negative: never
	Restore  time.Duration // between two looks for images that are being restored; default 2 seconds
	Lease    time.Duration // a blob stays for so long after its upload, mount or last probe; default a day
}

// A Mover moves the bytes of images that were archived, and back:
//
//	archive:  a blob that only archived images list, and whose lease is over, is
//	          compressed where that saves enough, and goes to the second store
//	          where there is one
//	restore:  the blobs of images that are ACTIVATING come back before these are
//	          ACTIVE (registry.FinishRestores)
//	return:   so do blobs that a push made part of an image that is not archived
//
// Each move writes a new copy, reads it back, lets the row name it, provided
// that the row is as it was and the move is still right, and leaves the old copy to
// garbage collection. So the bytes can be read at every moment, whoever stops,
// and readers of the old copy end in peace. A copy that no row came to name is
// removed by the next sweep.
type Mover struct {
	*Auditor
	opt MoveOptions

	// What it did since it was made, for metrics.
	Archived atomic.Int64 // blobs
	Returned atomic.Int64 // blobs
	Failures atomic.Int64 // blobs that could not be moved
}

// NewMover makes a mover.
func (a *Auditor) NewMover(o MoveOptions) *Mover {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.Interval, time.Hour)
	set(&o.Restore, 2*time.Second)
	set(&o.Lease, 24*time.Hour)
	return &Mover{Auditor: a, opt: o}
}

// Run works until ctx ends. Of several servers one archives and one restores at a time.
func (m *Mover) Run(ctx context.Context) {
	var both sync.WaitGroup
	loop := func(doing string, interval time.Duration, round func(context.Context) error) {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			if err := round(ctx); err != nil && !errors.Is(err, ErrBusy) && ctx.Err() == nil {
				m.Log.Error(doing, "err", err)
			}
		}
	}
	both.Go(func() { loop("move the bytes of images that are restored", m.opt.Restore, m.Restore) })
	if m.opt.Interval > 0 {
		both.Go(func() { loop("move the bytes of archived images", m.opt.Interval, m.Archive) })
	}
	both.Wait()
}

// maxFailures bounds how many blobs one round fails to move before it gives up:
// then it is not the blobs.
const maxFailures = 10

// A round is one run over blobs.
type round struct {
	*Mover
	errs []error
}

// settle judges what became of one blob; an error ends the round.
func (r *round) settle(ctx context.Context, b meta.Blob, err error) error {
	var refused *kms.Error
	switch {
	case err == nil, errors.Is(err, meta.ErrNotFound), errors.As(err, &refused):
		return nil // it was moved, is gone or needed again, or waits for its key
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isWrong(err):
		same, serr := r.same(ctx, b)
		if serr != nil || !same {
			return serr
		}
		r.Log.Error("a blob is damaged; its next push repairs it", "digest", b.Digest, "location", b.Location, "err", err)
		return r.mark(ctx, b, true)
	}
	r.Failures.Add(1)
	r.errs = append(r.errs, fmt.Errorf("move the blob %s: %w", b.Digest, err))
	if len(r.errs) >= maxFailures {
		return errors.Join(r.errs...)
	}
	return nil
}

// Archive moves what can be moved, and returns what is wanted again. ErrBusy:
// another server does.
func (m *Mover) Archive(ctx context.Context) error {
	return m.underClaim(ctx, archiveClaim, func(ctx context.Context) error {
		r := &round{Mover: m}
		var after int64
		err := pages(ctx, m.DB, func(tx *meta.Tx) ([]int64, error) { return tx.ArchivedImages(after, pageSize) }, func(id int64) error {
			after = id
			return r.archiveImage(ctx, id)
		}, func(int) {})
		if err == nil {
			err = r.returnWanted(ctx)
		}
		return errors.Join(append(r.errs, err)...)
	})
}

func (r *round) archiveImage(ctx context.Context, id int64) error {
	leased := r.Now().Add(-r.opt.Lease)
	var blobs []meta.Blob
	err := r.DB.View(ctx, func(tx *meta.Tx) (err error) {
		blobs, err = tx.BlobsToArchive(id, leased, cold.HasSecond(r.Blobs))
		return err
	})
	if err != nil {
		return err
	}
	for _, b := range blobs {
		if err := r.settle(ctx, b, r.archive(ctx, b, leased)); err != nil {
			return err
		}
	}
	return nil
}

// archive moves one blob, or notes that compressing it is not worth it.
func (r *round) archive(ctx context.Context, b meta.Blob, leased time.Time) error {
	second := cold.HasSecond(r.Blobs)
	pack, err := r.packs(ctx, b)
	if err != nil {
		return err
	}
	if pack || second {
		fresh, err := r.write(ctx, b, pack, second)
		if err != nil {
			return err
		}
		if !pack || cold.Saves(fresh.Packed, b.Size) {
			err := r.put(ctx, b, fresh, func(tx *meta.Tx, fresh meta.Blob) error { return tx.ArchiveBlob(b, fresh, leased) })
			if err == nil {
				r.Archived.Add(1)
			}
			return err
		}
		// The samples promised more than there is.
		if err := r.Blobs.Delete(ctx, upload.CopyOf(fresh)); err != nil {
			return err
		}
	}
	if err := r.DB.Update(ctx, func(tx *meta.Tx) error { return tx.MarkIncompressible(b) }); err != nil || !second {
		return err
	}
	b.Incompressible = true
	return r.archive(ctx, b, leased)
}

// packs decides whether the copy of a blob is to be compressed.
func (r *round) packs(ctx context.Context, b meta.Blob) (pack bool, err error) {
	if b.Packed > 0 || b.Incompressible {
		return !b.Incompressible, nil
	}
	from, err := r.open(ctx, b)
	if err != nil {
		return false, err
	}
	pack, err = cold.Worth(from, b.Size)
	return pack, errors.Join(err, from.Close())
}

// write makes another copy of a blob, which is durable and was read back.
func (r *round) write(ctx context.Context, b meta.Blob, pack, second bool) (fresh meta.Blob, err error) {
	from, err := r.open(ctx, b)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	c, err := r.copyOf(ctx, cold.Spec{Domain: b.Domain, Digest: digest.Digest(b.Digest), Size: b.Size, Pack: pack, Cold: second}, from)
	if err != nil {
		return b, err
	}
	fresh = b
	fresh.Location, fresh.DataKey, fresh.Packed, fresh.Cold = c.ID, c.DataKey, c.Packed, c.Cold
	if err := r.read(ctx, fresh, true, plain); err != nil {
		// Not the fault of the copy that the row names.
		err = fmt.Errorf("read back the copy %s: %s", fresh.Location, err)
		return fresh, errors.Join(err, r.Blobs.Delete(context.WithoutCancel(ctx), c))
	}
	return fresh, nil
}

// put lets the row of a blob name its fresh copy. The time from which the old one
// is trash is that of the switch, however long the copying took.
func (r *round) put(ctx context.Context, b, fresh meta.Blob, replace func(*meta.Tx, meta.Blob) error) error {
	err := r.DB.Update(ctx, func(tx *meta.Tx) error {
		fresh.CreatedAt, fresh.VerifiedAt = r.Now(), r.Now()
		if err := tx.CheckDataKey(fresh.DataKey); err != nil {
			return err
		}
		return replace(tx, fresh)
	})
	if errors.Is(err, meta.ErrNotFound) {
		// No row ever named it.
		if derr := r.Blobs.Delete(context.WithoutCancel(ctx), upload.CopyOf(fresh)); derr != nil {
			return errors.Join(errors.New("remove a copy that is not needed"), derr)
		}
	}
	return err
}

// giveBack moves one blob to where pulls expect it.
func (r *round) giveBack(ctx context.Context, b meta.Blob) error {
	fresh, err := r.write(ctx, b, false, false)
	if err == nil {
		err = r.put(ctx, b, fresh, func(tx *meta.Tx, fresh meta.Blob) error { return tx.ReplaceBlob(b, fresh) })
	}
	if err == nil {
		r.Returned.Add(1)
	}
	return err
}

// returnWanted gives back what images list again that are not archived.
func (r *round) returnWanted(ctx context.Context) error {
	var after int64
	return pages(ctx, r.DB, func(tx *meta.Tx) ([]meta.MovedBlob, error) { return tx.AllMovedBlobs(after, pageSize) }, func(b meta.MovedBlob) error {
		after = b.ID
		if !b.Wanted {
			return nil
		}
		return r.settle(ctx, b.Blob, r.giveBack(ctx, b.Blob))
	}, func(int) {})
}

// Restore gives back the blobs of images that are being restored. ErrBusy:
// another server does.
func (m *Mover) Restore(ctx context.Context) error {
	if waiting, err := m.away(ctx, 0, 1); err != nil || len(waiting) == 0 {
		return err // without a claim, as it mostly is
	}
	return m.underClaim(ctx, restoreClaim, func(ctx context.Context) error {
		r := &round{Mover: m}
		var after int64
		for {
			page, err := m.away(ctx, after, pageSize)
			if err != nil || len(page) == 0 {
				return errors.Join(append(r.errs, err)...)
			}
			for _, i := range page {
				after = i.id
				for _, b := range i.blobs {
					if err := r.settle(ctx, b, r.giveBack(ctx, b)); err != nil {
						return err
					}
				}
			}
		}
	})
}

// awayImage is an image with the blobs that are not where pulls expect them.
type awayImage struct {
	id    int64
	blobs []meta.Blob
}

// away lists images that are being restored.
func (m *Mover) away(ctx context.Context, after int64, limit int) (out []awayImage, err error) {
	err = m.DB.View(ctx, func(tx *meta.Tx) error {
		out = nil
		ids, err := tx.AwaitedImages(after, limit)
		for _, id := range ids {
			blobs, berr := tx.MovedBlobs(id)
			err = errors.Join(err, berr)
			out = append(out, awayImage{id, blobs})
		}
		return err
	})
	return out, err
}
