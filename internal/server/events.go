package server

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"berth/internal/event"
)

// openEvents makes what delivers events to the sinks of the configuration.
func (s *Server) openEvents(ctx context.Context) error {
	c := s.cfg.Events
	secret := []byte(c.Secret)
	if c.SecretFile != "" {
		text, err := os.ReadFile(c.SecretFile)
		if err != nil {
			return fmt.Errorf("read the secret of webhooks: %w", err)
		}
		secret = bytes.TrimRight(text, "\r\n")
	}
	sinks, err := event.Open(ctx, c.Sinks, event.Settings{Secret: secret, Now: time.Now, DB: s.storage.DB, Registry: s.registry})
	if err != nil {
		return err
	}
	s.events = event.New(event.Options{
		DB: s.storage.DB, Sinks: sinks, Retention: cmp.Or(c.Retention, event.DefaultRetention),
		Holder: s.lock.id, Log: s.log, Now: time.Now,
	})
	return nil
}

// eventCounters count what becomes of events on this server.
func eventCounters(c *event.Counts) []prometheus.Collector {
	counter := func(name, help string, n *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		counter("berth_events_delivered_total", "Events that a sink took.", &c.Delivered),
		counter("berth_events_failed_total", "Deliveries of events that failed, and are tried again unless they are dead.", &c.Failed),
		counter("berth_events_dead_total", "Events that were given up for a sink.", &c.Dead),
		counter("berth_events_lost_total", "Events that were deleted before a sink took them, since they were too old.", &c.Lost),
	}
}
