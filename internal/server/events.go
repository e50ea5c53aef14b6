package server

import (
	"cmp"
	"context"
	"time"

	"berth/internal/event"
)

// openEvents makes what delivers events to the sinks of the configuration.
func (s *Server) openEvents(ctx context.Context) error {
	sinks, err := event.Open(ctx, s.cfg.Events.Sinks)
	if err != nil {
		return err
	}
	s.events = event.New(event.Options{
		DB: s.storage.DB, Sinks: sinks, Retention: cmp.Or(s.cfg.Events.Retention, event.DefaultRetention),
		Holder: s.lock.id, Log: s.log, Now: time.Now,
	})
	return nil
}
