package apply

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"golang.org/x/sync/errgroup"

	"berth/internal/module/apierr"
	"berth/internal/module/desired"
	"berth/internal/module/plan"
)

// parallel is how many repositories and cache rules are worked on at once.
const parallel = 8

// Repositories is the part of the ECR API that changes repositories.
type Repositories interface {
	CreateRepository(ctx context.Context, in *ecr.CreateRepositoryInput, opts ...func(*ecr.Options)) (*ecr.CreateRepositoryOutput, error)
	DeleteRepository(ctx context.Context, in *ecr.DeleteRepositoryInput, opts ...func(*ecr.Options)) (*ecr.DeleteRepositoryOutput, error)
	PutImageTagMutability(ctx context.Context, in *ecr.PutImageTagMutabilityInput, opts ...func(*ecr.Options)) (*ecr.PutImageTagMutabilityOutput, error)
	PutImageScanningConfiguration(ctx context.Context, in *ecr.PutImageScanningConfigurationInput, opts ...func(*ecr.Options)) (*ecr.PutImageScanningConfigurationOutput, error)
	TagResource(ctx context.Context, in *ecr.TagResourceInput, opts ...func(*ecr.Options)) (*ecr.TagResourceOutput, error)
	UntagResource(ctx context.Context, in *ecr.UntagResourceInput, opts ...func(*ecr.Options)) (*ecr.UntagResourceOutput, error)
}

// Policies is the part of the ECR API that changes the policies of a repository.
type Policies interface {
	PutLifecyclePolicy(ctx context.Context, in *ecr.PutLifecyclePolicyInput, opts ...func(*ecr.Options)) (*ecr.PutLifecyclePolicyOutput, error)
	SetRepositoryPolicy(ctx context.Context, in *ecr.SetRepositoryPolicyInput, opts ...func(*ecr.Options)) (*ecr.SetRepositoryPolicyOutput, error)
	DeleteRepositoryPolicy(ctx context.Context, in *ecr.DeleteRepositoryPolicyInput, opts ...func(*ecr.Options)) (*ecr.DeleteRepositoryPolicyOutput, error)
}

// CacheRules is the part of the ECR API that changes pull-through cache rules.
type CacheRules interface {
	CreatePullThroughCacheRule(ctx context.Context, in *ecr.CreatePullThroughCacheRuleInput, opts ...func(*ecr.Options)) (*ecr.CreatePullThroughCacheRuleOutput, error)
	UpdatePullThroughCacheRule(ctx context.Context, in *ecr.UpdatePullThroughCacheRuleInput, opts ...func(*ecr.Options)) (*ecr.UpdatePullThroughCacheRuleOutput, error)
	DeletePullThroughCacheRule(ctx context.Context, in *ecr.DeletePullThroughCacheRuleInput, opts ...func(*ecr.Options)) (*ecr.DeletePullThroughCacheRuleOutput, error)
}

// API is all of it; *ecr.Client has it.
type API interface {
	Repositories
	Policies
	CacheRules
}

// Phase is a moment in the work on a resource.
type Phase int

// The phases of an event.
const (
	Started Phase = iota
	Done
	Failed
)

// Event reports progress on one resource.
type Event struct {
	Address string
	Action  plan.Action // Create, Update or Delete; a replacement is reported as Delete and then Create
	Phase   Phase
	ID      string
	Elapsed time.Duration // in Done and Failed
	Err     error         // in Failed
}

// BlockedError says that a plan must not be applied. Nothing was changed.
type BlockedError struct {
	Reasons []string
}

// Error implements error with one line for each reason.
func (e *BlockedError) Error() string { return strings.Join(e.Reasons, "\n") }

// Apply carries out p and counts what was done. Progress, which may be nil, is called for one event at a time. The
// error joins those of all repositories that failed; the counts are right in any case.
func Apply(ctx context.Context, api API, p *plan.Plan, progress func(Event)) (plan.Counts, error) {
	if len(p.Blockers) > 0 {
		return plan.Counts{}, &BlockedError{Reasons: p.Blockers}
	}
	r := &runner{api: api, progress: progress, pause: time.Second / 4}
	var group errgroup.Group // without a context: one failure must not stop the others
	group.SetLimit(parallel)
	for _, unit := range p.Repositories {
		group.Go(func() error {
			r.keep(ctx, unit.Repo.Address(), func() error { return r.repository(ctx, unit) })
			return nil
		})
	}
	for _, rule := range p.CacheRules {
		group.Go(func() error {
			r.keep(ctx, rule.Rule.Address(), func() error { return r.cacheRule(ctx, rule) })
			return nil
		})
	}
	err := group.Wait() // always nil: the errors are in r
	slices.SortFunc(r.errs, func(a, b failure) int { return strings.Compare(a.address, b.address) })
	all := []error{err}
	for _, f := range r.errs {
		all = append(all, f.err)
	}
	return r.counts, errors.Join(all...)
}

type failure struct {
	address string
	err     error
}

// runner carries out one plan.
type runner struct {
	api      API
	progress func(Event)
	pause    time.Duration // before the first repetition of a call

	mu     sync.Mutex // guards what follows and the calls of progress
	counts plan.Counts
	errs   []failure
}

// keep runs the work on one unit unless ctx is done, and keeps its error.
func (r *runner) keep(ctx context.Context, address string, work func() error) {
	err := ctx.Err()
	if err != nil {
		err = fmt.Errorf("%s: not started: %w", address, err)
	} else {
		err = work()
	}
	if err != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.errs = append(r.errs, failure{address, err})
	}
}

// step does one action on one resource and reports it.
func (r *runner) step(c plan.Change, action plan.Action, id string, work func() error) error {
	start := time.Now()
	r.report(Event{Address: c.Address(), Action: action, Phase: Started, ID: id})
	if err := work(); err != nil {
		err = fmt.Errorf("%s: %w", c.Address(), apierr.Explain(err))
		r.report(Event{Address: c.Address(), Action: action, Phase: Failed, ID: id, Elapsed: time.Since(start), Err: err})
		return err
	}
	r.mu.Lock()
	r.counts.Count(action)
	r.mu.Unlock()
	r.report(Event{Address: c.Address(), Action: action, Phase: Done, ID: id, Elapsed: time.Since(start)})
	return nil
}

func (r *runner) report(e Event) {
	if r.progress == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.progress(e)
}

// repository does all that has to happen to one repository, in the order that the package promises.
func (r *runner) repository(ctx context.Context, u plan.Repository) error {
	if u.Repo.Action == plan.Delete || u.Repo.Action == plan.Replace {
		if err := r.deleteRepository(ctx, u); err != nil || u.Repo.Action == plan.Delete {
			return err
		}
	}
	switch u.Repo.Action {
	case plan.Create, plan.Replace:
		if err := r.step(u.Repo, plan.Create, u.Name, func() error { return r.create(ctx, u) }); err != nil {
			return err
		}
	case plan.Update:
		if err := r.step(u.Repo, plan.Update, u.Name, func() error { return r.update(ctx, u) }); err != nil {
			return err
		}
	}
	fresh := u.Repo.Action == plan.Create || u.Repo.Action == plan.Replace
	if err := r.policy(ctx, u, fresh); err != nil {
		return err
	}
	return r.lifecycle(ctx, u, fresh)
}

// deleteRepository deletes the repository, and with it, in the same call, its policies.
func (r *runner) deleteRepository(ctx context.Context, u plan.Repository) error {
	err := r.step(u.Repo, plan.Delete, u.Name, func() error {
		_, err := r.api.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: aws.String(u.Name), Force: u.ForceDelete})
		var gone *types.RepositoryNotFoundException
		var full *types.RepositoryNotEmptyException
		switch {
		case errors.As(err, &gone):
			return nil
		case errors.As(err, &full):
			return fmt.Errorf("repository %q still holds images, so it was not deleted: set force_delete = true or delete the images first", u.Name)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, c := range []plan.Change{u.Lifecycle, u.Policy} {
		if c.Before == nil {
			continue
		}
		// Its own deletion is part of the call above; this only reports and counts it.
		if err := r.step(c, plan.Delete, u.Name, func() error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

func (r *runner) create(ctx context.Context, u plan.Repository) error {
	encryption := &types.EncryptionConfiguration{EncryptionType: types.EncryptionType(u.Want.EncryptionType)}
	if u.Want.KMSKey != "" {
		encryption.KmsKey = aws.String(u.Want.KMSKey)
	}
	_, err := r.api.CreateRepository(ctx, &ecr.CreateRepositoryInput{
		RepositoryName:             aws.String(u.Name),
		ImageTagMutability:         types.ImageTagMutability(u.Want.Mutability),
		ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: u.Want.ScanOnPush},
		EncryptionConfiguration:    encryption,
		Tags:                       tagList(plan.WantedTags(*u.Want, u.StackID)),
	})
	var exists *types.RepositoryAlreadyExistsException
	if errors.As(err, &exists) {
		return fmt.Errorf("repository %q was created by someone else after the plan was made: plan again", u.Name)
	}
	return err
}

func (r *runner) update(ctx context.Context, u plan.Repository) error {
	name := aws.String(u.Name)
	if u.Have.Mutability != u.Want.Mutability {
		_, err := r.api.PutImageTagMutability(ctx, &ecr.PutImageTagMutabilityInput{
			RepositoryName: name, ImageTagMutability: types.ImageTagMutability(u.Want.Mutability),
		})
		if err != nil {
			return err
		}
	}
	if u.Have.ScanOnPush != u.Want.ScanOnPush {
		_, err := r.api.PutImageScanningConfiguration(ctx, &ecr.PutImageScanningConfigurationInput{
			RepositoryName: name, ImageScanningConfiguration: &types.ImageScanningConfiguration{ScanOnPush: u.Want.ScanOnPush},
		})
		if err != nil {
			return err
		}
	}
	return r.tags(ctx, u)
}

// tags removes the tags that are not wanted and sets those that differ. The tag that marks the owner is never removed.
func (r *runner) tags(ctx context.Context, u plan.Repository) error {
	want, have := plan.WantedTags(*u.Want, u.StackID), plan.ManagedTags(u.Have.Tags)
	var surplus []string
	for key := range have {
		if _, ok := want[key]; !ok {
			surplus = append(surplus, key)
		}
	}
	changed := map[string]string{}
	for key, value := range want {
		if old, ok := have[key]; !ok || old != value {
			changed[key] = value
		}
	}
	if len(surplus) > 0 {
		slices.Sort(surplus)
		if _, err := r.api.UntagResource(ctx, &ecr.UntagResourceInput{ResourceArn: aws.String(u.Have.ARN), TagKeys: surplus}); err != nil {
			return err
		}
	}
	if len(changed) > 0 {
		if _, err := r.api.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: aws.String(u.Have.ARN), Tags: tagList(changed)}); err != nil {
			return err
		}
	}
	return nil
}

func tagList(tags map[string]string) []types.Tag {
	list := make([]types.Tag, 0, len(tags))
	for key, value := range tags {
		list = append(list, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	slices.SortFunc(list, func(a, b types.Tag) int { return strings.Compare(*a.Key, *b.Key) })
	return list
}

func (r *runner) policy(ctx context.Context, u plan.Repository, fresh bool) error {
	switch {
	case u.Policy.Action == plan.Delete && !fresh:
		return r.step(u.Policy, plan.Delete, u.Name, func() error {
			_, err := r.api.DeleteRepositoryPolicy(ctx, &ecr.DeleteRepositoryPolicyInput{RepositoryName: aws.String(u.Name)})
			var gone *types.RepositoryPolicyNotFoundException
			if errors.As(err, &gone) {
				return nil
			}
			return err
		})
	case u.Policy.After == nil || u.Policy.Action == plan.NoOp:
		return nil
	}
	return r.step(u.Policy, putAction(u.Policy), u.Name, func() error {
		return r.patiently(ctx, fresh, func() error {
			_, err := r.api.SetRepositoryPolicy(ctx, &ecr.SetRepositoryPolicyInput{
				RepositoryName: aws.String(u.Name), PolicyText: aws.String(u.Want.Policy),
			})
			return err
		})
	})
}

func (r *runner) lifecycle(ctx context.Context, u plan.Repository, fresh bool) error {
	if u.Lifecycle.After == nil || u.Lifecycle.Action == plan.NoOp {
		return nil
	}
	return r.step(u.Lifecycle, putAction(u.Lifecycle), u.Name, func() error {
		return r.patiently(ctx, fresh, func() error {
			_, err := r.api.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{
				RepositoryName: aws.String(u.Name), LifecyclePolicyText: aws.String(u.Want.Lifecycle),
			})
			return err
		})
	})
}

// putAction is what the second half of a change is called: the deletion of a replacement was reported before.
func putAction(c plan.Change) plan.Action {
	if c.Action == plan.Update {
		return plan.Update
	}
	return plan.Create
}

// patiently repeats a call on a repository that was just created while the registry says that it does not exist: AWS
// is eventually consistent. Throttling is the business of the client.
func (r *runner) patiently(ctx context.Context, fresh bool, call func() error) error {
	const attempts = 8 // with doubling pauses from a quarter of a second, about half a minute
	pause := r.pause
	for i := 1; ; i++ {
		err := call()
		var missing *types.RepositoryNotFoundException
		if err == nil || !fresh || i == attempts || !errors.As(err, &missing) {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(err, ctx.Err())
		case <-timer.C:
		}
		pause *= 2
	}
}

func (r *runner) cacheRule(ctx context.Context, u plan.CacheRule) error {
	id := u.Rule.Index
	if u.Rule.Action == plan.Delete || u.Rule.Action == plan.Replace {
		err := r.step(u.Rule, plan.Delete, id, func() error {
			_, err := r.api.DeletePullThroughCacheRule(ctx, &ecr.DeletePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String(id)})
			var gone *types.PullThroughCacheRuleNotFoundException
			if errors.As(err, &gone) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	switch u.Rule.Action {
	case plan.Create, plan.Replace:
		return r.step(u.Rule, plan.Create, id, func() error { return r.createRule(ctx, *u.Want) })
	case plan.Update:
		return r.step(u.Rule, plan.Update, id, func() error {
			_, err := r.api.UpdatePullThroughCacheRule(ctx, &ecr.UpdatePullThroughCacheRuleInput{
				EcrRepositoryPrefix: aws.String(id), CredentialArn: optional(u.Want.CredentialARN), CustomRoleArn: optional(u.Want.CustomRoleARN),
			})
			return err
		})
	}
	return nil
}

func (r *runner) createRule(ctx context.Context, rule desired.CacheRule) error {
	_, err := r.api.CreatePullThroughCacheRule(ctx, &ecr.CreatePullThroughCacheRuleInput{
		EcrRepositoryPrefix: aws.String(rule.Prefix), UpstreamRegistryUrl: aws.String(rule.UpstreamURL),
		CredentialArn: optional(rule.CredentialARN), CustomRoleArn: optional(rule.CustomRoleARN),
		UpstreamRepositoryPrefix: optional(rule.UpstreamPrefix),
	})
	var exists *types.PullThroughCacheRuleAlreadyExistsException
	if errors.As(err, &exists) {
		return fmt.Errorf("pull-through cache rule %q was created by someone else after the plan was made: plan again", rule.Prefix)
	}
	return err
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
