package server

import (
	"cmp"
	"context"
	"time"

	"berth/internal/scan/vulndb"
)

// Advisories says how the server keeps the advisories current that scans know.
type Advisories struct {
	// Every is the time between two updates, the first at the start; 0: none.
	Every      time.Duration
	URL        string   // of the archives; empty: that of OSV
	Ecosystems []string // to fetch; none: all whose packages are found in images
}

// advisories are those that scans know.
func (s *Server) advisories() *vulndb.DB { return &vulndb.DB{Rows: s.storage.DB, Now: time.Now} }

// updateAdvisories fetches what changed until ctx ends. An archive is asked for
// by its entity tag, so several servers on one database fetch it once or little
// more. One that cannot be had leaves what is known of its ecosystem.
func (s *Server) updateAdvisories(ctx context.Context, a Advisories) {
	if len(a.Ecosystems) == 0 {
		a.Ecosystems = vulndb.DefaultEcosystems()
	}
	tick := time.NewTicker(a.Every)
	defer tick.Stop()
	for {
		r, err := vulndb.Update(ctx, s.advisories(), cmp.Or(a.URL, vulndb.DefaultURL), a.Ecosystems, nil)
		if err != nil && ctx.Err() == nil {
			s.log.Error("update the advisories, which stay as they are where this failed", "err", err)
		}
		for _, set := range r.Sets {
			s.log.Info("updated the advisories", "ecosystem", set.Ecosystem, "records", set.Records, "newest", set.UpdatedAt)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
