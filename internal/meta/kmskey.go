package meta

import (
	"encoding/json"
	"fmt"
	"time"
)

// A KMSKey is one key of the built-in KMS, without its material.
type KMSKey struct {
	ARN          string
	Scope        Scope
	ID           string // what follows key/ in the ARN
	Manager      string // CUSTOMER or AWS
	Description  string
	Usage, Spec  string
	State        string
	DeletionDays int
	DeletionAt   time.Time // zero unless its deletion is scheduled
	Policy       string
	RotationDays int       // 0: it is not rotated by itself
	RotationAt   time.Time // when it is rotated next; zero: never
	Tags         map[string]string
	CreatedAt    time.Time
}

const kmsKeyColumns = `arn, account, region, key_id, manager, description, key_usage, key_spec, state, deletion_days,
	deletion_at, policy, rotation_days, rotation_at, tags, created_at`

func scanKMSKey(s scanner) (k KMSKey, err error) {
	var (
		tags                        []byte
		deletion, rotation, created int64
	)
	err = s.Scan(&k.ARN, &k.Scope.Account, &k.Scope.Region, &k.ID, &k.Manager, &k.Description, &k.Usage, &k.Spec, &k.State,
		&k.DeletionDays, &deletion, &k.Policy, &k.RotationDays, &rotation, &tags, &created)
	if err != nil {
		return k, err
	}
	k.DeletionAt, k.RotationAt, k.CreatedAt = fromMicros(deletion), fromMicros(rotation), fromMicros(created)
	if err := json.Unmarshal(tags, &k.Tags); err != nil {
		return k, fmt.Errorf("read the tags of the key %s: %w", k.ARN, err)
	}
	return k, nil
}

// tagText is how tags are stored: a JSON object with sorted names.
func tagText(tags map[string]string) (string, error) {
	if len(tags) == 0 {
		return "{}", nil
	}
	for k, v := range tags {
		if err := storable([]any{k, v}); err != nil {
			return "", err // JSON would hide it from the check of the statement
		}
	}
	b, err := json.Marshal(tags)
	return string(b), err
}

// InsertKMSKey adds a key. ErrExists: its ARN is taken.
func (tx *Tx) InsertKMSKey(k KMSKey) error {
	tx.keys = true
	tags, err := tagText(k.Tags)
	if err != nil {
		return err
	}
	err = tx.exec(`INSERT INTO kms_keys (`+kmsKeyColumns+`) VALUES (`+placeholders(1, 16)+`)`,
		k.ARN, k.Scope.Account, k.Scope.Region, k.ID, k.Manager, k.Description, k.Usage, k.Spec, k.State, k.DeletionDays,
		micros(k.DeletionAt), k.Policy, k.RotationDays, micros(k.RotationAt), tags, micros(k.CreatedAt))
	if err != nil && tx.backend.IsUnique(err) {
		return ErrExists
	}
	return err
}

// SaveKMSKey writes what can change of a key: all but its name, its kind and its age.
func (tx *Tx) SaveKMSKey(k KMSKey) error {
	tx.keys = true
	tags, err := tagText(k.Tags)
	if err != nil {
		return err
	}
	return tx.one(`UPDATE kms_keys SET description = $2, state = $3, deletion_days = $4, deletion_at = $5, policy = $6,
		rotation_days = $7, rotation_at = $8, tags = $9 WHERE arn = $1`, k.ARN, k.Description, k.State, k.DeletionDays,
		micros(k.DeletionAt), k.Policy, k.RotationDays, micros(k.RotationAt), tags)
}

// KMSKey finds a key by its ARN.
func (tx *Tx) KMSKey(arn string) (KMSKey, error) {
	return get(tx, scanKMSKey, `SELECT `+kmsKeyColumns+` FROM kms_keys WHERE arn = $1`, arn)
}

// KMSKeys lists up to limit keys in the order of their ARNs, starting after the one given.
func (tx *Tx) KMSKeys(s Scope, after string, limit int) ([]KMSKey, error) {
	return list(tx, scanKMSKey, `SELECT `+kmsKeyColumns+` FROM kms_keys
		WHERE account = $1 AND region = $2 AND arn > $3 ORDER BY arn LIMIT $4`, s.Account, s.Region, after, limit)
}

// DeletableKMSKeys lists up to limit keys whose deletion is due at a time.
func (tx *Tx) DeletableKMSKeys(now time.Time, limit int) ([]KMSKey, error) {
	return list(tx, scanKMSKey, `SELECT `+kmsKeyColumns+` FROM kms_keys
		WHERE deletion_at > 0 AND deletion_at <= $1 ORDER BY deletion_at, arn LIMIT $2`, micros(now), limit)
}

// RotatableKMSKeys lists up to limit keys in a state whose rotation is due at a
// time, in the order of their ARNs, starting after the one given.
func (tx *Tx) RotatableKMSKeys(state string, now time.Time, after string, limit int) ([]KMSKey, error) {
	return list(tx, scanKMSKey, `SELECT `+kmsKeyColumns+` FROM kms_keys
		WHERE rotation_at > 0 AND rotation_at <= $2 AND state = $1 AND arn > $3 ORDER BY arn LIMIT $4`,
		state, micros(now), after, limit)
}

// DeleteKMSKey destroys a key with its material and its aliases.
func (tx *Tx) DeleteKMSKey(arn string) error {
	tx.keys = true
	return tx.one(`DELETE FROM kms_keys WHERE arn = $1`, arn)
}

// A KMSKeyVersion is material of a key, wrapped by the master key.
type KMSKeyVersion struct {
	Number    int64 // grows with age
	ID        string
	ARN       string
	Rotation  string // what made it: AUTOMATIC or ON_DEMAND, empty for the first
	Wrapped   []byte
	CreatedAt time.Time
}

const kmsKeyVersionColumns = `number, id, arn, rotation, wrapped, created_at`

func scanKMSKeyVersion(s scanner) (v KMSKeyVersion, err error) {
	var created int64
	err = s.Scan(&v.Number, &v.ID, &v.ARN, &v.Rotation, &v.Wrapped, &created)
	v.CreatedAt = fromMicros(created)
	return v, err
}

// InsertKMSKeyVersion adds material, which encrypts from now on, and sets its Number.
func (tx *Tx) InsertKMSKeyVersion(v *KMSKeyVersion) (err error) {
	v.Number, err = tx.insert(`INSERT INTO kms_key_versions (id, arn, rotation, wrapped, created_at)
		VALUES ($1, $2, $3, $4, $5) RETURNING number`, v.ID, v.ARN, v.Rotation, v.Wrapped, micros(v.CreatedAt))
	return err
}

// CurrentKMSKeyVersion is the material with which a key encrypts.
func (tx *Tx) CurrentKMSKeyVersion(arn string) (KMSKeyVersion, error) {
	return get(tx, scanKMSKeyVersion, `SELECT `+kmsKeyVersionColumns+` FROM kms_key_versions
		WHERE arn = $1 ORDER BY number DESC LIMIT 1`, arn)
}

// KMSKeyVersion finds material by its id.
func (tx *Tx) KMSKeyVersion(id string) (KMSKeyVersion, error) {
	return get(tx, scanKMSKeyVersion, `SELECT `+kmsKeyVersionColumns+` FROM kms_key_versions WHERE id = $1`, id)
}

// KMSKeyVersions lists up to limit materials of a key by age, starting after a number.
func (tx *Tx) KMSKeyVersions(arn string, after int64, limit int) ([]KMSKeyVersion, error) {
	return list(tx, scanKMSKeyVersion, `SELECT `+kmsKeyVersionColumns+` FROM kms_key_versions
		WHERE arn = $1 AND number > $2 ORDER BY number LIMIT $3`, arn, after, limit)
}

// AllKMSKeyVersions lists up to limit materials of all keys by age, starting after a number.
func (tx *Tx) AllKMSKeyVersions(after int64, limit int) ([]KMSKeyVersion, error) {
	return list(tx, scanKMSKeyVersion, `SELECT `+kmsKeyVersionColumns+` FROM kms_key_versions
		WHERE number > $1 ORDER BY number LIMIT $2`, after, limit)
}

// RewrapKMSKeyVersion stores the new wrapping of material. ErrNotFound: it is gone.
func (tx *Tx) RewrapKMSKeyVersion(id string, wrapped []byte) error {
	return tx.one(`UPDATE kms_key_versions SET wrapped = $2 WHERE id = $1`, id, wrapped)
}

// A KMSAlias is another name of a key.
type KMSAlias struct {
	Scope     Scope
	Name      string // with alias/ before it
	ARN       string // of the key
	CreatedAt time.Time
	UpdatedAt time.Time
}

const kmsAliasColumns = `account, region, name, arn, created_at, updated_at`

func scanKMSAlias(s scanner) (a KMSAlias, err error) {
	var created, updated int64
	err = s.Scan(&a.Scope.Account, &a.Scope.Region, &a.Name, &a.ARN, &created, &updated)
	a.CreatedAt, a.UpdatedAt = fromMicros(created), fromMicros(updated)
	return a, err
}

// InsertKMSAlias adds an alias. ErrExists: the name is taken.
func (tx *Tx) InsertKMSAlias(a KMSAlias) error {
	err := tx.exec(`INSERT INTO kms_aliases (`+kmsAliasColumns+`) VALUES (`+placeholders(1, 6)+`)`,
		a.Scope.Account, a.Scope.Region, a.Name, a.ARN, micros(a.CreatedAt), micros(a.UpdatedAt))
	if err != nil && tx.backend.IsUnique(err) {
		return ErrExists
	}
	return err
}

// KMSAlias finds an alias by its name.
func (tx *Tx) KMSAlias(s Scope, name string) (KMSAlias, error) {
	return get(tx, scanKMSAlias, `SELECT `+kmsAliasColumns+` FROM kms_aliases
		WHERE account = $1 AND region = $2 AND name = $3`, s.Account, s.Region, name)
}

// KMSAliases lists up to limit aliases in the order of their names, starting after the one given.
func (tx *Tx) KMSAliases(s Scope, after string, limit int) ([]KMSAlias, error) {
	return list(tx, scanKMSAlias, `SELECT `+kmsAliasColumns+` FROM kms_aliases
		WHERE account = $1 AND region = $2 AND name > $3 ORDER BY name LIMIT $4`, s.Account, s.Region, after, limit)
}

// KMSAliasesOf is KMSAliases for those of one key.
func (tx *Tx) KMSAliasesOf(arn, after string, limit int) ([]KMSAlias, error) {
	return list(tx, scanKMSAlias, `SELECT `+kmsAliasColumns+` FROM kms_aliases
		WHERE arn = $1 AND name > $2 ORDER BY name LIMIT $3`, arn, after, limit)
}

// MoveKMSAlias points an alias at another key.
func (tx *Tx) MoveKMSAlias(a KMSAlias) error {
	return tx.one(`UPDATE kms_aliases SET arn = $4, updated_at = $5 WHERE account = $1 AND region = $2 AND name = $3`,
		a.Scope.Account, a.Scope.Region, a.Name, a.ARN, micros(a.UpdatedAt))
}

// DeleteKMSAlias removes an alias; the key stays.
func (tx *Tx) DeleteKMSAlias(s Scope, name string) error {
	return tx.one(`DELETE FROM kms_aliases WHERE account = $1 AND region = $2 AND name = $3`, s.Account, s.Region, name)
}
