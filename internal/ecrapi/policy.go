package ecrapi

import (
	"context"

	"berth/internal/ecr"
)

func setRepositoryPolicy(d *Door, ctx context.Context, c call, in *ecr.SetRepositoryPolicyInput) (any, error) {
	repo, err := d.Registry.SetPolicy(ctx, c.scope, in.RepositoryName, in.PolicyText, c.request, in.Force)
	if err != nil {
		return nil, err
	}
	return &ecr.SetRepositoryPolicyOutput{RegistryID: c.scope.Account, RepositoryName: repo.Name, PolicyText: repo.Policy}, nil
}

func getRepositoryPolicy(d *Door, ctx context.Context, c call, in *ecr.GetRepositoryPolicyInput) (any, error) {
	text, err := d.Registry.Policy(ctx, c.scope, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	return &ecr.GetRepositoryPolicyOutput{RegistryID: c.scope.Account, RepositoryName: in.RepositoryName, PolicyText: text}, nil
}

func deleteRepositoryPolicy(d *Door, ctx context.Context, c call, in *ecr.DeleteRepositoryPolicyInput) (any, error) {
	text, err := d.Registry.DeletePolicy(ctx, c.scope, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	return &ecr.DeleteRepositoryPolicyOutput{RegistryID: c.scope.Account, RepositoryName: in.RepositoryName, PolicyText: text}, nil
}

func putLifecyclePolicy(d *Door, ctx context.Context, c call, in *ecr.PutLifecyclePolicyInput) (any, error) {
	p, err := d.Registry.PutLifecyclePolicy(ctx, c.scope, in.RepositoryName, in.LifecyclePolicyText)
	if err != nil {
		return nil, err
	}
	return &ecr.PutLifecyclePolicyOutput{RegistryID: c.scope.Account, RepositoryName: in.RepositoryName, LifecyclePolicyText: p.Text}, nil
}

func getLifecyclePolicy(d *Door, ctx context.Context, c call, in *ecr.GetLifecyclePolicyInput) (any, error) {
	p, err := d.Registry.LifecyclePolicy(ctx, c.scope, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	return &ecr.GetLifecyclePolicyOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName,
		LifecyclePolicyText: p.Text, LastEvaluatedAt: ecr.At(p.EvaluatedAt),
	}, nil
}

func deleteLifecyclePolicy(d *Door, ctx context.Context, c call, in *ecr.DeleteLifecyclePolicyInput) (any, error) {
	p, err := d.Registry.DeleteLifecyclePolicy(ctx, c.scope, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	return &ecr.DeleteLifecyclePolicyOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName,
		LifecyclePolicyText: p.Text, LastEvaluatedAt: ecr.At(p.EvaluatedAt),
	}, nil
}

func putRegistryPolicy(d *Door, ctx context.Context, c call, in *ecr.PutRegistryPolicyInput) (any, error) {
	if err := d.Registry.SetRegistryPolicy(ctx, c.scope, in.PolicyText); err != nil {
		return nil, err
	}
	return &ecr.PutRegistryPolicyOutput{RegistryID: c.scope.Account, PolicyText: in.PolicyText}, nil
}

func getRegistryPolicy(d *Door, ctx context.Context, c call, _ *ecr.GetRegistryPolicyInput) (any, error) {
	text, err := d.Registry.RegistryPolicy(ctx, c.scope)
	if err != nil {
		return nil, err
	}
	return &ecr.GetRegistryPolicyOutput{RegistryID: c.scope.Account, PolicyText: text}, nil
}

func deleteRegistryPolicy(d *Door, ctx context.Context, c call, _ *ecr.DeleteRegistryPolicyInput) (any, error) {
	text, err := d.Registry.DeleteRegistryPolicy(ctx, c.scope)
	if err != nil {
		return nil, err
	}
	return &ecr.DeleteRegistryPolicyOutput{RegistryID: c.scope.Account, PolicyText: text}, nil
}
