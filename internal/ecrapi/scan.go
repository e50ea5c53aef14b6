package ecrapi

import (
	"context"

	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/registry"
)

// startImageScan asks for a scan (API_StartImageScan). The scanner comes later:
// until then the request waits, and its status says so. See
// [registry.Registry.StartScan].
func startImageScan(d *Door, ctx context.Context, c call, in *ecr.StartImageScanInput) (any, error) {
	scan, err := d.Registry.StartScan(ctx, c.scope, in.RepositoryName, imageRef(in.ImageID))
	if err != nil {
		return nil, err
	}
	return &ecr.StartImageScanOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName, ImageID: in.ImageID, ImageScanStatus: wireScanStatus(scan),
	}, nil
}

// describeImageScanFindings tells the status of the last scan
// (API_DescribeImageScanFindings). No scan has findings before there is a
// scanner, so there is no list of them either, not even an empty one, and no
// next page. The object that would hold them is there all the same: the aws
// CLI fails without it.
func describeImageScanFindings(d *Door, ctx context.Context, c call, in *ecr.DescribeImageScanFindingsInput) (any, error) {
	ref := imageRef(in.ImageID)
	scan, digest, err := d.Registry.Scan(ctx, c.scope, in.RepositoryName, ref)
	if err != nil {
		return nil, err
	}
	if in.NextToken != "" {
		return nil, noSuchPage()
	}
	return &ecr.DescribeImageScanFindingsOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName,
		ImageID: &ecr.ImageIdentifier{ImageDigest: digest, ImageTag: ref.Tag}, ImageScanStatus: wireScanStatus(scan),
		ImageScanFindings: &ecr.ImageScanFindings{},
	}, nil
}

// noSuchPage refuses a token that this listing never gave.
func noSuchPage() error {
	return ecr.NewException(ecr.CodeInvalidParameter, "Invalid parameter at 'NextToken' failed to satisfy constraint: 'Invalid next token provided'")
}

func wireScanStatus(s meta.Scan) *ecr.ImageScanStatus {
	return &ecr.ImageScanStatus{Status: ecr.ScanStatus(s.Status), Description: s.Description}
}

// imageRef is the image of a request that is about one image.
func imageRef(id *ecr.ImageIdentifier) registry.ImageRef {
	return registry.ImageRef{Digest: id.ImageDigest, Tag: id.ImageTag}
}
