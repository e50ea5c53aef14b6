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

// CacheCounts are what was done by a cache rule, in numbers and bytes.
type CacheCounts struct {
	Hits         int64 // manifests asked for that were here
	Misses       int64 // tags asked for that were not
	Requests     int64 // to the upstream
	Fetched      int64 // blobs of the upstream that were kept
	FetchedBytes int64
	Served       int64 // blobs that clients got without a request to the upstream
	ServedBytes  int64
	Failures     int64 // blobs of the upstream that could not be kept
}

// A CacheLimit is what an upstream said last of the pulls that it still answers.
type CacheLimit struct {
	Pulls     int // within the window
	Remaining int
	Window    time.Duration // in seconds; 0: it did not say
	At        time.Time     // zero: it never said anything
}

// A CacheTally is what is counted of one rule.
type CacheTally struct {
	Scope  Scope
	Prefix string
	CacheCounts
	Limit CacheLimit
}

const cacheTallyColumns = `account, region, prefix, hits, misses, requests, fetched, fetched_bytes, served, served_bytes, failures,
	limit_pulls, limit_remaining, limit_window, limit_at`

// AddCacheTally adds to what is counted of a rule; a limit that is newer than the
// one that is known replaces it. Of a rule that is gone nothing is counted.
func (tx *Tx) AddCacheTally(t CacheTally) error {
	return tx.exec(`INSERT INTO cache_counts (`+cacheTallyColumns+`)
		SELECT account, region, prefix, `+placeholders(4, 12)+` FROM cache_rules WHERE account = $1 AND region = $2 AND prefix = $3
		ON CONFLICT (account, region, prefix) DO UPDATE SET hits = cache_counts.hits + excluded.hits,
		misses = cache_counts.misses + excluded.misses, requests = cache_counts.requests + excluded.requests,
		fetched = cache_counts.fetched + excluded.fetched, fetched_bytes = cache_counts.fetched_bytes + excluded.fetched_bytes,
		served = cache_counts.served + excluded.served, served_bytes = cache_counts.served_bytes + excluded.served_bytes,
		failures = cache_counts.failures + excluded.failures,
		limit_pulls = CASE WHEN excluded.limit_at > cache_counts.limit_at THEN excluded.limit_pulls ELSE cache_counts.limit_pulls END,
		limit_remaining = CASE WHEN excluded.limit_at > cache_counts.limit_at THEN excluded.limit_remaining ELSE cache_counts.limit_remaining END,
		limit_window = CASE WHEN excluded.limit_at > cache_counts.limit_at THEN excluded.limit_window ELSE cache_counts.limit_window END,
		limit_at = CASE WHEN excluded.limit_at > cache_counts.limit_at THEN excluded.limit_at ELSE cache_counts.limit_at END`,
		t.Scope.Account, t.Scope.Region, t.Prefix, t.Hits, t.Misses, t.Requests, t.Fetched, t.FetchedBytes, t.Served, t.ServedBytes, t.Failures,
		int64(t.Limit.Pulls), int64(t.Limit.Remaining), int64(t.Limit.Window/time.Second), micros(t.Limit.At))
}

// CacheTallies lists what is counted of the rules of a registry, by prefix.
func (tx *Tx) CacheTallies(s Scope) ([]CacheTally, error) {
	return list(tx, func(s scanner) (t CacheTally, err error) {
		var window, at int64
		err = s.Scan(&t.Scope.Account, &t.Scope.Region, &t.Prefix, &t.Hits, &t.Misses, &t.Requests, &t.Fetched, &t.FetchedBytes, &t.Served,
			&t.ServedBytes, &t.Failures, &t.Limit.Pulls, &t.Limit.Remaining, &window, &at)
		t.Limit.Window, t.Limit.At = time.Duration(window)*time.Second, fromMicros(at)
		return t, err
	}, `SELECT `+cacheTallyColumns+` FROM cache_counts WHERE account = $1 AND region = $2 ORDER BY prefix`, s.Account, s.Region)
}
