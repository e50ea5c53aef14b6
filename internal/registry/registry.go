package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/cold"
	"berth/internal/kms"
	"berth/internal/meta"
	"berth/internal/upload"
)

// A CursorSealer makes opaque, tamper-proof strings of pagination cursors and
// download tickets. Purpose keeps one use from passing for another.
type CursorSealer interface {
	SealCursor(purpose string, v []byte) (string, error)
	OpenCursor(purpose, s string) ([]byte, error)
}

// Options are what a registry is made of. All fields but Redirect, Admission,
// Lease and MaxSmall are required.
type Options struct {
	DB      *meta.DB
	Blobs   blob.Store
	Seal    Sealer       // of manifests and uploads
	KMS     kms.Provider // of the keys that repositories name
	Cursors CursorSealer
	Log     *slog.Logger
	Now     func() time.Time
	// Lease is how long garbage collection spares a blob that was probed; zero
	// means hours.
	Lease time.Duration
	// MaxSmall is up to how many bytes a blob lies in its row; zero means
	// [upload.MaxSmall], and less that no blob does.
	MaxSmall int
	// Redirect lets clients fetch blobs from the place where they are kept, if
	// the blob store can do that.
	Redirect bool
	// Admission says which images not everybody may pull.
	Admission Admission
	// Host gives the host (and port) under which clients reach a registry; it
	// becomes the first part of repository URIs.
	Host func(meta.Scope) string
}

// Registry holds the rules. Its methods may be called at the same time.
type Registry struct {
	db       *meta.DB
	blobs    blob.Store
	uploads  *upload.Receiver
	pulls    *pullLog
	seal     Sealer
	kms      kms.Provider
	cursors  CursorSealer
	policies meta.Kept[[]ready] // by the resource that they are about
	rules    ruleCache
	renewal  time.Duration   // age of a lease from which on a probe renews it
	direct   blob.Redirector // nil: blobs are streamed
	log      *slog.Logger
	now      func() time.Time
	host     func(meta.Scope) string

	admission Admission
}

// New makes a registry on opened stores.
func New(o Options) *Registry {
	r := &Registry{
		db: o.DB, blobs: o.Blobs, uploads: upload.New(o.DB, o.Blobs, o.Seal, o.Now), pulls: newPullLog(),
		seal: o.Seal, kms: o.KMS, cursors: o.Cursors, log: o.Log, now: o.Now, host: o.Host,
		renewal: leaseRenewal(o.Lease), admission: o.Admission,
	}
	if o.MaxSmall != 0 {
		r.uploads.MaxSmall = o.MaxSmall
	}
	if o.Redirect {
		main, _ := cold.Route(o.Blobs, blob.Copy{})
		r.direct, _ = main.(blob.Redirector)
	}
	return r
}

// Times of the background work.
const (
	pullFlushInterval = 5 * time.Second
	restoreInterval   = 5 * time.Second
	sweepInterval     = time.Hour
	uploadLifetime    = 24 * time.Hour // a session without progress for so long is dropped
)

// Run does the background work until ctx ends: it records pulls, restores
// archived images and drops abandoned uploads. The last pulls are recorded before it returns.
func (r *Registry) Run(ctx context.Context) {
	flush, restore, sweep := time.NewTicker(pullFlushInterval), time.NewTicker(restoreInterval), time.NewTicker(sweepInterval)
	defer flush.Stop()
	defer restore.Stop()
	defer sweep.Stop()
	r.Sweep(ctx)
	for {
		select {
		case <-flush.C:
			r.flushPulls(ctx)
		case <-restore.C:
			if err := r.FinishRestores(ctx); err != nil && ctx.Err() == nil {
				r.log.Error("restore archived images", "err", err)
			}
		case <-sweep.C:
			r.Sweep(ctx)
		case <-ctx.Done():
			r.flushPulls(context.WithoutCancel(ctx))
			return
		}
	}
}

// Sweep ends the uploads that nobody continued for a day, and those whose
// repository is gone, and drops their bytes. Run does it every hour.
func (r *Registry) Sweep(ctx context.Context) {
	n, err := r.uploads.Expire(ctx, r.now().Add(-uploadLifetime))
	if err != nil && ctx.Err() == nil {
		r.log.Error("drop abandoned uploads", "err", err)
	}
	if n > 0 {
		r.log.Info("dropped abandoned uploads", "count", n)
	}
}

// Check reports whether the stores can be reached.
func (r *Registry) Check(ctx context.Context) error {
	if err := r.db.Ping(ctx); err != nil {
		return fmt.Errorf("metadata: %w", err)
	}
	if c, ok := r.blobs.(blob.Checker); ok {
		if err := c.Check(ctx); err != nil {
			return fmt.Errorf("blobs: %w", err)
		}
	}
	return nil
}

// namePattern is ECR's grammar of repository names (API_CreateRepository,
// repositoryName), which is that of the OCI specification.
var namePattern = regexp.MustCompile(`^(?:[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*/)*[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)

// ValidName reports whether name may be the name of a repository: 2 to 256
// characters of lower-case path components.
func ValidName(name string) bool {
	return len(name) >= 2 && len(name) <= 256 && namePattern.MatchString(name)
}

// tagPattern is the grammar of tags (OCI distribution-spec, "Pulling manifests").
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// ValidTag reports whether tag may name an image: at most 128 characters.
func ValidTag(tag string) bool { return tagPattern.MatchString(tag) }

// view runs fn on a repository in a consistent snapshot.
func (r *Registry) view(ctx context.Context, s meta.Scope, name string, fn func(*meta.Tx, meta.Repository) error) error {
	return r.db.View(ctx, func(tx *meta.Tx) error {
		repo, err := findRepository(tx, s, name)
		if err != nil {
			return err
		}
		return fn(tx, repo)
	})
}

// update runs fn on a repository in a write transaction.
func (r *Registry) update(ctx context.Context, s meta.Scope, name string, fn func(*meta.Tx, meta.Repository) error) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		repo, err := findRepository(tx, s, name)
		if err != nil {
			return err
		}
		return fn(tx, repo)
	})
}

func findRepository(tx *meta.Tx, s meta.Scope, name string) (meta.Repository, error) {
	repo, err := tx.Repository(s, name)
	if errors.Is(err, meta.ErrNotFound) {
		return repo, repositoryNotFound(s, name)
	}
	return repo, err
}

func repositoryNotFound(s meta.Scope, name string) error {
	return refuse(RepositoryNotFound, "The repository with name '%s' does not exist in the registry with id '%s'", name, s.Account)
}
