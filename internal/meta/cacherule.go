package meta

import "time"

// A CacheRule is one pull-through cache rule of a registry.
type CacheRule struct {
	Scope            Scope
	Prefix           string // repository prefix, or ROOT
	UpstreamURL      string
	UpstreamRegistry string // docker-hub, quay, …
	UpstreamPrefix   string // empty when the caller set none
	CredentialARN    string
	CustomRoleARN    string
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

const cacheRuleColumns = `account, region, prefix, upstream_url, upstream_registry, upstream_prefix, credential_arn,
	custom_role_arn, created_at, updated_at`

func scanCacheRule(s scanner) (CacheRule, error) {
	var (
		r                CacheRule
		created, updated int64
	)
	err := s.Scan(&r.Scope.Account, &r.Scope.Region, &r.Prefix, &r.UpstreamURL, &r.UpstreamRegistry, &r.UpstreamPrefix,
		&r.CredentialARN, &r.CustomRoleARN, &created, &updated)
	r.CreatedAt, r.UpdatedAt = fromMicros(created), fromMicros(updated)
	return r, err
}

// InsertCacheRule adds a rule. ErrExists: the prefix is taken.
func (tx *Tx) InsertCacheRule(r CacheRule) error {
	err := tx.exec(`INSERT INTO cache_rules (`+cacheRuleColumns+`) VALUES (`+placeholders(1, 10)+`)`,
		r.Scope.Account, r.Scope.Region, r.Prefix, r.UpstreamURL, r.UpstreamRegistry, r.UpstreamPrefix,
		r.CredentialARN, r.CustomRoleARN, micros(r.CreatedAt), micros(r.UpdatedAt))
	if err != nil && tx.backend.IsUnique(err) {
		return ErrExists
	}
	return err
}

// CacheRule finds a rule by its prefix.
func (tx *Tx) CacheRule(s Scope, prefix string) (CacheRule, error) {
	return get(tx, scanCacheRule, `SELECT `+cacheRuleColumns+` FROM cache_rules
		WHERE account = $1 AND region = $2 AND prefix = $3`, s.Account, s.Region, prefix)
}

// CacheRules lists up to limit rules in prefix order, starting after the prefix given.
func (tx *Tx) CacheRules(s Scope, after string, limit int) ([]CacheRule, error) {
	return list(tx, scanCacheRule, `SELECT `+cacheRuleColumns+` FROM cache_rules
		WHERE account = $1 AND region = $2 AND prefix > $3 ORDER BY prefix LIMIT $4`, s.Account, s.Region, after, limit)
}

// SaveCacheRule writes the credentials of a rule, all that can change.
func (tx *Tx) SaveCacheRule(r CacheRule) error {
	return tx.one(`UPDATE cache_rules SET credential_arn = $4, custom_role_arn = $5, updated_at = $6
		WHERE account = $1 AND region = $2 AND prefix = $3`,
		r.Scope.Account, r.Scope.Region, r.Prefix, r.CredentialARN, r.CustomRoleARN, micros(r.UpdatedAt))
}

// DeleteCacheRule removes a rule; cached repositories stay.
func (tx *Tx) DeleteCacheRule(s Scope, prefix string) error {
	return tx.one(`DELETE FROM cache_rules WHERE account = $1 AND region = $2 AND prefix = $3`, s.Account, s.Region, prefix)
}
