package registry

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/internal/meta"
)

// Storage classes of images (API_UpdateImageStorageClass, targetStorageClass).
const (
	StorageStandard = "STANDARD"
	StorageArchive  = "ARCHIVE"
)

// SetStorageClass archives an image or restores an archived one, and returns its
// digest and the status that it has then. What has the class already is left as
// it is.
//
// An archived image is there and can be deleted, and that is all: pulls do not
// find it, listings leave it out unless they ask for it, its tags are not
// listed, and it is not scanned. What refers to it (signatures, SBOMs) goes and
// comes back with it. An index is archived before the images that it lists and
// restored after them, so that no active index lists what cannot be pulled.
//
// A restored image is ACTIVATING until the background work makes it ACTIVE, see
// [Registry.FinishRestores]; then it counts as pushed at that time. A push of
// its manifest restores it at once.
//
// The bytes of what only archived images list are moved by the background work
// (audit.Mover): compressed, or to a second store. Wherever they are they can be
// read, so a push that refers to them needs nothing to be moved first; a restore
// waits until they are back.
//
// Source: API_UpdateImageStorageClass; ECR User Guide, "Archiving an image".
func (r *Registry) SetStorageClass(ctx context.Context, s meta.Scope, name string, ref ImageRef, class string) (digest, status string, err error) {
	if class != StorageStandard && class != StorageArchive {
		return "", "", invalid("targetStorageClass", "Member must satisfy enum value set: [STANDARD, ARCHIVE]")
	}
	err = r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		img, err := namedImage(tx, repo, ref)
		if err != nil {
			return err
		}
		if class == StorageArchive {
			err = r.archive(tx, repo, &img)
		} else {
			err = r.restore(tx, repo, &img)
		}
		digest, status = img.Digest, img.Status
		return err
	})
	return digest, status, err
}

// namedImage finds the image of a request that is about one image.
func namedImage(tx *meta.Tx, repo meta.Repository, ref ImageRef) (meta.Image, error) {
	if f := checkRef(ref); f != nil {
		return meta.Image{}, refuse(InvalidParameter, "%s", f.Reason)
	}
	img, err := findImage(tx, repo, ref)
	if errors.Is(err, meta.ErrNotFound) {
		err = imageNotFound(repo, ref)
	}
	return img, err
}

func (r *Registry) archive(tx *meta.Tx, repo meta.Repository, img *meta.Image) error {
	switch img.Status {
	case meta.ImageArchived:
		return nil
	case meta.ImageActivating:
		return notSupported(repo, img, StorageArchive, "it is being restored")
	}
	indexes, err := tx.ReferencedByActive(repo.ID, meta.RefChild, img.Digest, 10)
	if err != nil {
		return err
	}
	if len(indexes) > 0 {
		return notSupported(repo, img, StorageArchive, "it is referenced by manifest list: ["+strings.Join(indexes, ", ")+"]")
	}
	now := r.now()
	return withReferrers(tx, img, func(i *meta.Image) error {
		if i.Status != meta.ImageActive {
			return nil
		}
		i.Status, i.ArchivedAt = meta.ImageArchived, now
		if err := tx.SetStorage(*i); err != nil {
			return err
		}
		return emitStorage(tx, repo, *i, now)
	})
}

func (r *Registry) restore(tx *meta.Tx, repo meta.Repository, img *meta.Image) error {
	if img.Status != meta.ImageArchived {
		return nil
	}
	children, err := tx.InactiveChildren(repo.ID, img.ID, false)
	if err != nil {
		return err
	}
	if len(children) > 0 {
		return notSupported(repo, img, StorageStandard, "the images that it references are archived: ["+strings.Join(children, ", ")+"]")
	}
	return withReferrers(tx, img, func(i *meta.Image) error {
		if i.Status != meta.ImageArchived {
			return nil
		}
		i.Status = meta.ImageActivating
		return tx.SetStorage(*i)
	})
}

func notSupported(repo meta.Repository, img *meta.Image, class, why string) error {
	return refuse(StorageClassNotSupported, "The storage class of the image with digest '%s' in the repository with name '%s' in the registry with id '%s' cannot be updated to %s: %s",
		img.Digest, repo.Name, repo.Scope.Account, class, why)
}

// withReferrers calls fn with an image, with what refers to it, with what refers
// to that, and so on. Subjects are digests, so they cannot form a circle.
func withReferrers(tx *meta.Tx, img *meta.Image, fn func(*meta.Image) error) error {
	if err := fn(img); err != nil {
		return err
	}
	list, err := tx.ReferrersOf(img.RepositoryID, img.Digest)
	if err != nil {
		return err
	}
	for i := range list {
		if err := withReferrers(tx, &list[i], fn); err != nil {
			return err
		}
	}
	return nil
}

// activate makes an image that was archived active again. What a scan found
// before is not known of it any more, and what is scanned on push is scanned
// again (ECR User Guide, "Archiving an image").
func activate(tx *meta.Tx, repo meta.Repository, img *meta.Image, now time.Time) error {
	img.Status, img.ActivatedAt = meta.ImageActive, now
	if err := tx.SetStorage(*img); err != nil {
		return err
	}
	if err := tx.DeleteScans(img.ID); err != nil {
		return err
	}
	if err := emitStorage(tx, repo, *img, now); err != nil {
		return err
	}
	return scanPushed(tx, repo, *img, now)
}

// reactivate is what the push of an archived manifest does: at once, and with
// what refers to it.
func reactivate(tx *meta.Tx, repo meta.Repository, img *meta.Image, now time.Time) error {
	children, err := tx.InactiveChildren(repo.ID, img.ID, true)
	if err != nil {
		return err
	}
	if len(children) > 0 {
		return notThere(ReferencedImagesNotFound, "Images", children, repo)
	}
	return withReferrers(tx, img, func(i *meta.Image) error {
		if i.Status == meta.ImageActive {
			return nil
		}
		return activate(tx, repo, i, now)
	})
}

// maxRestores bounds how many images one transaction makes active.
const maxRestores = 1000

// FinishRestores makes the images active that are being restored and whose
// bytes are back, in all registries. What moves the bytes is audit.Mover. Run does
// this every few seconds.
func (r *Registry) FinishRestores(ctx context.Context) error {
	for {
		var waiting []meta.Image
		err := r.db.Read(ctx, func(tx *meta.Tx) (err error) { // which writes nothing, as it mostly has to
			waiting, err = tx.Restored(1)
			return err
		})
		if err != nil || len(waiting) == 0 {
			return err
		}
		err = r.db.Update(ctx, func(tx *meta.Tx) error {
			waiting, err := tx.Restored(maxRestores)
			if err != nil {
				return err
			}
			for i := range waiting {
				repo, err := tx.RepositoryByID(waiting[i].RepositoryID)
				if err == nil {
					err = activate(tx, repo, &waiting[i], r.now())
				}
				if err != nil {
					return fmt.Errorf("restore the image %s: %w", waiting[i].Digest, err)
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}
