package ecrapi

import (
	"context"
	"errors"

	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/upstream"
)

func createPullThroughCacheRule(d *Door, ctx context.Context, c call, in *ecr.CreatePullThroughCacheRuleInput) (any, error) {
	r, err := d.Registry.CreateCacheRule(ctx, meta.CacheRule{
		Scope: c.scope, Prefix: in.ECRRepositoryPrefix, UpstreamURL: in.UpstreamRegistryURL,
		UpstreamRegistry: string(in.UpstreamRegistry), UpstreamPrefix: in.UpstreamRepositoryPrefix,
		CredentialARN: in.CredentialARN, CustomRoleARN: in.CustomRoleARN,
	})
	if err != nil {
		return nil, err
	}
	return &ecr.CreatePullThroughCacheRuleOutput{
		ECRRepositoryPrefix: r.Prefix, UpstreamRegistryURL: r.UpstreamURL, CreatedAt: ecr.At(r.CreatedAt), RegistryID: c.scope.Account,
		UpstreamRegistry: ecr.UpstreamRegistry(r.UpstreamRegistry), CredentialARN: r.CredentialARN,
		CustomRoleARN: r.CustomRoleARN, UpstreamRepositoryPrefix: r.UpstreamPrefix,
	}, nil
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
