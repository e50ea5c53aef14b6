package meta

import "time"

// A DataKey seals blobs and manifests of one domain.
type DataKey struct {
	ID        int64
	Domain    string
	KMSKey    string // ARN of the key that wraps it; empty: the master key
	Wrapped   []byte
	CreatedAt time.Time
}

func scanDataKey(s scanner) (k DataKey, err error) {
	var created int64
	err = s.Scan(&k.ID, &k.Domain, &k.KMSKey, &k.Wrapped, &created)
	k.CreatedAt = fromMicros(created)
	return k, err
}

const dataKeyColumns = `id, domain, kms_key, wrapped, created_at`

// InsertDataKey adds a key and sets its ID. It is the one that seals from now on.
func (tx *Tx) InsertDataKey(k *DataKey) (err error) {
	k.ID, err = tx.insert(`INSERT INTO data_keys (domain, kms_key, wrapped, created_at)
		VALUES ($1, $2, $3, $4) RETURNING id`, k.Domain, k.KMSKey, k.Wrapped, micros(k.CreatedAt))
	return err
}

// CurrentDataKey is the key that seals for a domain.
func (tx *Tx) CurrentDataKey(domain string) (DataKey, error) {
	return get(tx, scanDataKey, `SELECT `+dataKeyColumns+` FROM data_keys WHERE domain = $1 ORDER BY id DESC LIMIT 1`, domain)
}

// DataKey finds a key by its ID.
func (tx *Tx) DataKey(id int64) (DataKey, error) {
	return get(tx, scanDataKey, `SELECT `+dataKeyColumns+` FROM data_keys WHERE id = $1`, id)
}

// DataKeys lists up to limit keys in the order of their IDs, starting after the one given.
func (tx *Tx) DataKeys(after int64, limit int) ([]DataKey, error) {
	return list(tx, scanDataKey, `SELECT `+dataKeyColumns+` FROM data_keys WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
}

// RewrapDataKey stores a key's new wrapping. ErrNotFound: the key is gone.
func (tx *Tx) RewrapDataKey(id int64, wrapped []byte) error {
	return tx.one(`UPDATE data_keys SET wrapped = $2 WHERE id = $1`, id, wrapped)
}

// DeleteDataKey forgets a key, and with it everything it sealed.
func (tx *Tx) DeleteDataKey(id int64) error {
	return tx.one(`DELETE FROM data_keys WHERE id = $1`, id)
}
