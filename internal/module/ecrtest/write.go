package ecrtest

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// CreateRepository creates a repository.
func (r *Registry) CreateRepository(ctx context.Context, in *ecr.CreateRepositoryInput, _ ...func(*ecr.Options)) (*ecr.CreateRepositoryOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := aws.ToString(in.RepositoryName)
	if err := r.begin(ctx, "CreateRepository", name); err != nil {
		return nil, err
	}
	if _, exists := r.repos[name]; exists {
		return nil, &types.RepositoryAlreadyExistsException{Message: aws.String(fmt.Sprintf(
			"The repository with name '%s' already exists in the registry with id '%s'", name, Account))}
	}
	repo := &Repository{Repository: types.Repository{
		RepositoryName: in.RepositoryName, RegistryId: aws.String(Account),
		RepositoryArn:      aws.String(fmt.Sprintf("arn:aws:ecr:%s:%s:repository/%s", Region, Account, name)),
		RepositoryUri:      aws.String(Host + "/" + name),
		ImageTagMutability: in.ImageTagMutability, ImageScanningConfiguration: in.ImageScanningConfiguration,
		EncryptionConfiguration: in.EncryptionConfiguration,
	}, Tags: map[string]string{}}
	if c := repo.EncryptionConfiguration; c != nil && c.EncryptionType == types.EncryptionTypeKms && c.KmsKey == nil {
		c.KmsKey = aws.String("arn:aws:kms:us-east-1:123456789012:key/managed")
	}
	for _, tag := range in.Tags {
		repo.Tags[*tag.Key] = *tag.Value
	}
	r.repos[name] = repo
	return &ecr.CreateRepositoryOutput{Repository: &repo.Repository}, nil
}

// DeleteRepository deletes a repository; one with images only by force.
func (r *Registry) DeleteRepository(ctx context.Context, in *ecr.DeleteRepositoryInput, _ ...func(*ecr.Options)) (*ecr.DeleteRepositoryOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(ctx, "DeleteRepository", *in.RepositoryName); err != nil {
		return nil, err
	}
	repo, err := r.find(in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if repo.Images > 0 && !in.Force {
		return nil, &types.RepositoryNotEmptyException{Message: aws.String(fmt.Sprintf(
			"The repository with name '%s' in registry with id '%s' cannot be deleted because it still contains images", *in.RepositoryName, Account))}
	}
	delete(r.repos, *in.RepositoryName)
	return &ecr.DeleteRepositoryOutput{Repository: &repo.Repository}, nil
}

// write runs a change of one repository.
func (r *Registry) write(ctx context.Context, operation string, name *string, change func(*Repository) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(ctx, operation, aws.ToString(name)); err != nil {
		return err
	}
	repo, err := r.find(name)
	if err != nil {
		return err
	}
	return change(repo)
}

// PutImageTagMutability sets the tag mutability.
func (r *Registry) PutImageTagMutability(ctx context.Context, in *ecr.PutImageTagMutabilityInput, _ ...func(*ecr.Options)) (*ecr.PutImageTagMutabilityOutput, error) {
	return &ecr.PutImageTagMutabilityOutput{}, r.write(ctx, "PutImageTagMutability", in.RepositoryName, func(repo *Repository) error {
		repo.ImageTagMutability = in.ImageTagMutability
		return nil
	})
}

// PutImageScanningConfiguration sets scan on push.
func (r *Registry) PutImageScanningConfiguration(ctx context.Context, in *ecr.PutImageScanningConfigurationInput, _ ...func(*ecr.Options)) (*ecr.PutImageScanningConfigurationOutput, error) {
	return &ecr.PutImageScanningConfigurationOutput{}, r.write(ctx, "PutImageScanningConfiguration", in.RepositoryName, func(repo *Repository) error {
		repo.ImageScanningConfiguration = in.ImageScanningConfiguration
		return nil
	})
}

// TagResource sets tags.
func (r *Registry) TagResource(ctx context.Context, in *ecr.TagResourceInput, _ ...func(*ecr.Options)) (*ecr.TagResourceOutput, error) {
	return &ecr.TagResourceOutput{}, r.write(ctx, "TagResource", arnName(in.ResourceArn), func(repo *Repository) error {
		for _, tag := range in.Tags {
			repo.Tags[*tag.Key] = *tag.Value
		}
		return nil
	})
}

// UntagResource removes tags.
func (r *Registry) UntagResource(ctx context.Context, in *ecr.UntagResourceInput, _ ...func(*ecr.Options)) (*ecr.UntagResourceOutput, error) {
	return &ecr.UntagResourceOutput{}, r.write(ctx, "UntagResource", arnName(in.ResourceArn), func(repo *Repository) error {
		for _, key := range in.TagKeys {
			delete(repo.Tags, key)
		}
		return nil
	})
}

func document(member string, text *string) error {
	if !json.Valid([]byte(aws.ToString(text))) {
		return &types.InvalidParameterException{Message: aws.String("Invalid parameter at '" + member + "' failed to satisfy constraint: 'Invalid JSON syntax'")}
	}
	return nil
}

// PutLifecyclePolicy sets the lifecycle policy.
func (r *Registry) PutLifecyclePolicy(ctx context.Context, in *ecr.PutLifecyclePolicyInput, _ ...func(*ecr.Options)) (*ecr.PutLifecyclePolicyOutput, error) {
	return &ecr.PutLifecyclePolicyOutput{}, r.write(ctx, "PutLifecyclePolicy", in.RepositoryName, func(repo *Repository) error {
		repo.Lifecycle = aws.ToString(in.LifecyclePolicyText)
		return document("LifecyclePolicyText", in.LifecyclePolicyText)
	})
}

// SetRepositoryPolicy sets the repository policy.
func (r *Registry) SetRepositoryPolicy(ctx context.Context, in *ecr.SetRepositoryPolicyInput, _ ...func(*ecr.Options)) (*ecr.SetRepositoryPolicyOutput, error) {
	return &ecr.SetRepositoryPolicyOutput{}, r.write(ctx, "SetRepositoryPolicy", in.RepositoryName, func(repo *Repository) error {
		repo.Policy = aws.ToString(in.PolicyText)
		return document("PolicyText", in.PolicyText)
	})
}

// DeleteRepositoryPolicy removes the repository policy.
func (r *Registry) DeleteRepositoryPolicy(ctx context.Context, in *ecr.DeleteRepositoryPolicyInput, _ ...func(*ecr.Options)) (*ecr.DeleteRepositoryPolicyOutput, error) {
	return &ecr.DeleteRepositoryPolicyOutput{}, r.write(ctx, "DeleteRepositoryPolicy", in.RepositoryName, func(repo *Repository) error {
		if repo.Policy == "" {
			return &types.RepositoryPolicyNotFoundException{Message: aws.String("Repository policy does not exist")}
		}
		repo.Policy = ""
		return nil
	})
}

// CreatePullThroughCacheRule creates a rule.
func (r *Registry) CreatePullThroughCacheRule(ctx context.Context, in *ecr.CreatePullThroughCacheRuleInput, _ ...func(*ecr.Options)) (*ecr.CreatePullThroughCacheRuleOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	prefix := aws.ToString(in.EcrRepositoryPrefix)
	if err := r.begin(ctx, "CreatePullThroughCacheRule", prefix); err != nil {
		return nil, err
	}
	if _, exists := r.rules[prefix]; exists {
		return nil, &types.PullThroughCacheRuleAlreadyExistsException{Message: aws.String("A pull through cache rule with these settings already exists")}
	}
	r.rules[prefix] = types.PullThroughCacheRule{
		EcrRepositoryPrefix: in.EcrRepositoryPrefix, UpstreamRegistryUrl: in.UpstreamRegistryUrl, RegistryId: aws.String(Account),
		CredentialArn: in.CredentialArn, CustomRoleArn: in.CustomRoleArn, UpstreamRepositoryPrefix: in.UpstreamRepositoryPrefix,
	}
	return &ecr.CreatePullThroughCacheRuleOutput{}, nil
}

// UpdatePullThroughCacheRule sets the credentials of a rule; as on AWS it cannot take them away.
func (r *Registry) UpdatePullThroughCacheRule(ctx context.Context, in *ecr.UpdatePullThroughCacheRuleInput, _ ...func(*ecr.Options)) (*ecr.UpdatePullThroughCacheRuleOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	prefix := aws.ToString(in.EcrRepositoryPrefix)
	if err := r.begin(ctx, "UpdatePullThroughCacheRule", prefix); err != nil {
		return nil, err
	}
	rule, exists := r.rules[prefix]
	if !exists {
		return nil, &types.PullThroughCacheRuleNotFoundException{Message: aws.String("The pull through cache rule was not found")}
	}
	if in.CredentialArn != nil {
		rule.CredentialArn = in.CredentialArn
	}
	if in.CustomRoleArn != nil {
		rule.CustomRoleArn = in.CustomRoleArn
	}
	r.rules[prefix] = rule
	return &ecr.UpdatePullThroughCacheRuleOutput{}, nil
}

// DeletePullThroughCacheRule deletes a rule.
func (r *Registry) DeletePullThroughCacheRule(ctx context.Context, in *ecr.DeletePullThroughCacheRuleInput, _ ...func(*ecr.Options)) (*ecr.DeletePullThroughCacheRuleOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	prefix := aws.ToString(in.EcrRepositoryPrefix)
	if err := r.begin(ctx, "DeletePullThroughCacheRule", prefix); err != nil {
		return nil, err
	}
	if _, exists := r.rules[prefix]; !exists {
		return nil, &types.PullThroughCacheRuleNotFoundException{Message: aws.String("The pull through cache rule was not found")}
	}
	delete(r.rules, prefix)
	return &ecr.DeletePullThroughCacheRuleOutput{}, nil
}

// GetCallerIdentity is the one call of STS.
func (r *Registry) GetCallerIdentity(ctx context.Context, _ *sts.GetCallerIdentityInput, _ ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(ctx, "GetCallerIdentity", ""); err != nil {
		return nil, err
	}
	return &sts.GetCallerIdentityOutput{
		Account: aws.String(Account), Arn: aws.String("arn:aws:iam::" + Account + ":root"), UserId: aws.String(Account),
	}, nil
}
