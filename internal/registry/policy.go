package registry

import (
	"context"
	"time"

	"berth/internal/access"
	"berth/internal/access/policy"
	"berth/internal/lifecycle"
	"berth/internal/meta"
)

// SetPolicy replaces the repository policy. The text is kept as it was sent. One
// that would keep the caller, who asks for ecr:SetRepositoryPolicy, from setting
// the next one is refused, unless by force.
func (r *Registry) SetPolicy(ctx context.Context, s meta.Scope, name, text string, caller access.Request, force bool) (Repository, error) {
	d, err := policy.ParseRepositoryPolicy(text)
	if err != nil {
		return Repository{}, &Error{Code: InvalidParameter, Message: err.Error(), Err: err}
	}
	locked := false
	if !force {
		if locked, err = r.locksOut(ctx, d, caller); err != nil {
			return Repository{}, err
		}
	}
	if locked {
		return Repository{}, refuse(InvalidParameter,
			"Invalid parameter at 'PolicyText' failed to satisfy constraint: 'The new policy will not allow you to update it in the future; set force to set it nevertheless'")
	}
	return r.save(ctx, s, name, func(repo *meta.Repository) error {
		repo.Policy = text
		return nil
	})
}

// Policy reads the repository policy.
func (r *Registry) Policy(ctx context.Context, s meta.Scope, name string) (string, error) {
	repo, err := r.Repository(ctx, s, name)
	if err == nil && repo.Policy == "" {
		err = policyNotFound(s, name)
	}
	return repo.Policy, err
}

// DeletePolicy removes the repository policy and returns its text.
func (r *Registry) DeletePolicy(ctx context.Context, s meta.Scope, name string) (old string, err error) {
	_, err = r.save(ctx, s, name, func(repo *meta.Repository) error {
		if repo.Policy == "" {
			return policyNotFound(s, name)
		}
		old, repo.Policy = repo.Policy, ""
		return nil
	})
	return old, err
}

func policyNotFound(s meta.Scope, name string) error {
	return refuse(RepositoryPolicyNotFound,
		"Repository policy does not exist for the repository with name '%s' in the registry with id '%s'", name, s.Account)
}

// SetRegistryPolicy replaces the policy of a registry. The text is kept as it was sent.
func (r *Registry) SetRegistryPolicy(ctx context.Context, s meta.Scope, text string) error {
	if _, err := policy.ParseRegistryPolicy(text); err != nil {
		return &Error{Code: InvalidParameter, Message: err.Error(), Err: err}
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error { return tx.PutRegistryPolicy(s, text) })
}

// RegistryPolicy reads the policy of a registry.
func (r *Registry) RegistryPolicy(ctx context.Context, s meta.Scope) (text string, err error) {
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		text, err = tx.RegistryPolicy(s)
		return err
	})
	if err == nil && text == "" {
		err = registryPolicyNotFound(s)
	}
	return text, err
}

// DeleteRegistryPolicy removes the policy of a registry and returns its text.
func (r *Registry) DeleteRegistryPolicy(ctx context.Context, s meta.Scope) (old string, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		if old, err = tx.RegistryPolicy(s); err != nil {
			return err
		}
		if old == "" {
			return registryPolicyNotFound(s)
		}
		return tx.PutRegistryPolicy(s, "")
	})
	return old, err
}

func registryPolicyNotFound(s meta.Scope) error {
	return refuse(RegistryPolicyNotFound, "Registry policy does not exist in the registry with id '%s'", s.Account)
}

// A LifecyclePolicy is a policy text and when it was last evaluated.
type LifecyclePolicy struct {
	Text        string
	EvaluatedAt time.Time // zero when it never was
}

// PutLifecyclePolicy replaces the lifecycle policy. The text is kept as it was sent.
func (r *Registry) PutLifecyclePolicy(ctx context.Context, s meta.Scope, name, text string) (LifecyclePolicy, error) {
	if _, err := lifecycle.Parse(text); err != nil {
		return LifecyclePolicy{}, &Error{Code: InvalidParameter, Message: err.Error(), Err: err}
	}
	repo, err := r.save(ctx, s, name, func(repo *meta.Repository) error {
		repo.Lifecycle, repo.LifecycleEvaluatedAt = text, time.Time{}
		return nil
	})
	return LifecyclePolicy{Text: repo.Lifecycle}, err
}

// LifecyclePolicy reads the lifecycle policy.
func (r *Registry) LifecyclePolicy(ctx context.Context, s meta.Scope, name string) (LifecyclePolicy, error) {
	repo, err := r.Repository(ctx, s, name)
	if err == nil && repo.Lifecycle == "" {
		err = lifecycleNotFound(s, name)
	}
	return LifecyclePolicy{repo.Lifecycle, repo.LifecycleEvaluatedAt}, err
}

// DeleteLifecyclePolicy removes the lifecycle policy and returns it.
func (r *Registry) DeleteLifecyclePolicy(ctx context.Context, s meta.Scope, name string) (old LifecyclePolicy, err error) {
	_, err = r.save(ctx, s, name, func(repo *meta.Repository) error {
		if repo.Lifecycle == "" {
			return lifecycleNotFound(s, name)
		}
		old = LifecyclePolicy{repo.Lifecycle, repo.LifecycleEvaluatedAt}
		repo.Lifecycle, repo.LifecycleEvaluatedAt = "", time.Time{}
		return nil
	})
	return old, err
}

func lifecycleNotFound(s meta.Scope, name string) error {
	return refuse(LifecyclePolicyNotFound,
		"Lifecycle policy does not exist for the repository with name '%s' in the registry with id '%s'", name, s.Account)
}
