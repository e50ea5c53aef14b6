package meta

import "time"

// A Blob is one stored copy of some bytes, shared by the repositories of its
// domain (an account and an encryption key).
type Blob struct {
	ID        int64
	Domain    string
	Digest    string
	Size      int64
	CreatedAt time.Time
}

func scanBlob(s scanner) (Blob, error) {
	var (
		b       Blob
		created int64
	)
	err := s.Scan(&b.ID, &b.Domain, &b.Digest, &b.Size, &created)
	b.CreatedAt = fromMicros(created)
	return b, err
}

// EnsureBlob returns the domain's row for a digest, adding it when missing.
// The bytes must be durable before.
func (tx *Tx) EnsureBlob(b Blob) (Blob, error) {
	return get(tx, scanBlob, `INSERT INTO blobs (domain, digest, size, created_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (domain, digest) DO UPDATE SET size = excluded.size
		RETURNING id, domain, digest, size, created_at`, b.Domain, b.Digest, b.Size, micros(b.CreatedAt))
}

// Blob finds a domain's copy of a digest.
func (tx *Tx) Blob(domain, digest string) (Blob, error) {
	return get(tx, scanBlob, `SELECT id, domain, digest, size, created_at FROM blobs
		WHERE domain = $1 AND digest = $2`, domain, digest)
}

// A Member is a blob as one repository holds it.
type Member struct {
	Blob
	LeasedAt time.Time // last upload, mount or successful probe
}

// Member finds a blob through the repository's own membership: no row, no access.
func (tx *Tx) Member(repositoryID int64, digest string) (Member, error) {
	return get(tx, func(s scanner) (m Member, err error) {
		var created, leased int64
		err = s.Scan(&m.ID, &m.Domain, &m.Digest, &m.Size, &created, &leased)
		m.CreatedAt, m.LeasedAt = fromMicros(created), fromMicros(leased)
		return m, err
	}, `SELECT b.id, b.domain, b.digest, b.size, b.created_at, r.leased_at
		FROM repository_blobs r JOIN blobs b ON b.id = r.blob_id
		WHERE r.repository_id = $1 AND r.digest = $2`, repositoryID, digest)
}

// RepositoriesWith names up to limit repositories of a registry that hold a digest.
func (tx *Tx) RepositoriesWith(s Scope, digest string, limit int) ([]string, error) {
	return list(tx, scanString, `SELECT n.name FROM blobs b
		JOIN repository_blobs r ON r.blob_id = b.id JOIN repositories n ON n.id = r.repository_id
		WHERE b.digest = $3 AND n.account = $1 AND n.region = $2 ORDER BY n.name LIMIT $4`, s.Account, s.Region, digest, limit)
}

// AddMember makes a blob part of a repository and renews its lease.
func (tx *Tx) AddMember(repositoryID int64, b Blob, at time.Time) error {
	return tx.exec(`INSERT INTO repository_blobs (repository_id, digest, blob_id, leased_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (repository_id, digest) DO UPDATE SET blob_id = excluded.blob_id, leased_at = excluded.leased_at`,
		repositoryID, b.Digest, b.ID, micros(at))
}

// RenewLease notes that a client was told the blob is here.
func (tx *Tx) RenewLease(repositoryID int64, digest string, at time.Time) error {
	return tx.one(`UPDATE repository_blobs SET leased_at = $3 WHERE repository_id = $1 AND digest = $2`,
		repositoryID, digest, micros(at))
}

// RemoveMember ends a repository's access to a blob; the bytes stay until they are collected.
func (tx *Tx) RemoveMember(repositoryID int64, digest string) error {
	return tx.one(`DELETE FROM repository_blobs WHERE repository_id = $1 AND digest = $2`, repositoryID, digest)
}
