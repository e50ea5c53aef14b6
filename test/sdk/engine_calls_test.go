package sdk_test

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/testkit"
)

func templateCalls() map[string]validCall {
	return map[string]validCall{
		"CreateRepositoryCreationTemplate": {func(w *world) error { return w.template("sdk-create") }, nil},
		"DescribeRepositoryCreationTemplates": {func(w *world) error {
			w.need(w.template("sdk-list-1"))
			w.need(w.template("sdk-list-2"))
			return failed(w.DescribeRepositoryCreationTemplates(w.Context(), &ecr.DescribeRepositoryCreationTemplatesInput{MaxResults: aws.Int32(1)}))
		}, nil},
		"UpdateRepositoryCreationTemplate": {func(w *world) error {
			w.need(w.template("sdk-update"))
			return failed(w.UpdateRepositoryCreationTemplate(w.Context(), &ecr.UpdateRepositoryCreationTemplateInput{
				Prefix: aws.String("sdk-update"), Description: aws.String("changed"),
			}))
		}, nil},
		"DeleteRepositoryCreationTemplate": {func(w *world) error {
			w.need(w.template("sdk-delete"))
			return failed(w.DeleteRepositoryCreationTemplate(w.Context(), &ecr.DeleteRepositoryCreationTemplateInput{Prefix: aws.String("sdk-delete")}))
		}, nil},
	}
}

// template makes a creation template that has everything.
func (w *world) template(prefix string) error {
	return failed(w.CreateRepositoryCreationTemplate(w.Context(), &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: &prefix, AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush}, Description: aws.String("of the teams"),
		CustomRoleArn: w.role("creator"), ImageTagMutability: types.ImageTagMutabilityImmutableWithExclusion,
		ImageTagMutabilityExclusionFilters: []types.ImageTagMutabilityExclusionFilter{{
			Filter: aws.String("dev-*"), FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard,
		}},
		EncryptionConfiguration: &types.EncryptionConfigurationForRepositoryCreationTemplate{
			EncryptionType: types.EncryptionTypeKms, KmsKey: aws.String("arn:aws:kms:" + w.Region + ":" + w.Account + ":key/11111111-2222-3333-4444-555555555555"),
		},
		RepositoryPolicy: aws.String(repositoryPolicy), LifecyclePolicy: aws.String(lifecyclePolicy),
		ResourceTags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
	}))
}

func statusCalls() map[string]validCall {
	v1 := &types.ImageIdentifier{ImageTag: aws.String("v1")}
	scan := func(w *world) error {
		w.newImage()
		return failed(w.StartImageScan(w.Context(), &ecr.StartImageScanInput{RepositoryName: &w.repo, ImageId: v1}))
	}
	return map[string]validCall{
		// The answer repeats the image as it was named.
		"StartImageScan": {scan, []string{".imageId.imageDigest", ".imageScanStatus.description"}},
		"DescribeImageScanFindings": {func(w *world) error {
			w.need(scan(w))
			return failed(w.DescribeImageScanFindings(w.Context(), &ecr.DescribeImageScanFindingsInput{RepositoryName: &w.repo, ImageId: v1}))
		}, []string{".imageScanFindings", ".imageScanStatus.description", ".nextToken"}}, // the scan is not over
		"UpdateImageStorageClass": {func(w *world) error {
			w.newImage()
			return failed(w.UpdateImageStorageClass(w.Context(), &ecr.UpdateImageStorageClassInput{
				RepositoryName: &w.repo, ImageId: v1, TargetStorageClass: types.TargetStorageClassArchive,
			}))
		}, nil},
		"DescribeImageReplicationStatus": {func(w *world) error {
			w.newImage()
			return failed(w.DescribeImageReplicationStatus(w.Context(), &ecr.DescribeImageReplicationStatusInput{RepositoryName: &w.repo, ImageId: v1}))
		}, []string{".replicationStatuses"}}, // nothing is replicated yet
		"DescribeImageSigningStatus": {func(w *world) error {
			w.newImage()
			return failed(w.DescribeImageSigningStatus(w.Context(), &ecr.DescribeImageSigningStatusInput{RepositoryName: &w.repo, ImageId: v1}))
		}, []string{".signingStatuses"}}, // nothing is signed yet
	}
}

func backfillCalls() map[string]validCall {
	// A registry has one backfill under way to a region, so each ends.
	stop := func(w *world, id *string) error {
		return failed(w.StopReplicationBackfill(w.Context(), &ecr.StopReplicationBackfillInput{ReplicationBackfillId: id}))
	}
	return map[string]validCall{
		"StartReplicationBackfill": {func(w *world) error {
			id := w.backfill()
			last := w.last
			w.need(stop(w, id))
			w.last = last
			return nil
		}, nil},
		"StopReplicationBackfill": {func(w *world) error { return stop(w, w.backfill()) }, nil},
		"ListReplicationBackfills": {func(w *world) error {
			w.need(stop(w, w.backfill()))
			w.need(stop(w, w.backfill()))
			return failed(w.ListReplicationBackfills(w.Context(), &ecr.ListReplicationBackfillsInput{MaxResults: aws.Int32(1)}))
		}, []string{".backfills[].failureCode", ".backfills[].progress.failureCodes"}},
		"DescribeReplicationBackfillResults": {func(w *world) error {
			id := w.backfill()
			w.need(stop(w, id))
			return failed(w.DescribeReplicationBackfillResults(w.Context(), &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: id}))
		}, []string{".failureCode", ".progress.failureCodes", ".results", ".nextToken"}}, // nothing is replicated yet
	}
}

// backfill starts a backfill and gives its ID.
func (w *world) backfill() *string {
	w.Helper()
	w.need(w.putReplication())
	return must(w.StartReplicationBackfill(w.Context(), &ecr.StartReplicationBackfillInput{
		Destination: &types.ReplicationDestination{Region: aws.String("eu-west-1"), RegistryId: &w.Account},
	}))(w).ReplicationBackfillId
}

// previewCall sees the first of two images that would go to the archive.
func previewCall(w *world) error {
	w.newImage()
	for _, tag := range []string{"v2", "v3"} {
		w.image(testkit.RandomImage(w, 1, 1<<10), tag)
	}
	w.need(failed(w.StartLifecyclePolicyPreview(w.Context(), &ecr.StartLifecyclePolicyPreviewInput{
		RepositoryName: &w.repo, LifecyclePolicyText: aws.String(`{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any",` +
			`"countType":"imageCountMoreThan","countNumber":1},"action":{"type":"transition","targetStorageClass":"archive"}}]}`),
	})))
	return failed(w.GetLifecyclePolicyPreview(w.Context(), &ecr.GetLifecyclePolicyPreviewInput{RepositoryName: &w.repo, MaxResults: aws.Int32(1)}))
}
