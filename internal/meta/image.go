package meta

import (
	"cmp"
	"time"
)

// An Image is one manifest in a repository: an image, an index or an artifact.
type Image struct {
	ID           int64
	RepositoryID int64
	Digest       string
	MediaType    string
	ArtifactType string // artifactType of the manifest, else its config's media type
	Subject      string // digest of the manifest this one refers to, or empty
	Size         int64  // bytes a pull transfers: config and layers; of an index, its largest child
	ManifestSize int64
	PushedAt     time.Time
	PulledAt     time.Time // last recorded pull; zero when never pulled
	Status       string    // ImageActive, …; empty stands for ImageActive in a new image
	ArchivedAt   time.Time // last time that it was archived; zero for never
	ActivatedAt  time.Time // last time that it was restored; zero for never
}

// Values of an image's status (API_ImageDetail, imageStatus).
const (
	ImageActive     = "ACTIVE"
	ImageArchived   = "ARCHIVED"
	ImageActivating = "ACTIVATING"
)

const imageColumns = `i.id, i.repository_id, i.digest, i.media_type, i.artifact_type, i.subject, i.size,
	i.manifest_size, i.pushed_at, i.pulled_at, i.status, i.archived_at, i.activated_at`

// imageTimes are the times of a row.
type imageTimes struct{ pushed, pulled, archived, activated int64 }

func (t imageTimes) set(i *Image) {
	i.PushedAt, i.PulledAt = fromMicros(t.pushed), fromMicros(t.pulled)
	i.ArchivedAt, i.ActivatedAt = fromMicros(t.archived), fromMicros(t.activated)
}

func imageFields(i *Image, t *imageTimes) []any {
	return []any{&i.ID, &i.RepositoryID, &i.Digest, &i.MediaType, &i.ArtifactType, &i.Subject, &i.Size,
		&i.ManifestSize, &t.pushed, &t.pulled, &i.Status, &t.archived, &t.activated}
}

func scanImage(s scanner) (Image, error) {
	var (
		i Image
		t imageTimes
	)
	err := s.Scan(imageFields(&i, &t)...)
	t.set(&i)
	return i, err
}

// A StoredManifest is an image with its exact bytes.
type StoredManifest struct {
	Image
	Bytes []byte
}

func scanManifest(s scanner) (StoredManifest, error) {
	var (
		m StoredManifest
		t imageTimes
	)
	err := s.Scan(append(imageFields(&m.Image, &t), &m.Bytes)...)
	t.set(&m.Image)
	return m, err
}

// InsertImage adds a manifest and sets its ID. ErrExists: the digest is there.
func (tx *Tx) InsertImage(m *StoredManifest) (err error) {
	m.Status = cmp.Or(m.Status, ImageActive)
	m.ID, err = tx.insert(`INSERT INTO images (repository_id, digest, media_type, artifact_type, subject, size,
		manifest_size, pushed_at, pulled_at, manifest, status, archived_at, activated_at)
		VALUES (`+placeholders(1, 13)+`) RETURNING id`,
		m.RepositoryID, m.Digest, m.MediaType, m.ArtifactType, m.Subject, m.Size,
		m.ManifestSize, micros(m.PushedAt), micros(m.PulledAt), m.Bytes, m.Status, micros(m.ArchivedAt), micros(m.ActivatedAt))
	return err
}

// ImageByDigest finds an image without its bytes.
func (tx *Tx) ImageByDigest(repositoryID int64, digest string) (Image, error) {
	return get(tx, scanImage, `SELECT `+imageColumns+` FROM images i
		WHERE i.repository_id = $1 AND i.digest = $2`, repositoryID, digest)
}

// ImageByID finds an image without its bytes.
func (tx *Tx) ImageByID(id int64) (Image, error) {
	return get(tx, scanImage, `SELECT `+imageColumns+` FROM images i WHERE i.id = $1`, id)
}

// ImageByTag finds the image that a tag names now.
func (tx *Tx) ImageByTag(repositoryID int64, tag string) (Image, error) {
	return get(tx, scanImage, `SELECT `+imageColumns+` FROM tags t JOIN images i ON i.id = t.image_id
		WHERE t.repository_id = $1 AND t.name = $2`, repositoryID, tag)
}

// ManifestByDigest finds an image with its bytes.
func (tx *Tx) ManifestByDigest(repositoryID int64, digest string) (StoredManifest, error) {
	return get(tx, scanManifest, `SELECT `+imageColumns+`, i.manifest FROM images i
		WHERE i.repository_id = $1 AND i.digest = $2`, repositoryID, digest)
}

// ManifestByTag finds the image that a tag names now, with its bytes.
func (tx *Tx) ManifestByTag(repositoryID int64, tag string) (StoredManifest, error) {
	return get(tx, scanManifest, `SELECT `+imageColumns+`, i.manifest FROM tags t JOIN images i ON i.id = t.image_id
		WHERE t.repository_id = $1 AND t.name = $2`, repositoryID, tag)
}

// A TagFilter selects images by whether they have tags.
type TagFilter int

// The filters.
const (
	AnyTag TagFilter = iota
	Tagged
	Untagged
)

// An ImageFilter selects images of a listing.
type ImageFilter struct {
	Tags   TagFilter
	Status string // ImageActive, …; empty for all
}

// where is the condition on images i. A status is one of the constants above, so
// that it may stand in the statement, where it makes no parameter.
func (f ImageFilter) where() string {
	return f.Tags.where() + statusIs(f.Status)
}

func statusIs(status string) string {
	switch status {
	case ImageActive, ImageArchived, ImageActivating:
		return ` AND i.status = '` + status + `'`
	default:
		return ""
	}
}

func (f TagFilter) where() string {
	switch f {
	case Tagged:
		return ` AND EXISTS (SELECT 1 FROM tags t WHERE t.image_id = i.id)`
	case Untagged:
		return ` AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.image_id = i.id)`
	default:
		return ""
	}
}

// Images lists up to limit images in push order, starting after the ID given.
func (tx *Tx) Images(repositoryID int64, f ImageFilter, after int64, limit int) ([]Image, error) {
	return list(tx, scanImage, `SELECT `+imageColumns+` FROM images i
		WHERE i.repository_id = $1 AND i.id > $2`+f.where()+` ORDER BY i.id LIMIT $3`, repositoryID, after, limit)
}

// An ImageTag is one tag of an image, or an image without tags.
type ImageTag struct {
	ImageID int64
	Digest  string
	Tag     string // empty: the image has none
}

// ImageTags lists up to limit pairs of image and tag in push order, starting
// after the pair given.
func (tx *Tx) ImageTags(repositoryID int64, f ImageFilter, afterImage int64, afterTag string, limit int) ([]ImageTag, error) {
	return list(tx, scanImageTag,
		`SELECT i.id, i.digest, COALESCE(n.name, '') FROM images i LEFT JOIN tags n ON n.image_id = i.id
		WHERE i.repository_id = $1 AND i.id >= $2 AND (i.id > $2 OR COALESCE(n.name, '') > $3)`+f.where()+`
		ORDER BY i.id, n.name LIMIT $4`, repositoryID, afterImage, afterTag, limit)
}

// Referrers lists up to limit images whose subject is the digest given, of the
// artifact types given unless there are none and of a status unless that is
// empty, in push order, starting after the ID given, with their bytes.
func (tx *Tx) Referrers(repositoryID int64, subject string, artifactTypes []string, status string, after int64, limit int) ([]StoredManifest, error) {
	args, types := []any{repositoryID, subject, after, limit}, ""
	if len(artifactTypes) > 0 {
		types = ` AND i.artifact_type IN (` + placeholders(len(args)+1, len(artifactTypes)) + `)`
	}
	for _, t := range artifactTypes {
		args = append(args, t)
	}
	return list(tx, scanManifest, `SELECT `+imageColumns+`, i.manifest FROM images i
		WHERE i.repository_id = $1 AND i.subject = $2 AND i.subject <> '' AND i.id > $3`+types+statusIs(status)+`
		ORDER BY i.id LIMIT $4`, args...)
}

// ReferrersOf lists all images whose subject is the digest given.
func (tx *Tx) ReferrersOf(repositoryID int64, subject string) ([]Image, error) {
	return list(tx, scanImage, `SELECT `+imageColumns+` FROM images i
		WHERE i.repository_id = $1 AND i.subject = $2 AND i.subject <> '' ORDER BY i.id`, repositoryID, subject)
}

// SetStorage writes the status of an image with its times.
func (tx *Tx) SetStorage(i Image) error {
	return tx.one(`UPDATE images SET status = $2, archived_at = $3, activated_at = $4 WHERE id = $1`,
		i.ID, i.Status, micros(i.ArchivedAt), micros(i.ActivatedAt))
}

// Restored lists up to limit images that are being restored and need not wait
// any more: all their blobs are where pulls expect them, or are damaged, and the
// images that they list are active.
func (tx *Tx) Restored(limit int) ([]Image, error) {
	return list(tx, scanImage, `SELECT `+imageColumns+` FROM images i WHERE i.status = 'ACTIVATING'
		AND NOT EXISTS (SELECT 1 FROM image_references f JOIN repository_blobs m ON m.repository_id = f.repository_id AND m.digest = f.digest
			JOIN blobs b ON b.id = m.blob_id WHERE f.image_id = i.id AND f.kind = 'blob' AND b.damaged = 0 AND (b.packed > 0 OR b.cold > 0))
		AND NOT EXISTS (SELECT 1 FROM image_references f JOIN images c ON c.repository_id = f.repository_id AND c.digest = f.digest
			WHERE f.image_id = i.id AND f.kind = 'child' AND c.status <> 'ACTIVE')
		ORDER BY i.id LIMIT $1`, limit)
}

// DeleteImage removes an image with its tags and references.
func (tx *Tx) DeleteImage(id int64) error {
	return tx.one(`DELETE FROM images WHERE id = $1`, id)
}

// RecordPull notes the time of a pull, never moving it backwards. An image
// that is gone is no error: pulls are recorded some time after they happened.
func (tx *Tx) RecordPull(imageID int64, at time.Time) error {
	return tx.exec(`UPDATE images SET pulled_at = $2 WHERE id = $1 AND pulled_at < $2`, imageID, micros(at))
}

// Kinds of references from a manifest.
const (
	RefBlob  = "blob"  // config or layer
	RefChild = "child" // manifest listed by an index
)

// A Reference is one digest that a manifest points at.
type Reference struct {
	Kind      string
	Digest    string
	MediaType string
}

// InsertReference records what an image points at; a repeated one is no error.
func (tx *Tx) InsertReference(img Image, r Reference) error {
	return tx.exec(`INSERT INTO image_references (image_id, kind, digest, repository_id, media_type)
		VALUES ($1, $2, $3, $4, $5) ON CONFLICT (image_id, kind, digest) DO NOTHING`,
		img.ID, r.Kind, r.Digest, img.RepositoryID, r.MediaType)
}

// InactiveChildren lists the digests of images that an index lists and that are
// archived, or are being restored where that counts too.
func (tx *Tx) InactiveChildren(repositoryID, index int64, orActivating bool) ([]string, error) {
	status := ` AND i.status = 'ARCHIVED'`
	if orActivating {
		status = ` AND i.status <> 'ACTIVE'`
	}
	return list(tx, scanString, `SELECT r.digest FROM image_references r
		JOIN images i ON i.repository_id = r.repository_id AND i.digest = r.digest
		WHERE r.image_id = $2 AND r.repository_id = $1 AND r.kind = 'child'`+status+` ORDER BY r.digest`, repositoryID, index)
}

// OnlyArchived reports whether images list a blob of the repository, and none of
// them is active.
func (tx *Tx) OnlyArchived(repositoryID int64, digest string) (bool, error) {
	const refs = `SELECT 1 FROM image_references r JOIN images i ON i.id = r.image_id
		WHERE r.repository_id = $1 AND r.digest = $2 AND r.kind = 'blob'`
	return get(tx, scanBool, `SELECT EXISTS (`+refs+`) AND NOT EXISTS (`+refs+` AND i.status = 'ACTIVE')`, repositoryID, digest)
}

// ReferencedByActive is ReferencedBy for images that are not archived.
func (tx *Tx) ReferencedByActive(repositoryID int64, kind, digest string, limit int) ([]string, error) {
	return list(tx, scanString, `SELECT i.digest FROM image_references r JOIN images i ON i.id = r.image_id
		WHERE r.repository_id = $1 AND r.digest = $2 AND r.kind = $3 AND i.status <> 'ARCHIVED' ORDER BY i.id LIMIT $4`,
		repositoryID, digest, kind, limit)
}

// ReferencedBy lists the digests of up to limit images of the repository that
// point at the digest in the given way.
func (tx *Tx) ReferencedBy(repositoryID int64, kind, digest string, limit int) ([]string, error) {
	return list(tx, scanString, `SELECT i.digest FROM image_references r JOIN images i ON i.id = r.image_id
		WHERE r.repository_id = $1 AND r.digest = $2 AND r.kind = $3 ORDER BY i.id LIMIT $4`,
		repositoryID, digest, kind, limit)
}

// ReferenceMediaType is the media type under which a manifest of the
// repository lists a blob; ErrNotFound when none does.
func (tx *Tx) ReferenceMediaType(repositoryID int64, digest string) (string, error) {
	return get(tx, scanString, `SELECT media_type FROM image_references
		WHERE repository_id = $1 AND digest = $2 AND kind = 'blob' LIMIT 1`, repositoryID, digest)
}
