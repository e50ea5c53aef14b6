package registry

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/manifest"
	"berth/internal/meta"
	"berth/internal/seal"
)

// maxTagsPerImage is a limit of ECR ("Amazon ECR service quotas").
const maxTagsPerImage = 1000

// A Push is a manifest on its way in.
type Push struct {
	MediaType string // declared by the client; empty: the document's own
	Body      []byte
	Tags      []string      // none: by digest only
	Digest    digest.Digest // claimed by the client; empty: none
}

// An ImageRef names an image: by digest, by tag, or by both when they must agree.
type ImageRef struct {
	Digest string
	Tag    string
}

// A Pushed manifest.
type Pushed struct {
	Digest    digest.Digest
	MediaType string
	Subject   string
}

// PutImage stores a manifest, names it, or both, as PutImage of the ECR API
// does. What the manifest lists must be in the repository. Whether the tag may
// move is decided in the transaction that moves it. When the manifest and all
// its tags were there already the refusal is ImageAlreadyExists, and Pushed is
// still filled in.
func (r *Registry) PutImage(ctx context.Context, s meta.Scope, name string, p Push) (Pushed, error) {
	for _, tag := range p.Tags {
		if !ValidTag(tag) {
			return Pushed{}, invalid("imageTag", "must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'")
		}
	}
	if len(p.Body) > manifest.MaxSize {
		e := invalid("imageManifest", "Member must have length less than or equal to 4194304")
		e.Code = ManifestTooLarge
		return Pushed{}, e
	}
	m, err := manifest.Parse(p.MediaType, p.Body)
	if err != nil {
		e := invalid("ImageManifest", "Invalid JSON syntax")
		e.Err = err
		return Pushed{}, e
	}
	d, err := manifestDigest(p)
	if err != nil {
		return Pushed{}, err
	}
	out := Pushed{Digest: d, MediaType: m.MediaType}
	if m.Subject != nil {
		out.Subject = m.Subject.Digest.String()
	}
	return out, r.put(ctx, s, name, p, m, out)
}

// put seals the manifest, which may need a KMS key, and then writes: no
// transaction waits for a key. A repository that was replaced in between by
// one with another key, or a data key that was retired, makes it start over.
func (r *Registry) put(ctx context.Context, s meta.Scope, name string, p Push, m *manifest.Manifest, out Pushed) error {
	for {
		repo, err := r.Repository(ctx, s, name)
		if err != nil {
			return err
		}
		as, err := r.usable(ctx, repo.Repository)
		if err != nil {
			return err
		}
		sealed, err := r.sealManifest(ctx, as, out.Digest.String(), p.Body)
		if err != nil {
			return err
		}
		err = r.update(ctx, s, name, func(tx *meta.Tx, now meta.Repository) error {
			if domain(now).Name() != as {
				return errReplaced
			}
			if key, ok := seal.KeyOf(sealed); ok {
				if err := tx.CheckDataKey(key); errors.Is(err, meta.ErrNotFound) {
					return errReplaced // the key was retired meanwhile
				} else if err != nil {
					return err
				}
			}
			return r.putImage(tx, now, p.Tags, m, out, meta.StoredManifest{Image: meta.Image{ManifestSize: int64(len(p.Body))}, Bytes: sealed})
		})
		if !errors.Is(err, errReplaced) {
			return err
		}
	}
}

var errReplaced = errors.New("the repository was replaced by one with another key, or its data key was retired")

// manifestDigest is the digest of the bytes, of the algorithm the client claims.
func manifestDigest(p Push) (digest.Digest, error) {
	if p.Digest == "" {
		return digest.FromBytes(p.Body), nil
	}
	if err := manifest.ValidateDigest(p.Digest); err != nil {
		return "", invalid("imageDigest", "must satisfy regular expression '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'")
	}
	if d := p.Digest.Algorithm().FromBytes(p.Body); d != p.Digest {
		return "", refuse(ImageDigestDoesNotMatch,
			"The image digest '%s' given does not match the digest '%s' of the image manifest", p.Digest, d)
	}
	return p.Digest, nil
}

func (r *Registry) putImage(tx *meta.Tx, repo meta.Repository, tags []string, m *manifest.Manifest, out Pushed, row meta.StoredManifest) error {
	now := r.now()
	img, err := tx.ImageByDigest(repo.ID, out.Digest.String())
	isNew := errors.Is(err, meta.ErrNotFound)
	if err != nil && !isNew {
		return err
	}
	var moves []string // tags that do not name the digest yet
	for _, tag := range tags {
		same, err := checkTag(tx, repo, tag, out.Digest.String())
		if err != nil {
			return err
		}
		if !same {
			moves = append(moves, tag)
		}
	}
	told := moves // in events
	switch {
	case isNew:
		if img, err = insertImage(tx, repo, m, out, row, now); err == nil {
			err = scanPushed(tx, repo, img, now)
		}
	case img.Status != meta.ImageActive: // the push restores it (ECR User Guide, "Archiving an image")
		told = tags
		err = reactivate(tx, repo, &img, now)
	case len(moves) == 0:
		err = imageAlreadyExists(repo, out.Digest.String(), tags)
	}
	if err != nil {
		return err
	}
	for _, tag := range moves {
		if err := tx.PutTag(repo.ID, tag, img.ID, now); err != nil {
			return err
		}
	}
	n, err := tx.CountTags(img.ID)
	if err == nil && n > maxTagsPerImage {
		return refuse(LimitExceeded, "The image with digest '%s' in the repository with name '%s' has the maximum of %d tags",
			out.Digest, repo.Name, maxTagsPerImage)
	}
	if err != nil {
		return err
	}
	return emitTags(tx, repo, img, now, actionPush, told)
}

// checkTag decides whether the tag may name the digest from now on, and says
// whether it does already. ECR refuses to write an immutable tag again even
// with the digest it has.
func checkTag(tx *meta.Tx, repo meta.Repository, tag, digest string) (same bool, err error) {
	now, err := tx.ImageByTag(repo.ID, tag)
	switch {
	case errors.Is(err, meta.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	case !mayMove(repo, tag):
		return false, refuse(ImageTagAlreadyExists,
			"The image tag '%s' already exists in the '%s' repository and cannot be overwritten because the tag is immutable.", tag, repo.Name)
	}
	return now.Digest == digest, nil
}

func imageAlreadyExists(repo meta.Repository, digest string, tags []string) error {
	tag := "null"
	if len(tags) > 0 {
		tag = tags[0]
	}
	return refuse(ImageAlreadyExists, "Image with digest '%s' and tag '%s' already exists in the repository with name '%s' in registry with id '%s'",
		digest, tag, repo.Name, repo.Scope.Account)
}

func insertImage(tx *meta.Tx, repo meta.Repository, m *manifest.Manifest, out Pushed, row meta.StoredManifest, now time.Time) (meta.Image, error) {
	size, refs, err := resolveReferences(tx, repo, m)
	if err != nil {
		return meta.Image{}, err
	}
	row.Image = meta.Image{
		RepositoryID: repo.ID, Digest: out.Digest.String(), MediaType: m.MediaType, ArtifactType: m.ArtifactType,
		Subject: out.Subject, Size: size, ManifestSize: row.ManifestSize, PushedAt: now,
	}
	if err := tx.InsertImage(&row); err != nil {
		return meta.Image{}, err
	}
	for _, ref := range refs {
		if err := tx.InsertReference(row.Image, ref); err != nil {
			return meta.Image{}, err
		}
	}
	return row.Image, nil
}

// resolveReferences finds everything a manifest lists and the number of bytes
// a pull of it transfers. What is missing is named in the refusal.
func resolveReferences(tx *meta.Tx, repo meta.Repository, m *manifest.Manifest) (size int64, refs []meta.Reference, err error) {
	var missing []string
	for _, d := range m.Blobs() {
		member, err := tx.Member(repo.ID, d.Digest.String())
		if errors.Is(err, meta.ErrNotFound) || (err == nil && member.Damaged) {
			missing = append(missing, d.Digest.String())
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		size += member.Size
		refs = append(refs, meta.Reference{Kind: meta.RefBlob, Digest: member.Digest, MediaType: d.MediaType})
	}
	if len(missing) > 0 {
		return 0, nil, notThere(LayersMissing, "Layers", missing, repo)
	}
	for _, d := range m.Children {
		child, err := tx.ImageByDigest(repo.ID, d.Digest.String())
		if errors.Is(err, meta.ErrNotFound) || err == nil && child.Status != meta.ImageActive { // a push of it comes first and restores it
			missing = append(missing, d.Digest.String())
			continue
		}
		if err != nil {
			return 0, nil, err
		}
		size = max(size, child.Size)
		refs = append(refs, meta.Reference{Kind: meta.RefChild, Digest: child.Digest, MediaType: child.MediaType})
	}
	if len(missing) > 0 {
		return 0, nil, notThere(ReferencedImagesNotFound, "Images", missing, repo)
	}
	return size, refs, nil
}

func notThere(code Code, what string, digests []string, repo meta.Repository) error {
	return refuse(code, "%s with digests '[%s]' required for pushing image into repository with name '%s' in the registry with id '%s' do not exist",
		what, strings.Join(digests, ", "), repo.Name, repo.Scope.Account)
}
