package ecrapi

import (
	"context"
	"errors"

	"berth/internal/access"
	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/upstream"
)

func createPullThroughCacheRule(d *Door, ctx context.Context, c call, in *ecr.CreatePullThroughCacheRuleInput) (any, error) {
	rule := meta.CacheRule{
		Scope: c.scope, Prefix: in.ECRRepositoryPrefix, UpstreamURL: in.UpstreamRegistryURL,
		UpstreamRegistry: string(in.UpstreamRegistry), UpstreamPrefix: in.UpstreamRepositoryPrefix,
		CredentialARN: in.CredentialARN, CustomRoleARN: in.CustomRoleARN,
	}
	if err := d.mayUse(ctx, c, rule); err != nil {
		return nil, err
	}
	r, err := d.Registry.CreateCacheRule(ctx, rule)
	if err != nil {
		return nil, err
	}
	return &ecr.CreatePullThroughCacheRuleOutput{
		ECRRepositoryPrefix: r.Prefix, UpstreamRegistryURL: r.UpstreamURL, CreatedAt: ecr.At(r.CreatedAt), RegistryID: c.scope.Account,
		UpstreamRegistry: ecr.UpstreamRegistry(r.UpstreamRegistry), CredentialARN: r.CredentialARN,
		CustomRoleARN: r.CustomRoleARN, UpstreamRepositoryPrefix: r.UpstreamPrefix,
	}, nil
}

// mayUse refuses a rule whose secret or role the caller cannot give it: a secret
// that cannot be read, and a role that the caller may not pass (ECR User Guide,
// "IAM permissions required to sync an upstream registry"). The registry reads the
// secret itself, so ECR does not ask whether the caller may; for a host that ECR does
// not offer this does, since whoever names the host sees what it is sent.
func (d *Door) mayUse(ctx context.Context, c call, rule meta.CacheRule) error {
	if rule.CustomRoleARN != "" {
		q := c.request
		q.Action, q.Resource, q.ResourceAccount = "iam:PassRole", rule.CustomRoleARN, c.principal.Account // the role may be one of AWS
		q.ServiceKeys = map[string][]string{"iam:passedtoservice": {"pullthroughcache.ecr.amazonaws.com"}}
		if err := d.Authorize.Authorize(ctx, q); err != nil {
			return err
		}
	}
	if rule.CredentialARN != "" && !registry.IsKnownUpstream(rule.UpstreamURL) {
		q := c.request
		q.Action, q.Resource, q.ResourceAccount = "secretsmanager:GetSecretValue", rule.CredentialARN, c.scope.Account // of another account's, CheckSecret refuses
		if err := d.Authorize.Authorize(ctx, q); access.IsDenied(err) {
			return registry.SecretFailure(registry.SecretUnreachable, err)
		} else if err != nil {
			return err
		}
	}
	return d.Cache.CheckSecret(ctx, rule)
}

func describePullThroughCacheRules(d *Door, ctx context.Context, c call, in *ecr.DescribePullThroughCacheRulesInput) (any, error) {
	if len(in.ECRRepositoryPrefixes) > 0 && (in.MaxResults != nil || in.NextToken != "") {
		return nil, exclusive("ecrRepositoryPrefixes")
	}
	list, next, err := d.Registry.CacheRules(ctx, c.scope, in.ECRRepositoryPrefixes, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribePullThroughCacheRulesOutput{PullThroughCacheRules: []ecr.PullThroughCacheRule{}, NextToken: next}
	for _, r := range list {
		out.PullThroughCacheRules = append(out.PullThroughCacheRules, ecr.PullThroughCacheRule{
			ECRRepositoryPrefix: r.Prefix, UpstreamRegistryURL: r.UpstreamURL, CreatedAt: ecr.At(r.CreatedAt), RegistryID: c.scope.Account,
			CredentialARN: r.CredentialARN, CustomRoleARN: r.CustomRoleARN, UpstreamRepositoryPrefix: r.UpstreamPrefix,
			UpstreamRegistry: ecr.UpstreamRegistry(r.UpstreamRegistry), UpdatedAt: ecr.At(r.UpdatedAt),
		})
	}
	return out, nil
}

func updatePullThroughCacheRule(d *Door, ctx context.Context, c call, in *ecr.UpdatePullThroughCacheRuleInput) (any, error) {
	rules, _, err := d.Registry.CacheRules(ctx, c.scope, []string{in.ECRRepositoryPrefix}, "", 1)
	if err != nil {
		return nil, err
	}
	rule := rules[0]
	rule.CredentialARN, rule.CustomRoleARN = in.CredentialARN, valueOf(in.CustomRoleARN)
	if err := d.mayUse(ctx, c, rule); err != nil {
		return nil, err
	}
	r, err := d.Registry.UpdateCacheRule(ctx, c.scope, in.ECRRepositoryPrefix, in.CredentialARN, valueOf(in.CustomRoleARN))
	if err != nil {
		return nil, err
	}
	return &ecr.UpdatePullThroughCacheRuleOutput{
		ECRRepositoryPrefix: r.Prefix, RegistryID: c.scope.Account, UpdatedAt: ecr.At(r.UpdatedAt),
		CredentialARN: r.CredentialARN, CustomRoleARN: r.CustomRoleARN, UpstreamRepositoryPrefix: r.UpstreamPrefix,
	}, nil
}

func deletePullThroughCacheRule(d *Door, ctx context.Context, c call, in *ecr.DeletePullThroughCacheRuleInput) (any, error) {
	r, err := d.Registry.DeleteCacheRule(ctx, c.scope, in.ECRRepositoryPrefix)
	if err != nil {
		return nil, err
	}
	return &ecr.DeletePullThroughCacheRuleOutput{
		ECRRepositoryPrefix: r.Prefix, UpstreamRegistryURL: r.UpstreamURL, CreatedAt: ecr.At(r.CreatedAt), RegistryID: c.scope.Account,
		CredentialARN: r.CredentialARN, CustomRoleARN: r.CustomRoleARN, UpstreamRepositoryPrefix: r.UpstreamPrefix,
	}, nil
}

// validatePullThroughCacheRule asks the upstream registry whether it can be used
// with the credentials of the rule (API_ValidatePullThroughCacheRule).
func validatePullThroughCacheRule(d *Door, ctx context.Context, c call, in *ecr.ValidatePullThroughCacheRuleInput) (any, error) {
	rules, _, err := d.Registry.CacheRules(ctx, c.scope, []string{in.ECRRepositoryPrefix}, "", 1)
	if err != nil {
		return nil, err
	}
	r := rules[0]
	out := &ecr.ValidatePullThroughCacheRuleOutput{
		ECRRepositoryPrefix: r.Prefix, RegistryID: c.scope.Account, UpstreamRegistryURL: r.UpstreamURL, CredentialARN: r.CredentialARN,
		CustomRoleARN: r.CustomRoleARN, UpstreamRepositoryPrefix: r.UpstreamPrefix,
	}
	var failure *upstream.Error
	switch err := d.Cache.Check(ctx, r); {
	case errors.As(err, &failure):
		out.Failure = "The upstream registry " + failure.Host + " " + failure.Message + "."
	case err != nil:
		return nil, err
	default:
		out.IsValid = true
	}
	return out, nil
}

// valueOf is an optional text; an absent one is empty.
func valueOf(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
