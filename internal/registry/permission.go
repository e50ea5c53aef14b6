package registry

import (
	"context"
	"fmt"
	"strings"

	"berth/internal/access"
	"berth/internal/access/policy"
	"berth/internal/meta"
)

// Permissions is what the policies of a repository and its registry say: the
// resource side of [access.Rules]. Each may allow, and each may deny.
//
// Source: ECR User Guide, "Private repository policies" and "Private registry
// permissions" (policy scope V2: every action of ECR).
func (r *Registry) Permissions() access.Source { return resources{r} }

// resources implements [access.Teller].
type resources struct{ *Registry }

// Evaluate implements [access.Source].
func (r resources) Evaluate(ctx context.Context, req access.Request) (access.Verdict, error) {
	return r.permission(ctx, req, nil)
}

// Tell implements [access.Teller].
func (r resources) Tell(ctx context.Context, req access.Request, tell func(access.Finding)) (access.Verdict, error) {
	return r.permission(ctx, req, tell)
}

// permission asks both policies, and tells what each says unless tell is nil.
func (r *Registry) permission(ctx context.Context, req access.Request, tell func(access.Finding)) (access.Verdict, error) {
	out := access.Silent
	if !strings.HasPrefix(req.Action, "ecr:") || req.Action == "ecr:GetAuthorizationToken" {
		return out, nil // what is not about a registry, only the caller's own policies allow
	}
	policies, err := r.policiesOn(ctx, req)
	if err != nil {
		return access.Silent, err
	}
	for _, p := range policies {
		d := p.Evaluate(query(req))
		v := verdict(d, req)
		if tell != nil {
			tell(finding(p.title, v, d))
		}
		if v == access.Deny || out == access.Silent || out == access.AllowRole && v == access.Allow {
			out = v
		}
	}
	return out, nil
}

// ready is a policy ready to be asked.
type ready struct {
	title string // what a person calls it
	*policy.Compiled
}

// policiesOn finds the policies that decide about a resource: its repository's,
// and its registry's.
func (r *Registry) policiesOn(ctx context.Context, req access.Request) ([]ready, error) {
	s := meta.Scope{Account: req.ResourceAccount, Region: req.Call.Region}
	if !strings.HasPrefix(req.Resource, "arn:") {
		return r.registryPolicy(ctx, s)
	}
	return r.policies.Get(r.db, req.Resource, func() ([]ready, error) {
		of, name, err := ParseARN(req.Resource)
		if err != nil {
			return r.registryPolicy(ctx, s) // all repositories of the registry
		}
		d, err := r.readPolicy(ctx, of, name)
		if err != nil {
			return nil, err
		}
		above, err := r.registryPolicy(ctx, of)
		if err != nil || d == nil {
			return above, err
		}
		return append([]ready{{"repository policy of " + req.Resource, policy.Compile(d)}}, above...), nil
	})
}

func (r *Registry) registryPolicy(ctx context.Context, s meta.Scope) ([]ready, error) {
	return r.policies.Get(r.db, s.Account+" "+s.Region, func() ([]ready, error) {
		d, err := r.readRegistryPolicy(ctx, s)
		if err != nil || d == nil {
			return nil, err
		}
		return []ready{{"registry policy of " + s.Account + " in " + s.Region, policy.Compile(d)}}, nil
	})
}

// verdict is what the decision of one policy means.
func verdict(d policy.Decision, req access.Request) access.Verdict {
	switch {
	case d.Effect == policy.Deny:
		return access.Deny
	case d.Effect == policy.Allow && d.Role:
		return access.AllowRole
	case d.Effect == policy.Allow && (!d.Account || req.CrossAccount()):
		return access.Allow
	default:
		// Also an allow for the account that owns the repository, which leaves it
		// to the identity policies there.
		return access.Silent
	}
}

func finding(of string, v access.Verdict, d policy.Decision) access.Finding {
	f := access.Finding{Policy: of, Effect: v, Statement: d.Statement + 1, Sid: d.Sid}
	if v == access.Silent && d.Effect == policy.Allow {
		f.Note = "it allows the account, which leaves it to the caller's own policies"
	}
	return f
}

func query(req access.Request) policy.Query {
	p := req.Principal
	return policy.Query{
		Caller: policy.Caller{Account: p.Account, ARN: p.ARN, Role: p.Role},
		Action: req.Action, Resource: req.Resource, Keys: req.Keys,
	}
}

func (r *Registry) readPolicy(ctx context.Context, s meta.Scope, name string) (*policy.Document, error) {
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
	return d, nil
}

func (r *Registry) readRegistryPolicy(ctx context.Context, s meta.Scope) (*policy.Document, error) {
	text, err := r.RegistryPolicy(ctx, s)
	if Is(err, RegistryPolicyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	d, err := policy.ParseRegistryPolicy(text)
	if err != nil {
		return nil, fmt.Errorf("read the policy of the registry of account %s in %s: %w", s.Account, s.Region, err)
	}
	return d, nil
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
	v := verdict(d.Evaluate(query(caller)), caller)
	return v == access.Deny || v == access.Silent && caller.CrossAccount(), failed
}
