package ecrapi

import (
	"bytes"
	"context"
	"net/url"

	"github.com/opencontainers/go-digest"

	"berth/internal/access"
	"berth/internal/ecr"
	"berth/internal/manifest"
	"berth/internal/registry"
)

func initiateLayerUpload(d *Door, ctx context.Context, c call, in *ecr.InitiateLayerUploadInput) (any, error) {
	u, err := d.Registry.StartUpload(ctx, c.scope, in.RepositoryName, "")
	if registry.Is(err, registry.RepositoryNotFound) {
		var created bool
		if created, err = d.createOnPush(ctx, c, in.RepositoryName, err); created {
			u, err = d.Registry.StartUpload(ctx, c.scope, in.RepositoryName, "")
		}
	}
	if err != nil {
		return nil, err
	}
	size := int64(registry.PartSize)
	return &ecr.InitiateLayerUploadOutput{UploadID: u.ID, PartSize: &size}, nil
}

// createOnPush creates the repository that a push found missing, if there is a
// template for it and the caller may. Without a template, missing is the answer.
func (d *Door) createOnPush(ctx context.Context, c call, name string, missing error) (created bool, err error) {
	created, err = d.Registry.CreateOnPush(ctx, c.scope, name, func(tags []access.Tag) error {
		q := c.request
		q.Action, q.Tags = "ecr:CreateRepository", tags
		return d.Authorize.Authorize(ctx, q)
	})
	if !created && err == nil {
		err = missing
	}
	return created, err
}

func uploadLayerPart(d *Door, ctx context.Context, c call, in *ecr.UploadLayerPartInput) (any, error) {
	first, last := *in.PartFirstByte, *in.PartLastByte
	if last-first+1 != int64(len(in.LayerPartBlob)) {
		return nil, ecr.NewException(ecr.CodeInvalidParameter,
			"Invalid parameter at 'layerPartBlob' failed to satisfy constraint: 'must have the length that partFirstByte and partLastByte give'")
	}
	u, err := d.Registry.AppendPart(ctx, c.scope, in.RepositoryName, in.UploadID, first, bytes.NewReader(in.LayerPartBlob))
	if err != nil {
		return nil, err
	}
	received := u.Size - 1
	return &ecr.UploadLayerPartOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName, UploadID: u.ID, LastByteReceived: &received,
	}, nil
}

func digests(list []string) []digest.Digest {
	out := make([]digest.Digest, len(list))
	for i, s := range list {
		out[i] = digest.Digest(s)
	}
	return out
}

func completeLayerUpload(d *Door, ctx context.Context, c call, in *ecr.CompleteLayerUploadInput) (any, error) {
	info, err := d.Registry.CompleteParts(ctx, c.scope, in.RepositoryName, in.UploadID, digests(in.LayerDigests))
	if err != nil {
		return nil, err
	}
	return &ecr.CompleteLayerUploadOutput{
		RegistryID: c.scope.Account, RepositoryName: in.RepositoryName, UploadID: in.UploadID, LayerDigest: info.Digest.String(),
	}, nil
}

func batchCheckLayerAvailability(d *Door, ctx context.Context, c call, in *ecr.BatchCheckLayerAvailabilityInput) (any, error) {
	out := &ecr.BatchCheckLayerAvailabilityOutput{Layers: []ecr.Layer{}, Failures: []ecr.LayerFailure{}}
	var valid []digest.Digest
	for _, dg := range digests(in.LayerDigests) {
		if err := manifest.ValidateDigest(dg); err != nil {
			out.Failures = append(out.Failures, ecr.LayerFailure{
				LayerDigest: dg.String(), FailureCode: "InvalidLayerDigest", FailureReason: "Invalid request parameters: " + err.Error(),
			})
			continue
		}
		valid = append(valid, dg)
	}
	found, missing, err := d.Registry.CheckLayers(ctx, c.scope, in.RepositoryName, valid)
	if err != nil {
		return nil, err
	}
	for _, b := range found {
		availability := ecr.LayerAvailability("AVAILABLE")
		if b.Archived {
			availability = "ARCHIVED"
		}
		out.Layers = append(out.Layers, ecr.Layer{
			LayerDigest: b.Digest.String(), LayerAvailability: availability, LayerSize: &b.Size, MediaType: b.MediaType,
		})
	}
	for _, dg := range missing {
		out.Layers = append(out.Layers, ecr.Layer{LayerDigest: dg.String(), LayerAvailability: "UNAVAILABLE"})
	}
	return out, nil
}

// getDownloadURLForLayer gives a URL of this registry that needs no other
// credentials for as long as its ticket lasts.
func getDownloadURLForLayer(d *Door, ctx context.Context, c call, in *ecr.GetDownloadUrlForLayerInput) (any, error) {
	dg := digest.Digest(in.LayerDigest)
	t, err := d.Registry.LayerTicket(ctx, c.scope, in.RepositoryName, dg)
	if err != nil {
		return nil, err
	}
	u := d.Endpoint(c.scope) + "/v2/" + in.RepositoryName + "/blobs/" + dg.String() + "?" + url.Values{"ticket": {t}}.Encode()
	return &ecr.GetDownloadUrlForLayerOutput{LayerDigest: dg.String(), DownloadURL: u}, nil
}
