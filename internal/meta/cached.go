package meta

import "time"

// A CachedTag is what is known of a tag that was fetched from an upstream.
type CachedTag struct {
	Digest    string    // that the cache gave the tag here; empty: it did not yet
	Arriving  string    // that the upstream has, whose blobs are on their way; empty: none
	CheckedAt time.Time // when the upstream was asked last
}

// CachedTag finds what is known of a tag. ErrNotFound: the upstream was never
// asked for it.
func (tx *Tx) CachedTag(repositoryID int64, tag string) (CachedTag, error) {
	return get(tx, func(s scanner) (c CachedTag, err error) {
		var checked int64
		err = s.Scan(&c.Digest, &c.Arriving, &checked)
		c.CheckedAt = fromMicros(checked)
		return c, err
	}, `SELECT digest, arriving, checked_at FROM cached_tags WHERE repository_id = $1 AND tag = $2`, repositoryID, tag)
}

// PutCachedTag replaces what is known of a tag.
func (tx *Tx) PutCachedTag(repositoryID int64, tag string, c CachedTag) error {
	return tx.exec(`INSERT INTO cached_tags (repository_id, tag, digest, arriving, checked_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (repository_id, tag) DO UPDATE SET digest = excluded.digest, arriving = excluded.arriving,
		checked_at = excluded.checked_at`, repositoryID, tag, c.Digest, c.Arriving, micros(c.CheckedAt))
}

// A CachedManifest is a manifest of an upstream whose blobs are still on their way.
type CachedManifest struct {
	RepositoryID int64
	Digest       string
	MediaType    string
	Size         int64
	CreatedAt    time.Time
	Bytes        []byte // sealed
}

const cachedManifestColumns = `repository_id, digest, media_type, size, created_at, manifest`

func scanCachedManifest(s scanner) (m CachedManifest, err error) {
	var created int64
	err = s.Scan(&m.RepositoryID, &m.Digest, &m.MediaType, &m.Size, &created, &m.Bytes)
	m.CreatedAt = fromMicros(created)
	return m, err
}

// PutCachedManifest keeps a manifest; one that is kept already gets the new bytes.
func (tx *Tx) PutCachedManifest(m CachedManifest) error {
	return tx.exec(`INSERT INTO cached_manifests (`+cachedManifestColumns+`) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (repository_id, digest) DO UPDATE SET created_at = excluded.created_at, manifest = excluded.manifest`,
		m.RepositoryID, m.Digest, m.MediaType, m.Size, micros(m.CreatedAt), m.Bytes)
}

// CachedManifest finds a manifest that is kept.
func (tx *Tx) CachedManifest(repositoryID int64, digest string) (CachedManifest, error) {
	return get(tx, scanCachedManifest, `SELECT `+cachedManifestColumns+` FROM cached_manifests
		WHERE repository_id = $1 AND digest = $2`, repositoryID, digest)
}

// CachedManifests lists up to limit manifests of a repository that are kept, the
// newest first.
func (tx *Tx) CachedManifests(repositoryID int64, limit int) ([]CachedManifest, error) {
	return list(tx, scanCachedManifest, `SELECT `+cachedManifestColumns+` FROM cached_manifests
		WHERE repository_id = $1 ORDER BY created_at DESC, digest LIMIT $2`, repositoryID, limit)
}

// DeleteCachedManifest drops a manifest; one that is not kept is no error.
func (tx *Tx) DeleteCachedManifest(repositoryID int64, digest string) error {
	return tx.exec(`DELETE FROM cached_manifests WHERE repository_id = $1 AND digest = $2`, repositoryID, digest)
}

// DeleteCachedManifests drops all manifests that are kept since before a time.
func (tx *Tx) DeleteCachedManifests(before time.Time) error {
	return tx.exec(`DELETE FROM cached_manifests WHERE created_at < $1`, micros(before))
}
