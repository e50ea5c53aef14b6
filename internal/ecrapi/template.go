package ecrapi

import (
	"context"

	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/registry"
)

// createRepositoryCreationTemplate answers CreateRepositoryCreationTemplate
// (API_CreateRepositoryCreationTemplate). See [registry.Registry.CreateTemplate]
// for what templates do.
func createRepositoryCreationTemplate(d *Door, ctx context.Context, c call, in *ecr.CreateRepositoryCreationTemplateInput) (any, error) {
	t, err := d.Registry.CreateTemplate(ctx, c.scope, in.Prefix, registry.TemplateChange{
		Description: &in.Description, Encryption: templateEncryption(in.EncryptionConfiguration), ResourceTags: templateTags(in.ResourceTags),
		Mutability: templateMutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters), Policy: &in.RepositoryPolicy,
		Lifecycle: &in.LifecyclePolicy, AppliedFor: appliedFor(in.AppliedFor), CustomRoleARN: &in.CustomRoleARN, MayUseKey: d.mayUseKey(c),
	})
	if err != nil {
		return nil, err
	}
	return &ecr.CreateRepositoryCreationTemplateOutput{RegistryID: c.scope.Account, RepositoryCreationTemplate: wireTemplate(t)}, nil
}

// updateRepositoryCreationTemplate changes what the request has and leaves the
// rest (API_UpdateRepositoryCreationTemplate).
func updateRepositoryCreationTemplate(d *Door, ctx context.Context, c call, in *ecr.UpdateRepositoryCreationTemplateInput) (any, error) {
	t, err := d.Registry.UpdateTemplate(ctx, c.scope, in.Prefix, registry.TemplateChange{
		Description: in.Description, Encryption: templateEncryption(in.EncryptionConfiguration), ResourceTags: templateTags(in.ResourceTags),
		Mutability: templateMutability(in.ImageTagMutability, in.ImageTagMutabilityExclusionFilters), Policy: in.RepositoryPolicy,
		Lifecycle: in.LifecyclePolicy, AppliedFor: appliedFor(in.AppliedFor), CustomRoleARN: in.CustomRoleARN, MayUseKey: d.mayUseKey(c),
	})
	if err != nil {
		return nil, err
	}
	return &ecr.UpdateRepositoryCreationTemplateOutput{RegistryID: c.scope.Account, RepositoryCreationTemplate: wireTemplate(t)}, nil
}

func deleteRepositoryCreationTemplate(d *Door, ctx context.Context, c call, in *ecr.DeleteRepositoryCreationTemplateInput) (any, error) {
	t, err := d.Registry.DeleteTemplate(ctx, c.scope, in.Prefix)
	if err != nil {
		return nil, err
	}
	return &ecr.DeleteRepositoryCreationTemplateOutput{RegistryID: c.scope.Account, RepositoryCreationTemplate: wireTemplate(t)}, nil
}

func describeRepositoryCreationTemplates(d *Door, ctx context.Context, c call, in *ecr.DescribeRepositoryCreationTemplatesInput) (any, error) {
	if len(in.Prefixes) > 0 && (in.MaxResults != nil || in.NextToken != "") {
		return nil, exclusive("prefixes")
	}
	list, next, err := d.Registry.Templates(ctx, c.scope, in.Prefixes, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribeRepositoryCreationTemplatesOutput{
		RegistryID: c.scope.Account, RepositoryCreationTemplates: []ecr.RepositoryCreationTemplate{}, NextToken: next,
	}
	for _, t := range list {
		out.RepositoryCreationTemplates = append(out.RepositoryCreationTemplates, *wireTemplate(t))
	}
	return out, nil
}

func templateEncryption(e *ecr.EncryptionConfigurationForRepositoryCreationTemplate) *registry.Encryption {
	if e == nil {
		return nil
	}
	return &registry.Encryption{Kind: string(e.EncryptionType), Key: e.KMSKey}
}

// templateTags keeps an absent list apart from an empty one.
func templateTags(tags []ecr.Tag) []meta.ResourceTag {
	if tags == nil {
		return nil
	}
	return resourceTags(tags)
}

func templateMutability(mode ecr.ImageTagMutability, filters []ecr.ImageTagMutabilityExclusionFilter) *registry.Mutability {
	if mode == "" && filters == nil {
		return nil
	}
	m := mutability(mode, filters)
	return &m
}

func appliedFor(uses []ecr.RCTAppliedFor) []string {
	if uses == nil {
		return nil
	}
	out := make([]string, len(uses))
	for i, u := range uses {
		out[i] = string(u)
	}
	return out
}

func wireTemplate(t meta.CreationTemplate) *ecr.RepositoryCreationTemplate {
	out := &ecr.RepositoryCreationTemplate{
		Prefix: t.Prefix, Description: t.Description,
		EncryptionConfiguration: &ecr.EncryptionConfigurationForRepositoryCreationTemplate{
			EncryptionType: ecr.EncryptionType(t.Encryption), KMSKey: t.KMSKey,
		},
		ResourceTags: []ecr.Tag{}, ImageTagMutability: ecr.ImageTagMutability(t.Mutability),
		ImageTagMutabilityExclusionFilters: wireFilters(t.MutabilityFilters), RepositoryPolicy: t.Policy, LifecyclePolicy: t.Lifecycle,
		CustomRoleARN: t.CustomRoleARN, CreatedAt: ecr.At(t.CreatedAt), UpdatedAt: ecr.At(t.UpdatedAt),
	}
	for _, tag := range t.ResourceTags {
		out.ResourceTags = append(out.ResourceTags, ecr.Tag{Key: tag.Key, Value: tag.Value})
	}
	for _, use := range t.AppliedFor {
		out.AppliedFor = append(out.AppliedFor, ecr.RCTAppliedFor(use))
	}
	return out
}
