package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"berth/internal/audit"
)

// Restore puts a backup into the stores that the configuration names, which
// must be empty, and checks them. No server may run on the data directory.
func Restore(ctx context.Context, cfg Config, src string, log *slog.Logger, progress func(string, int)) (r audit.Report, err error) {
	if err := cfg.ValidateStorage(); err != nil {
		return r, err
	}
	if progress == nil {
		progress = func(string, int) {}
	}
	lock, err := lockDir(cfg.Data)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	archive, err := audit.OpenArchive(ctx, src, cfg.Data)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	if _, err := os.Lstat(filepath.Join(cfg.Data, "meta.db")); err == nil {
		return r, fmt.Errorf("%w (%s has a database)", audit.ErrNotEmpty, cfg.Data)
	}
	if err := restoreMasterKey(cfg, archive); err != nil {
		return r, err
	}
	if err := restoreStores(ctx, cfg, archive, progress); err != nil {
		return r, err
	}
	s, err := OpenStorage(ctx, cfg)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Auditor(log).Check(ctx, audit.Options{Progress: progress})
}

// restoreMasterKey puts the backup's master key in its place, when the
// configuration does not say that there is one.
func restoreMasterKey(cfg Config, archive *audit.Archive) error {
	if strings.HasPrefix(cfg.MasterKey, "arn:") {
		return nil
	}
	path := masterKeyPath(cfg)
	key, err := archive.MasterKey()
	if err != nil {
		return err
	}
	_, err = os.Lstat(path)
	switch {
	case err == nil: // the operator put it there
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case key == nil:
		return fmt.Errorf("the backup needs the master key with which it was made (one of %v), and %s is not there: copy that file there, or name it with --master-key", archive.Manifest.MasterKeys, path)
	default:
		if err := writeNew(path, string(key)); err != nil {
			return fmt.Errorf("write the master key: %w", err)
		}
	}
	return nil
}

// restoreStores makes sure that the master key opens the backup, before it
// writes anything to the stores.
func restoreStores(ctx context.Context, cfg Config, archive *audit.Archive, progress func(string, int)) (err error) {
	scratch, err := os.MkdirTemp(cfg.Data, ".restore-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	keys, err := openArchivedKeys(ctx, cfg, archive, scratch)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, keys.Close()) }()
	db, err := openDatabase(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	blobs, err := keys.openBlobs(ctx, cfg)
	if err != nil {
		return err
	}
	return archive.Restore(ctx, db, blobs, keys.Ring, progress)
}

// openArchivedKeys opens the data keys of a backup in a database of their own.
func openArchivedKeys(ctx context.Context, cfg Config, archive *audit.Archive, dir string) (_ *Storage, err error) {
	if !strings.HasPrefix(cfg.MasterKey, "arn:") {
		cfg.MasterKey = masterKeyPath(cfg)
	}
	cfg.Data, cfg.Database, cfg.Blobs, cfg.ArchiveBlobs = dir, "sqlite", FileBlobs, ""
	db, err := openDatabase(ctx, cfg)
	if err != nil {
		return nil, err
	}
	err = archive.Keys(ctx, db)
	if err == nil {
		var proof bool
		if proof, err = (&Storage{DB: db}).hasProof(ctx); err == nil && !proof {
			err = errors.New("the backup has no proof of its master key: it was not made by berth backup")
		}
	}
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, err
	}
	return OpenStorage(ctx, cfg)
}
