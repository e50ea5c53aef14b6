package audit

import (
	"context"
	"errors"

	"github.com/opencontainers/go-digest"

	"berth/internal/kms"
	"berth/internal/meta"
	"berth/internal/seal"
)

// domainOf is what seals for a repository (internal/registry decides the same).
func domainOf(r meta.Repository) seal.Domain {
	return seal.Domain{Account: r.Scope.Account, KMSKey: r.KMSKey, Dual: r.Encryption == "KMS_DSSE"}
}

func (c *check) manifests(ctx context.Context, done func(int)) error {
	var after int64
	return pages(ctx, c.DB, func(tx *meta.Tx) ([]meta.Manifest, error) { return tx.Manifests(after, manifestPage) }, func(m meta.Manifest) error {
		after = m.ImageID
		return c.manifest(ctx, m)
	}, done)
}

func (c *check) manifest(ctx context.Context, m meta.Manifest) error {
	c.Manifests++
	if key, ok := seal.KeyOf(m.Sealed); ok && c.closed[key] {
		c.Unread++
		return nil
	}
	cause := c.openManifest(ctx, m)
	if cause == nil {
		return nil
	}
	if !errors.Is(cause, seal.ErrAltered) && !errors.Is(cause, seal.ErrUnknownKey) && !errors.Is(cause, errMismatch) {
		var refused *kms.Error
		if errors.As(cause, &refused) {
			c.Unread++
			return nil
		}
		return cause
	}
	// It may have been sealed anew, or deleted, since the page was read.
	err := c.DB.View(ctx, func(tx *meta.Tx) (err error) {
		m, err = tx.Manifest(m.ImageID)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if cause = c.openManifest(ctx, m); cause != nil {
		c.add(Finding{Kind: BadManifest, Repository: m.Repository.Name, Digest: m.Digest,
			Detail: cause.Error() + ": delete the image and push it again"})
	}
	return nil
}

func (a *Auditor) openManifest(ctx context.Context, m meta.Manifest) error {
	text, err := a.Ring.Open(ctx, domainOf(m.Repository).Name(), seal.ManifestPurpose(m.Digest), m.Sealed)
	if err != nil {
		return err
	}
	d := digest.Digest(m.Digest)
	if err := d.Validate(); err != nil || d.Algorithm().FromBytes(text) != d {
		return errMismatch
	}
	return nil
}

func (c *check) references(ctx context.Context, done func(int)) error {
	var last meta.CheckedReference
	return pages(ctx, c.DB, func(tx *meta.Tx) ([]meta.CheckedReference, error) {
		return tx.CheckReferences(last.ImageID, last.Kind, last.Digest, pageSize)
	}, func(r meta.CheckedReference) error {
		last = r
		c.References++
		if !r.Present {
			what := "the layer"
			if r.Kind == meta.RefChild {
				what = "the image"
			}
			c.add(Finding{Kind: MissingReference, Repository: r.Repository, Digest: r.Image,
				Detail: what + " " + r.Digest + " that it lists is not in the repository: push it"})
		}
		return nil
	}, done)
}

func (c *check) members(ctx context.Context, done func(int)) error {
	var last meta.CheckedMember
	return pages(ctx, c.DB, func(tx *meta.Tx) ([]meta.CheckedMember, error) {
		return tx.CheckMembers(last.RepositoryID, last.Digest, pageSize)
	}, func(m meta.CheckedMember) error {
		last = m
		c.Members++
		if m.Whole {
			return nil
		}
		f := Finding{Kind: LooseMember, Repository: m.Repository, Digest: m.Digest, Detail: "no blob row has this digest: push the layer"}
		if c.Repair {
			err := c.DB.Update(ctx, func(tx *meta.Tx) error { return tx.RemoveLooseMember(m.RepositoryID, m.Digest) })
			if errors.Is(err, meta.ErrNotFound) {
				return nil
			}
			if err != nil {
				return err
			}
			f.Settled, f.Action = true, "removed"
		}
		c.add(f)
		return nil
	}, done)
}
