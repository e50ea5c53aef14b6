package meta

import (
	"encoding/json"
	"fmt"
	"time"
)

// A LifecycleAct is what a lifecycle policy does to an image.
type LifecycleAct struct {
	Digest       string
	Tags         []string
	PushedAt     time.Time
	Action       string // EXPIRE or TRANSITION
	Rule         int    // its priority
	StorageClass string // STANDARD or ARCHIVE, before the act
}

// A LifecyclePreview is the last preview of a repository.
type LifecyclePreview struct {
	RepositoryID  int64
	ID            string // another one for each preview
	Policy        string
	Status        string // PreviewInProgress, …
	StartedAt     time.Time
	Expiring      int // images that expire, once the preview is complete
	Transitioning int // images that go to the archive
}

// Values of a preview's status (API_GetLifecyclePolicyPreview, status).
const (
	PreviewInProgress = "IN_PROGRESS"
	PreviewComplete   = "COMPLETE"
	PreviewExpired    = "EXPIRED"
	PreviewFailed     = "FAILED"
)

// PutLifecyclePreview writes the preview of a repository; one with another ID
// takes the place of the one before and of what it said.
func (tx *Tx) PutLifecyclePreview(p LifecyclePreview) error {
	if err := tx.exec(`DELETE FROM lifecycle_previews WHERE repository_id = $1 AND id <> $2`, p.RepositoryID, p.ID); err != nil {
		return err
	}
	return tx.exec(`INSERT INTO lifecycle_previews (repository_id, id, policy, status, started_at, expiring, transitioning)
		VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (repository_id) DO UPDATE SET status = excluded.status,
		expiring = excluded.expiring, transitioning = excluded.transitioning`,
		p.RepositoryID, p.ID, p.Policy, p.Status, micros(p.StartedAt), p.Expiring, p.Transitioning)
}

// LifecyclePreview finds the preview of a repository.
func (tx *Tx) LifecyclePreview(repositoryID int64) (LifecyclePreview, error) {
	return get(tx, func(s scanner) (p LifecyclePreview, err error) {
		var started int64
		err = s.Scan(&p.RepositoryID, &p.ID, &p.Policy, &p.Status, &started, &p.Expiring, &p.Transitioning)
		p.StartedAt = fromMicros(started)
		return p, err
	}, `SELECT repository_id, id, policy, status, started_at, expiring, transitioning FROM lifecycle_previews
		WHERE repository_id = $1`, repositoryID)
}

// AddPreviewImage adds what a preview says of an image, at a position of its own.
func (tx *Tx) AddPreviewImage(repositoryID int64, position int, a LifecycleAct) error {
	tags, err := encodeList(a.Tags)
	if err != nil {
		return err
	}
	return tx.exec(`INSERT INTO lifecycle_preview_images (repository_id, position, digest, tags, pushed_at, action, rule, storage_class)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		repositoryID, position, a.Digest, tags, micros(a.PushedAt), a.Action, a.Rule, a.StorageClass)
}

// A PreviewImage is what a preview says of an image.
type PreviewImage struct {
	Position int
	LifecycleAct
}

// PreviewImages lists up to limit images of a preview in the order of acting,
// starting after the position given.
func (tx *Tx) PreviewImages(repositoryID int64, f TagFilter, after, limit int) ([]PreviewImage, error) {
	where := ""
	switch f {
	case Tagged:
		where = ` AND tags <> ''`
	case Untagged:
		where = ` AND tags = ''`
	case AnyTag:
	}
	return list(tx, scanPreviewImage, `SELECT `+previewImageColumns+` FROM lifecycle_preview_images
		WHERE repository_id = $1 AND position > $2`+where+` ORDER BY position LIMIT $3`, repositoryID, after, limit)
}

// PreviewImage finds what a preview says of an image.
func (tx *Tx) PreviewImage(repositoryID int64, digest string) (PreviewImage, error) {
	return get(tx, scanPreviewImage, `SELECT `+previewImageColumns+` FROM lifecycle_preview_images
		WHERE repository_id = $1 AND digest = $2`, repositoryID, digest)
}

const previewImageColumns = `position, digest, tags, pushed_at, action, rule, storage_class`

func scanPreviewImage(s scanner) (PreviewImage, error) {
	var (
		p      PreviewImage
		tags   string
		pushed int64
	)
	if err := s.Scan(&p.Position, &p.Digest, &tags, &pushed, &p.Action, &p.Rule, &p.StorageClass); err != nil {
		return p, err
	}
	p.PushedAt = fromMicros(pushed)
	if tags == "" {
		return p, nil
	}
	if err := json.Unmarshal([]byte(tags), &p.Tags); err != nil {
		return p, fmt.Errorf("tags of the image %s in a preview: %w", p.Digest, err)
	}
	return p, nil
}

// TagsBetween lists all tags of the images whose IDs are above the first and at
// most the last, in push order.
func (tx *Tx) TagsBetween(repositoryID, above, last int64) ([]ImageTag, error) {
	return list(tx, scanImageTag, `SELECT i.id, i.digest, t.name FROM images i JOIN tags t ON t.image_id = i.id
		WHERE i.repository_id = $1 AND i.id > $2 AND i.id <= $3 ORDER BY i.id, t.name`, repositoryID, above, last)
}

// ChildrenBetween lists all digests that the indexes list whose IDs are above the
// first and at most the last, in push order; they stand in the place of the tag.
func (tx *Tx) ChildrenBetween(repositoryID, above, last int64) ([]ImageTag, error) {
	return list(tx, scanImageTag, `SELECT i.id, i.digest, r.digest FROM images i
		JOIN image_references r ON r.image_id = i.id AND r.kind = 'child'
		WHERE i.repository_id = $1 AND i.id > $2 AND i.id <= $3 ORDER BY i.id, r.digest`, repositoryID, above, last)
}

func scanImageTag(s scanner) (t ImageTag, err error) { return t, s.Scan(&t.ImageID, &t.Digest, &t.Tag) }
