package ecrapi

import (
	"context"
	"strings"

	"berth/internal/ecr"
	"berth/internal/registry"
)

// An ownOperation is one that ECR does not have. Its name begins with Berth, so
// that it can never be one that ECR gets.
type ownOperation struct {
	*ecr.Operation
	route
}

// ownOperations are by the names of operations. Each takes the input of one of
// ECR, and policies allow it under the name of that one.
func ownOperations() map[string]ownOperation {
	packages, _ := ecr.LookupOperation("DescribeImageScanFindings")
	return map[string]ownOperation{
		"BerthListImagePackages": {packages, on(onRepository, listImagePackages).allowedBy("DescribeImageScanFindings")},
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
