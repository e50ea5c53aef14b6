package pullthrough

import (
	"context"
	"errors"
	"fmt"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"berth/internal/access"
	"berth/internal/manifest"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/upstream"
)

// Actions that a first pull needs besides those of a pull (ECR User Guide,
// "IAM permissions required to sync an upstream registry").
const (
	importAction = "BatchImportUpstreamImage"
	createAction = "CreateRepository"
	tagAction    = "TagResource"
)

// mayImport asks whether the caller may fill the repository, and create it when
// it is missing, with the tags of its template. Without the right, what is missing
// stays missing.
func (c *Cache) mayImport(ctx context.Context, p Pull, missing error) error {
	if registry.Is(missing, registry.RepositoryNotFound) {
		t, err := c.registry.TemplateFor(ctx, p.Scope, p.Name, registry.ForPullThrough)
		if err != nil {
			return err
		}
		var tags []access.Tag
		if t != nil {
			for _, tag := range t.ResourceTags {
				tags = append(tags, access.Tag{Key: tag.Key, Value: tag.Value})
			}
		}
		if err := denied(p.May(createAction, tags), missing); err != nil {
			return err
		}
		if len(tags) > 0 {
			if err := denied(p.May(tagAction, tags), missing); err != nil {
				return err
			}
		}
	}
	return denied(p.May(importAction, nil), missing)
}

// denied is another error in place of one that says that the caller may not.
func denied(err, otherwise error) error {
	if access.IsDenied(err) {
		return otherwise
	}
	return err
}

// source is where a repository comes from, with the credentials for it.
func (c *Cache) source(ctx context.Context, s meta.Scope, up *registry.Upstream) (upstream.Source, error) {
	who, err := c.credentials(ctx, up.Rule)
	limit := &c.tally(up).limit
	return upstream.Source{
		Host: up.Rule.UpstreamURL, Repository: up.Repository, Credentials: who, Limit: func(l upstream.Limit) { limit.Store(&l) },
	}, err
}

// fetchManifest fetches a manifest, keeps it and begins to fetch what it lists.
// The repository is made when it is missing, after the upstream answered.
func (c *Cache) fetchManifest(ctx context.Context, p Pull, up *registry.Upstream, ref, tag string) (registry.Manifest, error) {
	src, err := c.source(ctx, p.Scope, up)
	if err != nil {
		return registry.Manifest{}, err
	}
	c.tally(up).requests.Add(1)
	m, err := c.client.Manifest(ctx, src, ref)
	if err != nil {
		return registry.Manifest{}, err
	}
	if _, err := manifest.Parse(m.MediaType, m.Body); err != nil {
		return registry.Manifest{}, &upstream.Error{Kind: upstream.Malformed, Host: src.Host, Message: "gave a manifest that cannot be kept: " + err.Error(), Err: err}
	}
	if _, err := c.registry.Repository(ctx, p.Scope, p.Name); registry.Is(err, registry.RepositoryNotFound) {
		err = c.create(ctx, p)
		if err != nil && !registry.Is(err, registry.RepositoryAlreadyExists) {
			return registry.Manifest{}, err
		}
	} else if err != nil {
		return registry.Manifest{}, err
	}
	if err := c.registry.KeepArriving(ctx, p.Scope, p.Name, m.MediaType, m.Digest, m.Body, tag); err != nil {
		return registry.Manifest{}, err
	}
	out := registry.Manifest{Tag: tag, StoredManifest: meta.StoredManifest{Bytes: m.Body, Image: meta.Image{
		Digest: m.Digest.String(), MediaType: m.MediaType, ManifestSize: m.Size, PushedAt: c.now(),
	}}}
	c.begin(p, up, out, tag)
	return out, nil
}

// create makes the repository that a first pull needs, by the template that is
// applied for that, or with the defaults.
func (c *Cache) create(ctx context.Context, p Pull) error {
	t, err := c.registry.TemplateFor(ctx, p.Scope, p.Name, registry.ForPullThrough)
	if err != nil {
		return err
	}
	_, err = c.registry.CreateFromTemplate(ctx, p.Scope, p.Name, t)
	return err
}

// An importKey names a manifest on its way into a repository.
type importKey struct {
	scope  meta.Scope
	name   string
	digest string
}

// A job makes an image of a manifest: it fetches what it lists, and puts it.
type job struct {
	done chan struct{}
	err  error
	tags map[string]bool // that shall name it; guarded by the cache's lock
}

// begin makes an image of a manifest, in the background. A manifest whose job
// failed just now waits.
func (c *Cache) begin(p Pull, up *registry.Upstream, m registry.Manifest, tag string) *job {
	paused := c.isPaused("import", p, m.Digest)
	k := importKey{p.Scope, p.Name, m.Digest}
	c.mu.Lock()
	defer c.mu.Unlock()
	j := c.imports[k]
	if j == nil {
		j = &job{done: make(chan struct{}), tags: map[string]bool{}}
		if c.closed || paused {
			j.err = errPaused
			close(j.done)
			return j
		}
		c.imports[k] = j
		c.running.Add(1)
		c.work.Go(func() { c.run(j, k, p, up, m, tag) })
	}
	if tag != "" {
		j.tags[tag] = true
	}
	return j
}

var errPaused = errors.New("this image could not be imported just now and waits for its next try")

func (c *Cache) run(j *job, k importKey, p Pull, up *registry.Upstream, m registry.Manifest, tag string) {
	defer c.running.Add(-1)
	err := c.importImage(c.background, p, up, m)
	for err == nil {
		var next string
		if next, err = c.nextTag(j, k); next == "" && err == nil {
			break
		}
		if err == nil {
			err = c.registry.TagArrived(c.background, p.Scope, p.Name, next, digest.Digest(m.Digest))
		}
	}
	if err != nil && c.background.Err() == nil {
		c.log.Warn("an image of an upstream could not be imported whole", "repository", p.Name, "digest", m.Digest, "upstream", up.Rule.UpstreamURL, "err", err)
		c.pauseFor("import", p, m.Digest)
		if tag != "" { // else it is told of what lists this manifest
			if err := c.registry.SyncFailed(c.background, p.Scope, p.Name, tag, m.Digest, err.Error()); err != nil && c.background.Err() == nil {
				c.log.Error("tell that an image of an upstream did not arrive", "repository", p.Name, "err", err)
			}
		}
	}
	if err == nil {
		err = c.registry.DropArriving(c.background, p.Scope, p.Name, digest.Digest(m.Digest))
	}
	c.mu.Lock()
	if c.imports[k] == j {
		delete(c.imports, k)
	}
	c.mu.Unlock()
	j.err = err
	close(j.done)
	if err == nil {
		subject := digest.Digest(m.Digest)
		if err := c.importReferrers(c.background, p, up, subject); err != nil && c.background.Err() == nil {
			c.log.Info("the referrers of an image of an upstream were not all imported", "repository", p.Name, "digest", subject, "err", err)
		}
	}
}

// nextTag takes a tag that the image shall have. When there is none left the job
// takes no more.
func (c *Cache) nextTag(j *job, k importKey) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for tag := range j.tags {
		delete(j.tags, tag)
		return tag, nil
	}
	delete(c.imports, k)
	return "", nil
}

// blobsAtOnce is how many blobs of one image are fetched at the same time by
// nobody's request.
const blobsAtOnce = 3

// importImage fetches everything that a manifest lists, and stores it as an
// image without a tag.
func (c *Cache) importImage(ctx context.Context, p Pull, up *registry.Upstream, m registry.Manifest) error {
	parsed, err := manifest.Parse(m.MediaType, m.Bytes)
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(blobsAtOnce)
	for _, d := range parsed.Blobs() {
		g.Go(func() error { return c.importBlob(gctx, p, up, d.Digest, d.Size) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for _, d := range parsed.Children { // one by one: whoever waits for one fetches it
		if err := c.importChild(ctx, p, up, d.Digest); err != nil {
			return fmt.Errorf("import the manifest %s that it lists: %w", d.Digest, err)
		}
	}
	_, err = c.registry.PutImage(ctx, p.Scope, p.Name, registry.Push{MediaType: m.MediaType, Body: m.Bytes, Digest: digest.Digest(m.Digest)})
	if registry.Is(err, registry.ImageAlreadyExists) {
		return nil
	}
	return err
}

func (c *Cache) importBlob(ctx context.Context, p Pull, up *registry.Upstream, d digest.Digest, size int64) error {
	f, err := c.fly(blobKey{p.Scope, p.Name, d}, size, up)
	if err != nil || f == nil {
		return err
	}
	return errors.Join(f.wait(ctx), f.spool.done())
}

func (c *Cache) importChild(ctx context.Context, p Pull, up *registry.Upstream, d digest.Digest) error {
	_, err := c.registry.Image(ctx, p.Scope, p.Name, registry.ImageRef{Digest: d.String()})
	if !registry.Is(err, registry.ImageNotFound) {
		return err
	}
	m, err := c.registry.Arriving(ctx, p.Scope, p.Name, d)
	if err != nil {
		m, err = c.ask(ctx, "digest", p, d.String(), func(ctx context.Context) (registry.Manifest, error) {
			return c.fetchManifest(ctx, p, up, d.String(), "")
		})
	}
	if err != nil {
		return err
	}
	return c.await(ctx, c.begin(p, up, m, ""))
}

// await waits for the end of a job.
func (c *Cache) await(ctx context.Context, j *job) error {
	select {
	case <-j.done:
		return j.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Import makes sure that an image is here whole: what is missing of it is
// fetched, and waited for. It is what the ECR API does, whose answers name images
// that can be described.
func (c *Cache) Import(ctx context.Context, p Pull, ref registry.ImageRef) error {
	m, err := c.Manifest(ctx, p, ref)
	if err != nil || m.ID != 0 {
		return err
	}
	c.mu.Lock()
	j := c.imports[importKey{p.Scope, p.Name, m.Digest}]
	c.mu.Unlock()
	if j == nil {
		return nil // it is over, and what came of it is seen now
	}
	return c.refusal(c.await(ctx, j), false)
}

// refusal puts what an upstream did into ECR's words. Other errors come through
// as they are.
func (c *Cache) refusal(err error, layer bool) error {
	var e *upstream.Error
	var refused *registry.Error
	if err == nil || !errors.As(err, &e) || errors.As(err, &refused) && refused.Code != registry.InvalidLayer {
		return err
	}
	code := registry.UpstreamUnavailable
	switch e.Kind {
	case upstream.Denied:
		code = registry.UpstreamDenied
	case upstream.TooMany:
		code = registry.UpstreamTooMany
	}
	return registry.UpstreamFailure(code, layer, "The image or layer could not be fetched: "+e.Error(), err)
}

func notThere(p Pull, ref registry.ImageRef) error {
	return registry.NoSuchImage(p.Scope, p.Name, ref)
}
