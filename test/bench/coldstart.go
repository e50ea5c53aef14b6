package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// coldStart measures how long Berth takes from its start to the line that says
// where it listens, in a data directory with many images. The file system's
// cache is as warm as the machine leaves it.
func coldStart(ctx context.Context, sc scale, binary string, src *source, dirs *dirs, say func(string, ...any)) ([]figure, error) {
	var times []float64
	err := dirs.with("berth", func(dir string) error {
		// One start makes the directory, and an image for the others to be copies of.
		s, _, err := startBerth(ctx, binary, dir, src)
		if err != nil {
			return err
		}
		if err := errors.Join(seed(ctx, s, seedRepository, 1, same(1, kib)), s.stop()); err != nil {
			return err
		}
		began := time.Now()
		last, err := fillImages(ctx, filepath.Join(berthData(dir), "meta.db"), sc.images)
		if err != nil {
			return fmt.Errorf("fill the database: %w", err)
		}
		info, err := os.Stat(filepath.Join(berthData(dir), "meta.db"))
		if err != nil {
			return err
		}
		say("%-45s %-14s %d images in %.1f s, %d MiB", "cold start", "berth", sc.images, time.Since(began).Seconds(), info.Size()/mib)
		for range sc.starts {
			s, took, err := startBerth(ctx, binary, dir, src)
			if err != nil {
				return err
			}
			times = append(times, took.Seconds()*1000)
			if err := errors.Join(present(ctx, s, last), s.stop()); err != nil {
				return err
			}
		}
		return nil
	})
	f := figure{Name: fmt.Sprintf("start to listening, %d images", sc.images), Unit: "ms"}
	f.set("berth", median(times))
	return []figure{f}, err
}

// present makes sure that the server sees the images that were filled in.
func present(ctx context.Context, s *server, repository string) error {
	var got struct{ ImageIds []struct{ ImageTag string } }
	if err := s.ecr.once(ctx, "ListImages", map[string]any{"repositoryName": repository}, &got); err != nil {
		return err
	}
	if len(got.ImageIds) == 0 {
		return fmt.Errorf("%s has no images after it was filled", repository)
	}
	return nil
}
