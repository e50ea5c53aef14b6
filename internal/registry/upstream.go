package registry

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/manifest"
	"berth/internal/meta"
)

// DockerHub is the host whose official images have a namespace of their own.
const DockerHub = "registry-1.docker.io"

// officialNamespace is that of Docker Hub's official images, which its own
// clients add to names of one part.
const officialNamespace = "library/"

// rulesFor is how long a server goes on by the cache rules that it knows, after
// another server changed them.
const rulesFor = time.Second

// ruleCache keeps the rules of registries, which every pull asks for.
type ruleCache struct {
	mu    sync.Mutex
	known map[meta.Scope]knownRules
}

type knownRules struct {
	rules []meta.CacheRule
	until time.Time
}

// forget drops the rules of a registry, since they changed.
func (c *ruleCache) forget(s meta.Scope) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, s)
}

// maxKnownRules bounds of how many registries the rules are kept.
const maxKnownRules = 10_000

// allRules are the cache rules of a registry, by prefix.
func (r *Registry) allRules(ctx context.Context, s meta.Scope) ([]meta.CacheRule, error) {
	now := r.now()
	r.rules.mu.Lock()
	have, ok := r.rules.known[s]
	r.rules.mu.Unlock()
	if ok && now.Before(have.until) {
		return have.rules, nil
	}
	var rules []meta.CacheRule
	err := r.db.Read(ctx, func(tx *meta.Tx) (err error) {
		rules, err = tx.CacheRules(s, "", maxCacheRules+1)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.rules.mu.Lock()
	defer r.rules.mu.Unlock()
	if r.rules.known == nil || len(r.rules.known) >= maxKnownRules {
		r.rules.known = map[meta.Scope]knownRules{}
	}
	r.rules.known[s] = knownRules{rules, now.Add(rulesFor)}
	return rules, nil
}

// An Upstream is where the images of a repository come from.
type Upstream struct {
	Rule       meta.CacheRule
	Repository string // its name there
}

// Upstream finds where a repository's images come from: by the cache rule with
// the longest prefix of its name, or the rule ROOT. nil: from nowhere.
//
// Source: ECR User Guide, "Customizing repository prefixes for pull through cache".
func (r *Registry) Upstream(ctx context.Context, s meta.Scope, name string) (*Upstream, error) {
	rules, err := r.allRules(ctx, s)
	if err != nil {
		return nil, err
	}
	var best *Upstream
	longest := -1
	for _, rule := range rules {
		prefix, rest := strings.TrimSuffix(rule.Prefix, "/"), name
		if prefix == Root {
			prefix = ""
		} else {
			var ok bool
			if rest, ok = strings.CutPrefix(name, prefix+"/"); !ok {
				continue
			}
		}
		if len(prefix) > longest {
			longest = len(prefix)
			best = &Upstream{rule, upstreamRepository(rule, rest)}
		}
	}
	return best, nil
}

// upstreamRepository is what the rest of a name behind a rule's prefix is called
// at the upstream.
func upstreamRepository(rule meta.CacheRule, rest string) string {
	if p := strings.TrimSuffix(rule.UpstreamPrefix, "/"); p != "" && p != Root {
		rest = p + "/" + rest
	}
	if rule.UpstreamURL == DockerHub && !strings.Contains(rest, "/") {
		rest = officialNamespace + rest
	}
	return rest
}

// CachedName is the repository that holds what a name asks for: the official
// images of Docker Hub have a long and a short name, and lie under the long one.
// A repository that has the short name itself counts.
func (r *Registry) CachedName(ctx context.Context, s meta.Scope, name string) (string, error) {
	up, err := r.Upstream(ctx, s, name)
	if err != nil || up == nil || up.Rule.UpstreamURL != DockerHub {
		return name, err
	}
	i := strings.LastIndexByte(name, '/') + 1
	long := name[:i] + officialNamespace + name[i:]
	other, err := r.Upstream(ctx, s, long)
	if err != nil || other == nil || other.Rule.Prefix != up.Rule.Prefix || other.Repository != up.Repository {
		return name, err
	}
	_, err = r.Repository(ctx, s, name)
	switch {
	case Is(err, RepositoryNotFound):
		return long, nil
	default:
		return name, err
	}
}

// CachedTag is what is known of a tag that was fetched from the upstream; the
// zero value when it never was.
func (r *Registry) CachedTag(ctx context.Context, s meta.Scope, name, tag string) (c meta.CachedTag, err error) {
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		c, err = cachedTag(tx, repo, tag)
		return err
	})
	return c, err
}

func cachedTag(tx *meta.Tx, repo meta.Repository, tag string) (meta.CachedTag, error) {
	c, err := tx.CachedTag(repo.ID, tag)
	if errors.Is(err, meta.ErrNotFound) {
		return meta.CachedTag{}, nil
	}
	return c, err
}

// NoteChecked notes that the upstream was asked for a tag now, and has what is
// here.
func (r *Registry) NoteChecked(ctx context.Context, s meta.Scope, name, tag, digest string) error {
	return r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		return tx.PutCachedTag(repo.ID, tag, meta.CachedTag{Digest: digest, CheckedAt: r.now()})
	})
}

// TagArrived gives a tag to an image that came from the upstream whole. A tag
// that names something else than what the cache gave it was pushed here, and
// stays; so does one that may not move.
func (r *Registry) TagArrived(ctx context.Context, s meta.Scope, name, tag string, d digest.Digest) error {
	up, err := r.Upstream(ctx, s, name)
	if err != nil {
		return err
	}
	return r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		known, err := cachedTag(tx, repo, tag)
		if err != nil {
			return err
		}
		img, err := tx.ImageByDigest(repo.ID, d.String())
		if err != nil {
			return err
		}
		now, err := tx.ImageByTag(repo.ID, tag)
		switch {
		case errors.Is(err, meta.ErrNotFound):
		case err != nil:
			return err
		case now.Digest != d.String() && (now.Digest != known.Digest || !mayMove(repo, tag)):
			return nil
		}
		if now.Digest != d.String() {
			if err := tx.PutTag(repo.ID, tag, img.ID, r.now()); err != nil {
				return err
			}
			if err := emitTags(tx, repo, img, r.now(), actionPush, []string{tag}); err != nil {
				return err
			}
		}
		if up != nil && known.Digest != d.String() {
			if err := emitCached(tx, s, name, up, cacheDetail{Status: "SUCCESS", Tag: tag, Digest: d.String()}, r.now()); err != nil {
				return err
			}
		}
		if known.CheckedAt.IsZero() {
			known.CheckedAt = r.now()
		}
		known.Digest = d.String()
		if known.Arriving == d.String() {
			known.Arriving = ""
		}
		return tx.PutCachedTag(repo.ID, tag, known)
	})
}

// MayMove reports whether a tag of a repository may name another image than it does.
func (r *Registry) MayMove(ctx context.Context, s meta.Scope, name, tag string) (bool, error) {
	repo, err := r.Repository(ctx, s, name)
	return err == nil && mayMove(repo.Repository, tag), err
}

// KeepArriving keeps a manifest of the upstream whose blobs are still on their
// way, for as long as it takes until it is an image ([Registry.PutImage]) or is
// dropped. With a tag, it is noted that the upstream was asked for it now.
func (r *Registry) KeepArriving(ctx context.Context, s meta.Scope, name, mediaType string, d digest.Digest, body []byte, tag string) error {
	repo, err := r.Repository(ctx, s, name)
	if err != nil {
		return err
	}
	as, err := r.usable(ctx, repo.Repository)
	if err != nil {
		return err
	}
	sealed, err := r.sealManifest(ctx, as, d.String(), body)
	if err != nil {
		return err
	}
	return r.update(ctx, s, name, func(tx *meta.Tx, now meta.Repository) error {
		m := meta.CachedManifest{
			RepositoryID: now.ID, Digest: d.String(), MediaType: mediaType, Size: int64(len(body)), CreatedAt: r.now(), Bytes: sealed,
		}
		if err := tx.PutCachedManifest(m); err != nil || tag == "" {
			return err
		}
		known, err := cachedTag(tx, now, tag)
		if err != nil {
			return err
		}
		known.Arriving, known.CheckedAt = d.String(), r.now()
		return tx.PutCachedTag(now.ID, tag, known)
	})
}

// Arriving finds a manifest whose blobs are still on their way.
func (r *Registry) Arriving(ctx context.Context, s meta.Scope, name string, d digest.Digest) (Manifest, error) {
	var m meta.CachedManifest
	var repo meta.Repository
	err := r.view(ctx, s, name, func(tx *meta.Tx, found meta.Repository) (err error) {
		repo = found
		m, err = tx.CachedManifest(found.ID, d.String())
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return Manifest{}, imageNotFound(meta.Repository{Scope: s, Name: name}, ImageRef{Digest: d.String()})
	}
	if err != nil {
		return Manifest{}, err
	}
	return r.openArriving(ctx, repo, m)
}

func (r *Registry) openArriving(ctx context.Context, repo meta.Repository, m meta.CachedManifest) (Manifest, error) {
	out := Manifest{StoredManifest: meta.StoredManifest{Bytes: m.Bytes, Image: meta.Image{
		RepositoryID: m.RepositoryID, Digest: m.Digest, MediaType: m.MediaType, ManifestSize: m.Size, PushedAt: m.CreatedAt,
	}}}
	return out, r.openManifest(ctx, repo, &out.StoredManifest)
}

// maxArriving bounds how many manifests of one repository are looked through for
// what they list.
const maxArriving = 1000

// ArrivingWith finds what a manifest whose blobs are still on their way says of a
// digest that it lists, as a blob or as a child. ok is false when none lists it.
func (r *Registry) ArrivingWith(ctx context.Context, s meta.Scope, name string, d digest.Digest, child bool) (desc ocispec.Descriptor, ok bool, err error) {
	var list []meta.CachedManifest
	var repo meta.Repository
	err = r.view(ctx, s, name, func(tx *meta.Tx, found meta.Repository) (err error) {
		repo = found
		list, err = tx.CachedManifests(found.ID, maxArriving)
		return err
	})
	if Is(err, RepositoryNotFound) {
		return desc, false, nil
	}
	if err != nil {
		return desc, false, err
	}
	for _, row := range list {
		m, err := r.openArriving(ctx, repo, row)
		if err != nil {
			r.log.Warn("a manifest on its way does not open; it will be fetched anew", "repository", name, "digest", row.Digest, "err", err)
			continue
		}
		parsed, err := manifest.Parse(m.MediaType, m.Bytes)
		if err != nil {
			return desc, false, err
		}
		all := parsed.Blobs()
		if child {
			all = parsed.Children
		}
		for _, one := range all {
			if one.Digest == d {
				return one, true, nil
			}
		}
	}
	return desc, false, nil
}

// DropArriving forgets a manifest that was on its way, since it is an image now.
func (r *Registry) DropArriving(ctx context.Context, s meta.Scope, name string, d digest.Digest) error {
	return r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		return tx.DeleteCachedManifest(repo.ID, d.String())
	})
}

// SweepArriving forgets the manifests that are on their way for longer than a
// time: whoever wants them asks the upstream again.
func (r *Registry) SweepArriving(ctx context.Context, before time.Time) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error { return tx.DeleteCachedManifests(before) })
}

// UpstreamFailure is the refusal of a request that an upstream did not answer;
// layer says what was asked for. Code is one of those that begin with Upstream.
func UpstreamFailure(code Code, layer bool, message string, cause error) error {
	e := &Error{Code: code, Message: message, Err: cause}
	if layer {
		e.Exception = "UnableToGetUpstreamLayerException"
	}
	return e
}

// SecretFailure is the refusal of a cache rule whose secret cannot be used, in the
// words of the API reference (API_CreatePullThroughCacheRule, "Errors"). Code is
// one of those that begin with Secret.
func SecretFailure(code Code, cause error) *Error {
	message := "The secret is unable to be accessed. Verify the resource permissions for the secret and try again."
	switch code {
	case SecretNotFound:
		message = "The ARN of the secret specified in the pull through cache rule was not found. Update the pull through cache rule with a valid secret ARN and try again."
	case SecretSealed:
		message = "The secret is accessible but is unable to be decrypted. Verify the resource permissions and try again."
	}
	return &Error{Code: code, Message: message, Err: cause}
}

// NoSuchImage is the refusal of a request for an image that is nowhere.
func NoSuchImage(s meta.Scope, name string, ref ImageRef) error {
	return imageNotFound(meta.Repository{Scope: s, Name: name}, ref)
}

// ValidRef reports whether a reference may name an image.
func ValidRef(ref ImageRef) bool { return checkRef(ref) == nil }
