package server

import (
	"context"
	"errors"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/file"
	"berth/internal/kms"
	"berth/internal/kms/keyring"
	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/seal"
)

// Storage is what keeps the bytes and rows of an installation, opened: the
// server works on it, and so do the commands that look after it.
type Storage struct {
	DB      *meta.DB
	Blobs   blob.Store
	Ring    *seal.Ring
	Keyring *keyring.Keyring // nil when a KMS has the master key
	KMS     *local.KMS       // the built-in one

	master kms.Wrapper
	keys   kms.Provider // of repositories
}

// OpenStorage opens what the configuration names. On an error nothing stays open.
func OpenStorage(ctx context.Context, cfg Config) (_ *Storage, err error) {
	s := &Storage{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	place, err := openKeyPlace(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if s.DB, err = openDatabase(ctx, cfg); err != nil {
		return nil, err
	}
	if cfg.WrapDatabase != nil {
		s.DB = s.DB.Wrap(cfg.WrapDatabase)
	}
	if err := s.openMaster(ctx, cfg, place); err != nil {
		return nil, err
	}
	s.openKMS(cfg, place)
	s.Ring = seal.New(s.DB, s.master, s.keys, time.Now)
	if s.Blobs, err = openBlobs(cfg, s.Ring); err != nil {
		return nil, err
	}
	return s, nil
}

// Close closes the stores.
func (s *Storage) Close() error {
	if s.DB == nil {
		return nil
	}
	return s.DB.Close()
}

// openBlobs opens the blob store that the configuration names.
func openBlobs(cfg Config, keys file.Keys) (blob.Store, error) {
	fsys := cfg.FileSystem
	if fsys == nil {
		fsys = file.System{}
	}
	return file.Open(fsys, cfg.Data, keys)
}
