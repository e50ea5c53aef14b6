package ecrapi

import (
	"context"
	"math"

	"berth/internal/ecr"
	"berth/internal/registry"
)

func startLifecyclePolicyPreview(d *Door, ctx context.Context, c call, in *ecr.StartLifecyclePolicyPreviewInput) (any, error) {
	p, err := d.Registry.StartPreview(ctx, c.scope, in.RepositoryName, in.LifecyclePolicyText)
	if err != nil {
		return nil, err
	}
	return &ecr.StartLifecyclePolicyPreviewOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName,
		LifecyclePolicyText: p.Policy, Status: ecr.LifecyclePolicyPreviewStatus(p.Status),
	}, nil
}

// getLifecyclePolicyPreview shows a preview page by page. The summary is about
// all of it, whatever the filter says (unconfirmed).
func getLifecyclePolicyPreview(d *Door, ctx context.Context, c call, in *ecr.GetLifecyclePolicyPreviewInput) (any, error) {
	if len(in.ImageIDs) > 0 && (in.MaxResults != nil || in.NextToken != "") {
		return nil, exclusive("imageIds")
	}
	q := registry.PreviewQuestion{Images: imageRefs(in.ImageIDs), Cursor: in.NextToken, Limit: pageSize(in.MaxResults)}
	if in.Filter != nil {
		q.TagStatus = string(in.Filter.TagStatus)
	}
	p, acts, next, err := d.Registry.Preview(ctx, c.scope, in.RepositoryName, q)
	if err != nil {
		return nil, err
	}
	out := &ecr.GetLifecyclePolicyPreviewOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName, LifecyclePolicyText: p.Policy,
		Status: ecr.LifecyclePolicyPreviewStatus(p.Status), NextToken: next, PreviewResults: []ecr.LifecyclePolicyPreviewResult{},
	}
	for _, a := range acts {
		action := &ecr.LifecyclePolicyRuleAction{Type: ecr.ImageActionType(a.Action)}
		if a.Action == registry.ActTransition {
			action.TargetStorageClass = ecr.LifecyclePolicyTargetStorageClassArchive
		}
		out.PreviewResults = append(out.PreviewResults, ecr.LifecyclePolicyPreviewResult{
			ImageTags: a.Tags, ImageDigest: a.Digest, ImagePushedAt: ecr.At(a.PushedAt), Action: action,
			AppliedRulePriority: int32Of(a.Rule), StorageClass: ecr.LifecyclePolicyStorageClass(a.StorageClass),
		})
	}
	if out.Status == ecr.LifecyclePolicyPreviewStatusComplete {
		out.Summary = &ecr.LifecyclePolicyPreviewSummary{ExpiringImageTotalCount: int32Of(p.Expiring)}
		if p.Transitioning > 0 {
			out.Summary.TransitioningImageTotalCounts = []ecr.TransitioningImageTotalCount{{
				TargetStorageClass: ecr.LifecyclePolicyTargetStorageClassArchive, ImageTotalCount: int32Of(p.Transitioning),
			}}
		}
	}
	return out, nil
}

func int32Of(n int) *int32 {
	v := int32(min(n, math.MaxInt32)) //nolint:gosec // it fits
	return &v
}
