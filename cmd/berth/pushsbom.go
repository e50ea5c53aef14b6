package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/findings"
)

// sbomTypes are the media types of bills of materials, which are also the types of their artifacts (registered with IANA).
func sbomType(format string) string {
	return map[string]string{"cyclonedx": "application/vnd.cyclonedx+json", "spdx": "application/spdx+json"}[format]
}

// pushSBOM pushes a bill of materials as an artifact that refers to the image (OCI image-spec, manifest.md, "subject"),
// with the rights that the caller has to push. It gives the digest of the artifact.
func (s *scanClient) pushSBOM(ctx context.Context, r *findings.Report, format string, text []byte) (string, error) {
	got, err := s.ecr.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: &r.Repository, ImageIds: []types.ImageIdentifier{{ImageDigest: &r.Digest}}})
	if err != nil || len(got.Images) != 1 {
		return "", fmt.Errorf("read the manifest of the image that the bill of materials is about: %w", errors.Join(err, failureOf(got)))
	}
	subject := v1.Descriptor{
		MediaType: aws.ToString(got.Images[0].ImageManifestMediaType), Digest: digest.Digest(r.Digest), Size: int64(len(aws.ToString(got.Images[0].ImageManifest))),
	}
	m := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, ArtifactType: sbomType(format), Config: v1.DescriptorEmptyJSON,
		Layers:  []v1.Descriptor{{MediaType: sbomType(format), Digest: digest.FromBytes(text), Size: int64(len(text))}},
		Subject: &subject, Annotations: map[string]string{v1.AnnotationCreated: r.Scanned.UTC().Format("2006-01-02T15:04:05Z")},
	}
	m.Config.Data = nil
	for _, b := range [][]byte{v1.DescriptorEmptyJSON.Data, text} {
		if err := s.pushLayer(ctx, r.Repository, b); err != nil {
			return "", fmt.Errorf("push the bill of materials: %w", err)
		}
	}
	body, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	name := digest.FromBytes(body).String()
	_, err = s.ecr.PutImage(ctx, &ecr.PutImageInput{
		RepositoryName: &r.Repository, ImageManifest: aws.String(string(body)), ImageManifestMediaType: &m.MediaType, ImageDigest: &name,
	})
	var same *types.ImageAlreadyExistsException
	if err != nil && !errors.As(err, &same) {
		return "", fmt.Errorf("push the bill of materials: %w", err)
	}
	return name, nil
}

func failureOf(out *ecr.BatchGetImageOutput) error {
	if out == nil || len(out.Failures) == 0 {
		return nil
	}
	return errors.New(aws.ToString(out.Failures[0].FailureReason))
}

// pushLayer stores bytes that the repository does not have.
func (s *scanClient) pushLayer(ctx context.Context, repository string, b []byte) error {
	name := digest.FromBytes(b).String()
	known, err := s.ecr.BatchCheckLayerAvailability(ctx, &ecr.BatchCheckLayerAvailabilityInput{RepositoryName: &repository, LayerDigests: []string{name}})
	if err != nil {
		return err
	}
	if len(known.Layers) == 1 && known.Layers[0].LayerAvailability == types.LayerAvailabilityAvailable {
		return nil
	}
	begun, err := s.ecr.InitiateLayerUpload(ctx, &ecr.InitiateLayerUploadInput{RepositoryName: &repository})
	if err != nil {
		return err
	}
	size := max(int(aws.ToInt64(begun.PartSize)), 1)
	for at := 0; at < len(b); at += size {
		end := min(at+size, len(b))
		_, err := s.ecr.UploadLayerPart(ctx, &ecr.UploadLayerPartInput{
			RepositoryName: &repository, UploadId: begun.UploadId, PartFirstByte: aws.Int64(int64(at)), PartLastByte: aws.Int64(int64(end - 1)), LayerPartBlob: b[at:end],
		})
		if err != nil {
			return err
		}
	}
	_, err = s.ecr.CompleteLayerUpload(ctx, &ecr.CompleteLayerUploadInput{RepositoryName: &repository, UploadId: begun.UploadId, LayerDigests: []string{name}})
	var exists *types.LayerAlreadyExistsException
	if errors.As(err, &exists) {
		return nil
	}
	return err
}
