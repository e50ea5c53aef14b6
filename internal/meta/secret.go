package meta

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Secret is one of the Secrets Manager API, without its values.
type Secret struct {
	ARN         string
	Scope       Scope
	Name        string
	Description string
	KMSKey      string // as it was named; empty: that of the service
	Tags        map[string]string
	CreatedAt   time.Time
	ChangedAt   time.Time
	AccessedAt  time.Time // day of the last reading; zero: never
	DeletedAt   time.Time // when it was deleted; zero: it was not
	DeleteAt    time.Time // when it will be gone
}

const secretColumns = `arn, account, region, name, description, kms_key, tags, created_at, changed_at, accessed_at, deleted_at, delete_at`

func scanSecret(s scanner) (v Secret, err error) {
	var (
		tags                                []byte
		created, changed, accessed, deleted int64
		gone                                int64
	)
	err = s.Scan(&v.ARN, &v.Scope.Account, &v.Scope.Region, &v.Name, &v.Description, &v.KMSKey, &tags, &created, &changed, &accessed, &deleted, &gone)
	if err != nil {
		return v, err
	}
	v.CreatedAt, v.ChangedAt, v.AccessedAt = fromMicros(created), fromMicros(changed), fromMicros(accessed)
	v.DeletedAt, v.DeleteAt = fromMicros(deleted), fromMicros(gone)
	if err := json.Unmarshal(tags, &v.Tags); err != nil {
		return v, fmt.Errorf("read the tags of the secret %s: %w", v.ARN, err)
	}
	return v, nil
}

// InsertSecret adds a secret. ErrExists: its name is taken.
func (tx *Tx) InsertSecret(v Secret) error {
	tags, err := tagText(v.Tags)
	if err != nil {
		return err
	}
	err = tx.exec(`INSERT INTO secrets (`+secretColumns+`) VALUES (`+placeholders(1, 12)+`)`,
		v.ARN, v.Scope.Account, v.Scope.Region, v.Name, v.Description, v.KMSKey, tags, micros(v.CreatedAt), micros(v.ChangedAt),
		micros(v.AccessedAt), micros(v.DeletedAt), micros(v.DeleteAt))
	if err != nil && tx.backend.IsUnique(err) {
		return ErrExists
	}
	return err
}

// SaveSecret writes what can change of a secret: all but its name and its age.
func (tx *Tx) SaveSecret(v Secret) error {
	tags, err := tagText(v.Tags)
	if err != nil {
		return err
	}
	return tx.one(`UPDATE secrets SET description = $2, kms_key = $3, tags = $4, changed_at = $5, accessed_at = $6, deleted_at = $7,
		delete_at = $8 WHERE arn = $1`, v.ARN, v.Description, v.KMSKey, tags, micros(v.ChangedAt), micros(v.AccessedAt),
		micros(v.DeletedAt), micros(v.DeleteAt))
}

// Secret finds a secret by its ARN.
func (tx *Tx) Secret(arn string) (Secret, error) {
	return get(tx, scanSecret, `SELECT `+secretColumns+` FROM secrets WHERE arn = $1`, arn)
}

// SecretNamed finds a secret by its name.
func (tx *Tx) SecretNamed(s Scope, name string) (Secret, error) {
	return get(tx, scanSecret, `SELECT `+secretColumns+` FROM secrets WHERE account = $1 AND region = $2 AND name = $3`,
		s.Account, s.Region, name)
}

// Secrets lists up to limit secrets in the order of their names, starting after
// the one given; those that were deleted only when that is asked for.
func (tx *Tx) Secrets(s Scope, after string, deleted bool, limit int) ([]Secret, error) {
	where := ` AND deleted_at = 0`
	if deleted {
		where = ``
	}
	return list(tx, scanSecret, `SELECT `+secretColumns+` FROM secrets
		WHERE account = $1 AND region = $2 AND name > $3`+where+` ORDER BY name LIMIT $4`, s.Account, s.Region, after, limit)
}

// DeleteSecret removes a secret with its values.
func (tx *Tx) DeleteSecret(arn string) error {
	return tx.one(`DELETE FROM secrets WHERE arn = $1`, arn)
}

// DeleteDueSecrets removes the secrets whose time has come.
func (tx *Tx) DeleteDueSecrets(now time.Time) error {
	return tx.exec(`DELETE FROM secrets WHERE delete_at > 0 AND delete_at <= $1`, micros(now))
}

// A SecretVersion is one value of a secret, sealed under a key of its own.
type SecretVersion struct {
	ARN        string // of the secret
	ID         string
	Stages     []string // labels that name it; none: it is about to be forgotten
	KMSKey     string   // ARN of what wraps its key; empty: the master key
	Wrapped    []byte   // its key
	Value      []byte   // sealed
	CreatedAt  time.Time
	AccessedAt time.Time
}

const secretVersionColumns = `arn, id, stages, kms_key, wrapped, value, created_at, accessed_at`

func scanSecretVersion(s scanner) (v SecretVersion, err error) {
	var (
		stages            string
		created, accessed int64
	)
	err = s.Scan(&v.ARN, &v.ID, &stages, &v.KMSKey, &v.Wrapped, &v.Value, &created, &accessed)
	if err != nil {
		return v, err
	}
	v.CreatedAt, v.AccessedAt = fromMicros(created), fromMicros(accessed)
	if stages != "" {
		if err := json.Unmarshal([]byte(stages), &v.Stages); err != nil {
			return v, fmt.Errorf("read the stages of a version of the secret %s: %w", v.ARN, err)
		}
	}
	return v, nil
}

// PutSecretVersion adds a version, or gives one that is there its stages.
func (tx *Tx) PutSecretVersion(v SecretVersion) error {
	stages, err := encodeList(v.Stages)
	if err != nil {
		return err
	}
	return tx.exec(`INSERT INTO secret_versions (`+secretVersionColumns+`) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (arn, id) DO UPDATE SET stages = excluded.stages, accessed_at = excluded.accessed_at`,
		v.ARN, v.ID, stages, v.KMSKey, v.Wrapped, v.Value, micros(v.CreatedAt), micros(v.AccessedAt))
}

// SecretVersions lists the versions of a secret by age.
func (tx *Tx) SecretVersions(arn string) ([]SecretVersion, error) {
	return list(tx, scanSecretVersion, `SELECT `+secretVersionColumns+` FROM secret_versions WHERE arn = $1 ORDER BY created_at, id`, arn)
}

// DeleteSecretVersion forgets a version.
func (tx *Tx) DeleteSecretVersion(arn, id string) error {
	return tx.one(`DELETE FROM secret_versions WHERE arn = $1 AND id = $2`, arn, id)
}

// MasterSecretVersions lists up to limit versions whose keys the master key
// wraps, starting after the one given.
func (tx *Tx) MasterSecretVersions(arn, id string, limit int) ([]SecretVersion, error) {
	return list(tx, scanSecretVersion, `SELECT `+secretVersionColumns+` FROM secret_versions
		WHERE kms_key = '' AND (arn > $1 OR arn = $1 AND id > $2) ORDER BY arn, id LIMIT $3`, arn, id, limit)
}

// RewrapSecretVersion stores the new wrapping of a version's key. ErrNotFound: it
// is gone.
func (tx *Tx) RewrapSecretVersion(arn, id string, wrapped []byte) error {
	return tx.one(`UPDATE secret_versions SET wrapped = $3 WHERE arn = $1 AND id = $2`, arn, id, wrapped)
}
