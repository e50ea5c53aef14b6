package meta

import (
	"encoding/json"
	"fmt"
	"time"
)

// A CreationTemplate holds the settings of repositories that a registry creates
// by itself below a prefix.
type CreationTemplate struct {
	Scope             Scope
	Prefix            string // of repository names, or ROOT
	Description       string
	Encryption        string // empty when none was given
	KMSKey            string
	ResourceTags      []ResourceTag
	Mutability        string
	MutabilityFilters []string
	Policy            string
	Lifecycle         string
	AppliedFor        []string // REPLICATION, PULL_THROUGH_CACHE, CREATE_ON_PUSH
	CustomRoleARN     string
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

const templateColumns = `account, region, prefix, description, encryption, kms_key, resource_tags, mutability,
	mutability_filters, policy, lifecycle, applied_for, custom_role_arn, created_at, updated_at`

func scanTemplate(s scanner) (CreationTemplate, error) {
	var (
		t                 CreationTemplate
		tags, filters, of string
		created, updated  int64
	)
	err := s.Scan(&t.Scope.Account, &t.Scope.Region, &t.Prefix, &t.Description, &t.Encryption, &t.KMSKey, &tags, &t.Mutability,
		&filters, &t.Policy, &t.Lifecycle, &of, &t.CustomRoleARN, &created, &updated)
	if err != nil {
		return t, err
	}
	t.CreatedAt, t.UpdatedAt = fromMicros(created), fromMicros(updated)
	for _, list := range []struct {
		text string
		into any
	}{{tags, &t.ResourceTags}, {filters, &t.MutabilityFilters}, {of, &t.AppliedFor}} {
		if list.text == "" {
			continue
		}
		if err := json.Unmarshal([]byte(list.text), list.into); err != nil {
			return t, fmt.Errorf("creation template %s of account %s in %s: %w", t.Prefix, t.Scope.Account, t.Scope.Region, err)
		}
	}
	return t, nil
}

// values are the columns of a row from the description on.
func (t CreationTemplate) values() ([]any, error) {
	tags, err := encodeList(t.ResourceTags)
	if err != nil {
		return nil, err
	}
	filters, err := encodeList(t.MutabilityFilters)
	if err != nil {
		return nil, err
	}
	of, err := encodeList(t.AppliedFor)
	return []any{t.Description, t.Encryption, t.KMSKey, tags, t.Mutability, filters, t.Policy, t.Lifecycle, of,
		t.CustomRoleARN, micros(t.CreatedAt), micros(t.UpdatedAt)}, err
}

// InsertCreationTemplate adds a template. ErrExists: the prefix has one.
func (tx *Tx) InsertCreationTemplate(t CreationTemplate) error {
	values, err := t.values()
	if err != nil {
		return err
	}
	err = tx.exec(`INSERT INTO creation_templates (`+templateColumns+`) VALUES (`+placeholders(1, 15)+`)`,
		append([]any{t.Scope.Account, t.Scope.Region, t.Prefix}, values...)...)
	if err != nil && tx.backend.IsUnique(err) {
		return ErrExists
	}
	return err
}

// CreationTemplate finds a template by its prefix.
func (tx *Tx) CreationTemplate(s Scope, prefix string) (CreationTemplate, error) {
	return get(tx, scanTemplate, `SELECT `+templateColumns+` FROM creation_templates
		WHERE account = $1 AND region = $2 AND prefix = $3`, s.Account, s.Region, prefix)
}

// CreationTemplates lists up to limit templates in prefix order, starting after
// the prefix given.
func (tx *Tx) CreationTemplates(s Scope, after string, limit int) ([]CreationTemplate, error) {
	return list(tx, scanTemplate, `SELECT `+templateColumns+` FROM creation_templates
		WHERE account = $1 AND region = $2 AND prefix > $3 ORDER BY prefix LIMIT $4`, s.Account, s.Region, after, limit)
}

// SaveCreationTemplate writes all of a template but its prefix.
func (tx *Tx) SaveCreationTemplate(t CreationTemplate) error {
	values, err := t.values()
	if err != nil {
		return err
	}
	return tx.one(`UPDATE creation_templates SET description = $4, encryption = $5, kms_key = $6, resource_tags = $7,
		mutability = $8, mutability_filters = $9, policy = $10, lifecycle = $11, applied_for = $12, custom_role_arn = $13,
		created_at = $14, updated_at = $15 WHERE account = $1 AND region = $2 AND prefix = $3`,
		append([]any{t.Scope.Account, t.Scope.Region, t.Prefix}, values...)...)
}

// DeleteCreationTemplate removes a template; repositories made by it stay.
func (tx *Tx) DeleteCreationTemplate(s Scope, prefix string) error {
	return tx.one(`DELETE FROM creation_templates WHERE account = $1 AND region = $2 AND prefix = $3`, s.Account, s.Region, prefix)
}
