package meta

import "time"

// A Manifest is the sealed bytes of an image with what is needed to open them.
type Manifest struct {
	ImageID    int64
	Repository Repository // its ID, Scope, Name, Encryption and KMSKey
	Digest     string
	Sealed     []byte
}

const manifestColumns = `i.id, i.digest, i.manifest, r.id, r.account, r.region, r.name, r.encryption, r.kms_key`

func scanSealed(s scanner) (m Manifest, err error) {
	r := &m.Repository
	err = s.Scan(&m.ImageID, &m.Digest, &m.Sealed, &r.ID, &r.Scope.Account, &r.Scope.Region, &r.Name, &r.Encryption, &r.KMSKey)
	return m, err
}

// Manifests lists up to limit manifests of all repositories in the order of
// their images' IDs, starting after the one given.
func (tx *Tx) Manifests(after int64, limit int) ([]Manifest, error) {
	return list(tx, scanSealed, `SELECT `+manifestColumns+` FROM images i JOIN repositories r ON r.id = i.repository_id
		WHERE i.id > $1 ORDER BY i.id LIMIT $2`, after, limit)
}

// Manifest reads one of them again. ErrNotFound: the image is gone.
func (tx *Tx) Manifest(imageID int64) (Manifest, error) {
	return get(tx, scanSealed, `SELECT `+manifestColumns+` FROM images i JOIN repositories r ON r.id = i.repository_id
		WHERE i.id = $1`, imageID)
}

// ReplaceManifest seals a manifest anew. ErrNotFound: the image is gone, or
// has other sealed bytes by now.
func (tx *Tx) ReplaceManifest(imageID int64, old, sealed []byte) error {
	return tx.one(`UPDATE images SET manifest = $3 WHERE id = $1 AND manifest = $2`, imageID, old, sealed)
}

// A CheckedReference is what an image points at, with the answer to whether it is there.
type CheckedReference struct {
	ImageID    int64
	Repository string
	Image      string // digest
	Reference
	Present bool
}

// CheckReferences pages through all references in the order of image, kind and
// digest, starting after the ones given.
func (tx *Tx) CheckReferences(afterImage int64, afterKind, afterDigest string, limit int) ([]CheckedReference, error) {
	return list(tx, func(s scanner) (r CheckedReference, err error) {
		return r, s.Scan(&r.ImageID, &r.Repository, &r.Image, &r.Kind, &r.Digest, &r.MediaType, &r.Present)
	}, `SELECT f.image_id, n.name, i.digest, f.kind, f.digest, f.media_type, CASE WHEN f.kind = 'blob'
			THEN EXISTS (SELECT 1 FROM repository_blobs m WHERE m.repository_id = f.repository_id AND m.digest = f.digest)
			ELSE EXISTS (SELECT 1 FROM images c WHERE c.repository_id = f.repository_id AND c.digest = f.digest) END
		FROM image_references f JOIN images i ON i.id = f.image_id JOIN repositories n ON n.id = f.repository_id
		WHERE (f.image_id, f.kind, f.digest) > ($1, $2, $3) ORDER BY f.image_id, f.kind, f.digest LIMIT $4`,
		afterImage, afterKind, afterDigest, limit)
}

// A CheckedMember is a membership, with the answer to whether it leads to a
// blob of its digest.
type CheckedMember struct {
	RepositoryID int64
	Repository   string
	Digest       string
	Whole        bool
}

// CheckMembers pages through all memberships in the order of repository and
// digest, starting after the ones given.
func (tx *Tx) CheckMembers(afterRepository int64, afterDigest string, limit int) ([]CheckedMember, error) {
	return list(tx, func(s scanner) (m CheckedMember, err error) {
		return m, s.Scan(&m.RepositoryID, &m.Repository, &m.Digest, &m.Whole)
	}, `SELECT r.repository_id, n.name, r.digest, EXISTS (SELECT 1 FROM blobs b WHERE b.id = r.blob_id AND b.digest = r.digest)
		FROM repository_blobs r JOIN repositories n ON n.id = r.repository_id
		WHERE (r.repository_id, r.digest) > ($1, $2) ORDER BY r.repository_id, r.digest LIMIT $3`,
		afterRepository, afterDigest, limit)
}

// RemoveLooseMember ends a membership that leads to no blob of its digest.
// ErrNotFound: it is gone, or leads to one by now.
func (tx *Tx) RemoveLooseMember(repositoryID int64, digest string) error {
	return tx.one(`DELETE FROM repository_blobs WHERE repository_id = $1 AND digest = $2
		AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.id = repository_blobs.blob_id AND b.digest = $2)`, repositoryID, digest)
}

// BlobByID reads one blob again. ErrNotFound: it is gone.
func (tx *Tx) BlobByID(id int64) (Blob, error) {
	return get(tx, scanBlob, `SELECT `+blobColumns+` FROM blobs b WHERE b.id = $1`, id)
}

// Uploads lists up to limit sessions in the order of their ids, starting after the one given.
func (tx *Tx) Uploads(after string, limit int) ([]Upload, error) {
	return list(tx, scanUpload, `SELECT id, repository_id, domain, algorithm, size, last_part, state, created_at, updated_at
		FROM uploads WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
}

// UploadByID finds a session of whichever repository.
func (tx *Tx) UploadByID(id string) (Upload, error) {
	return get(tx, scanUpload, `SELECT id, repository_id, domain, algorithm, size, last_part, state, created_at, updated_at
		FROM uploads WHERE id = $1`, id)
}

// EndUpload ends a session that is as it was read. ErrNotFound: it went on, or is over.
func (tx *Tx) EndUpload(u Upload) error {
	return tx.one(`DELETE FROM uploads WHERE id = $1 AND size = $2 AND state = $3`, u.ID, u.Size, u.State)
}

// BlobsSealedBy lists up to limit blobs whose copies a data key sealed, in the
// order of their IDs, starting after the one given.
func (tx *Tx) BlobsSealedBy(dataKey, after int64, limit int) ([]Blob, error) {
	return list(tx, scanBlob, `SELECT `+blobColumns+` FROM blobs b WHERE b.data_key = $1 AND b.id > $2
		ORDER BY b.id LIMIT $3`, dataKey, after, limit)
}

// DropDataKey forgets a key that sealed nothing that is still there, in copies,
// manifests or sessions; sealed text of the key begins with header. Sessions of
// the domain that began before the time given count, since their bytes may be
// sealed with it. ErrNotFound: it is in use, the youngest of its domain, or gone.
func (tx *Tx) DropDataKey(k DataKey, header []byte, before time.Time) error {
	return tx.one(`DELETE FROM data_keys WHERE id = $1
		AND EXISTS (SELECT 1 FROM data_keys y WHERE y.domain = $2 AND y.id > $1)
		AND NOT EXISTS (SELECT 1 FROM blobs WHERE data_key = $1)
		AND NOT EXISTS (SELECT 1 FROM trash WHERE data_key = $1)
		AND NOT EXISTS (SELECT 1 FROM uploads WHERE domain = $2 AND (created_at < $4 OR substr(state, 1, 9) = $3))
		AND NOT EXISTS (SELECT 1 FROM images WHERE substr(manifest, 1, 9) = $3)`, k.ID, k.Domain, header, micros(before))
}

// CheckDataKey is ErrNotFound when the key with which something was sealed is
// gone by now. 0 stands for none.
func (tx *Tx) CheckDataKey(id int64) error {
	if id == 0 {
		return nil
	}
	_, err := get(tx, func(s scanner) (v int64, err error) { return v, s.Scan(&v) }, `SELECT id FROM data_keys WHERE id = $1`, id)
	return err
}

// ReplaceSetting changes a value that is as it was read. ErrNotFound: it is not.
func (tx *Tx) ReplaceSetting(name string, old, value []byte) error {
	return tx.one(`UPDATE settings SET value = $3 WHERE name = $1 AND value = $2`, name, old, value)
}

// AllRepositories lists up to limit repositories of all registries in the
// order of their IDs, starting after the one given.
func (tx *Tx) AllRepositories(after int64, limit int) ([]Repository, error) {
	return list(tx, scanRepository, `SELECT `+repositoryColumns+` FROM repositories WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
}

// Owners lists the repositories that hold a blob.
func (tx *Tx) Owners(blobID int64) ([]Repository, error) {
	return list(tx, scanRepository, `SELECT `+repositoryColumns+` FROM repositories
		WHERE id IN (SELECT repository_id FROM repository_blobs WHERE blob_id = $1) ORDER BY id`, blobID)
}
