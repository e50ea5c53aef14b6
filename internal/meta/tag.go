package meta

import "time"

// PutTag makes a tag name an image, creating or moving it. Whether it may move
// is decided by the caller inside the same transaction.
func (tx *Tx) PutTag(repositoryID int64, name string, imageID int64, at time.Time) error {
	return tx.exec(`INSERT INTO tags (repository_id, name, image_id, updated_at) VALUES ($1, $2, $3, $4)
		ON CONFLICT (repository_id, name) DO UPDATE SET image_id = excluded.image_id, updated_at = excluded.updated_at`,
		repositoryID, name, imageID, micros(at))
}

// DeleteTag removes a tag; the image stays.
func (tx *Tx) DeleteTag(repositoryID int64, name string) error {
	return tx.one(`DELETE FROM tags WHERE repository_id = $1 AND name = $2`, repositoryID, name)
}

// TagsOf lists the tags of one image in lexical order.
func (tx *Tx) TagsOf(imageID int64) ([]string, error) {
	return list(tx, scanString, `SELECT name FROM tags WHERE image_id = $1 ORDER BY name`, imageID)
}

// CountTags counts the tags of one image.
func (tx *Tx) CountTags(imageID int64) (n int, err error) {
	return n, tx.q.QueryRow(`SELECT COUNT(*) FROM tags WHERE image_id = $1`, imageID).Scan(&n)
}

// Tags lists up to limit tags of active images of a repository in lexical
// order, starting after the name given.
func (tx *Tx) Tags(repositoryID int64, after string, limit int) ([]string, error) {
	return list(tx, scanString, `SELECT t.name FROM tags t JOIN images i ON i.id = t.image_id
		WHERE t.repository_id = $1 AND t.name > $2 AND i.status = 'ACTIVE' ORDER BY t.name LIMIT $3`,
		repositoryID, after, limit)
}
