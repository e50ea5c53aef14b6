package registry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"

	"berth/internal/meta"
)

// A Manifest is a stored manifest with its exact bytes.
type Manifest struct {
	meta.StoredManifest
	Tag string // the tag it was asked by, if any
}

// Manifest finds a manifest. A ref with digest and tag must name one image.
// It does not count as a pull; see RecordPull.
func (r *Registry) Manifest(ctx context.Context, s meta.Scope, name string, ref ImageRef) (Manifest, error) {
	owner, m, err := r.pull(ctx, s, name, ref, true)
	if err == nil {
		err = r.openManifest(ctx, owner, &m)
	}
	return Manifest{m, ref.Tag}, err
}

// Image finds an image without reading its manifest.
func (r *Registry) Image(ctx context.Context, s meta.Scope, name string, ref ImageRef) (meta.Image, error) {
	owner, m, err := r.pull(ctx, s, name, ref, false)
	if err == nil {
		_, err = r.usable(ctx, owner) // what could not be pulled is not announced
	}
	return m.Image, err
}

// pull finds an image in one statement.
func (r *Registry) pull(ctx context.Context, s meta.Scope, name string, ref ImageRef, withBytes bool) (repo meta.Repository, m meta.StoredManifest, err error) {
	repo = meta.Repository{Scope: s, Name: name}
	digest := ref.Digest
	if ref.Tag != "" {
		digest = ""
	}
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		var o meta.Owner
		o, m, err = tx.PullImage(s, name, ref.Tag, digest, withBytes)
		repo.ID, repo.Encryption, repo.KMSKey = o.ID, o.Encryption, o.KMSKey
		return err
	})
	switch {
	case errors.Is(err, meta.ErrNotFound):
		return repo, m, repositoryNotFound(s, name)
	case errors.Is(err, meta.ErrNoImage), err == nil && ref.Digest != "" && m.Digest != ref.Digest,
		err == nil && m.Status != meta.ImageActive: // archived images answer as if they were not there
		return repo, m, imageNotFound(repo, ref)
	}
	return repo, m, err
}

// FindImage finds an image whatever its status is, for questions about it that
// are no pull.
func (r *Registry) FindImage(ctx context.Context, s meta.Scope, name string, ref ImageRef) (img meta.Image, err error) {
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		img, err = namedImage(tx, repo, ref)
		return err
	})
	return img, err
}

// findManifest is meta.ErrNotFound when there is none, or when tag and digest disagree.
func findManifest(tx *meta.Tx, repo meta.Repository, ref ImageRef) (meta.StoredManifest, error) {
	if ref.Tag == "" {
		return tx.ManifestByDigest(repo.ID, ref.Digest)
	}
	m, err := tx.ManifestByTag(repo.ID, ref.Tag)
	if err == nil && ref.Digest != "" && m.Digest != ref.Digest {
		return m, meta.ErrNotFound
	}
	return m, err
}

func findImage(tx *meta.Tx, repo meta.Repository, ref ImageRef) (meta.Image, error) {
	if ref.Tag == "" {
		return tx.ImageByDigest(repo.ID, ref.Digest)
	}
	img, err := tx.ImageByTag(repo.ID, ref.Tag)
	if err == nil && ref.Digest != "" && img.Digest != ref.Digest {
		return img, meta.ErrNotFound
	}
	return img, err
}

func imageNotFound(repo meta.Repository, ref ImageRef) error {
	return refuse(ImageNotFound, "The image with imageId %s does not exist within the repository with name '%s' in the registry with id '%s'",
		ref, repo.Name, repo.Scope.Account)
}

// String is ECR's way to print an image id: an absent part is 'null', quoted.
func (ref ImageRef) String() string {
	null := func(s string) string {
		if s == "" {
			return "null"
		}
		return s
	}
	return fmt.Sprintf("{imageDigest:'%s', imageTag:'%s'}", null(ref.Digest), null(ref.Tag))
}

// A Failure is one item of a batch that could not be served.
type Failure struct {
	Ref    ImageRef
	Code   string // ImageFailureCode of the ECR API
	Reason string
}

// digestPattern is the form of digests in the ECR API (ImageFailure, InvalidImageDigest).
var digestPattern = regexp.MustCompile(`^[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+$`)

// checkRef finds what is wrong with an image id before it is looked up.
func checkRef(ref ImageRef) *Failure {
	switch {
	case ref.Digest == "" && ref.Tag == "":
		return &Failure{ref, "MissingDigestAndTag", "Invalid request parameters: both tag and digest cannot be null"}
	case ref.Digest != "" && !digestPattern.MatchString(ref.Digest):
		return &Failure{ref, "InvalidImageDigest", "Invalid request parameters: image digest should satisfy the regex '[a-zA-Z0-9-_+.]+:[a-fA-F0-9]+'"}
	case ref.Tag != "" && !ValidTag(ref.Tag):
		return &Failure{ref, "InvalidImageTag", "Invalid request parameters: image tag should satisfy the regex '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}'"}
	}
	return nil
}

// notFound says why an id that is well formed names nothing.
func (ref ImageRef) notFound(tx *meta.Tx, repo meta.Repository) (*Failure, error) {
	if ref.Tag != "" && ref.Digest != "" {
		img, err := tx.ImageByTag(repo.ID, ref.Tag)
		if err == nil && img.Digest != ref.Digest {
			return &Failure{ref, "ImageTagDoesNotMatchDigest", "Requested image tag does not match the image digest"}, nil
		}
		if err != nil && !errors.Is(err, meta.ErrNotFound) {
			return nil, err
		}
	}
	return &Failure{ref, "ImageNotFound", "Requested image not found"}, nil
}

// Manifests finds many manifests; those that cannot be served are failures.
func (r *Registry) Manifests(ctx context.Context, s meta.Scope, name string, refs []ImageRef) (found []Manifest, failed []Failure, err error) {
	var repo meta.Repository
	err = r.view(ctx, s, name, func(tx *meta.Tx, rp meta.Repository) error {
		repo = rp
		for _, ref := range refs {
			if f := checkRef(ref); f != nil {
				failed = append(failed, *f)
				continue
			}
			m, err := findManifest(tx, repo, ref)
			if err == nil && m.Status != meta.ImageActive {
				err = meta.ErrNotFound
			}
			if errors.Is(err, meta.ErrNotFound) {
				f, err := ref.notFound(tx, repo)
				if err != nil {
					return err
				}
				failed = append(failed, *f)
				continue
			}
			if err != nil {
				return err
			}
			found = append(found, Manifest{m, ref.Tag})
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	sealed := found
	found = nil
	for _, m := range sealed {
		err := r.openManifest(ctx, repo, &m.StoredManifest)
		var refused *Error
		switch {
		case err == nil:
			found = append(found, m)
		case errors.As(err, &refused) && refused.Code == KMSFailure:
			failed = append(failed, Failure{ImageRef{m.Digest, m.Tag}, "KmsError", refused.Message})
		default:
			return nil, nil, err
		}
	}
	return found, failed, nil
}

// An ImageDetail is an image with its tags and its last scan.
type ImageDetail struct {
	meta.Image
	Tags []string
	Scan *meta.Scan // nil: there was none by the type of scanning that the registry has
}

// describer gives images of one registry their details.
func (r *Registry) describer(tx *meta.Tx, s meta.Scope) (func(meta.Image) (ImageDetail, error), error) {
	c, err := readScanConfig(tx, s)
	return func(img meta.Image) (ImageDetail, error) {
		out := ImageDetail{Image: img}
		scan, err := tx.Scan(img.ID, c.Type)
		switch {
		case err == nil:
			scan = shown(scan, r.now())
			out.Scan = &scan
		case !errors.Is(err, meta.ErrNotFound):
			return out, err
		}
		out.Tags, err = tx.TagsOf(img.ID)
		return out, err
	}, err
}

// Tag status filters of listings.
const (
	TagStatusAny      = "ANY"
	TagStatusTagged   = "TAGGED"
	TagStatusUntagged = "UNTAGGED"
)

// An ImageFilter selects images of a listing.
type ImageFilter struct {
	TagStatus   string // of the constants above; empty is ANY
	ImageStatus string // ACTIVE, ARCHIVED, ACTIVATING or ANY; empty is the default of the listing
}

// StatusAny is the image status filter that selects all.
const StatusAny = "ANY"

// rows is the filter of the rows; byDefault is the status of an empty filter.
func (f ImageFilter) rows(byDefault string) (out meta.ImageFilter) {
	if out.Status = cmp.Or(f.ImageStatus, byDefault); out.Status == StatusAny {
		out.Status = ""
	}
	switch f.TagStatus {
	case TagStatusTagged:
		out.Tags = meta.Tagged
	case TagStatusUntagged:
		out.Tags = meta.Untagged
	}
	return out
}

// DescribeImages gives the details of the images named, or of up to limit
// images in push order after the cursor: of the active ones, unless the filter
// has another image status (API_DescribeImagesFilter). next is empty on the last
// page.
func (r *Registry) DescribeImages(ctx context.Context, s meta.Scope, name string, refs []ImageRef, f ImageFilter, cursor string, limit int) (out []ImageDetail, next string, err error) {
	out = []ImageDetail{}
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		if len(refs) > 0 {
			out, err = r.describeRefs(tx, repo, refs, f.rows(StatusAny))
			return err
		}
		c, err := r.openImageCursor("images", repo.ID, cursor)
		if err != nil {
			return err
		}
		page, err := tx.Images(repo.ID, f.rows(meta.ImageActive), c.Image, limit+1)
		if err != nil {
			return err
		}
		if len(page) > limit {
			page = page[:limit]
			if next, err = r.sealCursor("images", imageCursor{Repository: repo.ID, Image: page[limit-1].ID}); err != nil {
				return err
			}
		}
		detail, err := r.describer(tx, s)
		if err != nil {
			return err
		}
		for _, img := range page {
			d, err := detail(img)
			if err != nil {
				return err
			}
			out = append(out, d)
		}
		return nil
	})
	return out, next, err
}

// describeRefs gives each image once, however many ids name it. One unknown id
// fails the whole call, as in ECR. An image that is named is described whatever
// its status is, unless the filter has one.
func (r *Registry) describeRefs(tx *meta.Tx, repo meta.Repository, refs []ImageRef, f meta.ImageFilter) (out []ImageDetail, err error) {
	out = []ImageDetail{}
	detail, err := r.describer(tx, repo.Scope)
	if err != nil {
		return nil, err
	}
	seen := map[int64]bool{}
	for _, ref := range refs {
		img, err := namedImage(tx, repo, ref)
		if err != nil {
			return nil, err
		}
		if seen[img.ID] {
			continue
		}
		seen[img.ID] = true
		d, err := detail(img)
		if err != nil {
			return nil, err
		}
		if f.Tags == meta.Tagged && len(d.Tags) == 0 || f.Tags == meta.Untagged && len(d.Tags) > 0 || f.Status != "" && f.Status != img.Status {
			continue
		}
		out = append(out, d)
	}
	return out, nil
}

// ListImages gives up to limit image ids in push order after the cursor: one
// for each tag, and one without a tag for each untagged image; of active images,
// unless the filter has another image status.
func (r *Registry) ListImages(ctx context.Context, s meta.Scope, name string, f ImageFilter, cursor string, limit int) (out []ImageRef, next string, err error) {
	out = []ImageRef{}
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		c, err := r.openImageCursor("image-ids", repo.ID, cursor)
		if err != nil {
			return err
		}
		page, err := tx.ImageTags(repo.ID, f.rows(meta.ImageActive), c.Image, c.Tag, limit+1)
		if err != nil {
			return err
		}
		if len(page) > limit {
			page = page[:limit]
			last := page[limit-1]
			if next, err = r.sealCursor("image-ids", imageCursor{repo.ID, last.ImageID, last.Tag}); err != nil {
				return err
			}
		}
		for _, it := range page {
			out = append(out, ImageRef{it.Digest, it.Tag})
		}
		return nil
	})
	return out, next, err
}

// Tags lists up to limit tags of active images in lexical order after the one given; more says
// that others follow.
func (r *Registry) Tags(ctx context.Context, s meta.Scope, name, after string, limit int) (tags []string, more bool, err error) {
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		tags, err = tx.Tags(repo.ID, after, limit+1)
		return err
	})
	if len(tags) > limit {
		return tags[:limit], true, err
	}
	return tags, false, err
}

// Referrers lists up to limit active manifests whose subject is the digest, of one
// artifact type unless that is empty, in push order after the image ID given;
// more says that others follow. An unknown subject has none.
func (r *Registry) Referrers(ctx context.Context, s meta.Scope, name, subject, artifactType string, after int64, limit int) (out []meta.StoredManifest, more bool, err error) {
	var types []string
	if artifactType != "" {
		types = []string{artifactType}
	}
	_, out, more, err = r.referrers(ctx, s, name, subject, types, meta.ImageActive, limit, func(meta.Repository) (int64, error) { return after, nil })
	return out, more, err
}

// ListReferrers is Referrers for any of several artifact types and for a status
// (empty is ACTIVE), and goes on after a cursor. next is empty on the last page.
func (r *Registry) ListReferrers(ctx context.Context, s meta.Scope, name, subject string, artifactTypes []string, status, cursor string, limit int) (out []meta.StoredManifest, next string, err error) {
	const listing = "referrers"
	repo, out, more, err := r.referrers(ctx, s, name, subject, artifactTypes, ImageFilter{ImageStatus: status}.rows(meta.ImageActive).Status, limit, func(repo meta.Repository) (int64, error) {
		c, err := r.openImageCursor(listing, repo.ID, cursor)
		if err == nil && cursor != "" && c.Tag != subject {
			err = invalid("NextToken", "Invalid next token provided")
		}
		return c.Image, err
	})
	if err == nil && more {
		next, err = r.sealCursor(listing, imageCursor{repo.ID, out[len(out)-1].ID, subject})
	}
	return out, next, err
}

// referrers finds and opens one page, after the image that start gives.
func (r *Registry) referrers(ctx context.Context, s meta.Scope, name, subject string, artifactTypes []string, status string, limit int,
	start func(meta.Repository) (int64, error)) (repo meta.Repository, out []meta.StoredManifest, more bool, err error) {
	err = r.view(ctx, s, name, func(tx *meta.Tx, found meta.Repository) error {
		repo = found
		after, err := start(repo)
		if err != nil {
			return err
		}
		out, err = tx.Referrers(repo.ID, subject, artifactTypes, status, after, limit+1)
		return err
	})
	if len(out) > limit {
		out, more = out[:limit], true
	}
	for i := range out {
		if err == nil {
			err = r.openManifest(ctx, repo, &out[i])
		}
	}
	return repo, out, more, err
}
