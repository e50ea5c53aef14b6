package ecrapi

import (
	"context"
	"strings"

	"berth/internal/access"
	"berth/internal/ecr"
	"berth/internal/kms"
	"berth/internal/meta"
	"berth/internal/registry"
)

// defaultPage is the page size when maxResults is absent (ECR API reference).
const defaultPage = 100

func pageSize(maxResults *int32) int {
	if maxResults == nil {
		return defaultPage
	}
	return int(*maxResults)
}

func wireRepository(r registry.Repository) *ecr.Repository {
	return &ecr.Repository{
		RepositoryARN: r.ARN, RegistryID: r.Scope.Account, RepositoryName: r.Name, RepositoryURI: r.URI,
		CreatedAt:                          ecr.At(r.CreatedAt),
		ImageTagMutability:                 ecr.ImageTagMutability(r.Mutability),
		ImageTagMutabilityExclusionFilters: wireFilters(r.MutabilityFilters),
		ImageScanningConfiguration:         &ecr.ImageScanningConfiguration{ScanOnPush: r.ScanOnPush},
		EncryptionConfiguration:            &ecr.EncryptionConfiguration{EncryptionType: ecr.EncryptionType(r.Encryption), KMSKey: r.KMSKey},
	}
}

func wireFilters(filters []string) (out []ecr.ImageTagMutabilityExclusionFilter) {
	for _, f := range filters {
		out = append(out, ecr.ImageTagMutabilityExclusionFilter{FilterType: "WILDCARD", Filter: f})
	}
	return out
}

func mutability(mode ecr.ImageTagMutability, filters []ecr.ImageTagMutabilityExclusionFilter) registry.Mutability {
	m := registry.Mutability{Mode: string(mode)}
	for _, f := range filters {
		m.Filters = append(m.Filters, f.Filter)
	}
	return m
}

func resourceTags(tags []ecr.Tag) []meta.ResourceTag {
	out := make([]meta.ResourceTag, len(tags))
	for i, t := range tags {
		out[i] = meta.ResourceTag{Key: t.Key, Value: t.Value}
	}
	return out
}

func createRepository(d *Door, ctx context.Context, c call, in *ecr.CreateRepositoryInput) (any, error) {
	if len(in.Tags) > 0 { // tags decide in conditions, so they are given by who may give them (Service Authorization Reference, CreateRepository)
		req := c.request
		req.Action = "ecr:TagResource"
		if err := d.Authorize.Authorize(ctx, req); err != nil {
			return nil, err
		}
	}
	n := registry.NewRepository{
		Name: in.RepositoryName, Tags: resourceTags(in.Tags),
		Mutability: mutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters), MayUseKey: d.mayUseKey(c),
	}
	if s := in.ImageScanningConfiguration; s != nil {
		n.ScanOnPush = s.ScanOnPush
	}
	if e := in.EncryptionConfiguration; e != nil {
		n.Encryption, n.KMSKey = string(e.EncryptionType), e.KMSKey
	}
	repo, err := d.Registry.CreateRepository(ctx, c.scope, n)
	if err != nil {
		return nil, err
	}
	return &ecr.CreateRepositoryOutput{Repository: wireRepository(repo)}, nil
}

// mayUseKey asks for what ECR does with a KMS key in the name of who creates a
// repository (ECR User Guide, "Encryption at rest", required IAM permissions).
func (d *Door) mayUseKey(c call) func(context.Context, string) error {
	return func(ctx context.Context, arn string) error {
		req := c.request
		req.Resource, req.Tags, req.TagKeys = arn, nil, nil
		if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 && access.IsAccountID(parts[4]) {
			req.ResourceAccount = parts[4]
		}
		req.ServiceKeys = map[string][]string{
			"kms:viaservice": {"ecr." + c.region + ".amazonaws.com"}, "kms:grantisforawsresource": {"true"},
			"kms:grantoperations": {"GenerateDataKey", "Decrypt"},
		}
		for _, action := range []string{"kms:DescribeKey", "kms:CreateGrant"} {
			req.Action = action
			err := d.Authorize.Authorize(ctx, req)
			if access.IsDenied(err) {
				return &kms.Error{Code: kms.AccessDenied, Message: err.Error()}
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

func describeRepositories(d *Door, ctx context.Context, c call, in *ecr.DescribeRepositoriesInput) (any, error) {
	if len(in.RepositoryNames) > 0 && (in.MaxResults != nil || in.NextToken != "") {
		return nil, exclusive("repositoryNames")
	}
	list, next, err := d.Registry.DescribeRepositories(ctx, c.scope, in.RepositoryNames, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribeRepositoriesOutput{Repositories: []ecr.Repository{}, NextToken: next}
	for _, r := range list {
		out.Repositories = append(out.Repositories, *wireRepository(r))
	}
	return out, nil
}

// exclusive refuses paging together with a list of what is wanted (API
// reference of maxResults: "cannot be used" with it).
func exclusive(list string) error {
	return ecr.NewException(ecr.CodeInvalidParameter,
		"Invalid parameter at 'maxResults' failed to satisfy constraint: 'maxResults and nextToken must not be used together with "+list+"'")
}

func deleteRepository(d *Door, ctx context.Context, c call, in *ecr.DeleteRepositoryInput) (any, error) {
	repo, err := d.Registry.DeleteRepository(ctx, c.scope, in.RepositoryName, in.Force)
	if err != nil {
		return nil, err
	}
	return &ecr.DeleteRepositoryOutput{Repository: wireRepository(repo)}, nil
}

func putImageTagMutability(d *Door, ctx context.Context, c call, in *ecr.PutImageTagMutabilityInput) (any, error) {
	repo, err := d.Registry.SetMutability(ctx, c.scope, in.RepositoryName, mutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters))
	if err != nil {
		return nil, err
	}
	return &ecr.PutImageTagMutabilityOutput{
		RegistryID: repo.Scope.Account, RepositoryName: repo.Name,
		ImageTagMutability:                 ecr.ImageTagMutability(repo.Mutability),
		ImageTagMutabilityExclusionFilters: wireFilters(repo.MutabilityFilters),
	}, nil
}

func putImageScanningConfiguration(d *Door, ctx context.Context, c call, in *ecr.PutImageScanningConfigurationInput) (any, error) {
	repo, err := d.Registry.SetScanOnPush(ctx, c.scope, in.RepositoryName, in.ImageScanningConfiguration.ScanOnPush)
	if err != nil {
		return nil, err
	}
	return &ecr.PutImageScanningConfigurationOutput{
		RegistryID: repo.Scope.Account, RepositoryName: repo.Name,
		ImageScanningConfiguration: &ecr.ImageScanningConfiguration{ScanOnPush: repo.ScanOnPush},
	}, nil
}

// named is the repository that a resource ARN names; the route checked it.
func named(arn string) string {
	_, name, _ := registry.ParseARN(arn)
	return name
}

func tagResource(d *Door, ctx context.Context, c call, in *ecr.TagResourceInput) (any, error) {
	return &ecr.TagResourceOutput{}, d.Registry.TagResource(ctx, c.scope, named(in.ResourceARN), resourceTags(in.Tags))
}

func untagResource(d *Door, ctx context.Context, c call, in *ecr.UntagResourceInput) (any, error) {
	return &ecr.UntagResourceOutput{}, d.Registry.UntagResource(ctx, c.scope, named(in.ResourceARN), in.TagKeys)
}

func listTagsForResource(d *Door, ctx context.Context, c call, in *ecr.ListTagsForResourceInput) (any, error) {
	tags, err := d.Registry.ResourceTags(ctx, c.scope, named(in.ResourceARN))
	if err != nil {
		return nil, err
	}
	out := &ecr.ListTagsForResourceOutput{Tags: []ecr.Tag{}}
	for _, t := range tags {
		out.Tags = append(out.Tags, ecr.Tag{Key: t.Key, Value: t.Value})
	}
	return out, nil
}
