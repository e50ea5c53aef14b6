package meta

import "time"

// An Upload is the state of one upload session: everything needed to continue
// it after a restart or on another machine.
type Upload struct {
	ID           string
	RepositoryID int64
	Algorithm    string // digest algorithm that HashState belongs to
	Size         int64  // bytes received
	LastPart     int64  // size of the last part received through UploadLayerPart; 0 when none
	HashState    []byte // encoding.BinaryMarshaler state of the hash after Size bytes
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

func scanUpload(s scanner) (Upload, error) {
	var (
		u                Upload
		created, updated int64
	)
	err := s.Scan(&u.ID, &u.RepositoryID, &u.Algorithm, &u.Size, &u.LastPart, &u.HashState, &created, &updated)
	u.CreatedAt, u.UpdatedAt = fromMicros(created), fromMicros(updated)
	return u, err
}

// InsertUpload adds a session.
func (tx *Tx) InsertUpload(u Upload) error {
	return tx.exec(`INSERT INTO uploads (id, repository_id, algorithm, size, last_part, hash_state, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		u.ID, u.RepositoryID, u.Algorithm, u.Size, u.LastPart, u.HashState, micros(u.CreatedAt), micros(u.UpdatedAt))
}

// Upload finds a session of a repository; another repository's is ErrNotFound.
func (tx *Tx) Upload(repositoryID int64, id string) (Upload, error) {
	return get(tx, scanUpload, `SELECT id, repository_id, algorithm, size, last_part, hash_state, created_at, updated_at
		FROM uploads WHERE id = $1 AND repository_id = $2`, id, repositoryID)
}

// SaveUpload stores a session's progress from the size given. ErrNotFound: the
// session is gone, or somebody else took it further.
func (tx *Tx) SaveUpload(u Upload, from int64) error {
	return tx.one(`UPDATE uploads SET size = $2, last_part = $3, hash_state = $4, updated_at = $5 WHERE id = $1 AND size = $6`,
		u.ID, u.Size, u.LastPart, u.HashState, micros(u.UpdatedAt), from)
}

// DeleteUpload ends a session.
func (tx *Tx) DeleteUpload(id string) error {
	return tx.one(`DELETE FROM uploads WHERE id = $1`, id)
}

// StaleUploads lists up to limit sessions without progress since before.
func (tx *Tx) StaleUploads(before time.Time, limit int) ([]Upload, error) {
	return list(tx, scanUpload, `SELECT id, repository_id, algorithm, size, last_part, hash_state, created_at, updated_at
		FROM uploads WHERE updated_at < $1 ORDER BY updated_at LIMIT $2`, micros(before), limit)
}
