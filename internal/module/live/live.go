package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"golang.org/x/sync/errgroup"

	"berth/internal/module/apierr"
	"berth/internal/module/desired"
)

// parallel is how many calls are under way at once: enough for hundreds of repositories within a second, few enough
// for the request rates of AWS.
const parallel = 16

// pageSize is the most that DescribeRepositories and DescribePullThroughCacheRules return at once.
const pageSize = 1000

// API is the part of the ECR API that reading needs; *ecr.Client has it.
type API interface {
	DescribeRepositories(ctx context.Context, in *ecr.DescribeRepositoriesInput, opts ...func(*ecr.Options)) (*ecr.DescribeRepositoriesOutput, error)
	ListTagsForResource(ctx context.Context, in *ecr.ListTagsForResourceInput, opts ...func(*ecr.Options)) (*ecr.ListTagsForResourceOutput, error)
	GetLifecyclePolicy(ctx context.Context, in *ecr.GetLifecyclePolicyInput, opts ...func(*ecr.Options)) (*ecr.GetLifecyclePolicyOutput, error)
	GetRepositoryPolicy(ctx context.Context, in *ecr.GetRepositoryPolicyInput, opts ...func(*ecr.Options)) (*ecr.GetRepositoryPolicyOutput, error)
	DescribePullThroughCacheRules(ctx context.Context, in *ecr.DescribePullThroughCacheRulesInput, opts ...func(*ecr.Options)) (*ecr.DescribePullThroughCacheRulesOutput, error)
	ListImages(ctx context.Context, in *ecr.ListImagesInput, opts ...func(*ecr.Options)) (*ecr.ListImagesOutput, error)
}

// Repository is a repository that exists.
type Repository struct {
	Name           string
	ARN            string
	URI            string // host/name
	RegistryID     string // account
	Mutability     string // MUTABLE, IMMUTABLE, or one of them with _WITH_EXCLUSION
	ScanOnPush     bool
	EncryptionType string
	KMSKey         string
	Tags           map[string]string
	Lifecycle      string // JSON; empty for none. Read for repositories in scope only
	Policy         string // likewise
	HasImages      bool   // filled in by Occupied
}

// State is what exists.
type State struct {
	Repositories map[string]Repository
	CacheRules   map[string]desired.CacheRule
}

// Scope says what to read besides the list of repositories.
type Scope struct {
	Names      map[string]bool // repositories whose tags and policies are wanted
	Stack      string          // the repositories of this stack are wanted, too; empty: none are looked for
	CacheRules bool            // whether to read the cache rules
}

// Read returns the repositories in scope, and when asked for, all cache rules.
func Read(ctx context.Context, api API, scope Scope) (*State, error) {
	all, err := repositories(ctx, api)
	if err != nil {
		return nil, err
	}
	state := &State{Repositories: map[string]Repository{}, CacheRules: map[string]desired.CacheRule{}}
	var mu sync.Mutex
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, repo := range all {
		if scope.Stack == "" && !scope.Names[repo.Name] {
			continue
		}
		group.Go(func() error {
			keep, err := complete(gctx, api, &repo, scope)
			if keep && err == nil {
				mu.Lock()
				defer mu.Unlock()
				state.Repositories[repo.Name] = repo
			}
			return err
		})
	}
	if scope.CacheRules {
		group.Go(func() error {
			rules, err := cacheRules(gctx, api)
			mu.Lock()
			defer mu.Unlock()
			state.CacheRules = rules
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return state, nil
}

// List returns every repository of the registry by name, without tags and policies.
func List(ctx context.Context, api API) (map[string]Repository, error) {
	all, err := repositories(ctx, api)
	if err != nil {
		return nil, err
	}
	byName := make(map[string]Repository, len(all))
	for _, r := range all {
		byName[r.Name] = r
	}
	return byName, nil
}

func repositories(ctx context.Context, api API) ([]Repository, error) {
	var list []Repository
	in := &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(pageSize)}
	for {
		out, err := api.DescribeRepositories(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("cannot list the repositories: %w", apierr.Explain(err))
		}
		for _, r := range out.Repositories {
			list = append(list, convert(r))
		}
		if aws.ToString(out.NextToken) == "" {
			return list, nil
		}
		in = &ecr.DescribeRepositoriesInput{MaxResults: aws.Int32(pageSize), NextToken: out.NextToken}
	}
}

func convert(r types.Repository) Repository {
	repo := Repository{
		Name: aws.ToString(r.RepositoryName), ARN: aws.ToString(r.RepositoryArn), URI: aws.ToString(r.RepositoryUri),
		RegistryID: aws.ToString(r.RegistryId), Mutability: string(r.ImageTagMutability), EncryptionType: desired.AES256,
	}
	if c := r.ImageScanningConfiguration; c != nil {
		repo.ScanOnPush = c.ScanOnPush
	}
	// A registry that says nothing about encryption encrypts with AES256, the default of the API.
	if c := r.EncryptionConfiguration; c != nil && c.EncryptionType != "" {
		repo.EncryptionType, repo.KMSKey = string(c.EncryptionType), aws.ToString(c.KmsKey)
	}
	return repo
}

// complete reads tags, and for a repository in scope the policies. It returns false for one that is out of scope.
func complete(ctx context.Context, api API, repo *Repository, scope Scope) (bool, error) {
	tags, err := api.ListTagsForResource(ctx, &ecr.ListTagsForResourceInput{ResourceArn: aws.String(repo.ARN)})
	if err != nil {
		return false, unlessGone(err, "cannot read the tags of repository %q: %w", repo.Name)
	}
	repo.Tags = make(map[string]string, len(tags.Tags))
	for _, tag := range tags.Tags {
		repo.Tags[aws.ToString(tag.Key)] = aws.ToString(tag.Value)
	}
	if !scope.Names[repo.Name] && desired.StackOf(repo.Tags[desired.OwnerTag]) != scope.Stack {
		return false, nil
	}
	lifecycle, err := api.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: aws.String(repo.Name)})
	var noLifecycle *types.LifecyclePolicyNotFoundException
	switch {
	case err == nil:
		repo.Lifecycle = aws.ToString(lifecycle.LifecyclePolicyText)
	case !errors.As(err, &noLifecycle):
		return false, unlessGone(err, "cannot read the lifecycle policy of repository %q: %w", repo.Name)
	}
	policy, err := api.GetRepositoryPolicy(ctx, &ecr.GetRepositoryPolicyInput{RepositoryName: aws.String(repo.Name)})
	var noPolicy *types.RepositoryPolicyNotFoundException
	switch {
	case err == nil:
		repo.Policy = aws.ToString(policy.PolicyText)
	case !errors.As(err, &noPolicy):
		return false, unlessGone(err, "cannot read the policy of repository %q: %w", repo.Name)
	}
	return true, nil
}

// unlessGone wraps an error about a repository, or drops it when the repository was deleted in the meantime.
func unlessGone(err error, format, name string) error {
	var gone *types.RepositoryNotFoundException
	if errors.As(err, &gone) {
		return nil
	}
	return fmt.Errorf(format, name, apierr.Explain(err))
}

func cacheRules(ctx context.Context, api API) (map[string]desired.CacheRule, error) {
	rules := map[string]desired.CacheRule{}
	in := &ecr.DescribePullThroughCacheRulesInput{MaxResults: aws.Int32(pageSize)}
	for {
		out, err := api.DescribePullThroughCacheRules(ctx, in)
		if err != nil {
			return nil, fmt.Errorf("cannot list the pull-through cache rules: %w", apierr.Explain(err))
		}
		for _, r := range out.PullThroughCacheRules {
			rule := desired.CacheRule{
				Prefix: aws.ToString(r.EcrRepositoryPrefix), UpstreamURL: aws.ToString(r.UpstreamRegistryUrl),
				CredentialARN: aws.ToString(r.CredentialArn), CustomRoleARN: aws.ToString(r.CustomRoleArn),
				UpstreamPrefix: aws.ToString(r.UpstreamRepositoryPrefix), RegistryID: aws.ToString(r.RegistryId),
			}
			rules[rule.Prefix] = rule
		}
		if aws.ToString(out.NextToken) == "" {
			return rules, nil
		}
		in = &ecr.DescribePullThroughCacheRulesInput{MaxResults: aws.Int32(pageSize), NextToken: out.NextToken}
	}
}

// Occupied finds out which of the named repositories hold images, and says so in the state.
func Occupied(ctx context.Context, api API, state *State, names []string) error {
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		group.Go(func() error {
			out, err := api.ListImages(ctx, &ecr.ListImagesInput{RepositoryName: aws.String(name), MaxResults: aws.Int32(1)})
			if err != nil {
				return unlessGone(err, "cannot list the images of repository %q: %w", name)
			}
			mu.Lock()
			defer mu.Unlock()
			repo := state.Repositories[name]
			repo.HasImages = len(out.ImageIds) > 0 || aws.ToString(out.NextToken) != ""
			state.Repositories[name] = repo
			return nil
		})
	}
	return group.Wait()
}
