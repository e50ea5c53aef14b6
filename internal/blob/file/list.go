package file

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"berth/internal/blob"
)

// List implements [blob.Lister].
func (s *Store) List(ctx context.Context, fn func(blob.Object) error) error {
	return s.each(s.blobs(), func(domain fs.DirEntry) error {
		if !domain.IsDir() || !domainPattern.MatchString(domain.Name()) {
			return nil
		}
		return s.each(filepath.Join(s.blobs(), domain.Name()), func(shard fs.DirEntry) error {
			if !shard.IsDir() || len(shard.Name()) != 2 {
				return nil
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			return s.each(filepath.Join(s.blobs(), domain.Name(), shard.Name()), func(e fs.DirEntry) error {
				return listed(domain.Name(), e, fn)
			})
		})
	})
}

// each calls fn for the entries of a directory; one that is gone has none.
func (s *Store) each(dir string, fn func(fs.DirEntry) error) error {
	entries, err := s.fs.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// listed passes one file on. Files of other names are not ours to judge.
func listed(domain string, e fs.DirEntry, fn func(blob.Object) error) error {
	id, staged := strings.CutSuffix(e.Name(), partSuffix)
	if !copyPattern.MatchString(id) {
		return nil
	}
	info, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fn(blob.Object{Domain: domain, ID: id, Staged: staged, Size: info.Size(), Modified: info.ModTime()})
}

// Remove implements [blob.Lister].
func (s *Store) Remove(_ context.Context, o blob.Object) error {
	p, err := s.path(o.Domain, o.ID)
	if err != nil {
		return err
	}
	if o.Staged {
		p += partSuffix
	}
	return s.removeIfThere(p)
}
