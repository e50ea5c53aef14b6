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
	"berth/internal/kms/keyring"
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
	if err := restoreMasterKey(ctx, cfg, archive); err != nil {
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

// restoreMasterKey puts the backup's master key in its place, and makes sure
// before anything else is written that the key there opens what is restored.
func restoreMasterKey(ctx context.Context, cfg Config, archive *audit.Archive) error {
	if strings.HasPrefix(cfg.MasterKey, "arn:") {
		return ErrNoKeyring // whether that key opens the backup cannot be known before it is restored
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
	proof, err := archive.Setting(MasterProof)
	if err != nil || proof == nil {
		return errors.Join(err, errors.New("the backup has no proof of its master key: it was not made by berth backup"))
	}
	keys, err := keyring.Open(path)
	if err != nil {
		return err
	}
	return proveKeyring(ctx, keys, path, proof)
}

func restoreStores(ctx context.Context, cfg Config, archive *audit.Archive, progress func(string, int)) (err error) {
	db, err := openDatabase(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	blobs, err := new(Storage).openBlobs(ctx, cfg) // needs no keys: bytes stay sealed as they are
	if err != nil {
		return err
	}
	return archive.Restore(ctx, db, blobs, progress)
}
