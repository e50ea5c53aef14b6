package ecrapi

import (
	"context"

	"berth/internal/ecr"
	"berth/internal/registry"
)

// putSigningConfiguration replaces the rules (API_PutSigningConfiguration).
func putSigningConfiguration(d *Door, ctx context.Context, c call, in *ecr.PutSigningConfigurationInput) (any, error) {
	rules := []registry.SigningRule{}
	for _, rule := range in.SigningConfiguration.Rules {
		r := registry.SigningRule{Profile: rule.SigningProfileARN}
		for _, f := range rule.RepositoryFilters {
			r.Filters = append(r.Filters, f.Filter)
		}
		rules = append(rules, r)
	}
	if err := d.Registry.SetSigning(ctx, c.scope, rules); err != nil {
		return nil, err
	}
	return &ecr.PutSigningConfigurationOutput{SigningConfiguration: wireSigning(rules)}, nil
}

func getSigningConfiguration(d *Door, ctx context.Context, c call, _ *ecr.GetSigningConfigurationInput) (any, error) {
	rules, err := d.Registry.Signing(ctx, c.scope)
	if err != nil {
		return nil, err
	}
	return &ecr.GetSigningConfigurationOutput{RegistryID: c.scope.Account, SigningConfiguration: wireSigning(rules)}, nil
}

// deleteSigningConfiguration removes the rules and answers with them
// (API_DeleteSigningConfiguration).
func deleteSigningConfiguration(d *Door, ctx context.Context, c call, _ *ecr.DeleteSigningConfigurationInput) (any, error) {
	rules, err := d.Registry.DeleteSigning(ctx, c.scope)
	if err != nil {
		return nil, err
	}
	return &ecr.DeleteSigningConfigurationOutput{RegistryID: c.scope.Account, SigningConfiguration: wireSigning(rules)}, nil
}

func wireSigning(rules []registry.SigningRule) *ecr.SigningConfiguration {
	out := &ecr.SigningConfiguration{Rules: []ecr.SigningRule{}}
	for _, rule := range rules {
		r := ecr.SigningRule{SigningProfileARN: rule.Profile}
		for _, f := range rule.Filters {
			r.RepositoryFilters = append(r.RepositoryFilters, ecr.SigningRepositoryFilter{Filter: f, FilterType: ecr.SigningRepositoryFilterTypeWildcardMatch})
		}
		out.Rules = append(out.Rules, r)
	}
	return out
}

// describeImageSigningStatus tells how the profiles of the registry signed an
// image (API_DescribeImageSigningStatus). Signing comes later: no image was
// signed, so there is no status.
func describeImageSigningStatus(d *Door, ctx context.Context, c call, in *ecr.DescribeImageSigningStatusInput) (any, error) {
	img, err := d.Registry.FindImage(ctx, c.scope, in.RepositoryName, imageRef(in.ImageID))
	if err != nil {
		return nil, err
	}
	return &ecr.DescribeImageSigningStatusOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName,
		ImageID: &ecr.ImageIdentifier{ImageDigest: img.Digest, ImageTag: in.ImageID.ImageTag}, SigningStatuses: []ecr.ImageSigningStatus{},
	}, nil
}
