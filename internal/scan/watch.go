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

// rematchPage bounds the rows that one transaction writes.
const rematchPage = 200

// Rematch puts the images into the queue that are scanned continuously and
// contain a package that a newer set of advisories than that of their last scan
// is about. The layers are not read again.
func (s *Scanner) Rematch(ctx context.Context) error {
	var sets []meta.AdvisorySet
	err := s.DB.View(ctx, func(tx *meta.Tx) (err error) {
		sets, err = tx.AdvisorySets(meta.AdvisoriesActive)
		return err
	})
	if err != nil {
		return err
	}
	for _, set := range sets {
		for after, more := int64(0), true; more; {
			err := s.DB.Update(ctx, func(tx *meta.Tx) error {
				images, err := tx.StaleImages(set, registry.ScanEnhanced, statusActive, after, rematchPage)
				more = len(images) == rematchPage
				for _, id := range images {
					if err == nil {
						err = tx.RequeueScan(id, registry.ScanEnhanced)
					}
					after = id
				}
				return err
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}
