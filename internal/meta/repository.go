package meta

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Scope is one private registry: every name below it belongs to one account
// (12 digits) in one region.
type Scope struct {
	Account string
	Region  string
}

// A Repository is one row of settings. Empty Policy or Lifecycle means that
// none is set.
type Repository struct {
	ID    int64
	Scope Scope
	Name  string

	CreatedAt time.Time

	Mutability        string   // MUTABLE, IMMUTABLE, or one of the …_WITH_EXCLUSION forms
	MutabilityFilters []string // wildcards of the …_WITH_EXCLUSION forms
	ScanOnPush        bool

	Encryption string // AES256, KMS or KMS_DSSE
	KMSKey     string // key ARN, empty for AES256

	Policy               string
	Lifecycle            string
	LifecycleEvaluatedAt time.Time
}

const repositoryColumns = `id, account, region, name, created_at, mutability, mutability_filters, scan_on_push,
	encryption, kms_key, policy, lifecycle, lifecycle_evaluated_at`

func scanRepository(s scanner) (Repository, error) {
	var (
		r                  Repository
		created, evaluated int64
		filters            string
	)
	err := s.Scan(&r.ID, &r.Scope.Account, &r.Scope.Region, &r.Name, &created, &r.Mutability, &filters, &r.ScanOnPush,
		&r.Encryption, &r.KMSKey, &r.Policy, &r.Lifecycle, &evaluated)
	if err != nil {
		return r, err
	}
	r.CreatedAt, r.LifecycleEvaluatedAt = fromMicros(created), fromMicros(evaluated)
	if filters != "" {
		if err := json.Unmarshal([]byte(filters), &r.MutabilityFilters); err != nil {
			return r, fmt.Errorf("mutability filters of repository %d: %w", r.ID, err)
		}
	}
	return r, nil
}

func encodeList[T any](v []T) (string, error) {
	if len(v) == 0 {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// InsertRepository adds r and sets its ID. ErrExists: the name is taken.
func (tx *Tx) InsertRepository(r *Repository) error {
	tx.keys = true
	filters, err := encodeList(r.MutabilityFilters)
	if err != nil {
		return err
	}
	r.ID, err = tx.insert(`INSERT INTO repositories (account, region, name, created_at, mutability, mutability_filters,
		scan_on_push, encryption, kms_key, policy, lifecycle, lifecycle_evaluated_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id`,
		r.Scope.Account, r.Scope.Region, r.Name, micros(r.CreatedAt), r.Mutability, filters,
		flag(r.ScanOnPush), r.Encryption, r.KMSKey, r.Policy, r.Lifecycle, micros(r.LifecycleEvaluatedAt))
	return err
}

// Repository finds a repository by name.
func (tx *Tx) Repository(s Scope, name string) (Repository, error) {
	return get(tx, scanRepository, `SELECT `+repositoryColumns+` FROM repositories
		WHERE account = $1 AND region = $2 AND name = $3`, s.Account, s.Region, name)
}

// RepositoryByID finds a repository by its ID.
func (tx *Tx) RepositoryByID(id int64) (Repository, error) {
	return get(tx, scanRepository, `SELECT `+repositoryColumns+` FROM repositories WHERE id = $1`, id)
}

// CheckRepository is ErrNotFound when a repository read before is gone by now.
func (tx *Tx) CheckRepository(id int64) error {
	_, err := get(tx, func(s scanner) (v int64, err error) { return v, s.Scan(&v) }, `SELECT id FROM repositories WHERE id = $1`, id)
	return err
}

// Repositories lists up to limit repositories of a registry in name order,
// starting after the name given.
func (tx *Tx) Repositories(s Scope, after string, limit int) ([]Repository, error) {
	return list(tx, scanRepository, `SELECT `+repositoryColumns+` FROM repositories
		WHERE account = $1 AND region = $2 AND name > $3 ORDER BY name LIMIT $4`, s.Account, s.Region, after, limit)
}

// SaveRepository writes the settings of r that can change after creation.
func (tx *Tx) SaveRepository(r Repository) error {
	tx.keys = true
	filters, err := encodeList(r.MutabilityFilters)
	if err != nil {
		return err
	}
	return tx.one(`UPDATE repositories SET mutability = $2, mutability_filters = $3, scan_on_push = $4, policy = $5,
		lifecycle = $6, lifecycle_evaluated_at = $7 WHERE id = $1`,
		r.ID, r.Mutability, filters, flag(r.ScanOnPush), r.Policy, r.Lifecycle, micros(r.LifecycleEvaluatedAt))
}

// DeleteRepository removes a repository with everything in it: images, tags,
// memberships and upload sessions. The bytes stay until they are collected.
func (tx *Tx) DeleteRepository(id int64) error {
	tx.keys = true
	return tx.one(`DELETE FROM repositories WHERE id = $1`, id)
}

// HasImages reports whether the repository holds an image.
func (tx *Tx) HasImages(repositoryID int64) (bool, error) {
	var n int
	err := tx.q.QueryRow(`SELECT COUNT(*) FROM (SELECT 1 FROM images WHERE repository_id = $1 LIMIT 1) AS one`, repositoryID).Scan(&n)
	return n > 0, err
}

// A ResourceTag is a key and value attached to a repository (not an image tag).
type ResourceTag struct{ Key, Value string }

// ResourceTags lists a repository's resource tags in key order.
func (tx *Tx) ResourceTags(repositoryID int64) ([]ResourceTag, error) {
	return list(tx, func(s scanner) (t ResourceTag, err error) { return t, s.Scan(&t.Key, &t.Value) },
		`SELECT key, value FROM repository_tags WHERE repository_id = $1 ORDER BY key`, repositoryID)
}

// PutResourceTag sets one resource tag.
func (tx *Tx) PutResourceTag(repositoryID int64, t ResourceTag) error {
	return tx.exec(`INSERT INTO repository_tags (repository_id, key, value) VALUES ($1, $2, $3)
		ON CONFLICT (repository_id, key) DO UPDATE SET value = excluded.value`, repositoryID, t.Key, t.Value)
}

// DeleteResourceTag removes one resource tag; a missing one is no error.
func (tx *Tx) DeleteResourceTag(repositoryID int64, key string) error {
	return tx.exec(`DELETE FROM repository_tags WHERE repository_id = $1 AND key = $2`, repositoryID, key)
}

// flag stores a boolean as 0 or 1, which every database accepts in an integer column.
func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}
