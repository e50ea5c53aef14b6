package policy

import (
	"slices"
	"strings"
)

// PullVulnerableImage is an action of Berth's own, which is no operation: it exempts
// from the rule that keeps vulnerable images from being pulled.
const PullVulnerableImage = "BerthPullVulnerableImage"

// repositoryActions returns the operations that a repository policy can grant:
// every action of ECR (the operations of the API, and those without an operation
// of their own) except GetAuthorizationToken, which ECR refuses here because it
// concerns no repository.
//
// Source: ECR service model and "Actions, resources, and condition keys for
// Amazon Elastic Container Registry" in the Service Authorization Reference.
func repositoryActions() []string {
	return []string{
		PullVulnerableImage,
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

// Operation writes an action of ECR as ECR does, "ecr:BatchGetImage", whatever its
// case. False: ECR has no such action.
func Operation(action string) (string, bool) {
	service, name, _ := strings.Cut(action, ":")
	if !strings.EqualFold(service, "ecr") {
		return "", false
	}
	for _, known := range append(repositoryActions(), "GetAuthorizationToken") {
		if strings.EqualFold(name, known) {
			return "ecr:" + known, true
		}
	}
	return "", false
}

const maxAction = 128

// checkRepositoryAction accepts "*" and ecr: actions that match at least one
// operation.
func checkRepositoryAction(action string) *fault {
	if action == "*" {
		return nil
	}
	service, pattern, ok := strings.Cut(action, ":")
	switch {
	case !ok || !strings.EqualFold(service, "ecr"):
		return faultAt(0, "action %q is not an action of ecr", clip(action))
	case len(pattern) > maxAction:
		return faultAt(0, "action %q is too long", clip(action))
	case strings.EqualFold(pattern, "GetAuthorizationToken"):
		return faultAt(0, "action %q cannot be granted by a repository policy; grant it to the caller instead", action)
	case !matchesOneOf(pattern, repositoryActions()):
		return faultAt(0, "action %q matches no operation of ecr", clip(action))
	}
	return nil
}

// checkIdentityAction accepts "*" and the actions of any service, known or not:
// an identity may have policies for services that are not here.
//
// Source: the messages that IAM gives for CreatePolicy and PutUserPolicy.
func checkIdentityAction(action string) *fault {
	if action == "*" {
		return nil
	}
	service, pattern, ok := strings.Cut(action, ":")
	switch {
	case !ok:
		return faultAt(0, "action %q names no service; write it as service:Operation", clip(action)).
			saying("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
	case strings.Contains(pattern, ":"):
		return faultAt(0, "action %q has more than one colon", clip(action)).
			saying("Actions/Condition can contain only one colon.")
	case service != "*" && strings.Trim(strings.ToLower(service), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "", service == "":
		return faultAt(0, "action %q does not begin with the name of a service", clip(action)).
			saying("Vendor %s is not valid", clip(service))
	case pattern == "":
		return faultAt(0, "action %q names no operation", clip(action))
	case len(pattern) > maxAction:
		return faultAt(0, "action %q is too long", clip(action))
	}
	return nil
}

// trustActions returns what the trust policy of a role can allow (Service
// Authorization Reference, "AWS Security Token Service", actions on roles).
func trustActions() []string {
	return []string{
		"AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity", "SetContext", "SetSourceIdentity", "TagSession",
	}
}

// checkTrustAction accepts sts: actions that match at least one of those.
func checkTrustAction(action string) *fault {
	service, pattern, _ := strings.Cut(action, ":")
	if strings.EqualFold(service, "sts") && len(pattern) <= maxAction && matchesOneOf(pattern, trustActions()) {
		return nil
	}
	return faultAt(0, "action %q assumes no role; a trust policy has actions such as sts:AssumeRole", clip(action)).
		saying("AssumeRole policy may only specify STS AssumeRole actions.")
}

func matchesOneOf(pattern string, names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return matchFold(pattern, name) })
}
