package meta

import (
	"database/sql"
	"errors"
)

// ErrNoImage and ErrNoMember say that the repository exists, and what was
// asked of it does not.
var (
	ErrNoImage  = errors.New("no such image in the repository")
	ErrNoMember = errors.New("no such blob in the repository")
)

// An Owner is what a pull needs to know of a repository.
type Owner struct {
	ID         int64
	Encryption string
	KMSKey     string
}

// pulledColumns are those of an owner and an image that may be missing.
const pulledColumns = `r.id, r.encryption, r.kms_key, i.id, COALESCE(i.digest, ''), COALESCE(i.media_type, ''),
	COALESCE(i.artifact_type, ''), COALESCE(i.subject, ''), COALESCE(i.size, 0), COALESCE(i.manifest_size, 0),
	COALESCE(i.pushed_at, 0), COALESCE(i.pulled_at, 0), COALESCE(i.status, ''), COALESCE(i.archived_at, 0),
	COALESCE(i.activated_at, 0)`

// Joins that find the image which a tag or a digest names.
const (
	byTag    = ` LEFT JOIN tags t ON t.repository_id = r.id AND t.name = $4 LEFT JOIN images i ON i.id = t.image_id`
	byDigest = ` LEFT JOIN images i ON i.repository_id = r.id AND i.digest = $4`
)

// The statements of pulls, one for each way to ask.
const (
	pullHead     = `SELECT ` + pulledColumns + ` FROM repositories r`
	pullManifest = `SELECT ` + pulledColumns + `, i.manifest FROM repositories r`
	pullWhere    = ` WHERE r.account = $1 AND r.region = $2 AND r.name = $3`
)

// PullImage finds an image by its digest, or by its tag when the digest is
// empty, with its bytes or without them, in one statement. ErrNotFound: there
// is no such repository; ErrNoImage: there is no such image in it.
func (tx *Tx) PullImage(s Scope, name, tag, digest string, withBytes bool) (Owner, StoredManifest, error) {
	columns, join, ref := pullHead, byDigest, digest
	if withBytes {
		columns = pullManifest
	}
	if digest == "" {
		join, ref = byTag, tag
	}
	var (
		o Owner
		m StoredManifest
	)
	_, err := get(tx, func(row scanner) (struct{}, error) {
		var (
			id sql.NullInt64
			t  imageTimes
		)
		dest := []any{&o.ID, &o.Encryption, &o.KMSKey, &id, &m.Digest, &m.MediaType, &m.ArtifactType, &m.Subject, &m.Size,
			&m.ManifestSize, &t.pushed, &t.pulled, &m.Status, &t.archived, &t.activated}
		if withBytes {
			dest = append(dest, &m.Bytes)
		}
		if err := row.Scan(dest...); err != nil {
			return struct{}{}, err
		}
		if !id.Valid {
			return struct{}{}, ErrNoImage
		}
		m.ID, m.RepositoryID = id.Int64, o.ID
		t.set(&m.Image)
		return struct{}{}, nil
	}, columns+join+pullWhere, s.Account, s.Region, name, ref)
	return o, m, err
}

// PullBlob finds a blob through the repository's own membership, in one
// statement. ErrNotFound: there is no such repository; ErrNoMember: it does not
// have the blob.
func (tx *Tx) PullBlob(s Scope, name, digest string) (Owner, Member, error) {
	var (
		o Owner
		m Member
	)
	_, err := get(tx, func(row scanner) (struct{}, error) {
		var (
			id                        sql.NullInt64
			created, verified, leased int64
			damaged                   int
		)
		err := row.Scan(&o.ID, &o.Encryption, &o.KMSKey, &id, &m.Domain, &m.Size, &m.Location, &m.DataKey, &created, &verified, &damaged, &leased,
			&m.Packed, &m.Cold, &m.Sealed)
		if err == nil && !id.Valid {
			err = ErrNoMember
		}
		m.ID, m.Digest, m.Damaged = id.Int64, digest, damaged != 0
		m.CreatedAt, m.VerifiedAt, m.LeasedAt = fromMicros(created), fromMicros(verified), fromMicros(leased)
		return struct{}{}, err
	}, `SELECT r.id, r.encryption, r.kms_key, b.id, COALESCE(b.domain, ''), COALESCE(b.size, 0), COALESCE(b.location, ''),
			COALESCE(b.data_key, 0), COALESCE(b.created_at, 0), COALESCE(b.verified_at, 0), COALESCE(b.damaged, 0), COALESCE(m.leased_at, 0),
			COALESCE(b.packed, 0), COALESCE(b.cold, 0) > 0, b.sealed
		FROM repositories r LEFT JOIN repository_blobs m ON m.repository_id = r.id AND m.digest = $4
			LEFT JOIN blobs b ON b.id = m.blob_id`+pullWhere, s.Account, s.Region, name, digest)
	return o, m, err
}
