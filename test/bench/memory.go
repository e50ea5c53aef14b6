package main

import (
	"context"
	"errors"
	"fmt"
)

// A memoryShape is how many clients push, and then pull, one layer each at the
// same time.
type memoryShape struct {
	clients int
	size    int64
}

// memory measures the peak of each subject, started anew for it.
func memory(ctx context.Context, sc scale, subjects []subject, dirs *dirs, say func(string, ...any)) ([]figure, error) {
	what := fmt.Sprintf("%d layers of %d MiB at once", sc.memory.clients, sc.memory.size/mib)
	out := []figure{
		{Name: "peak memory, push of " + what, Unit: "MiB"},
		{Name: "peak memory, pull of " + what, Unit: "MiB"},
	}
	for _, sub := range subjects {
		err := dirs.with(sub.name, func(dir string) (err error) {
			s, err := sub.start(ctx, dir)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, s.stop()) }()
			push, pull, err := memoryOf(ctx, s, sc.memory)
			if err != nil {
				return err
			}
			for i, got := range []sample{push, pull} {
				out[i].set(s.name, float64(got.PeakRSS)/mib)
				out[i].Remarks = append(out[i].Remarks, fmt.Sprintf("%s: %.0f MB/s", s.name, got.Rate))
				say("%-45s %-14s %10.1f MiB", out[i].Name, s.name, float64(got.PeakRSS)/mib)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", sub.name, err)
		}
	}
	return out, nil
}

func memoryOf(ctx context.Context, s *server, shape memoryShape) (push, pull sample, err error) {
	const repository = "bench/memory"
	if err := s.prepare(ctx, repository); err != nil {
		return push, pull, err
	}
	layers := make([]blob, shape.clients)
	for i := range layers {
		if layers[i], err = s.src.layer(shape.size); err != nil {
			return push, pull, err
		}
	}
	mb := float64(shape.size) / 1e6
	push, err = drive(ctx, s, shape.clients, budget{items: shape.clients}, func(ctx context.Context, c *client, i int) (float64, error) {
		return mb, c.pushBlob(ctx, repository, layers[i])
	})
	if err != nil {
		return push, pull, err
	}
	// Some registries serve only what a manifest names.
	if err := s.with(func(c *client) error {
		img, err := s.src.imageOf(layers...)
		if err != nil {
			return err
		}
		if err := c.pushBlob(ctx, repository, img.blobs[0]); err != nil {
			return err
		}
		return c.putManifest(ctx, repository, "all", img.manifest)
	}); err != nil {
		return push, pull, err
	}
	pull, err = drive(ctx, s, shape.clients, budget{items: shape.clients}, func(ctx context.Context, c *client, i int) (float64, error) {
		return mb, c.getBlob(ctx, repository, layers[i])
	})
	return push, pull, err
}
