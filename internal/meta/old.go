package meta

// A PlainSecret is the secret of an access key as schema versions before 7 kept it.
type PlainSecret struct{ ID, Secret string }

// PlainSecrets lists up to limit access keys whose secrets are not sealed yet.
func (tx *Tx) PlainSecrets(limit int) ([]PlainSecret, error) {
	return list(tx, func(s scanner) (p PlainSecret, err error) { return p, s.Scan(&p.ID, &p.Secret) },
		`SELECT id, secret FROM access_keys WHERE secret <> '' ORDER BY id LIMIT $1`, limit)
}

// SealSecret puts a sealed secret in the place of a plain one. One that is not
// there any more, since the key was replaced or sealed meanwhile, is no error.
func (tx *Tx) SealSecret(p PlainSecret, sealed []byte) error {
	tx.keys = true
	return tx.exec(`UPDATE access_keys SET secret = '', sealed = $3 WHERE id = $1 AND secret = $2`, p.ID, p.Secret, sealed)
}

// What follows is for rows of schema version 1, which migration 2 marked.

// OldBlobs lists up to limit blobs whose bytes still lie unsealed where version
// 1 put them, in the order of their IDs, starting after the one given.
func (tx *Tx) OldBlobs(after int64, limit int) ([]Blob, error) {
	return list(tx, scanBlob, `SELECT `+blobColumns+` FROM blobs b
		WHERE b.location >= 'plain-' AND b.location < 'plain.' AND b.id > $1 ORDER BY b.id LIMIT $2`, after, limit)
}

// SealBlob gives an old row its sealed copy. Nothing goes to the trash: the old
// bytes have no name in the blob store. ErrNotFound: the row has another by now.
func (tx *Tx) SealBlob(old, b Blob) error {
	return tx.one(`UPDATE blobs SET location = $3, data_key = $4, verified_at = $5, damaged = 0
		WHERE id = $1 AND location = $2`, old.ID, old.Location, b.Location, b.DataKey, micros(b.VerifiedAt))
}

// MoveMember points a repository's membership from one blob to another.
// ErrNotFound: it does not lead to the first any more.
func (tx *Tx) MoveMember(repositoryID int64, from, to Blob) error {
	return tx.one(`UPDATE repository_blobs SET blob_id = $4 WHERE repository_id = $1 AND digest = $2 AND blob_id = $3`,
		repositoryID, from.Digest, from.ID, to.ID)
}

// ForgetOldBlob removes an old row that no repository holds. ErrNotFound: one does.
func (tx *Tx) ForgetOldBlob(b Blob) error {
	return tx.one(`DELETE FROM blobs WHERE id = $1 AND location = $2
		AND NOT EXISTS (SELECT 1 FROM repository_blobs r WHERE r.blob_id = $1)`, b.ID, b.Location)
}

// SetKMSKey names the key of a repository that was made before keys were checked.
func (tx *Tx) SetKMSKey(repositoryID int64, arn string) error {
	return tx.one(`UPDATE repositories SET kms_key = $2 WHERE id = $1`, repositoryID, arn)
}
