package pullthrough

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"berth/internal/manifest"
	"berth/internal/registry"
)

// maxReferrers bounds how many referrers of one image are imported.
const maxReferrers = 100

// referrersOf is the key under which it is noted when an upstream was asked who
// refers to an image, beside the tags of the repository. It cannot be a tag.
func referrersOf(subject digest.Digest) string { return "referrers/" + subject.String() }

// importReferrers imports what refers to an image: signatures, attestations,
// SBOMs. That is an extra: an image is whole without it.
func (c *Cache) importReferrers(ctx context.Context, p Pull, up *registry.Upstream, subject digest.Digest) error {
	src, err := c.source(ctx, p.Scope, up)
	if err != nil {
		return err
	}
	c.tally(up).requests.Add(1)
	list, err := c.client.Referrers(ctx, src, subject)
	if err != nil {
		return err
	}
	for _, d := range list[:min(len(list), maxReferrers)] {
		if manifest.ValidateDigest(d.Digest) == nil {
			if err := c.importChild(ctx, p, up, d.Digest); err != nil {
				return err
			}
		}
	}
	return c.registry.NoteChecked(ctx, p.Scope, p.Name, referrersOf(subject), "")
}

// Referrers makes sure that what refers to an image of the repository is here as
// the upstream has it, asked at most once a day. When the upstream does not answer,
// what is here is all there is; when it never did, that is an error with ECR's
// exception UnableToListUpstreamImageReferrersException (API_ListImageReferrers).
func (c *Cache) Referrers(ctx context.Context, p Pull, subject digest.Digest) error {
	up, err := c.registry.Upstream(ctx, p.Scope, p.Name)
	if err != nil || up == nil {
		return err
	}
	_, err = c.registry.Image(ctx, p.Scope, p.Name, registry.ImageRef{Digest: subject.String()})
	if registry.Is(err, registry.ImageNotFound) || registry.Is(err, registry.RepositoryNotFound) {
		return nil // nobody's question to the upstream
	}
	if err != nil {
		return err
	}
	known, err := c.registry.CachedTag(ctx, p.Scope, p.Name, referrersOf(subject))
	if err != nil {
		return err
	}
	asked := !known.CheckedAt.IsZero()
	if asked && (c.now().Sub(known.CheckedAt) < freshFor || c.isPaused("referrers", p, subject.String())) || p.May(importAction, nil) != nil {
		return nil
	}
	_, err = c.ask(ctx, "referrers", p, subject.String(), func(ctx context.Context) (registry.Manifest, error) {
		return registry.Manifest{}, c.importReferrers(ctx, p, up, subject)
	})
	if err == nil || ctx.Err() != nil {
		return err
	}
	c.pauseFor("referrers", p, subject.String())
	c.log.Warn("an upstream did not tell who refers to an image", "repository", p.Name, "digest", subject, "upstream", up.Rule.UpstreamURL, "err", err)
	if asked {
		return nil
	}
	err = c.refusal(err, false)
	var refused *registry.Error
	if errors.As(err, &refused) {
		refused.Exception = "UnableToListUpstreamImageReferrersException"
	}
	return err
}
