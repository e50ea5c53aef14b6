package meta

import (
	"errors"
	"time"
)

// A Blob is one stored copy of some bytes, shared by the repositories of its
// domain (an account and an encryption key).
type Blob struct {
	ID         int64
	Domain     string
	Digest     string
	Size       int64
	Location   string // id of the copy in the blob store
	DataKey    int64  // what sealed the copy; 0: the store does not seal itself
	CreatedAt  time.Time
	VerifiedAt time.Time // when all of its bytes were last read and found right; zero when never
	Damaged    bool      // its bytes were found wrong; the next push replaces them
	Packed     int64     // bytes of the copy, before sealing, when it is compressed with zstd; 0: it is as it was pushed
	Cold       bool      // the copy lies in the second store, of archived images
	// Incompressible: it was measured that compressing the bytes saves too little.
	Incompressible bool
	Sealed         []byte // the bytes themselves, sealed, where the row holds them; empty: they are in the blob store
}

const (
	blobFacts = `b.id, b.domain, b.digest, b.size, b.location, b.data_key, b.created_at, b.verified_at, b.damaged,
		b.packed, b.cold > 0, b.incompressible > 0`
	blobColumns = blobFacts + `, b.sealed`
)

// blobReturning is blobColumns for RETURNING, where SQLite knows no alias.
const blobReturning = `id, domain, digest, size, location, data_key, created_at, verified_at, damaged,
	packed, cold > 0, incompressible > 0, sealed`

func blobFields(b *Blob, created, verified *int64, damaged *int) []any {
	return []any{&b.ID, &b.Domain, &b.Digest, &b.Size, &b.Location, &b.DataKey, created, verified, damaged,
		&b.Packed, &b.Cold, &b.Incompressible, &b.Sealed}
}

func scanBlob(s scanner) (Blob, error) {
	var (
		b                 Blob
		created, verified int64
		damaged           int
	)
	err := s.Scan(blobFields(&b, &created, &verified, &damaged)...)
	b.CreatedAt, b.VerifiedAt, b.Damaged = fromMicros(created), fromMicros(verified), damaged != 0
	return b, err
}

// Moved tells whether the copy is not as and where pushes leave it: compressed,
// or in the second store.
func (b Blob) Moved() bool { return b.Packed > 0 || b.Cold }

// Stored is how many bytes the copy has before it is sealed.
func (b Blob) Stored() int64 {
	if b.Packed > 0 {
		return b.Packed
	}
	return b.Size
}

// EnsureBlob returns the domain's row for a digest, adding b when there is
// none. A row that is damaged, or whose copy was moved for the archive, gets b's
// copy instead of its own. The copy of the two that is not used goes to the
// trash. The bytes must be durable before.
func (tx *Tx) EnsureBlob(b Blob) (Blob, error) {
	have, err := tx.Blob(b.Domain, b.Digest)
	switch {
	case errors.Is(err, ErrNotFound):
		return get(tx, scanBlob, `INSERT INTO blobs (domain, digest, size, location, data_key, created_at, verified_at, damaged, sealed)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8) RETURNING `+blobReturning,
			b.Domain, b.Digest, b.Size, b.Location, b.DataKey, micros(b.CreatedAt), micros(b.VerifiedAt), notNil(b.Sealed))
	case err != nil || have.Location == b.Location:
		return have, err
	case have.Damaged || have.Moved():
		b.ID = have.ID
		return b, tx.ReplaceBlob(have, b)
	default:
		return have, tx.discard(b, b.CreatedAt)
	}
}

// ReplaceBlob gives a row another copy of its bytes; the old one goes to the
// trash. ErrNotFound: the row is gone or has another copy by now.
func (tx *Tx) ReplaceBlob(old, b Blob) error {
	err := tx.one(`UPDATE blobs SET location = $3, size = $4, verified_at = $5, damaged = 0, data_key = $6, sealed = $7, packed = $8, cold = $9
		WHERE id = $1 AND location = $2`, old.ID, old.Location, b.Location, b.Size, micros(b.VerifiedAt), b.DataKey, notNil(b.Sealed),
		b.Packed, flag(b.Cold))
	if err != nil {
		return err
	}
	return tx.discard(old, b.CreatedAt)
}

// discard notes the copy of a blob that no row names any more; bytes that were in
// the row are gone with it.
func (tx *Tx) discard(b Blob, at time.Time) error {
	if len(b.Sealed) > 0 {
		return nil
	}
	return tx.AddTrash(Trash{b.Location, b.Domain, b.DataKey, b.Stored(), b.Cold, at})
}

// notNil is for columns that are never NULL.
func notNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// Blob finds a domain's copy of a digest.
func (tx *Tx) Blob(domain, digest string) (Blob, error) {
	return get(tx, scanBlob, `SELECT `+blobColumns+` FROM blobs b WHERE b.domain = $1 AND b.digest = $2`, domain, digest)
}

// Blobs lists up to limit blobs in the order of their IDs, starting after the
// one given.
func (tx *Tx) Blobs(after int64, limit int) ([]Blob, error) {
	return list(tx, scanBlob, `SELECT `+blobColumns+` FROM blobs b WHERE b.id > $1 ORDER BY b.id LIMIT $2`, after, limit)
}

// LeastVerified lists up to limit blobs that were last verified before the
// time given, the longest ago first.
func (tx *Tx) LeastVerified(before time.Time, limit int) ([]Blob, error) {
	return list(tx, scanBlob, `SELECT `+blobColumns+` FROM blobs b WHERE b.verified_at < $1
		ORDER BY b.verified_at, b.id LIMIT $2`, micros(before), limit)
}

// MarkVerified notes what reading all bytes of a copy showed. A copy that has
// been replaced meanwhile is no error.
func (tx *Tx) MarkVerified(b Blob, at time.Time, damaged bool) error {
	return tx.exec(`UPDATE blobs SET verified_at = $3, damaged = $4 WHERE id = $1 AND location = $2`,
		b.ID, b.Location, micros(at), flag(damaged))
}

// HasLocation reports whether a copy is known: a blob's, or one that waits to
// be deleted.
func (tx *Tx) HasLocation(location string) (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM blobs WHERE location = $1)
		OR EXISTS (SELECT 1 FROM trash WHERE location = $1)`, location)
}

// A Member is a blob as one repository holds it.
type Member struct {
	Blob
	LeasedAt time.Time // last upload, mount or successful probe
}

// Member finds a blob through the repository's own membership: no row, no access.
func (tx *Tx) Member(repositoryID int64, digest string) (Member, error) {
	return get(tx, func(s scanner) (m Member, err error) {
		var (
			created, verified, leased int64
			damaged                   int
		)
		err = s.Scan(append(blobFields(&m.Blob, &created, &verified, &damaged), &leased)...)
		m.CreatedAt, m.VerifiedAt, m.LeasedAt = fromMicros(created), fromMicros(verified), fromMicros(leased)
		m.Damaged = damaged != 0
		return m, err
	}, `SELECT `+blobColumns+`, r.leased_at
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
