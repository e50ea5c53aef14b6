package ecrapi

import (
	"context"

	"berth/internal/ecr"
)

// cacheStatusOutput is what BerthDescribeCacheStatus answers.
type cacheStatusOutput struct {
	RegistryID string        `json:"registryId"`
	Rules      []cacheStatus `json:"rules"`
	NextToken  string        `json:"nextToken,omitempty"`
}

// A cacheStatus is what one cache rule did since it was made.
type cacheStatus struct {
	ECRRepositoryPrefix string          `json:"ecrRepositoryPrefix"`
	UpstreamRegistryURL string          `json:"upstreamRegistryUrl"`
	Hits                int64           `json:"hits"`
	Misses              int64           `json:"misses"`
	UpstreamRequests    int64           `json:"upstreamRequests"`
	FetchedLayers       int64           `json:"fetchedLayers"`
	FetchedBytes        int64           `json:"fetchedBytes"`
	FailedLayers        int64           `json:"failedLayers"`
	ServedLayers        int64           `json:"servedLayers"`
	SavedBytes          int64           `json:"savedBytes"`
	RateLimit           *cacheRateLimit `json:"rateLimit,omitempty"`
	SilentUntil         ecr.Time        `json:"silentUntil,omitzero"`
}

// A cacheRateLimit is what an upstream said last of the pulls that it answers.
type cacheRateLimit struct {
	Limit         int      `json:"limit"`
	Remaining     int      `json:"remaining"`
	WindowSeconds int64    `json:"windowSeconds,omitempty"`
	ReadAt        ecr.Time `json:"readAt"`
}

// describeCacheStatus tells what cache rules did, and what their upstreams said of
// their limits. ECR has no such operation.
func describeCacheStatus(d *Door, ctx context.Context, c call, in *ecr.DescribePullThroughCacheRulesInput) (any, error) {
	if len(in.ECRRepositoryPrefixes) > 0 && (in.MaxResults != nil || in.NextToken != "") {
		return nil, exclusive("ecrRepositoryPrefixes")
	}
	rules, next, err := d.Registry.CacheRules(ctx, c.scope, in.ECRRepositoryPrefixes, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	list, err := d.Cache.Status(ctx, c.scope, rules)
	if err != nil {
		return nil, err
	}
	out := cacheStatusOutput{RegistryID: c.scope.Account, Rules: []cacheStatus{}, NextToken: next}
	for _, s := range list {
		one := cacheStatus{
			ECRRepositoryPrefix: s.Rule.Prefix, UpstreamRegistryURL: s.Rule.UpstreamURL, Hits: s.Hits, Misses: s.Misses, UpstreamRequests: s.Requests,
			FetchedLayers: s.Fetched, FetchedBytes: s.FetchedBytes, FailedLayers: s.Failures, ServedLayers: s.Served, SavedBytes: s.ServedBytes,
			SilentUntil: ecr.At(s.SilentUntil),
		}
		if l := s.Limit; !l.At.IsZero() {
			one.RateLimit = &cacheRateLimit{l.Pulls, l.Remaining, int64(l.Window.Seconds()), ecr.At(l.At)}
		}
		out.Rules = append(out.Rules, one)
	}
	return out, nil
}
