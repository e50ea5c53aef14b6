package registry

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"berth/internal/meta"
)

// maxCacheRules is a limit of ECR ("Amazon ECR service quotas").
const maxCacheRules = 50

// upstreams maps the hosts that ECR knows to the names it gives them
// (API_CreatePullThroughCacheRule, upstreamRegistry).
var upstreams = map[string]string{
	"public.ecr.aws":       "ecr-public",
	"registry.k8s.io":      "k8s",
	"quay.io":              "quay",
	"registry-1.docker.io": "docker-hub",
	"ghcr.io":              "github-container-registry",
	"registry.gitlab.com":  "gitlab-container-registry",
	"cgr.dev":              "chainguard",
}

var (
	ecrHost = regexp.MustCompile(`^\d{12}\.dkr[.-]ecr(-fips)?\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|on\.aws)$`)
	// hostPattern accepts a host name or address with an optional port.
	hostPattern = regexp.MustCompile(`^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?$`)
)

// IsKnownUpstream reports whether ECR offers an upstream host too.
func IsKnownUpstream(host string) bool { return upstreamName(strings.TrimSuffix(host, "/")) != "" }

// upstreamName is ECR's name of an upstream host; empty for hosts that ECR
// does not offer but Berth does.
func upstreamName(host string) string {
	switch {
	case upstreams[host] != "":
		return upstreams[host]
	case strings.HasSuffix(host, ".azurecr.io"):
		return "azure-container-registry"
	case ecrHost.MatchString(host):
		return "ecr"
	}
	return ""
}

// CreateCacheRule adds a pull-through cache rule. The upstream may be any
// registry host; a name given for it must be the right one.
func (r *Registry) CreateCacheRule(ctx context.Context, rule meta.CacheRule) (meta.CacheRule, error) {
	rule.UpstreamURL = strings.TrimSuffix(rule.UpstreamURL, "/")
	if !hostPattern.MatchString(rule.UpstreamURL) {
		return rule, refuse(UnsupportedUpstreamRegistry, "The upstream registry URL '%s' is not the host of a registry", rule.UpstreamURL)
	}
	name := upstreamName(rule.UpstreamURL)
	if rule.UpstreamRegistry != "" && rule.UpstreamRegistry != name {
		return rule, refuse(UnsupportedUpstreamRegistry, "The upstream registry '%s' does not match the upstream registry URL '%s'", rule.UpstreamRegistry, rule.UpstreamURL)
	}
	if rule.Prefix == "ROOT" && rule.UpstreamPrefix != "" && rule.UpstreamPrefix != "ROOT" {
		return rule, invalid("upstreamRepositoryPrefix", "upstreamRepositoryPrefix can't be set when ecrRepositoryPrefix is ROOT")
	}
	rule.UpstreamRegistry = name
	rule.CreatedAt = r.now()
	rule.UpdatedAt = rule.CreatedAt
	defer r.rules.forget(rule.Scope)
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		all, err := tx.CacheRules(rule.Scope, "", maxCacheRules)
		if err != nil {
			return err
		}
		err = tx.InsertCacheRule(rule)
		if errors.Is(err, meta.ErrExists) {
			return refuse(CacheRuleAlreadyExists, "A pull through cache rule with the repository prefix '%s' already exists in the registry with id '%s'", rule.Prefix, rule.Scope.Account)
		}
		if err == nil && len(all) >= maxCacheRules {
			return refuse(LimitExceeded, "The registry with id '%s' has the maximum of %d pull through cache rules", rule.Scope.Account, maxCacheRules)
		}
		return err
	})
	return rule, err
}

// CacheRules lists the rules named, or up to limit in prefix order after the
// cursor. next is empty on the last page.
func (r *Registry) CacheRules(ctx context.Context, s meta.Scope, prefixes []string, cursor string, limit int) (out []meta.CacheRule, next string, err error) {
	after, err := r.openNameCursor("cache-rules", s, cursor)
	if err != nil {
		return nil, "", err
	}
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		for _, p := range prefixes {
			rule, err := findCacheRule(tx, s, p)
			if err != nil {
				return err
			}
			out = append(out, rule)
		}
		if len(prefixes) > 0 {
			return nil
		}
		out, err = tx.CacheRules(s, after, limit+1)
		if len(out) > limit {
			out = out[:limit]
			next, err = r.sealNameCursor("cache-rules", s, out[limit-1].Prefix)
		}
		return err
	})
	return out, next, err
}

func findCacheRule(tx *meta.Tx, s meta.Scope, prefix string) (meta.CacheRule, error) {
	rule, err := tx.CacheRule(s, prefix)
	if errors.Is(err, meta.ErrNotFound) {
		return rule, refuse(CacheRuleNotFound, "The pull through cache rule with the repository prefix '%s' was not found in the registry with id '%s'", prefix, s.Account)
	}
	return rule, err
}

// UpdateCacheRule changes the credentials of a rule; empty ones stay.
func (r *Registry) UpdateCacheRule(ctx context.Context, s meta.Scope, prefix, credentialARN, customRoleARN string) (rule meta.CacheRule, err error) {
	if credentialARN == "" && customRoleARN == "" {
		return rule, refuse(InvalidParameter, "Invalid input: Please set either credential arn or role arn to update the credentials")
	}
	defer r.rules.forget(s)
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		rule, err = findCacheRule(tx, s, prefix)
		if err != nil {
			return err
		}
		if credentialARN != "" {
			rule.CredentialARN = credentialARN
		}
		if customRoleARN != "" {
			rule.CustomRoleARN = customRoleARN
		}
		rule.UpdatedAt = r.now()
		return tx.SaveCacheRule(rule)
	})
	return rule, err
}

// DeleteCacheRule removes a rule; repositories that it filled stay.
func (r *Registry) DeleteCacheRule(ctx context.Context, s meta.Scope, prefix string) (rule meta.CacheRule, err error) {
	defer r.rules.forget(s)
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		rule, err = findCacheRule(tx, s, prefix)
		if err != nil {
			return err
		}
		return tx.DeleteCacheRule(s, prefix)
	})
	return rule, err
}

// AddCacheTallies adds to what is counted of cache rules. Of rules that are gone
// nothing is counted.
func (r *Registry) AddCacheTallies(ctx context.Context, list []meta.CacheTally) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		for _, t := range list {
			if err := tx.AddCacheTally(t); err != nil {
				return err
			}
		}
		return nil
	})
}

// CacheTallies lists what is counted of the rules of a registry.
func (r *Registry) CacheTallies(ctx context.Context, s meta.Scope) (out []meta.CacheTally, err error) {
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		out, err = tx.CacheTallies(s)
		return err
	})
	return out, err
}
