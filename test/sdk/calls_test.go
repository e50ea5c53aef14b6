package sdk_test

import (
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/testkit"
)

// A validCall prepares what an operation needs and ends with a call of it.
type validCall struct {
	call func(w *world) error
	// lacks are the members that the answer does not have, by their paths.
	lacks []string
}

const (
	lifecyclePolicy = `{"rules":[{"rulePriority":1,"description":"keep ten","selection":{"tagStatus":"any","countType":"imageCountMoreThan",` +
		`"countNumber":10},"action":{"type":"expire"}}]}`
	repositoryPolicy = `{"Version":"2012-10-17","Statement":[{"Sid":"pull","Effect":"Allow","Principal":"*","Action":"ecr:BatchGetImage"}]}`
)

// validCalls has a call of every operation that is offered.
func validCalls() map[string]validCall {
	all := map[string]validCall{}
	for _, group := range []map[string]validCall{
		repositoryCalls(), policyCalls(), imageCalls(), layerCalls(), registryCalls(), cacheCalls(), templateCalls(), statusCalls(), backfillCalls(),
	} {
		for name, call := range group {
			all[name] = call
		}
	}
	return all
}

// failed drops the output of a call: it is read from the wire.
func failed[T any](_ T, err error) error { return err }

func repositoryCalls() map[string]validCall {
	// A repository of the default encryption has no key, one without exclusions no filters.
	plain := []string{".repository.imageTagMutabilityExclusionFilters", ".repository.encryptionConfiguration.kmsKey"}
	filters := []types.ImageTagMutabilityExclusionFilter{{
		Filter: aws.String("dev-*"), FilterType: types.ImageTagMutabilityExclusionFilterTypeWildcard,
	}}
	return map[string]validCall{
		"CreateRepository": {func(w *world) error {
			return failed(w.CreateRepository(w.Context(), &ecr.CreateRepositoryInput{
				RepositoryName: &w.repo, RegistryId: &w.Account, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
				ImageTagMutability: types.ImageTagMutabilityImmutableWithExclusion, ImageTagMutabilityExclusionFilters: filters,
				ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: true},
				EncryptionConfiguration:    &types.EncryptionConfiguration{EncryptionType: types.EncryptionTypeKms},
			}))
		}, nil},
		"DescribeRepositories": {func(w *world) error {
			w.create()
			w.repo += "/second"
			w.create()
			return failed(w.DescribeRepositories(w.Context(), &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(1)}))
		}, []string{".repositories[].imageTagMutabilityExclusionFilters", ".repositories[].encryptionConfiguration.kmsKey"}},
		"DeleteRepository": {func(w *world) error {
			w.create()
			return failed(w.DeleteRepository(w.Context(), &ecr.DeleteRepositoryInput{RepositoryName: &w.repo, Force: true}))
		}, plain},
		"PutImageTagMutability": {func(w *world) error {
			w.create()
			return failed(w.PutImageTagMutability(w.Context(), &ecr.PutImageTagMutabilityInput{
				RepositoryName: &w.repo, ImageTagMutability: types.ImageTagMutabilityMutableWithExclusion, ImageTagMutabilityExclusionFilters: filters,
			}))
		}, nil},
		"PutImageScanningConfiguration": {func(w *world) error {
			w.create()
			return failed(w.PutImageScanningConfiguration(w.Context(), &ecr.PutImageScanningConfigurationInput{
				RepositoryName: &w.repo, ImageScanningConfiguration: &types.ImageScanningConfiguration{},
			}))
		}, nil},
		"TagResource": {func(w *world) error {
			return failed(w.TagResource(w.Context(), &ecr.TagResourceInput{
				ResourceArn: w.arn(), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
			}))
		}, nil},
		"UntagResource": {func(w *world) error {
			return failed(w.UntagResource(w.Context(), &ecr.UntagResourceInput{ResourceArn: w.arn(), TagKeys: []string{"team"}}))
		}, nil},
		"ListTagsForResource": {func(w *world) error {
			arn := w.arn()
			must(w.TagResource(w.Context(), &ecr.TagResourceInput{
				ResourceArn: arn, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("blue")}},
			}))(w)
			return failed(w.ListTagsForResource(w.Context(), &ecr.ListTagsForResourceInput{ResourceArn: arn}))
		}, nil},
	}
}

// arn makes the repository and gives its ARN.
func (w *world) arn() *string {
	w.Helper()
	out := must(w.CreateRepository(w.Context(), &ecr.CreateRepositoryInput{RepositoryName: &w.repo}))(w)
	return out.Repository.RepositoryArn
}

func policyCalls() map[string]validCall {
	setPolicy := func(w *world) error {
		w.create()
		return failed(w.SetRepositoryPolicy(w.Context(), &ecr.SetRepositoryPolicyInput{RepositoryName: &w.repo, PolicyText: aws.String(repositoryPolicy)}))
	}
	putLifecycle := func(w *world) error {
		w.create()
		return failed(w.PutLifecyclePolicy(w.Context(), &ecr.PutLifecyclePolicyInput{RepositoryName: &w.repo, LifecyclePolicyText: aws.String(lifecyclePolicy)}))
	}
	return map[string]validCall{
		"SetRepositoryPolicy": {setPolicy, nil},
		"GetRepositoryPolicy": {func(w *world) error {
			w.need(setPolicy(w))
			return failed(w.GetRepositoryPolicy(w.Context(), &ecr.GetRepositoryPolicyInput{RepositoryName: &w.repo}))
		}, nil},
		"DeleteRepositoryPolicy": {func(w *world) error {
			w.need(setPolicy(w))
			return failed(w.DeleteRepositoryPolicy(w.Context(), &ecr.DeleteRepositoryPolicyInput{RepositoryName: &w.repo}))
		}, nil},
		"PutLifecyclePolicy": {putLifecycle, nil},
		"GetLifecyclePolicy": {func(w *world) error {
			w.need(putLifecycle(w))
			return failed(w.GetLifecyclePolicy(w.Context(), &ecr.GetLifecyclePolicyInput{RepositoryName: &w.repo}))
		}, []string{".lastEvaluatedAt"}}, // it was never evaluated
		"StartLifecyclePolicyPreview": {func(w *world) error {
			w.create()
			return failed(w.StartLifecyclePolicyPreview(w.Context(), &ecr.StartLifecyclePolicyPreviewInput{
				RepositoryName: &w.repo, RegistryId: &w.Account, LifecyclePolicyText: aws.String(lifecyclePolicy),
			}))
		}, nil},
		"GetLifecyclePolicyPreview": {previewCall, nil},
		"DeleteLifecyclePolicy": {func(w *world) error {
			w.need(putLifecycle(w))
			return failed(w.DeleteLifecyclePolicy(w.Context(), &ecr.DeleteLifecyclePolicyInput{RepositoryName: &w.repo}))
		}, []string{".lastEvaluatedAt"}},
		"PutRegistryPolicy": {(*world).putRegistryPolicy, nil},
		"GetRegistryPolicy": {func(w *world) error {
			w.need(w.putRegistryPolicy())
			return failed(w.GetRegistryPolicy(w.Context(), &ecr.GetRegistryPolicyInput{}))
		}, nil},
		"DeleteRegistryPolicy": {func(w *world) error {
			w.need(w.putRegistryPolicy())
			return failed(w.DeleteRegistryPolicy(w.Context(), &ecr.DeleteRegistryPolicyInput{}))
		}, nil},
	}
}

func (w *world) putRegistryPolicy() error {
	text := `{"Version":"2012-10-17","Statement":[{"Sid":"replicate","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},` +
		`"Action":["ecr:ReplicateImage"],"Resource":["arn:aws:ecr:` + w.Region + `:` + w.Account + `:repository/*"]}]}`
	return failed(w.PutRegistryPolicy(w.Context(), &ecr.PutRegistryPolicyInput{PolicyText: &text}))
}

func imageCalls() map[string]validCall {
	tag := func(tag string) types.ImageIdentifier { return types.ImageIdentifier{ImageTag: &tag} }
	return map[string]validCall{
		"PutImage": {func(w *world) error {
			w.create()
			c := testkit.RandomImage(w, 1, 1<<10)
			for _, b := range c.Blobs {
				w.layer(b)
			}
			return failed(w.PutImage(w.Context(), &ecr.PutImageInput{
				RepositoryName: &w.repo, ImageManifest: aws.String(string(c.Root.Bytes)), ImageManifestMediaType: aws.String(v1.MediaTypeImageManifest),
				ImageTag: aws.String("v1"), ImageDigest: aws.String(c.Digest().String()),
			}))
		}, nil},
		"BatchGetImage": {func(w *world) error {
			c := w.newImage()
			return failed(w.BatchGetImage(w.Context(), &ecr.BatchGetImageInput{
				RepositoryName: &w.repo, AcceptedMediaTypes: []string{v1.MediaTypeImageManifest},
				ImageIds: []types.ImageIdentifier{tag("v1"), {ImageDigest: aws.String(c.Digest().String()), ImageTag: aws.String("absent")}},
			}))
		}, nil},
		"BatchDeleteImage": {func(w *world) error {
			c := w.newImage()
			return failed(w.BatchDeleteImage(w.Context(), &ecr.BatchDeleteImageInput{
				RepositoryName: &w.repo,
				ImageIds:       []types.ImageIdentifier{tag("v1"), {ImageDigest: aws.String(c.Digest().String()), ImageTag: aws.String("absent")}},
			}))
		}, nil},
		"ListImages": {func(w *world) error {
			w.newImage()
			w.image(testkit.RandomImage(w, 1, 1<<10), "v2")
			return failed(w.ListImages(w.Context(), &ecr.ListImagesInput{
				RepositoryName: &w.repo, MaxResults: aws.Int32(1),
				Filter: &types.ListImagesFilter{TagStatus: types.TagStatusTagged, ImageStatus: types.ImageStatusFilterActive},
			}))
		}, nil},
		"DescribeImages": {func(w *world) error {
			c := w.newImage()
			must(w.BatchGetImage(w.Context(), &ecr.BatchGetImageInput{RepositoryName: &w.repo, ImageIds: []types.ImageIdentifier{tag("v1")}}))(w)
			w.image(testkit.Artifact(w, "application/vnd.example.signature", []byte("signed"), &c), "")
			w.image(testkit.RandomImage(w, 1, 1<<10), "v2")
			w.image(testkit.RandomImage(w, 1, 1<<10), "v3")
			v2 := tag("v2")
			must(w.StartImageScan(w.Context(), &ecr.StartImageScanInput{RepositoryName: &w.repo, ImageId: &v2}))(w)
			must(w.UpdateImageStorageClass(w.Context(), &ecr.UpdateImageStorageClassInput{
				RepositoryName: &w.repo, ImageId: &v2, TargetStorageClass: types.TargetStorageClassArchive,
			}))(w)
			return failed(w.DescribeImages(w.Context(), &ecr.DescribeImagesInput{
				RepositoryName: &w.repo, MaxResults: aws.Int32(3), Filter: &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterAny},
			}))
		}, []string{
			".imageDetails[].imageScanFindingsSummary", ".imageDetails[].imageScanStatus.description", // the scan is not over
			".imageDetails[].lastRecordedPullTime", // it is written with a delay
			".imageDetails[].lastActivatedAt",      // no image was restored
		}},
		"ListImageReferrers": {func(w *world) error {
			c := w.newImage()
			for _, payload := range []string{"one", "two"} {
				a := testkit.Artifact(w, "application/vnd.example.signature", []byte(payload), &c)
				a.Root = testkit.NewBlob(v1.MediaTypeImageManifest, annotate(w, a.Root.Bytes))
				w.image(a, "")
			}
			return failed(w.ListImageReferrers(w.Context(), &ecr.ListImageReferrersInput{
				RepositoryName: &w.repo, SubjectId: &types.SubjectIdentifier{ImageDigest: aws.String(c.Digest().String())}, MaxResults: aws.Int32(1),
				Filter: &types.ListImageReferrersFilter{ArtifactStatus: types.ArtifactStatusFilterActive, ArtifactTypes: []string{"application/vnd.example.signature"}},
			}))
		}, nil},
	}
}

func layerCalls() map[string]validCall {
	blob := func(w *world) testkit.Blob {
		return testkit.NewBlob(v1.MediaTypeImageLayerGzip, []byte("a layer of "+w.repo))
	}
	return map[string]validCall{
		"InitiateLayerUpload": {func(w *world) error {
			w.create()
			return failed(w.InitiateLayerUpload(w.Context(), &ecr.InitiateLayerUploadInput{RepositoryName: &w.repo}))
		}, nil},
		"UploadLayerPart": {func(w *world) error {
			w.create()
			w.upload(blob(w))
			return nil
		}, nil},
		"CompleteLayerUpload": {func(w *world) error {
			w.create()
			w.layer(blob(w))
			return nil
		}, nil},
		"BatchCheckLayerAvailability": {func(w *world) error {
			c := w.newImage()
			return failed(w.BatchCheckLayerAvailability(w.Context(), &ecr.BatchCheckLayerAvailabilityInput{
				RepositoryName: &w.repo, LayerDigests: []string{c.Blobs[1].Descriptor.Digest.String(), "sha256:short"},
			}))
		}, nil},
		"GetDownloadUrlForLayer": {func(w *world) error {
			c := w.newImage()
			out, err := w.GetDownloadUrlForLayer(w.Context(), &ecr.GetDownloadUrlForLayerInput{
				RepositoryName: &w.repo, LayerDigest: aws.String(c.Blobs[1].Descriptor.Digest.String()),
			})
			if err != nil {
				return err
			}
			u, err := url.Parse(*out.DownloadUrl)
			if err == nil && !u.IsAbs() {
				w.Errorf("the download URL %s is not absolute", u)
			}
			return err
		}, nil},
	}
}

func registryCalls() map[string]validCall {
	return map[string]validCall{
		"GetAuthorizationToken": {func(w *world) error {
			return failed(w.GetAuthorizationToken(w.Context(), &ecr.GetAuthorizationTokenInput{}))
		}, nil},
		"GetAccountSetting": {func(w *world) error {
			return failed(w.GetAccountSetting(w.Context(), &ecr.GetAccountSettingInput{Name: aws.String("REGISTRY_POLICY_SCOPE")}))
		}, nil},
		"PutAccountSetting": {func(w *world) error {
			return failed(w.PutAccountSetting(w.Context(), &ecr.PutAccountSettingInput{Name: aws.String("BLOB_MOUNTING"), Value: aws.String("ENABLED")}))
		}, nil},
		"PutRegistryScanningConfiguration": {(*world).putScanning, nil},
		"GetRegistryScanningConfiguration": {func(w *world) error {
			w.need(w.putScanning())
			return failed(w.GetRegistryScanningConfiguration(w.Context(), &ecr.GetRegistryScanningConfigurationInput{}))
		}, nil},
		"BatchGetRepositoryScanningConfiguration": {func(w *world) error {
			w.create()
			w.need(w.putScanning())
			return failed(w.BatchGetRepositoryScanningConfiguration(w.Context(), &ecr.BatchGetRepositoryScanningConfigurationInput{
				RepositoryNames: []string{w.repo, w.repo + "/absent"},
			}))
		}, nil},
		"RegisterPullTimeUpdateExclusion": {func(w *world) error { return w.exclude("scanner") }, nil},
		"DeregisterPullTimeUpdateExclusion": {func(w *world) error {
			w.need(w.exclude("leaver"))
			return failed(w.DeregisterPullTimeUpdateExclusion(w.Context(), &ecr.DeregisterPullTimeUpdateExclusionInput{PrincipalArn: w.role("leaver")}))
		}, nil},
		"ListPullTimeUpdateExclusions": {func(w *world) error {
			w.need(w.exclude("first"))
			w.need(w.exclude("second"))
			return failed(w.ListPullTimeUpdateExclusions(w.Context(), &ecr.ListPullTimeUpdateExclusionsInput{MaxResults: aws.Int32(1)}))
		}, nil},
		"PutSigningConfiguration": {(*world).putSigning, nil},
		"GetSigningConfiguration": {func(w *world) error {
			w.need(w.putSigning())
			return failed(w.GetSigningConfiguration(w.Context(), &ecr.GetSigningConfigurationInput{}))
		}, nil},
		"DeleteSigningConfiguration": {func(w *world) error {
			w.need(w.putSigning())
			return failed(w.DeleteSigningConfiguration(w.Context(), &ecr.DeleteSigningConfigurationInput{}))
		}, nil},
		"PutReplicationConfiguration": {(*world).putReplication, nil},
		"DescribeRegistry": {func(w *world) error {
			w.need(w.putReplication())
			return failed(w.DescribeRegistry(w.Context(), &ecr.DescribeRegistryInput{}))
		}, nil},
	}
}

func (w *world) role(name string) *string {
	return aws.String("arn:aws:iam::" + w.Account + ":role/" + name)
}

func (w *world) exclude(name string) error {
	return failed(w.RegisterPullTimeUpdateExclusion(w.Context(), &ecr.RegisterPullTimeUpdateExclusionInput{PrincipalArn: w.role(name)}))
}

func (w *world) putScanning() error {
	return failed(w.PutRegistryScanningConfiguration(w.Context(), &ecr.PutRegistryScanningConfigurationInput{
		ScanType: types.ScanTypeBasic, Rules: []types.RegistryScanningRule{{
			ScanFrequency: types.ScanFrequencyScanOnPush,
			RepositoryFilters: []types.ScanningRepositoryFilter{{
				Filter: aws.String("*scanningconfiguration"), FilterType: types.ScanningRepositoryFilterTypeWildcard,
			}},
		}},
	}))
}

func (w *world) putSigning() error {
	return failed(w.PutSigningConfiguration(w.Context(), &ecr.PutSigningConfigurationInput{
		SigningConfiguration: &types.SigningConfiguration{Rules: []types.SigningRule{{
			SigningProfileArn: aws.String("arn:aws:signer:" + w.Region + ":" + w.Account + ":/signing-profiles/release"),
			RepositoryFilters: []types.SigningRepositoryFilter{{
				Filter: aws.String("prod*"), FilterType: types.SigningRepositoryFilterTypeWildcardMatch,
			}},
		}}},
	}))
}

func (w *world) putReplication() error {
	return failed(w.PutReplicationConfiguration(w.Context(), &ecr.PutReplicationConfigurationInput{
		ReplicationConfiguration: &types.ReplicationConfiguration{Rules: []types.ReplicationRule{{
			Destinations: []types.ReplicationDestination{{Region: aws.String("eu-west-1"), RegistryId: &w.Account}},
			RepositoryFilters: []types.RepositoryFilter{{
				Filter: aws.String("prod"), FilterType: types.RepositoryFilterTypePrefixMatch,
			}},
		}}},
	}))
}

func cacheCalls() map[string]validCall {
	return map[string]validCall{
		"CreatePullThroughCacheRule": {func(w *world) error { return w.cache("sdk-create") }, nil},
		"DescribePullThroughCacheRules": {func(w *world) error {
			w.need(w.cache("sdk-list-1"))
			w.need(w.cache("sdk-list-2"))
			return failed(w.DescribePullThroughCacheRules(w.Context(), &ecr.DescribePullThroughCacheRulesInput{MaxResults: aws.Int32(1)}))
		}, nil},
		"UpdatePullThroughCacheRule": {func(w *world) error {
			w.need(w.cache("sdk-update"))
			return failed(w.UpdatePullThroughCacheRule(w.Context(), &ecr.UpdatePullThroughCacheRuleInput{
				EcrRepositoryPrefix: aws.String("sdk-update"), CustomRoleArn: w.role("another"),
			}))
		}, nil},
		"ValidatePullThroughCacheRule": {func(w *world) error {
			w.need(w.cache("sdk-validate")) // with a secret that says nothing, so that no upstream is asked
			return failed(w.ValidatePullThroughCacheRule(w.Context(), &ecr.ValidatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("sdk-validate")}))
		}, nil},
		"DeletePullThroughCacheRule": {func(w *world) error {
			w.need(w.cache("sdk-delete"))
			return failed(w.DeletePullThroughCacheRule(w.Context(), &ecr.DeletePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String("sdk-delete")}))
		}, nil},
	}
}

func (w *world) cache(prefix string) error {
	return failed(w.CreatePullThroughCacheRule(w.Context(), &ecr.CreatePullThroughCacheRuleInput{
		EcrRepositoryPrefix: &prefix, UpstreamRegistryUrl: aws.String("registry-1.docker.io"), UpstreamRegistry: types.UpstreamRegistryDockerHub,
		CredentialArn: aws.String("arn:aws:secretsmanager:" + w.Region + ":" + w.Account + ":secret:ecr-pullthroughcache/hub"),
		CustomRoleArn: w.role("puller"), UpstreamRepositoryPrefix: aws.String("library"),
	}))
}
