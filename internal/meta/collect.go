package meta

import "time"

// A Membership is a row of repository_blobs as garbage collection sees it.
type Membership struct {
	RepositoryID int64
	Digest       string
	BlobID       int64
	LeasedAt     time.Time
	Referenced   bool // an image of the repository lists the blob
}

// Memberships pages through all memberships in the order of repository and
// digest, starting after the ones given.
func (tx *Tx) Memberships(afterRepository int64, afterDigest string, limit int) ([]Membership, error) {
	return list(tx, func(s scanner) (m Membership, err error) {
		var leased int64
		err = s.Scan(&m.RepositoryID, &m.Digest, &m.BlobID, &leased, &m.Referenced)
		m.LeasedAt = fromMicros(leased)
		return m, err
	}, `SELECT r.repository_id, r.digest, r.blob_id, r.leased_at, EXISTS (SELECT 1 FROM image_references i
			WHERE i.repository_id = r.repository_id AND i.digest = r.digest AND i.kind = 'blob')
		FROM repository_blobs r WHERE (r.repository_id, r.digest) > ($1, $2)
		ORDER BY r.repository_id, r.digest LIMIT $3`, afterRepository, afterDigest, limit)
}

// Unreferenced adds up the bytes of a repository that no image of it lists: blobs
// that were pushed or mounted for none, or whose images are gone, and uploads
// that are not done.
func (tx *Tx) Unreferenced(repositoryID int64) (int64, error) {
	return get(tx, func(s scanner) (n int64, err error) { return n, s.Scan(&n) }, `SELECT CAST(
			COALESCE((SELECT SUM(b.size) FROM repository_blobs r JOIN blobs b ON b.id = r.blob_id WHERE r.repository_id = $1
				AND NOT EXISTS (SELECT 1 FROM image_references i WHERE i.repository_id = $1 AND i.digest = r.digest AND i.kind = 'blob')), 0)
			+ COALESCE((SELECT SUM(size) FROM uploads WHERE repository_id = $1), 0) AS BIGINT)`, repositoryID)
}

// RemoveUnused ends a membership that no image of the repository needs and
// whose lease ended before the time given. ErrNotFound: it is needed, leased
// again, or gone.
func (tx *Tx) RemoveUnused(repositoryID int64, digest string, leasedBefore time.Time) error {
	return tx.one(`DELETE FROM repository_blobs WHERE repository_id = $1 AND digest = $2 AND leased_at < $3
		AND NOT EXISTS (SELECT 1 FROM image_references i WHERE i.repository_id = $1 AND i.digest = $2 AND i.kind = 'blob')`,
		repositoryID, digest, micros(leasedBefore))
}

// An OwnedBlob is a blob with the answer to whether any repository has it.
type OwnedBlob struct {
	Blob
	Owned bool
}

// OwnedBlobs pages through all blobs in the order of their IDs, starting after
// the one given. It does not read the bytes that rows hold.
func (tx *Tx) OwnedBlobs(after int64, limit int) ([]OwnedBlob, error) {
	return list(tx, func(s scanner) (b OwnedBlob, err error) {
		var (
			created, verified int64
			damaged           int
		)
		facts := blobFields(&b.Blob, &created, &verified, &damaged)
		err = s.Scan(append(facts[:len(facts)-1], &b.Owned)...)
		b.CreatedAt, b.VerifiedAt, b.Damaged = fromMicros(created), fromMicros(verified), damaged != 0
		return b, err
	}, `SELECT `+blobFacts+`, EXISTS (SELECT 1 FROM repository_blobs r WHERE r.blob_id = b.id)
		FROM blobs b WHERE b.id > $1 ORDER BY b.id LIMIT $2`, after, limit)
}

// DropBlob removes the row of a blob that no repository has, and notes its
// copy for deletion. ErrNotFound: a repository has it, or it is gone.
func (tx *Tx) DropBlob(id int64, at time.Time) (Blob, error) {
	b, err := get(tx, scanBlob, `DELETE FROM blobs WHERE id = $1
		AND NOT EXISTS (SELECT 1 FROM repository_blobs r WHERE r.blob_id = $1) RETURNING `+blobReturning, id)
	if err != nil {
		return b, err
	}
	return b, tx.discard(b, at)
}
