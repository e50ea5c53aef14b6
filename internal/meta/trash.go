package meta

import "time"

// Trash is a copy of bytes that no blob row names any more.
type Trash struct {
	Location string // id of the copy in the blob store
	Domain   string
	DataKey  int64
	Size     int64 // bytes of the copy before it was sealed
	Cold     bool  // in the second store
	Since    time.Time
}

func scanTrash(s scanner) (t Trash, err error) {
	var since int64
	err = s.Scan(&t.Location, &t.Domain, &t.DataKey, &t.Size, &t.Cold, &since)
	t.Since = fromMicros(since)
	return t, err
}

// AddTrash notes a copy for deletion; one that is noted already stays as it is.
func (tx *Tx) AddTrash(t Trash) error {
	return tx.exec(`INSERT INTO trash (location, domain, data_key, size, cold, since) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (location) DO NOTHING`, t.Location, t.Domain, t.DataKey, t.Size, flag(t.Cold), micros(t.Since))
}

// OldTrash lists up to limit copies that were noted before the time given, the
// oldest first, and that no blob row names.
func (tx *Tx) OldTrash(before time.Time, limit int) ([]Trash, error) {
	return list(tx, scanTrash, `SELECT location, domain, data_key, size, cold > 0, since FROM trash t WHERE since < $1
		AND NOT EXISTS (SELECT 1 FROM blobs b WHERE b.location = t.location) ORDER BY since, location LIMIT $2`, micros(before), limit)
}

// DeleteTrash forgets a copy whose bytes are gone.
func (tx *Tx) DeleteTrash(location string) error {
	return tx.exec(`DELETE FROM trash WHERE location = $1`, location)
}
