package server

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

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
