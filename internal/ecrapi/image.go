package ecrapi

import (
	"context"

	"github.com/opencontainers/go-digest"

	"berth/internal/ecr"
	"berth/internal/manifest"
	"berth/internal/registry"
)

func putImage(d *Door, ctx context.Context, c call, in *ecr.PutImageInput) (any, error) {
	push := registry.Push{MediaType: in.ImageManifestMediaType, Body: []byte(in.ImageManifest), Digest: digest.Digest(in.ImageDigest)}
	if in.ImageTag != "" {
		push.Tags = []string{in.ImageTag}
	}
	p, err := d.Registry.PutImage(ctx, c.scope, in.RepositoryName, push)
	if err != nil {
		return nil, err
	}
	return &ecr.PutImageOutput{Image: &ecr.Image{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName,
		ImageID:       &ecr.ImageIdentifier{ImageDigest: p.Digest.String(), ImageTag: in.ImageTag},
		ImageManifest: in.ImageManifest, ImageManifestMediaType: p.MediaType,
	}}, nil
}

func imageRefs(ids []ecr.ImageIdentifier) []registry.ImageRef {
	out := make([]registry.ImageRef, len(ids))
	for i, id := range ids {
		out[i] = registry.ImageRef{Digest: id.ImageDigest, Tag: id.ImageTag}
	}
	return out
}

func wireID(ref registry.ImageRef) *ecr.ImageIdentifier {
	return &ecr.ImageIdentifier{ImageDigest: ref.Digest, ImageTag: ref.Tag}
}

func wireFailures(failed []registry.Failure) []ecr.ImageFailure {
	out := []ecr.ImageFailure{}
	for _, f := range failed {
		out = append(out, ecr.ImageFailure{ImageID: wireID(f.Ref), FailureCode: ecr.ImageFailureCode(f.Code), FailureReason: f.Reason})
	}
	return out
}

func batchGetImage(d *Door, ctx context.Context, c call, in *ecr.BatchGetImageInput) (any, error) {
	found, failed, name, err := d.pullImages(ctx, c, in.RepositoryName, imageRefs(in.ImageIDs))
	if err != nil {
		return nil, err
	}
	out := &ecr.BatchGetImageOutput{Images: []ecr.Image{}, Failures: wireFailures(failed)}
	for _, m := range found {
		d.Registry.RecordPull(c.scope, c.principal, m.ID)
		out.Images = append(out.Images, ecr.Image{
			RegistryID: c.scope.Account, RepositoryName: name,
			ImageID:       &ecr.ImageIdentifier{ImageDigest: m.Digest, ImageTag: m.Tag},
			ImageManifest: string(m.Bytes), ImageManifestMediaType: m.MediaType,
		})
	}
	return out, nil
}

func batchDeleteImage(d *Door, ctx context.Context, c call, in *ecr.BatchDeleteImageInput) (any, error) {
	deleted, failed, err := d.Registry.DeleteImages(ctx, c.scope, in.RepositoryName, imageRefs(in.ImageIDs))
	if err != nil {
		return nil, err
	}
	out := &ecr.BatchDeleteImageOutput{ImageIDs: []ecr.ImageIdentifier{}, Failures: wireFailures(failed)}
	for _, ref := range deleted {
		out.ImageIDs = append(out.ImageIDs, *wireID(ref))
	}
	return out, nil
}

func listImages(d *Door, ctx context.Context, c call, in *ecr.ListImagesInput) (any, error) {
	var filter registry.ImageFilter
	if f := in.Filter; f != nil {
		filter = registry.ImageFilter{TagStatus: string(f.TagStatus), ImageStatus: string(f.ImageStatus)}
	}
	refs, next, err := d.Registry.ListImages(ctx, c.scope, in.RepositoryName, filter, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &ecr.ListImagesOutput{ImageIDs: []ecr.ImageIdentifier{}, NextToken: next}
	for _, ref := range refs {
		out.ImageIDs = append(out.ImageIDs, *wireID(ref))
	}
	return out, nil
}

// maxReferrers is the length of a page of referrers, in numbers: what a request
// may ask for at most, and what it gets without asking (API_ListImageReferrers).
const maxReferrers = 50

// listImageReferrers lists what refers to an image: signatures, attestations,
// SBOMs (API_ListImageReferrers).
func listImageReferrers(d *Door, ctx context.Context, c call, in *ecr.ListImageReferrersInput) (any, error) {
	out := &ecr.ListImageReferrersOutput{Referrers: []ecr.ImageReferrer{}}
	var types []string
	var status string
	if f := in.Filter; f != nil {
		types, status = f.ArtifactTypes, string(f.ArtifactStatus)
	}
	limit := maxReferrers
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	if in.NextToken == "" {
		if err := d.Cache.Referrers(ctx, d.pull(ctx, c, in.RepositoryName), digest.Digest(in.SubjectID.ImageDigest)); err != nil {
			return nil, err
		}
	}
	list, next, err := d.Registry.ListReferrers(ctx, c.scope, in.RepositoryName, in.SubjectID.ImageDigest, types, status, in.NextToken, limit)
	if err != nil {
		return nil, err
	}
	out.NextToken = next
	for _, m := range list {
		parsed, err := manifest.Parse(m.MediaType, m.Bytes)
		if err != nil {
			return nil, err
		}
		out.Referrers = append(out.Referrers, ecr.ImageReferrer{
			Digest: m.Digest, MediaType: m.MediaType, ArtifactType: m.ArtifactType, Size: &m.ManifestSize,
			Annotations: parsed.Annotations, ArtifactStatus: ecr.ArtifactStatus(m.Status),
		})
	}
	return out, nil
}

func describeImages(d *Door, ctx context.Context, c call, in *ecr.DescribeImagesInput) (any, error) {
	if len(in.ImageIDs) > 0 && (in.MaxResults != nil || in.NextToken != "") {
		return nil, exclusive("imageIds")
	}
	var filter registry.ImageFilter
	if f := in.Filter; f != nil {
		filter = registry.ImageFilter{TagStatus: string(f.TagStatus), ImageStatus: string(f.ImageStatus)}
	}
	list, next, err := d.Registry.DescribeImages(ctx, c.scope, in.RepositoryName, imageRefs(in.ImageIDs), filter, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribeImagesOutput{ImageDetails: []ecr.ImageDetail{}, NextToken: next}
	for _, img := range list {
		detail := ecr.ImageDetail{
			RegistryID: c.scope.Account, RepositoryName: in.RepositoryName, ImageDigest: img.Digest, ImageTags: img.Tags,
			ImageSizeInBytes: &img.Size, ImagePushedAt: ecr.At(img.PushedAt), ImageManifestMediaType: img.MediaType,
			ArtifactMediaType: img.ArtifactType, LastRecordedPullTime: ecr.At(img.PulledAt),
			SubjectManifestDigest: img.Subject, ImageStatus: ecr.ImageStatus(img.Status),
			LastArchivedAt: ecr.At(img.ArchivedAt), LastActivatedAt: ecr.At(img.ActivatedAt),
		}
		if img.Scan != nil {
			detail.ImageScanStatus, detail.ImageScanFindingsSummary = wireScanStatus(*img.Scan), wireSummary(*img.Scan)
		}
		out.ImageDetails = append(out.ImageDetails, detail)
	}
	return out, nil
}

// updateImageStorageClass archives or restores an image
// (API_UpdateImageStorageClass). See [registry.Registry.SetStorageClass] for what
// that means.
func updateImageStorageClass(d *Door, ctx context.Context, c call, in *ecr.UpdateImageStorageClassInput) (any, error) {
	ref := imageRef(in.ImageID)
	digest, status, err := d.Registry.SetStorageClass(ctx, c.scope, in.RepositoryName, ref, string(in.TargetStorageClass))
	if err != nil {
		return nil, err
	}
	return &ecr.UpdateImageStorageClassOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName,
		ImageID: &ecr.ImageIdentifier{ImageDigest: digest, ImageTag: ref.Tag}, ImageStatus: ecr.ImageStatus(status),
	}, nil
}
