package registry

import (
	"context"
	"fmt"
	"sync"

	"berth/internal/access"
	"berth/internal/access/policy"
	"berth/internal/meta"
)

// maxPolicies bounds the repositories whose policies are kept ready.
const maxPolicies = 10_000

// policies are the repository policies, ready to be asked. A policy that was
// changed or removed counts from the next request on: what is kept is given up
// as soon as any repository changes, and not kept at all where other servers
// may change them too.
type policies struct {
	mu      sync.Mutex
	version uint64
	known   map[string]*policy.Compiled // by ARN; nil is none
}

// Permissions is what repository policies say: the resource side of
// [access.Rules].
//
// Source: ECR User Guide, "Private repository policies".
func (r *Registry) Permissions() access.Source {
	return access.SourceFunc(func(ctx context.Context, req access.Request) (access.Verdict, error) {
		p, err := r.policyOf(ctx, req.Resource)
		if err != nil || p == nil {
			return access.Silent, err
		}
		return verdict(p, req), nil
	})
}

// verdict asks one policy.
func verdict(p *policy.Compiled, req access.Request) access.Verdict {
	d := p.Evaluate(query(req))
	switch {
	case d.Effect == policy.Deny:
		return access.Deny
	case d.Effect == policy.Allow && (!d.Account || req.CrossAccount()):
		return access.Allow
	default:
		// Also an allow for the account that owns the repository, which leaves it
		// to the identity policies there.
		return access.Silent
	}
}

func query(req access.Request) policy.Query {
	p := req.Principal
	return policy.Query{
		Caller: policy.Caller{Account: p.Account, ARN: p.ARN, Role: p.Role},
		Action: req.Action, Resource: req.Resource, Keys: req.Keys,
	}
}

// policyOf finds the policy of the repository that an ARN names, nil when there
// is none: no policy, no such repository, or another kind of resource.
func (r *Registry) policyOf(ctx context.Context, arn string) (*policy.Compiled, error) {
	s, name, err := ParseARN(arn)
	if err != nil {
		return nil, nil //nolint:nilerr // a resource of another kind has no repository policy
	}
	version, sole := r.db.KeysVersion() // before the read: a change after it shows next time
	if !sole {
		return r.readPolicy(ctx, s, name)
	}
	if p, ok := r.policies.get(version, arn); ok {
		return p, nil
	}
	p, err := r.readPolicy(ctx, s, name)
	if err == nil {
		r.policies.put(version, arn, p)
	}
	return p, err
}

func (c *policies) get(version uint64, arn string) (*policy.Compiled, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.known[arn]
	return p, ok && c.version == version
}

func (c *policies) put(version uint64, arn string, p *policy.Compiled) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || c.version != version || len(c.known) >= maxPolicies {
		c.version, c.known = version, map[string]*policy.Compiled{}
	}
	c.known[arn] = p
}

func (r *Registry) readPolicy(ctx context.Context, s meta.Scope, name string) (*policy.Compiled, error) {
	repo, err := r.Repository(ctx, s, name)
	if Is(err, RepositoryNotFound) || err == nil && repo.Policy == "" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := policy.ParseRepositoryPolicy(repo.Policy)
	if err != nil {
		// It was accepted once, so this is damage: nobody is let in on a guess.
		return nil, fmt.Errorf("read the policy of repository %s: %w", repo.ARN, err)
	}
	return policy.Compile(d), nil
}

// ResourceTagsOf reads the tags of the repository that an ARN names, for
// conditions on them.
func (r *Registry) ResourceTagsOf(ctx context.Context, arn string) (out []access.Tag, err error) {
	s, name, err := ParseARN(arn)
	if err != nil {
		return nil, nil //nolint:nilerr // a resource of another kind
	}
	tags, err := r.ResourceTags(ctx, s, name)
	if Is(err, RepositoryNotFound) {
		return nil, nil
	}
	for _, t := range tags {
		out = append(out, access.Tag{Key: t.Key, Value: t.Value})
	}
	return out, err
}

// locksOut reports whether a policy would keep the caller from setting another
// one: by an explicit deny, or, from another account, by not allowing it.
func (r *Registry) locksOut(ctx context.Context, d *policy.Document, caller access.Request) (bool, error) {
	var failed error
	caller.Keys = access.KeysOf(&caller, r.now(), func() (tags []access.Tag, err error) {
		tags, failed = r.ResourceTagsOf(ctx, caller.Resource)
		return tags, failed
	})
	v := verdict(policy.Compile(d), caller)
	return v == access.Deny || v == access.Silent && caller.CrossAccount(), failed
}
