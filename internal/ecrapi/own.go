package ecrapi

import (
	"context"
	"encoding/json"
	"strings"

	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/registry"
)

// An ownOperation is one that ECR does not have. Its name begins with Berth, so
// that it can never be one that ECR gets.
type ownOperation struct {
	*ecr.Operation
	route
}

// ownOperations are by the names of operations. One that takes the input of an
// operation of ECR is allowed under the name of that one, the others under their
// own.
func ownOperations() map[string]ownOperation {
	packages, _ := ecr.LookupOperation("DescribeImageScanFindings")
	named, _ := ecr.LookupOperation("GetLifecyclePolicy") // its input names a repository
	rules, _ := ecr.LookupOperation("DescribePullThroughCacheRules")
	page, _ := ecr.LookupOperation("ListReplicationBackfills")
	nothing, _ := ecr.LookupOperation("DescribeRegistry")
	return map[string]ownOperation{
		"BerthListImagePackages": {packages, on(onRepository, listImagePackages).allowedBy("DescribeImageScanFindings")},
		// Who may put a policy may let it act: it does so within the hour anyway.
		"BerthRunLifecyclePolicy": {named, on(onRepository, runLifecyclePolicy).allowedBy("PutLifecyclePolicy")},
		"BerthListLifecycleRuns":  {named, on(onRepository, listLifecycleRuns).allowedBy("GetLifecyclePolicy")},
		// Who sees the images knows what they take; this is the rest.
		"BerthGetUnreferencedBytes": {named, on(onRepository, getUnreferencedBytes).allowedBy("DescribeImages")},
		"BerthDescribeAdvisories":   {ownInput("BerthDescribeAdvisories", func() any { return new(noInput) }), on(onCaller, describeAdvisories).ofHome()},
		"BerthDescribeExploits": {
			ownInput("BerthDescribeExploits", func() any { return new(exploitsInput) }, exploitsMembers()...),
			on(onRepository, describeExploits).allowedBy("DescribeImageScanFindings"),
		},
		"BerthImportAdvisories": {
			ownInput("BerthImportAdvisories", func() any { return new(advisoriesPart) }, advisoriesPartMembers()...),
			on(onCaller, importAdvisories).ofHome(),
		},
		"BerthDescribeCacheStatus": {rules, on(onRegistry, describeCacheStatus).allowedBy("DescribePullThroughCacheRules")},
		"BerthListEvents":          {page, on(onRepositories, listEvents).allowedBy("DescribeImages")},
		"BerthListDeadEvents":      {page, on(onRepositories, listDeadEvents).allowedBy("DescribeImages")},
		"BerthRetryDeadEvents":     {nothing, on(onRegistry, retryDeadEvents).allowedBy("PutReplicationConfiguration")},
	}
}

// find gives the operation that a target names. known is false for what nobody
// offers under that name, offered for what this version does not.
func (d *Door) find(target string) (op *ecr.Operation, rt route, known, offered bool) {
	if name, ok := strings.CutPrefix(target, ecr.TargetPrefix+"."); ok {
		if own, ok := d.own[name]; ok {
			return own.Operation, own.route, true, true
		}
	}
	op, known = ecr.LookupTarget(target)
	if known {
		rt, offered = d.routes[op.Name]
	}
	return op, rt, known, offered
}

// imagePackagesOutput is what BerthListImagePackages answers.
type imagePackagesOutput struct {
	RegistryID     string                      `json:"registryId"`
	RepositoryName string                      `json:"repositoryName"`
	ImageID        ecr.ImageIdentifier         `json:"imageId"`
	Platform       string                      `json:"platform,omitempty"`
	Packages       []registry.InstalledPackage `json:"packages"`
	Warnings       []string                    `json:"warnings,omitempty"`
	NextToken      string                      `json:"nextToken,omitempty"`
}

// listImagePackages tells a page of what the last scan found to be installed in
// an image: what a bill of materials lists. ECR has no such operation.
func listImagePackages(d *Door, ctx context.Context, c call, in *ecr.DescribeImageScanFindingsInput) (any, error) {
	view, err := d.Registry.Packages(ctx, c.scope, in.RepositoryName, imageRef(in.ImageID), in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := imagePackagesOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName,
		ImageID:  ecr.ImageIdentifier{ImageDigest: view.Image.Digest, ImageTag: in.ImageID.ImageTag},
		Platform: view.Platform, Packages: view.Packages, Warnings: view.Warnings, NextToken: view.Next,
	}
	if out.Packages == nil {
		out.Packages = []registry.InstalledPackage{}
	}
	return out, nil
}

// A lifecycleRun is the record of one run.
type lifecycleRun struct {
	StartedAt   ecr.Time `json:"startedAt"`
	FinishedAt  ecr.Time `json:"finishedAt,omitzero"` // not set: it goes on, or was cut off
	Expired     int      `json:"expired"`
	Archived    int      `json:"archived"`
	Failed      int      `json:"failed"`
	Bytes       int64    `json:"bytes"`      // of the images that expired
	FreedBytes  int64    `json:"freedBytes"` // of them, what no image needs any more
	Policy      string   `json:"lifecyclePolicyText"`
	ImageEvents any      `json:"images"` // at most the first 1000, of [registry.LifecycleEvent]
}

func lifecycleRunOf(r meta.LifecycleRun) lifecycleRun {
	return lifecycleRun{
		StartedAt: ecr.At(r.StartedAt), FinishedAt: ecr.At(r.FinishedAt), Expired: r.Expired, Archived: r.Archived, Failed: r.Failed,
		Bytes: r.Bytes, FreedBytes: r.Freed, Policy: r.Policy, ImageEvents: json.RawMessage(r.Report),
	}
}

// lifecycleRunsOutput is what BerthRunLifecyclePolicy and BerthListLifecycleRuns answer.
type lifecycleRunsOutput struct {
	RegistryID     string         `json:"registryId"`
	RepositoryName string         `json:"repositoryName"`
	Runs           []lifecycleRun `json:"runs"`
}

// runLifecyclePolicy applies the policy of a repository now, and tells what that
// did. ECR does so in its own time. When the caller goes away the run stops
// between two transactions.
func runLifecyclePolicy(d *Door, ctx context.Context, c call, in *ecr.GetLifecyclePolicyInput) (any, error) {
	run, err := d.Registry.RunLifecycle(ctx, c.scope, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	return lifecycleRunsOutput{c.scope.Account, in.RepositoryName, []lifecycleRun{lifecycleRunOf(run)}}, nil
}

// listLifecycleRuns tells what the last runs did, the newest first. Those that
// did nothing are not among them.
func listLifecycleRuns(d *Door, ctx context.Context, c call, in *ecr.GetLifecyclePolicyInput) (any, error) {
	runs, err := d.Registry.LifecycleRuns(ctx, c.scope, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := lifecycleRunsOutput{c.scope.Account, in.RepositoryName, make([]lifecycleRun, len(runs))}
	for i, r := range runs {
		out.Runs[i] = lifecycleRunOf(r)
	}
	return out, nil
}

// unreferencedBytesOutput is what BerthGetUnreferencedBytes answers.
type unreferencedBytesOutput struct {
	RegistryID        string `json:"registryId"`
	RepositoryName    string `json:"repositoryName"`
	UnreferencedBytes int64  `json:"unreferencedBytes"`
}

// getUnreferencedBytes tells what a repository holds that no image of it lists.
func getUnreferencedBytes(d *Door, ctx context.Context, c call, in *ecr.GetLifecyclePolicyInput) (any, error) {
	n, err := d.Registry.UnreferencedBytes(ctx, c.scope, in.RepositoryName)
	if err != nil {
		return nil, err
	}
	return unreferencedBytesOutput{c.scope.Account, in.RepositoryName, n}, nil
}
