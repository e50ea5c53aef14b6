package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/manifest"
	"berth/internal/meta"
)

// A ScanJob is a scan that is to be done now.
type ScanJob struct {
	Scan       meta.Scan
	Repository meta.Repository
	Image      meta.Image
	Layers     []ScanLayer // from the base to the top
}

// A ScanLayer is a layer of the image of a job.
type ScanLayer struct {
	Digest digest.Digest
	Size   int64
}

// ClaimScan takes the oldest scan out of the queue, for a time in which nobody
// else does. ok is false when there is none.
func (r *Registry) ClaimScan(ctx context.Context, lease time.Duration) (job ScanJob, ok bool, err error) {
	now := r.now()
	var m meta.StoredManifest
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		job, ok, m = ScanJob{}, false, meta.StoredManifest{}
		scan, err := tx.ClaimScan(now, now.Add(lease))
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err == nil {
			job.Scan, ok = scan, true
			job.Image, err = tx.ImageByID(scan.ImageID)
		}
		if err == nil {
			job.Repository, err = tx.RepositoryByID(job.Image.RepositoryID)
		}
		if err == nil {
			m, err = tx.ManifestByDigest(job.Repository.ID, job.Image.Digest)
		}
		return err
	})
	if err != nil || !ok {
		return job, false, err
	}
	if err := r.openManifest(ctx, job.Repository, &m); err != nil {
		return job, true, err
	}
	parsed, err := manifest.Parse(m.MediaType, m.Bytes)
	if err != nil {
		return job, true, err
	}
	for _, l := range parsed.Layers {
		job.Layers = append(job.Layers, ScanLayer{l.Digest, l.Size})
	}
	return job, true, nil
}

// OpenLayer opens a layer of a job, never at another place.
func (r *Registry) OpenLayer(ctx context.Context, job ScanJob, d digest.Digest) (io.ReadCloser, error) {
	repo, m, err := r.member(ctx, job.Repository.Scope, job.Repository.Name, d)
	if err != nil {
		return nil, err
	}
	return r.openStored(ctx, repo, m.Blob)
}

// ScanFrequencyOf tells how a repository is scanned now.
func (r *Registry) ScanFrequencyOf(ctx context.Context, repo meta.Repository) (frequency string, err error) {
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		c, err := readScanConfig(tx, repo.Scope)
		frequency = c.effective(repo.Name, repo.ScanOnPush).Frequency
		return err
	})
	return frequency, err
}

// A ScanOutcome is how a scan ended.
type ScanOutcome struct {
	Status, Description string
	Findings            []Finding // the worst first; of a scan that found out something
	Counts              map[string]int32
	SourceUpdatedAt     time.Time
	AdvisorySets        []int64 // that were active when findings were looked up; nil: none were
	Inventory           any     // what is installed; nil leaves what is known
	Packages            []meta.PackageKey
}

// FinishScan keeps how a scan ended. An image that was deleted, archived or
// scanned anew meanwhile makes it nothing. When advisories came while it went on,
// the scan goes back into the queue: who looks for the images that these are
// about has not seen this one.
func (r *Registry) FinishScan(ctx context.Context, job ScanJob, o ScanOutcome) error {
	var inventory []byte
	if o.Inventory != nil {
		var err error
		if inventory, err = pack(o.Inventory); err != nil {
			return fmt.Errorf("keep what is installed in an image: %w", err)
		}
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		now := r.now()
		scan, err := tx.Scan(job.Image.ID, job.Scan.Type)
		if errors.Is(err, meta.ErrNotFound) || err == nil && scan.Attempts != job.Scan.Attempts {
			return nil
		}
		if err != nil {
			return err
		}
		if stale, err := newAdvisories(tx, o); stale || err != nil {
			if err == nil && inventory != nil {
				err = tx.PutInventory(job.Image.ID, inventory, o.Packages, now)
			}
			if err != nil {
				return err
			}
			scan.Status, scan.ClaimedUntil = meta.ScanPending, time.Time{}
			return tx.PutScan(scan)
		}
		list, err := sinceFirstSeen(tx, job, o.Findings, now)
		if err != nil {
			return err
		}
		findings, err := pack(list)
		if err != nil {
			return err
		}
		scan.Status, scan.Description, scan.CompletedAt = o.Status, o.Description, now
		scan.SourceUpdatedAt, scan.Counts, scan.ClaimedUntil = o.SourceUpdatedAt, o.Counts, time.Time{}
		if err := tx.PutScan(scan); err != nil {
			return err
		}
		if inventory != nil {
			if err := tx.PutInventory(job.Image.ID, inventory, o.Packages, now); err != nil {
				return err
			}
		}
		if err := emitScan(tx, job, scan, list, now); err != nil {
			return err
		}
		return tx.PutFindings(job.Image.ID, job.Scan.Type, findings)
	})
}

// newAdvisories tells whether other sets are active than those of an outcome.
func newAdvisories(tx *meta.Tx, o ScanOutcome) (bool, error) {
	if o.AdvisorySets == nil {
		return false, nil
	}
	sets, err := tx.AdvisorySets(meta.AdvisoriesActive)
	return err == nil && !slices.Equal(o.AdvisorySets, meta.AdvisorySetIDs(sets)), err
}

// sinceFirstSeen takes over when findings were first seen from the scan before.
func sinceFirstSeen(tx *meta.Tx, job ScanJob, list []Finding, now time.Time) ([]Finding, error) {
	type key struct{ name, pkg, version, path string }
	seen := map[key]time.Time{}
	packed, err := tx.Findings(job.Image.ID, job.Scan.Type)
	if err == nil {
		before, err := unpackFindings(packed)
		if err != nil {
			return nil, err
		}
		for _, f := range before {
			seen[key{f.Name, f.Package, f.Version, f.Path}] = f.FirstSeen
		}
	} else if !errors.Is(err, meta.ErrNotFound) {
		return nil, err
	}
	out := make([]Finding, 0, len(list))
	for _, f := range list {
		f.FirstSeen = now
		if at, ok := seen[key{f.Name, f.Package, f.Version, f.Path}]; ok {
			f.FirstSeen = at
		}
		out = append(out, f)
	}
	return out, nil
}

// PostponeScan puts a scan back into the queue, to be tried again after a while.
func (r *Registry) PostponeScan(ctx context.Context, job ScanJob, pause time.Duration) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		scan, err := tx.Scan(job.Image.ID, job.Scan.Type)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		if err != nil || scan.Attempts != job.Scan.Attempts {
			return err
		}
		scan.Status, scan.ClaimedUntil = meta.ScanPending, r.now().Add(pause)
		return tx.PutScan(scan)
	})
}

// KnownInventory reads what is known to be installed in an image into v. ok is
// false when nothing is.
func (r *Registry) KnownInventory(ctx context.Context, imageID int64, v any) (ok bool, err error) {
	var packed []byte
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		packed, err = tx.Inventory(imageID)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, unpack(packed, v)
}
