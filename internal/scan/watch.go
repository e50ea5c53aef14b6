package scan

import (
	"context"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
)

// watchInterval is how soon new advisories are noticed.
const watchInterval = 10 * time.Second

// watchAdvisories looks for new sets of advisories until ctx ends, and puts the
// images that they may be about into the queue when these are scanned
// continuously.
func (s *Scanner) watchAdvisories(ctx context.Context) {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		if err := s.Rematch(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("look for images that new advisories are about", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// rematchPage bounds the rows that one transaction reads and writes.
const rematchPage = 200

// Rematch puts the images into the queue that are scanned continuously and
// contain a package that a newer set of advisories than that of their last scan
// is about. The layers are not read again. A set is looked at once by each
// server: what is scanned later knows it.
func (s *Scanner) Rematch(ctx context.Context) error {
	var sets []meta.AdvisorySet
	err := s.DB.View(ctx, func(tx *meta.Tx) (err error) {
		sets, err = tx.AdvisorySets(meta.AdvisoriesActive)
		return err
	})
	for _, set := range sets {
		if err != nil {
			return err
		}
		if !s.seen[set.ID] {
			if err = s.rematchSet(ctx, set); err == nil {
				s.seen[set.ID] = true
			}
		}
	}
	return err
}

func (s *Scanner) rematchSet(ctx context.Context, set meta.AdvisorySet) error {
	for after, more := "", true; more; {
		var packages []string
		err := s.DB.View(ctx, func(tx *meta.Tx) (err error) {
			packages, err = tx.InstalledPackages(set, after, rematchPage)
			return err
		})
		if err != nil {
			return err
		}
		more = len(packages) == rematchPage
		for _, pkg := range packages {
			if err := s.rematchPackage(ctx, set, pkg); err != nil {
				return err
			}
			after = pkg
		}
	}
	return nil
}

func (s *Scanner) rematchPackage(ctx context.Context, set meta.AdvisorySet, pkg string) error {
	for after, more := int64(0), true; more; {
		var images []int64
		err := s.DB.View(ctx, func(tx *meta.Tx) (err error) {
			images, err = tx.StaleImages(set, pkg, registry.ScanEnhanced, statusActive, after, rematchPage)
			return err
		})
		if err == nil && len(images) > 0 {
			err = s.DB.Update(ctx, func(tx *meta.Tx) error {
				// Of those that somebody else was at meanwhile, it leaves the scan alone.
				return tx.RequeueScans(images, registry.ScanEnhanced, statusActive, set.LoadedAt)
			})
		}
		if err != nil {
			return err
		}
		if more = len(images) == rematchPage; more {
			after = images[len(images)-1]
		}
	}
	return nil
}
