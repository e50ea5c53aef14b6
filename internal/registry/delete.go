package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/internal/meta"
)

// DeleteImages untags and deletes, as BatchDeleteImage does: an id with a tag
// removes the tag, and the image when that was its last one; an id without a
// tag removes the image with all its tags. An image that an index lists stays,
// unless the index goes in the same call. Everything that went is listed, one
// entry per tag. The whole call is one transaction.
func (r *Registry) DeleteImages(ctx context.Context, s meta.Scope, name string, refs []ImageRef) (deleted []ImageRef, failed []Failure, err error) {
	err = r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		deleted, failed, err = deleteRefs(tx, repo, refs, r.now())
		return err
	})
	return deleted, failed, err
}

// deleteRefs goes over the ids again while that makes progress, since an index
// may stand after its children.
func deleteRefs(tx *meta.Tx, repo meta.Repository, refs []ImageRef, now time.Time) (deleted []ImageRef, failed []Failure, err error) {
	deleted = []ImageRef{}
	for len(refs) > 0 {
		var held []ImageRef
		var heldBy []Failure
		for _, ref := range refs {
			gone, failure, err := deleteRef(tx, repo, ref, now)
			switch {
			case err != nil:
				return nil, nil, err
			case failure == nil:
				deleted = append(deleted, gone...)
			case failure.Code == "ImageReferencedByManifestList":
				held, heldBy = append(held, ref), append(heldBy, *failure)
			default:
				failed = append(failed, *failure)
			}
		}
		if len(held) == len(refs) {
			return deleted, append(failed, heldBy...), nil
		}
		refs = held
	}
	return deleted, failed, nil
}

func deleteRef(tx *meta.Tx, repo meta.Repository, ref ImageRef, now time.Time) (gone []ImageRef, failure *Failure, err error) {
	if f := checkRef(ref); f != nil {
		return nil, f, nil
	}
	img, err := findImage(tx, repo, ref)
	if errors.Is(err, meta.ErrNotFound) {
		f, err := ref.notFound(tx, repo)
		return nil, f, err
	}
	if err != nil {
		return nil, nil, err
	}
	tags, err := tx.TagsOf(img.ID)
	if err != nil {
		return nil, nil, err
	}
	if ref.Tag != "" && len(tags) > 1 {
		return []ImageRef{{img.Digest, ref.Tag}}, nil, untag(tx, repo, img, ref.Tag, now)
	}
	indexes, err := tx.ReferencedBy(repo.ID, meta.RefChild, img.Digest, 10)
	if err != nil {
		return nil, nil, err
	}
	if len(indexes) > 0 {
		return nil, &Failure{ref, "ImageReferencedByManifestList",
			fmt.Sprintf("Requested image referenced by manifest list: [%s]", strings.Join(indexes, ", "))}, nil
	}
	for _, t := range tags {
		gone = append(gone, ImageRef{img.Digest, t})
	}
	if len(tags) == 0 {
		gone = []ImageRef{{Digest: img.Digest}}
	}
	if err := emitTags(tx, repo, img, now, actionDelete, tags); err != nil {
		return nil, nil, err
	}
	return gone, nil, tx.DeleteImage(img.ID)
}

// untag takes a tag from an image, which stays.
func untag(tx *meta.Tx, repo meta.Repository, img meta.Image, tag string, now time.Time) error {
	if err := tx.DeleteTag(repo.ID, tag); err != nil {
		return err
	}
	return emitTags(tx, repo, img, now, actionDelete, []string{tag})
}

// DeleteManifest removes a tag, or an image by its digest, as the OCI
// Distribution API does: the image that a tag named stays (distribution-spec,
// "Deleting tags").
func (r *Registry) DeleteManifest(ctx context.Context, s meta.Scope, name string, ref ImageRef) error {
	return r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		if ref.Tag != "" {
			img, err := tx.ImageByTag(repo.ID, ref.Tag)
			if errors.Is(err, meta.ErrNotFound) {
				return imageNotFound(repo, ref)
			}
			if err != nil {
				return err
			}
			return untag(tx, repo, img, ref.Tag, r.now())
		}
		_, failure, err := deleteRef(tx, repo, ref, r.now())
		switch {
		case err != nil:
			return err
		case failure == nil:
			return nil
		case failure.Code == "ImageReferencedByManifestList":
			return refuse(ImageReferenced, "%s", failure.Reason)
		default:
			return imageNotFound(repo, ref)
		}
	})
}
