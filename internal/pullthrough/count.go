package pullthrough

import (
	"context"
	"maps"
	"sync/atomic"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/upstream"
)

// recordInterval is how often counts go to the database.
const recordInterval = 10 * time.Second

// maxTallies bounds of how many rules it is counted what they do; all beyond
// share one tally, which belongs to no rule.
const maxTallies = 1000

// A ruleKey names a cache rule.
type ruleKey struct {
	scope  meta.Scope
	prefix string
}

// A tally counts what is done by one rule.
type tally struct {
	hits, misses, requests, fetched, fetchedBytes, served, servedBytes, failures atomic.Int64

	limit    atomic.Pointer[upstream.Limit]
	recorded meta.CacheTally // guarded by the cache's recording
}

// now is what was counted since the cache was made.
func (t *tally) now(k ruleKey) meta.CacheTally {
	out := meta.CacheTally{Scope: k.scope, Prefix: k.prefix, CacheCounts: meta.CacheCounts{
		Hits: t.hits.Load(), Misses: t.misses.Load(), Requests: t.requests.Load(), Fetched: t.fetched.Load(), FetchedBytes: t.fetchedBytes.Load(),
		Served: t.served.Load(), ServedBytes: t.servedBytes.Load(), Failures: t.failures.Load(),
	}}
	if l := t.limit.Load(); l != nil {
		out.Limit = meta.CacheLimit{Pulls: l.Limit, Remaining: l.Remaining, Window: l.Window, At: l.At}
	}
	return out
}

// since is what was counted after an earlier look.
func since(now, before meta.CacheTally) meta.CacheTally {
	a, b := &now.CacheCounts, before.CacheCounts
	a.Hits, a.Misses, a.Requests, a.Failures = a.Hits-b.Hits, a.Misses-b.Misses, a.Requests-b.Requests, a.Failures-b.Failures
	a.Fetched, a.FetchedBytes = a.Fetched-b.Fetched, a.FetchedBytes-b.FetchedBytes
	a.Served, a.ServedBytes = a.Served-b.Served, a.ServedBytes-b.ServedBytes
	return now
}

// tally finds the counters of a rule.
func (c *Cache) tally(up *registry.Upstream) *tally {
	k := ruleKey{up.Rule.Scope, up.Rule.Prefix}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tallies[k] == nil && len(c.tallies) >= maxTallies {
		k = ruleKey{}
	}
	if c.tallies[k] == nil {
		c.tallies[k] = &tally{}
	}
	return c.tallies[k]
}

func (c *Cache) allTallies() map[ruleKey]*tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.tallies)
}

// Stats are what a cache did since it was made, by rule in no order, and what
// upstreams said last of their limits.
func (c *Cache) Stats() (rules []meta.CacheTally) {
	for k, t := range c.allTallies() {
		rules = append(rules, t.now(k))
	}
	return rules
}

// record adds what was counted since the last time to the database.
func (c *Cache) record(ctx context.Context) error {
	c.recording.Lock()
	defer c.recording.Unlock()
	all := c.allTallies()
	var changes []meta.CacheTally
	seen := map[ruleKey]meta.CacheTally{}
	for k, t := range all {
		if now := t.now(k); now != t.recorded && k != (ruleKey{}) {
			seen[k] = now
			changes = append(changes, since(now, t.recorded))
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if err := c.registry.AddCacheTallies(ctx, changes); err != nil {
		return err
	}
	for k, now := range seen {
		all[k].recorded = now
	}
	return nil
}

// A Status is what was done by a rule since it was made, by all servers: what the
// others counted in the last seconds may be missing.
type Status struct {
	Rule meta.CacheRule
	meta.CacheCounts
	Limit meta.CacheLimit
	// SilentUntil is until when this server leaves the upstream alone, since that
	// said that too much was asked of it; zero: it does not.
	SilentUntil time.Time
}

// Status tells what was done by rules of one registry.
func (c *Cache) Status(ctx context.Context, s meta.Scope, rules []meta.CacheRule) ([]Status, error) {
	if err := c.record(ctx); err != nil {
		return nil, err
	}
	tallies, err := c.registry.CacheTallies(ctx, s)
	if err != nil {
		return nil, err
	}
	by := map[string]meta.CacheTally{}
	for _, t := range tallies {
		by[t.Prefix] = t
	}
	var out []Status
	for _, r := range rules {
		out = append(out, Status{r, by[r.Prefix].CacheCounts, by[r.Prefix].Limit, c.client.SilentUntil(r.UpstreamURL)})
	}
	return out, nil
}
