// Package ecrtest is an ECR control plane in memory for the tests of the native engine: the operations that the engine
// calls, with the errors and the rules of ECR that the engine relies on.
package ecrtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// Account and Region of every resource.
const (
	Account = "123456789012"
	Region  = "us-east-1"
	Host    = "127.0.0.1:5050"
)

// Repository is a repository as it is stored.
type Repository struct {
	types.Repository
	Tags      map[string]string
	Lifecycle string
	Policy    string
	Images    int
}

// Registry is the control plane. The zero value is not usable; see New.
type Registry struct {
	mu    sync.Mutex
	repos map[string]*Repository
	rules map[string]types.PullThroughCacheRule
	calls []string

	// PageSize is how many items a list returns at once, whatever the caller asks for.
	PageSize int
	// Fail, when not nil, is asked before each call, with its operation and the repository or prefix that it is about.
	Fail func(operation, name string) error
}

// New returns an empty registry.
func New() *Registry {
	return &Registry{repos: map[string]*Repository{}, rules: map[string]types.PullThroughCacheRule{}, PageSize: 3}
}

// Calls returns the calls so far, each as OPERATION NAME.
func (r *Registry) Calls() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// ResetCalls forgets the calls so far.
func (r *Registry) ResetCalls() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = nil
}

// Repository returns a copy of a repository, and whether it exists.
func (r *Registry) Repository(name string) (Repository, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	repo, ok := r.repos[name]
	if !ok {
		return Repository{}, false
	}
	c := *repo
	c.Tags = maps.Clone(repo.Tags)
	return c, true
}

// Names lists the repositories.
func (r *Registry) Names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.repos))
}

// Prefixes lists the pull-through cache rules.
func (r *Registry) Prefixes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.rules))
}

// Change changes a repository behind the engine's back.
func (r *Registry) Change(name string, change func(*Repository)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(r.repos[name])
}

// begin records a call and returns the error that it is to fail with.
func (r *Registry) begin(ctx context.Context, operation, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r.calls = append(r.calls, strings.TrimSpace(operation+" "+name))
	if r.Fail != nil {
		return r.Fail(operation, name)
	}
	return nil
}

// find returns a repository or ECR's error.
func (r *Registry) find(name *string) (*Repository, error) {
	repo, ok := r.repos[aws.ToString(name)]
	if !ok {
		return nil, &types.RepositoryNotFoundException{Message: aws.String(fmt.Sprintf(
			"The repository with name '%s' does not exist in the registry with id '%s'", aws.ToString(name), Account))}
	}
	return repo, nil
}

func arnName(arn *string) *string {
	_, name, _ := strings.Cut(aws.ToString(arn), ":repository/")
	return &name
}

// page cuts a page out of names; the token is an offset.
func (r *Registry) page(names []string, token *string) ([]string, *string, error) {
	start := 0
	if token != nil {
		n, err := strconv.Atoi(*token)
		if err != nil || n > len(names) {
			return nil, nil, &types.InvalidParameterException{Message: aws.String("Invalid next token provided")}
		}
		start = n
	}
	end := min(start+r.PageSize, len(names))
	if end == len(names) {
		return names[start:end], nil, nil
	}
	return names[start:end], aws.String(strconv.Itoa(end)), nil
}

// DescribeRepositories lists all repositories.
func (r *Registry) DescribeRepositories(ctx context.Context, in *ecr.DescribeRepositoriesInput, _ ...func(*ecr.Options)) (*ecr.DescribeRepositoriesOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(ctx, "DescribeRepositories", ""); err != nil {
		return nil, err
	}
	names, next, err := r.page(slices.Sorted(maps.Keys(r.repos)), in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribeRepositoriesOutput{NextToken: next}
	for _, name := range names {
		out.Repositories = append(out.Repositories, r.repos[name].Repository)
	}
	return out, nil
}

// ListTagsForResource lists the tags of a repository.
func (r *Registry) ListTagsForResource(ctx context.Context, in *ecr.ListTagsForResourceInput, _ ...func(*ecr.Options)) (*ecr.ListTagsForResourceOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name := arnName(in.ResourceArn)
	if err := r.begin(ctx, "ListTagsForResource", *name); err != nil {
		return nil, err
	}
	repo, err := r.find(name)
	if err != nil {
		return nil, err
	}
	out := &ecr.ListTagsForResourceOutput{}
	for key, value := range repo.Tags {
		out.Tags = append(out.Tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	return out, nil
}

// GetLifecyclePolicy returns the lifecycle policy.
func (r *Registry) GetLifecyclePolicy(ctx context.Context, in *ecr.GetLifecyclePolicyInput, _ ...func(*ecr.Options)) (*ecr.GetLifecyclePolicyOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(ctx, "GetLifecyclePolicy", *in.RepositoryName); err != nil {
		return nil, err
	}
	repo, err := r.find(in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if repo.Lifecycle == "" {
		return nil, &types.LifecyclePolicyNotFoundException{Message: aws.String("Lifecycle policy does not exist")}
	}
	return &ecr.GetLifecyclePolicyOutput{LifecyclePolicyText: aws.String(repo.Lifecycle)}, nil
}

// GetRepositoryPolicy returns the repository policy.
func (r *Registry) GetRepositoryPolicy(ctx context.Context, in *ecr.GetRepositoryPolicyInput, _ ...func(*ecr.Options)) (*ecr.GetRepositoryPolicyOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(ctx, "GetRepositoryPolicy", *in.RepositoryName); err != nil {
		return nil, err
	}
	repo, err := r.find(in.RepositoryName)
	if err != nil {
		return nil, err
	}
	if repo.Policy == "" {
		return nil, &types.RepositoryPolicyNotFoundException{Message: aws.String("Repository policy does not exist")}
	}
	return &ecr.GetRepositoryPolicyOutput{PolicyText: aws.String(repo.Policy)}, nil
}

// DescribePullThroughCacheRules lists all rules.
func (r *Registry) DescribePullThroughCacheRules(ctx context.Context, in *ecr.DescribePullThroughCacheRulesInput, _ ...func(*ecr.Options)) (*ecr.DescribePullThroughCacheRulesOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(ctx, "DescribePullThroughCacheRules", ""); err != nil {
		return nil, err
	}
	names, next, err := r.page(slices.Sorted(maps.Keys(r.rules)), in.NextToken)
	if err != nil {
		return nil, err
	}
	out := &ecr.DescribePullThroughCacheRulesOutput{NextToken: next}
	for _, name := range names {
		out.PullThroughCacheRules = append(out.PullThroughCacheRules, r.rules[name])
	}
	return out, nil
}

// ListImages lists as many image ids as the repository is said to have, at most one.
func (r *Registry) ListImages(ctx context.Context, in *ecr.ListImagesInput, _ ...func(*ecr.Options)) (*ecr.ListImagesOutput, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.begin(ctx, "ListImages", *in.RepositoryName); err != nil {
		return nil, err
	}
	repo, err := r.find(in.RepositoryName)
	if err != nil {
		return nil, err
	}
	out := &ecr.ListImagesOutput{}
	if repo.Images > 0 {
		out.ImageIds = []types.ImageIdentifier{{ImageTag: aws.String("latest")}}
	}
	return out, nil
}
