package meta

import (
	"database/sql"
	"time"
)

// An Upload is the state of one upload session: everything needed to continue
// it after a restart or on another machine.
type Upload struct {
	ID           string
	RepositoryID int64  // 0 when the repository is gone
	Domain       string // what the bytes will belong to; see Blob
	Algorithm    string // digest algorithm
	Size         int64  // bytes received
	LastPart     int64  // size of the last part received through UploadLayerPart; 0 when none
	State        []byte // sealed: what the hash and the blob store need to go on after Size bytes
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

func scanUpload(s scanner) (Upload, error) {
	var (
		u                Upload
		repository       sql.NullInt64
		created, updated int64
	)
	err := s.Scan(&u.ID, &repository, &u.Domain, &u.Algorithm, &u.Size, &u.LastPart, &u.State, &created, &updated)
	u.RepositoryID = repository.Int64
	u.CreatedAt, u.UpdatedAt = fromMicros(created), fromMicros(updated)
	return u, err
}

// InsertUpload adds a session.
func (tx *Tx) InsertUpload(u Upload) error {
	return tx.exec(`INSERT INTO uploads (id, repository_id, domain, algorithm, size, last_part, state, created_at, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
		u.ID, u.RepositoryID, u.Domain, u.Algorithm, u.Size, u.LastPart, u.State, micros(u.CreatedAt), micros(u.UpdatedAt))
}

// Upload finds a session of a repository; another repository's is ErrNotFound.
func (tx *Tx) Upload(repositoryID int64, id string) (Upload, error) {
	return get(tx, scanUpload, `SELECT id, repository_id, domain, algorithm, size, last_part, state, created_at, updated_at
		FROM uploads WHERE id = $1 AND repository_id = $2`, id, repositoryID)
}

// SaveUpload stores a session's progress from the size given. ErrNotFound: the
// session or its repository is gone, or somebody else took it further.
func (tx *Tx) SaveUpload(u Upload, from int64) error {
	return tx.one(`UPDATE uploads SET size = $2, last_part = $3, state = $4, updated_at = $5 
		WHERE id = $1 AND size = $6 AND repository_id = $7`, u.ID, u.Size, u.LastPart, u.State, micros(u.UpdatedAt), from, u.RepositoryID)
}

// HasUpload reports whether a session exists, in whichever repository.
func (tx *Tx) HasUpload(id string) (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM uploads WHERE id = $1)`, id)
}

// DeleteUpload ends a session.
func (tx *Tx) DeleteUpload(id string) error {
	return tx.one(`DELETE FROM uploads WHERE id = $1`, id)
}

// StaleUploads lists up to limit sessions that are over: without progress
// since before, or of a repository that is gone.
func (tx *Tx) StaleUploads(before time.Time, limit int) ([]Upload, error) {
	return list(tx, scanUpload, `SELECT id, repository_id, domain, algorithm, size, last_part, state, created_at, updated_at
		FROM uploads WHERE updated_at < $1 OR repository_id IS NULL ORDER BY updated_at LIMIT $2`, micros(before), limit)
}
