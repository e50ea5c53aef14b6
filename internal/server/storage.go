package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"berth/internal/audit"
	"berth/internal/blob"
	"berth/internal/blob/cold"
	"berth/internal/blob/file"
	"berth/internal/blob/s3"
	"berth/internal/kms"
	"berth/internal/kms/keyring"
	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/seal"
	"berth/internal/secrets"
	"berth/internal/upload"
)

// Storage is what keeps the bytes and rows of an installation, opened: the
// server works on it, and so do the commands that look after it.
type Storage struct {
	DB      *meta.DB
	Blobs   blob.Store
	Ring    *seal.Ring
	Keyring *keyring.Keyring // nil when a KMS has the master key
	KMS     *local.KMS       // the built-in one
	Secrets *secrets.Store

	master    kms.Wrapper
	masterARN string       // of a master key in a KMS
	secrets   kms.Wrapper  // of access keys
	signing   []byte       // key of tokens
	keys      kms.Provider // of repositories
	holder    string       // of claims, when that is a server
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
	if err := s.openOwnKeys(ctx); err != nil {
		return nil, err
	}
	s.openKMS(cfg, place)
	s.Secrets = secrets.New(s.DB, s.master, s.keys, time.Now)
	s.Ring = seal.New(s.DB, s.master, s.keys, time.Now)
	if s.Blobs, err = s.openBlobs(ctx, cfg); err != nil {
		return nil, err
	}
	return s, s.checkSecond(ctx)
}

// Close closes the stores.
func (s *Storage) Close() error {
	if s.DB == nil {
		return nil
	}
	return s.DB.Close()
}

// FileBlobs is the setting of --blobs that keeps bytes in the data directory.
const FileBlobs = "file"

// isS3 reports whether a blob store setting names a bucket.
func isS3(setting string) bool { return strings.HasPrefix(setting, "s3://") }

// Auditor looks after the stores.
func (s *Storage) Auditor(log *slog.Logger) *audit.Auditor {
	return audit.New(audit.Stores{DB: s.DB, Blobs: s.Blobs, Ring: s.Ring, Log: log, Now: time.Now, Holder: s.holder})
}

// Upgrade brings what an older version stored below the data directory into
// the form of this one. It does nothing when there is none.
func (s *Storage) Upgrade(ctx context.Context, data string, log *slog.Logger) error {
	return s.Auditor(log).SealOld(ctx, s.KMS, data)
}

// openBlobs opens the blob store that the configuration names, and the one of
// archived images.
func (s *Storage) openBlobs(ctx context.Context, cfg Config) (*cold.Store, error) {
	place := cfg.Blobs
	if place == FileBlobs {
		place = cfg.Data
	}
	main, err := s.openStore(ctx, cfg, place)
	if err != nil || cfg.ArchiveBlobs == "" {
		return cold.New(main, nil), err
	}
	if !isS3(cfg.ArchiveBlobs) {
		if err := os.MkdirAll(cfg.ArchiveBlobs, 0o700); err != nil {
			return nil, fmt.Errorf("make the directory of --archive-blobs: %w", err)
		}
	}
	second, err := s.openStore(ctx, cfg, cfg.ArchiveBlobs)
	if err != nil {
		err = fmt.Errorf("open the store of archived images, %s: %w", cfg.ArchiveBlobs, err)
	}
	return cold.New(main, second), err
}

// checkSecond refuses to work without the store that has the bytes of archived images.
func (s *Storage) checkSecond(ctx context.Context) error {
	if cold.HasSecond(s.Blobs) {
		return nil
	}
	var has bool
	err := s.DB.View(ctx, func(tx *meta.Tx) (err error) {
		has, err = tx.HasColdBlobs()
		return err
	})
	if err == nil && has {
		err = errors.New("layers of archived images lie in a second store, and none is given: name it with --archive-blobs")
	}
	return err
}

// checkSecondHolds refuses a second store that has none of the layers that it
// should have: a wrong directory, or a disk that is not mounted, and no damage.
// Someone who has lost them all lets berth fsck --repair say so in the rows.
func (s *Storage) checkSecondHolds(ctx context.Context) error {
	var some []meta.Blob
	err := s.DB.View(ctx, func(tx *meta.Tx) (err error) {
		some, err = tx.ColdBlobs(3)
		return err
	})
	for _, b := range some {
		f, err := s.Blobs.Open(ctx, upload.CopyOf(b))
		if err == nil {
			return f.Close()
		}
		if !errors.Is(err, blob.ErrNotFound) {
			return nil // it is there, or that cannot be told now
		}
	}
	if err == nil && len(some) > 0 {
		err = fmt.Errorf("the store of --archive-blobs has none of the layers of archived images that are looked for first (%s is one): is it the right one, and mounted?", some[0].Digest)
	}
	return err
}

// openStore opens one blob store: a directory, or a bucket.
func (s *Storage) openStore(ctx context.Context, cfg Config, place string) (blob.Store, error) {
	if !isS3(place) {
		fsys := cfg.FileSystem
		if fsys == nil {
			fsys = file.System{}
		}
		return file.Open(fsys, place, s.Ring)
	}
	bucket, byRepository := cutRepositorySSE(place)
	opt, err := s3.ParseURL(bucket)
	if err != nil {
		return nil, err
	}
	opt.AccessKeyID, opt.SecretAccessKey, opt.HTTPClient = cfg.S3.AccessKeyID, cfg.S3.SecretAccessKey, cfg.S3Client
	if byRepository {
		opt.Encryption = s.sse
	}
	return s3.Open(ctx, opt)
}

// cutRepositorySSE takes sse=repository out of a bucket's URL: each object is
// then encrypted as its repository says, under the same KMS key.
func cutRepositorySSE(raw string) (string, bool) {
	base, query, _ := strings.Cut(raw, "?")
	var rest []string
	found := false
	for parameter := range strings.SplitSeq(query, "&") {
		if parameter == "sse=repository" {
			found = true
		} else if parameter != "" {
			rest = append(rest, parameter)
		}
	}
	if len(rest) > 0 {
		base += "?" + strings.Join(rest, "&")
	}
	return base, found
}

// sse is the encryption of S3 that is like that of a domain.
func (s *Storage) sse(ctx context.Context, domain string) (mode, keyID string, err error) {
	var key meta.DataKey
	err = s.DB.Read(ctx, func(tx *meta.Tx) (err error) {
		key, err = tx.CurrentDataKey(domain)
		return err
	})
	switch {
	case err != nil:
		return "", "", err
	case key.KMSKey == "":
		return "AES256", "", nil
	case strings.HasSuffix(domain, seal.DualSuffix):
		return "aws:kms:dsse", key.KMSKey, nil
	default:
		return "aws:kms", key.KMSKey, nil
	}
}
