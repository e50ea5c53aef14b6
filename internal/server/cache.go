package server

import (
	"context"
	"path/filepath"
	"time"

	"berth/internal/meta"
	"berth/internal/pullthrough"
	"berth/internal/upstream"
)

// spoolDir is where blobs on their way from upstreams lie, below the data
// directory.
const spoolDir = "spool"

// openCache makes what fills repositories from upstreams.
func (s *Server) openCache() error {
	mapping, err := upstream.ParseMapping(s.cfg.Upstreams)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.cfg.Data, spoolDir)
	if err := pullthrough.PrepareSpool(dir); err != nil {
		return err
	}
	s.cache = pullthrough.New(pullthrough.Options{
		Registry: s.registry, Client: upstream.New(upstream.Options{Mapping: mapping, Now: time.Now}),
		Credentials: s.upstreamCredentials, Dir: dir, Log: s.log, Now: time.Now,
	})
	return nil
}

// upstreamCredentials finds the credentials of a cache rule.
func (s *Server) upstreamCredentials(ctx context.Context, rule meta.CacheRule) (upstream.Credentials, error) {
	return upstream.Credentials{}, nil
}
