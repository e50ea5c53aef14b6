package pullthrough

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/singleflight"

	"berth/internal/access"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/upstream"
)

// Times of the cache.
const (
	// freshFor is how long a tag is served without asking the upstream (ECR User
	// Guide, "Pulling an image with a pull through cache rule": 24 hours).
	freshFor = 24 * time.Hour
	// patience is how long a pull waits to learn whether a tag that it has is still
	// the upstream's; after it, what is there is served.
	patience = 5 * time.Second
	// pause is how long nothing is tried again that just failed in the background.
	pause = time.Minute
	// sweepInterval is how often what never arrived is forgotten.
	sweepInterval = time.Hour
)

// A CredentialReader finds the credentials of a rule; a rule without any gives
// the zero value.
type CredentialReader func(ctx context.Context, rule meta.CacheRule) (upstream.Credentials, error)

// Options are what a cache is made of. All fields are required.
type Options struct {
	Registry    *registry.Registry
	Client      *upstream.Client
	Credentials CredentialReader
	Dir         string // for blobs on their way, see [PrepareSpool]
	Log         *slog.Logger
	Now         func() time.Time
}

// Cache fills repositories from upstreams. Its methods may be called at the same
// time.
type Cache struct {
	registry    *registry.Registry
	client      *upstream.Client
	credentials CredentialReader
	dir         string
	log         *slog.Logger
	now         func() time.Time
	running     atomic.Int64 // imports

	background context.Context // of what outlives the requests that began it
	stop       context.CancelFunc
	work       sync.WaitGroup
	asking     singleflight.Group // by what an upstream is asked for

	recording sync.Mutex // of what was counted; held while the database is written

	mu      sync.Mutex
	tallies map[ruleKey]*tally
	closed  bool
	flights map[blobKey]*flight
	imports map[importKey]*job
	paused  map[string]time.Time // what failed, by what it was: not before then
}

var errClosed = errors.New("the server is about to end")

// New makes a cache. Close ends it.
func New(o Options) *Cache {
	ctx, stop := context.WithCancel(context.Background())
	return &Cache{
		registry: o.Registry, client: o.Client, credentials: o.Credentials, dir: o.Dir, log: o.Log, now: o.Now,
		background: ctx, stop: stop, flights: map[blobKey]*flight{}, imports: map[importKey]*job{}, paused: map[string]time.Time{},
		tallies: map[ruleKey]*tally{},
	}
}

// Run forgets what never arrived and records what is counted, until ctx ends.
func (c *Cache) Run(ctx context.Context) {
	sweep, count := time.NewTicker(sweepInterval), time.NewTicker(recordInterval)
	defer sweep.Stop()
	defer count.Stop()
	c.sweep(ctx)
	for {
		select {
		case <-sweep.C:
			c.sweep(ctx)
		case <-count.C:
			if err := c.record(ctx); err != nil && ctx.Err() == nil {
				c.log.Error("record what the cache counted", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func (c *Cache) sweep(ctx context.Context) {
	if err := c.registry.SweepArriving(ctx, c.now().Add(-freshFor)); err != nil && ctx.Err() == nil {
		c.log.Error("forget manifests that never arrived", "err", err)
	}
}

// Close ends everything that is on its way, and waits for the end. Nothing
// partial remains.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.work.Wait()
	if err := c.record(context.Background()); err != nil {
		c.log.Error("record what the cache counted", "err", err)
	}
	c.client.Close()
}

// enter counts work that Close waits for, and is false when it came before.
func (c *Cache) enter() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.work.Add(1)
	}
	return !c.closed
}

// Idle reports whether nothing is on its way.
func (c *Cache) Idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.flights) == 0 && c.running.Load() == 0
}

// A Pull is one request for something of a repository.
type Pull struct {
	Scope meta.Scope
	Name  string
	// May asks whether the caller may do an action of ECR on the repository that
	// is named above: nil when it may, an [access.DeniedError] when not. tags are
	// those that the action sets.
	May func(action string, tags []access.Tag) error
}

// Name is the repository that holds what a name asks for, see
// [registry.Registry.CachedName].
func (c *Cache) Name(ctx context.Context, s meta.Scope, name string) (string, error) {
	return c.registry.CachedName(ctx, s, name)
}

// Check logs in at the upstream of a rule. It fails with an *[upstream.Error] when
// that cannot be used with what the rule says.
func (c *Cache) Check(ctx context.Context, rule meta.CacheRule) error {
	who, err := c.credentials(ctx, rule)
	if err != nil {
		return err
	}
	return c.client.Check(ctx, rule.UpstreamURL, who)
}

// A SecretError says that the secret of a rule cannot be used. It is the cause of
// an *[upstream.Error].
type SecretError struct{ Refusal *registry.Error }

func (e *SecretError) Error() string { return e.Refusal.Error() }

// CheckSecret refuses a rule whose secret cannot be read, as ECR does when the rule
// is made. What the secret says is looked at by [Cache.Check].
func (c *Cache) CheckSecret(ctx context.Context, rule meta.CacheRule) error {
	if rule.CredentialARN == "" {
		return nil
	}
	rule.CustomRoleARN = ""
	_, err := c.credentials(ctx, rule)
	var secret *SecretError
	switch {
	case errors.As(err, &secret):
		return secret.Refusal
	case upstream.Is(err, upstream.Denied):
		return nil
	}
	return err
}

// Manifest finds a manifest: the repository's own, or the upstream's. Of one that
// is still arriving the ID is 0.
func (c *Cache) Manifest(ctx context.Context, p Pull, ref registry.ImageRef) (registry.Manifest, error) {
	up, err := c.registry.Upstream(ctx, p.Scope, p.Name)
	if err != nil || up == nil {
		if err != nil {
			return registry.Manifest{}, err
		}
		return c.registry.Manifest(ctx, p.Scope, p.Name, ref)
	}
	m, err := c.registry.Manifest(ctx, p.Scope, p.Name, ref)
	switch {
	case err == nil && ref.Tag != "":
		return c.current(ctx, p, up, ref, m)
	case err == nil:
		c.tally(up).hits.Add(1)
		return m, nil
	case !registry.Is(err, registry.ImageNotFound) && !registry.Is(err, registry.RepositoryNotFound):
		return m, err
	case ref.Tag != "":
		return c.missingTag(ctx, p, up, ref, err)
	default:
		return c.missingDigest(ctx, p, up, digest.Digest(ref.Digest), err)
	}
}

// current is what a tag names that the repository has. When the upstream was not
// asked for a day it is asked whether it is still the same; what it then does not
// answer changes nothing.
func (c *Cache) current(ctx context.Context, p Pull, up *registry.Upstream, ref registry.ImageRef, have registry.Manifest) (registry.Manifest, error) {
	known, err := c.registry.CachedTag(ctx, p.Scope, p.Name, ref.Tag)
	if err != nil {
		return have, err
	}
	if known.Digest != have.Digest { // somebody pushed the tag here
		c.tally(up).hits.Add(1)
		return have, nil
	}
	if known.Arriving != "" {
		m, err := c.registry.Arriving(ctx, p.Scope, p.Name, digest.Digest(known.Arriving))
		if err == nil {
			c.begin(p, up, m, ref.Tag)
			return m, nil
		}
		if !registry.Is(err, registry.ImageNotFound) {
			return have, err
		}
	}
	c.tally(up).hits.Add(1)
	if c.now().Sub(known.CheckedAt) < freshFor || c.isPaused("check", p, ref.Tag) {
		return have, nil
	}
	if may, err := c.registry.MayMove(ctx, p.Scope, p.Name, ref.Tag); err != nil || !may {
		return have, err // ECR User Guide: an immutable tag is never refreshed
	}
	if p.May(importAction, nil) != nil {
		return have, nil
	}
	return c.refresh(ctx, p, up, ref.Tag, have), nil
}

// refresh asks the upstream whether a tag still names what the repository has.
func (c *Cache) refresh(ctx context.Context, p Pull, up *registry.Upstream, tag string, have registry.Manifest) registry.Manifest {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	fresh, err := c.ask(ctx, "check", p, tag, func(ctx context.Context) (registry.Manifest, error) {
		src, err := c.source(ctx, p.Scope, up)
		if err != nil {
			return have, err
		}
		c.tally(up).requests.Add(1)
		d, err := c.client.Head(ctx, src, tag)
		if err != nil {
			return have, err
		}
		if d.Digest.String() == have.Digest {
			return have, c.registry.NoteChecked(ctx, p.Scope, p.Name, tag, have.Digest)
		}
		return c.fetchManifest(ctx, p, up, tag, tag)
	})
	if err != nil {
		c.pauseFor("check", p, tag)
		c.log.Warn("an upstream was not asked for a tag; what is cached is served", "repository", p.Name, "tag", tag, "upstream", up.Rule.UpstreamURL, "err", err)
		return have
	}
	return fresh
}

// missingTag finds what a tag names that the repository does not have.
func (c *Cache) missingTag(ctx context.Context, p Pull, up *registry.Upstream, ref registry.ImageRef, missing error) (registry.Manifest, error) {
	known, err := c.registry.CachedTag(ctx, p.Scope, p.Name, ref.Tag)
	if err != nil && !registry.Is(err, registry.RepositoryNotFound) {
		return registry.Manifest{}, err
	}
	if known.Arriving != "" && c.now().Sub(known.CheckedAt) < freshFor {
		m, err := c.registry.Arriving(ctx, p.Scope, p.Name, digest.Digest(known.Arriving))
		if err == nil && (ref.Digest == "" || ref.Digest == m.Digest) {
			c.begin(p, up, m, ref.Tag)
			return m, nil
		}
	}
	if err := c.mayImport(ctx, p, missing); err != nil {
		return registry.Manifest{}, err
	}
	c.tally(up).misses.Add(1)
	m, err := c.ask(ctx, "tag", p, ref.Tag, func(ctx context.Context) (registry.Manifest, error) {
		return c.fetchManifest(ctx, p, up, ref.Tag, ref.Tag)
	})
	switch {
	case upstream.Is(err, upstream.NotFound):
		return m, notThere(p, ref)
	case err != nil:
		return m, c.refusal(err, false)
	case ref.Digest != "" && ref.Digest != m.Digest:
		return m, notThere(p, ref)
	}
	return m, nil
}

// missingDigest finds a manifest that another lists which is on its way. No other
// digest is fetched: it must have been pulled by tag before (as ECR does).
func (c *Cache) missingDigest(ctx context.Context, p Pull, up *registry.Upstream, d digest.Digest, missing error) (registry.Manifest, error) {
	m, err := c.registry.Arriving(ctx, p.Scope, p.Name, d)
	if err == nil {
		c.begin(p, up, m, "")
		return m, nil
	}
	if !registry.Is(err, registry.ImageNotFound) {
		return m, err
	}
	if _, ok, err := c.registry.ArrivingWith(ctx, p.Scope, p.Name, d, true); err != nil || !ok {
		if err == nil { // it may have become an image just now
			m, err = c.registry.Manifest(ctx, p.Scope, p.Name, registry.ImageRef{Digest: d.String()})
		}
		return m, err
	}
	if err := c.mayImport(ctx, p, missing); err != nil {
		return m, err
	}
	m, err = c.ask(ctx, "digest", p, d.String(), func(ctx context.Context) (registry.Manifest, error) {
		return c.fetchManifest(ctx, p, up, d.String(), "")
	})
	if upstream.Is(err, upstream.NotFound) {
		return m, notThere(p, registry.ImageRef{Digest: d.String()})
	}
	return m, c.refusal(err, false)
}

// Blob opens a blob: the repository's own, or one that is on its way from the
// upstream.
func (c *Cache) Blob(ctx context.Context, p Pull, d digest.Digest) (registry.StoredBlob, error) {
	have, missing := c.registry.OpenBlob(ctx, p.Scope, p.Name, d)
	if missing != nil && !registry.Is(missing, registry.LayerNotFound) {
		return have, missing
	}
	up, err := c.registry.Upstream(ctx, p.Scope, p.Name)
	if missing == nil {
		if err == nil && up != nil {
			c.served(up, have.Size)
		}
		return have, nil
	}
	if err != nil || up == nil {
		return have, errors.Join(err, missing)
	}
	k := blobKey{p.Scope, p.Name, d}
	f := c.flying(k)
	if f == nil {
		desc, ok, err := c.registry.ArrivingWith(ctx, p.Scope, p.Name, d, false)
		if err != nil {
			return have, err
		}
		if !ok { // it may have arrived since
			return c.registry.OpenBlob(ctx, p.Scope, p.Name, d)
		}
		if f, err = c.fly(k, desc.Size, up); err != nil {
			return have, err
		}
		if f == nil {
			return c.registry.OpenBlob(ctx, p.Scope, p.Name, d)
		}
	}
	if f.readers.Add(1) > 1 { // the first reads what the upstream sent
		c.served(up, f.size)
	}
	return registry.StoredBlob{
		BlobInfo: registry.BlobInfo{Digest: d, Size: f.size}, Reader: &stream{ctx: ctx, flight: f},
	}, nil
}

// served counts a blob that a client gets without a request to the upstream. One
// that asks for a part, or goes away, counts as one for the whole.
func (c *Cache) served(up *registry.Upstream, size int64) {
	t := c.tally(up)
	t.served.Add(1)
	t.servedBytes.Add(size)
}

// ask runs something once for all who want it at the same time, as long as it
// takes; who asked waits as long as ctx lasts.
func (c *Cache) ask(ctx context.Context, kind string, p Pull, what string, fn func(context.Context) (registry.Manifest, error)) (registry.Manifest, error) {
	key := kind + " " + p.Scope.Account + " " + p.Scope.Region + " " + p.Name + " " + what
	answer := c.asking.DoChan(key, func() (any, error) {
		if !c.enter() {
			return registry.Manifest{}, errClosed
		}
		defer c.work.Done()
		return fn(c.background)
	})
	select {
	case r := <-answer:
		return r.Val.(registry.Manifest), r.Err
	case <-ctx.Done():
		return registry.Manifest{}, ctx.Err()
	}
}

// isPaused reports whether something failed just now.
func (c *Cache) isPaused(kind string, p Pull, what string) bool {
	key := kind + " " + p.Scope.Account + " " + p.Scope.Region + " " + p.Name + " " + what
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now().Before(c.paused[key])
}

// maxPaused bounds how much is remembered that failed.
const maxPaused = 10_000

func (c *Cache) pauseFor(kind string, p Pull, what string) {
	key := kind + " " + p.Scope.Account + " " + p.Scope.Region + " " + p.Name + " " + what
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.paused) >= maxPaused {
		clear(c.paused)
	}
	c.paused[key] = c.now().Add(pause)
}
