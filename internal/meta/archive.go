package meta

import "time"

// blobsOf joins the blobs that the image $1 lists.
const blobsOf = ` FROM image_references f JOIN repository_blobs m ON m.repository_id = f.repository_id AND m.digest = f.digest
	JOIN blobs b ON b.id = m.blob_id WHERE f.image_id = $1 AND f.kind = 'blob'`

// wanted are the images that list the blob b and are not archived.
const wanted = `SELECT 1 FROM repository_blobs r JOIN image_references x ON x.repository_id = r.repository_id AND x.digest = r.digest AND x.kind = 'blob'
	JOIN images i ON i.id = x.image_id WHERE r.blob_id = b.id AND i.status <> 'ARCHIVED'`

// unwanted is true of the blob b when no image lists it but archived ones, and no
// repository leased it at the time $2 or later.
const unwanted = ` NOT EXISTS (SELECT 1 FROM repository_blobs r WHERE r.blob_id = b.id AND r.leased_at >= $2)
	AND NOT EXISTS (` + wanted + `)`

// ArchivedImages lists the IDs of up to limit archived images of all
// repositories in their order, starting after the one given.
func (tx *Tx) ArchivedImages(after int64, limit int) ([]int64, error) {
	return list(tx, scanID, `SELECT id FROM images WHERE status = 'ARCHIVED' AND id > $1 ORDER BY id LIMIT $2`, after, limit)
}

// AwaitedImages does so for those that are being restored and wait for blobs (MovedBlobs).
func (tx *Tx) AwaitedImages(after int64, limit int) ([]int64, error) {
	return list(tx, scanID, `SELECT i.id FROM images i WHERE i.status = 'ACTIVATING' AND i.id > $1 AND EXISTS (
			SELECT 1 FROM image_references f JOIN repository_blobs m ON m.repository_id = f.repository_id AND m.digest = f.digest
			JOIN blobs b ON b.id = m.blob_id WHERE f.image_id = i.id AND f.kind = 'blob' AND b.damaged = 0 AND (b.packed > 0 OR b.cold > 0))
		ORDER BY i.id LIMIT $2`, after, limit)
}

// BlobsToArchive lists the blobs of an archived image that are still where pulls
// expect them and need not be: no image that is not archived lists them, in
// whatever repository, and none leased them at the time given or later. Those
// that were measured to be incompressible count only where there is a second
// store, to which they could go; so do those that are only compressed.
func (tx *Tx) BlobsToArchive(imageID int64, leasedFrom time.Time, second bool) ([]Blob, error) {
	return list(tx, scanBlob, `SELECT `+blobColumns+blobsOf+` AND length(b.sealed) = 0 AND b.damaged = 0
		AND b.cold = 0 AND (b.packed = 0 AND b.incompressible = 0 OR $3 > 0)
		AND`+unwanted+` ORDER BY b.id`, imageID, micros(leasedFrom), flag(second))
}

// ArchiveBlob gives a row another copy of its bytes, as ReplaceBlob does, if the
// blob is still one that only archived images list and that was not leased at
// the time given or later. ErrNotFound: it is not, or has another copy by now.
func (tx *Tx) ArchiveBlob(old, b Blob, leasedFrom time.Time) error {
	if _, err := get(tx, scanID, `SELECT b.id FROM blobs b WHERE b.id = $1 AND`+unwanted, old.ID, micros(leasedFrom)); err != nil {
		return err
	}
	return tx.ReplaceBlob(old, b)
}

// MarkIncompressible notes that compressing a blob saves too little. A copy that
// has been replaced meanwhile is no error: the bytes are the same.
func (tx *Tx) MarkIncompressible(b Blob) error {
	return tx.exec(`UPDATE blobs SET incompressible = 1 WHERE id = $1`, b.ID)
}

// MovedBlobs lists the blobs of an image whose copies were moved for the archive.
// Damaged ones are left out: there is nothing to move.
func (tx *Tx) MovedBlobs(imageID int64) ([]Blob, error) {
	return list(tx, scanBlob, `SELECT `+blobColumns+blobsOf+` AND b.damaged = 0 AND (b.packed > 0 OR b.cold > 0) ORDER BY b.id`, imageID)
}

// A MovedBlob is a blob whose copy was moved for the archive, with the answer to
// whether an image lists it that is not archived.
type MovedBlob struct {
	Blob
	Wanted bool
}

// AllMovedBlobs lists up to limit of them in the order of their IDs, starting
// after the one given. Damaged ones are left out.
func (tx *Tx) AllMovedBlobs(after int64, limit int) ([]MovedBlob, error) {
	return list(tx, func(s scanner) (b MovedBlob, err error) {
		var (
			created, verified int64
			damaged           int
		)
		err = s.Scan(append(blobFields(&b.Blob, &created, &verified, &damaged), &b.Wanted)...)
		b.CreatedAt, b.VerifiedAt, b.Damaged = fromMicros(created), fromMicros(verified), damaged != 0
		return b, err
	}, `SELECT `+blobColumns+`, EXISTS (`+wanted+`) FROM blobs b
		WHERE b.id > $1 AND b.damaged = 0 AND (b.packed > 0 OR b.cold > 0) ORDER BY b.id LIMIT $2`, after, limit)
}

// A MovedTotal says what blobs that were moved for the archive take.
type MovedTotal struct {
	Blobs  int64
	Bytes  int64 // as they were pushed
	Stored int64 // of their copies, before sealing
}

// MovedTotals adds them up: those that are compressed where pushes leave them, and
// those in the second store.
func (tx *Tx) MovedTotals() (packed, cold MovedTotal, err error) {
	sum := func(where string) (MovedTotal, error) {
		return get(tx, func(s scanner) (t MovedTotal, err error) { return t, s.Scan(&t.Blobs, &t.Bytes, &t.Stored) },
			`SELECT COUNT(*), CAST(COALESCE(SUM(size), 0) AS BIGINT),
			CAST(COALESCE(SUM(CASE WHEN packed > 0 THEN packed ELSE size END), 0) AS BIGINT)
			FROM blobs b WHERE (b.packed > 0 OR b.cold > 0) AND `+where)
	}
	if packed, err = sum("b.cold = 0"); err != nil {
		return packed, cold, err
	}
	cold, err = sum("b.cold > 0")
	return packed, cold, err
}

// ColdBlobs lists up to limit blobs whose copies lie in the second store, and are
// not known to be damaged.
func (tx *Tx) ColdBlobs(limit int) ([]Blob, error) {
	return list(tx, scanBlob, `SELECT `+blobColumns+` FROM blobs b
		WHERE (b.packed > 0 OR b.cold > 0) AND b.cold > 0 AND b.damaged = 0 ORDER BY b.id LIMIT $1`, limit)
}

// HasColdBlobs reports whether any copy lies in the second store.
func (tx *Tx) HasColdBlobs() (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM blobs WHERE (packed > 0 OR cold > 0) AND cold > 0)
		OR EXISTS (SELECT 1 FROM trash WHERE cold > 0)`)
}
