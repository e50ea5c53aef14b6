package ecrapi

import (
	"context"

	"berth/internal/ecr"
)

// registerPullTimeUpdateExclusion excludes a user or a role
// (API_RegisterPullTimeUpdateExclusion).
func registerPullTimeUpdateExclusion(d *Door, ctx context.Context, c call, in *ecr.RegisterPullTimeUpdateExclusionInput) (any, error) {
	e, err := d.Registry.AddExclusion(ctx, c.scope, in.PrincipalARN)
	if err != nil {
		return nil, err
	}
	return &ecr.RegisterPullTimeUpdateExclusionOutput{PrincipalARN: e.ARN, CreatedAt: ecr.At(e.CreatedAt)}, nil
}

func deregisterPullTimeUpdateExclusion(d *Door, ctx context.Context, c call, in *ecr.DeregisterPullTimeUpdateExclusionInput) (any, error) {
	if err := d.Registry.RemoveExclusion(ctx, c.scope, in.PrincipalARN); err != nil {
		return nil, err
	}
	return &ecr.DeregisterPullTimeUpdateExclusionOutput{PrincipalARN: in.PrincipalARN}, nil
}

func listPullTimeUpdateExclusions(d *Door, ctx context.Context, c call, in *ecr.ListPullTimeUpdateExclusionsInput) (any, error) {
	list, next, err := d.Registry.Exclusions(ctx, c.scope, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &ecr.ListPullTimeUpdateExclusionsOutput{PullTimeUpdateExclusions: []string{}, NextToken: next}
	for _, e := range list {
		out.PullTimeUpdateExclusions = append(out.PullTimeUpdateExclusions, e.ARN)
	}
	return out, nil
}
