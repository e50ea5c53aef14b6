package policy

import (
	"fmt"
	"strings"
)

// repositoryActions returns the operations that a repository policy can grant:
// every action of ECR (the operations of the API, and those without an operation
// of their own) except GetAuthorizationToken, which ECR refuses here because it
// concerns no repository.
//
// Source: ECR service model and "Actions, resources, and condition keys for
// Amazon Elastic Container Registry" in the Service Authorization Reference.
func repositoryActions() []string {
	return []string{
		"BatchCheckLayerAvailability", "BatchDeleteImage", "BatchGetImage", "BatchGetRepositoryScanningConfiguration",
		"BatchImportUpstreamImage", "CompleteLayerUpload", "CreatePullThroughCacheRule", "CreateRepository",
		"CreateRepositoryCreationTemplate", "DeleteLifecyclePolicy", "DeletePullThroughCacheRule", "DeleteRegistryPolicy",
		"DeleteRepository", "DeleteRepositoryCreationTemplate", "DeleteRepositoryPolicy", "DeleteSigningConfiguration",
		"DeregisterPullTimeUpdateExclusion", "DescribeImageReplicationStatus", "DescribeImageScanFindings",
		"DescribeImageSigningStatus", "DescribeImages", "DescribePullThroughCacheRules", "DescribeRegistry",
		"DescribeReplicationBackfillResults", "DescribeRepositories", "DescribeRepositoryCreationTemplates",
		"GetAccountSetting", "GetDownloadUrlForLayer", "GetImageCopyStatus", "GetLifecyclePolicy",
		"GetLifecyclePolicyPreview", "GetRegistryPolicy", "GetRegistryScanningConfiguration", "GetRepositoryPolicy",
		"GetSigningConfiguration", "InitiateLayerUpload", "ListImageReferrers", "ListImages",
		"ListPullTimeUpdateExclusions", "ListReplicationBackfills", "ListTagsForResource", "PutAccountSetting", "PutImage",
		"PutImageScanningConfiguration", "PutImageTagMutability", "PutLifecyclePolicy", "PutRegistryPolicy",
		"PutRegistryScanningConfiguration", "PutReplicationConfiguration", "PutSigningConfiguration",
		"RegisterPullTimeUpdateExclusion", "ReplicateImage", "SetRepositoryPolicy", "StartImageScan",
		"StartLifecyclePolicyPreview", "StartReplicationBackfill", "StopReplicationBackfill", "TagResource",
		"UntagResource", "UpdateImageStorageClass", "UpdatePullThroughCacheRule", "UpdateRepositoryCreationTemplate",
		"UploadLayerPart", "ValidatePullThroughCacheRule",
	}
}

const maxAction = 128

// checkAction accepts "*" and ecr: actions that match at least one operation.
func checkAction(action string) error {
	if action == "*" {
		return nil
	}
	service, pattern, ok := strings.Cut(action, ":")
	switch {
	case !ok || !strings.EqualFold(service, "ecr"):
		return fmt.Errorf("action %q is not an action of ecr", clip(action))
	case len(pattern) > maxAction:
		return fmt.Errorf("action %q is too long", clip(action))
	case strings.EqualFold(pattern, "GetAuthorizationToken"):
		return fmt.Errorf("action %q cannot be granted by a repository policy; grant it to the caller instead", action)
	}
	for _, name := range repositoryActions() {
		if matchFold(pattern, name) {
			return nil
		}
	}
	return fmt.Errorf("action %q matches no operation of ecr", clip(action))
}
