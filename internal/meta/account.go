package meta

import "time"

// An AccessKey lets a principal sign requests.
type AccessKey struct {
	ID        string
	Account   string
	Principal string // ARN
	UserID    string
	Sealed    []byte // the secret access key, encrypted
	Active    bool
	CreatedAt time.Time
}

func scanAccessKey(s scanner) (AccessKey, error) {
	var (
		k       AccessKey
		created int64
	)
	err := s.Scan(&k.ID, &k.Account, &k.Principal, &k.UserID, &k.Sealed, &k.Active, &created)
	k.CreatedAt = fromMicros(created)
	return k, err
}

// PutAccessKey adds a key or replaces the one with the same ID.
func (tx *Tx) PutAccessKey(k AccessKey) error {
	tx.keys = true
	return tx.exec(`INSERT INTO access_keys (id, account, principal, user_id, secret, sealed, active, created_at)
		VALUES ($1, $2, $3, $4, '', $5, $6, $7)
		ON CONFLICT (id) DO UPDATE SET account = excluded.account, principal = excluded.principal,
			user_id = excluded.user_id, secret = excluded.secret, sealed = excluded.sealed, active = excluded.active`,
		k.ID, k.Account, k.Principal, k.UserID, k.Sealed, flag(k.Active), micros(k.CreatedAt))
}

// AccessKey finds a key by its ID.
func (tx *Tx) AccessKey(id string) (AccessKey, error) {
	return get(tx, scanAccessKey, `SELECT id, account, principal, user_id, sealed, active, created_at
		FROM access_keys WHERE id = $1`, id)
}

// AccessKeys lists the keys of a principal, oldest first.
func (tx *Tx) AccessKeys(principal string) ([]AccessKey, error) {
	return list(tx, scanAccessKey, `SELECT id, account, principal, user_id, sealed, active, created_at
		FROM access_keys WHERE principal = $1 ORDER BY created_at, id`, principal)
}

// DeleteAccessKey removes a key: signatures and tokens made with it end at once.
func (tx *Tx) DeleteAccessKey(id string) error {
	tx.keys = true
	return tx.one(`DELETE FROM access_keys WHERE id = $1`, id)
}

// Setting reads one named value of the installation.
func (tx *Tx) Setting(name string) ([]byte, error) {
	return get(tx, func(s scanner) (v []byte, err error) { return v, s.Scan(&v) },
		`SELECT value FROM settings WHERE name = $1`, name)
}

// EnsureSetting stores a value unless the name has one already, and returns
// the value that holds: replicas that start together agree on one.
func (tx *Tx) EnsureSetting(name string, value []byte) ([]byte, error) {
	return get(tx, func(s scanner) (v []byte, err error) { return v, s.Scan(&v) },
		`INSERT INTO settings (name, value) VALUES ($1, $2)
		ON CONFLICT (name) DO UPDATE SET name = excluded.name RETURNING value`, name, value)
}

// PutRegistryPolicy stores the policy of a registry; an empty text is none.
func (tx *Tx) PutRegistryPolicy(s Scope, text string) error {
	tx.keys = true
	if text == "" {
		return tx.PutRegistrySetting(s, registryPolicy, nil)
	}
	return tx.PutRegistrySetting(s, registryPolicy, []byte(text))
}

// RegistryPolicy reads the policy of a registry, empty when there is none.
func (tx *Tx) RegistryPolicy(s Scope) (string, error) {
	text, err := tx.RegistrySetting(s, registryPolicy)
	return string(text), err
}

const registryPolicy SettingKind = "registry-policy"
