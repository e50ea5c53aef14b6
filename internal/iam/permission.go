package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"berth/internal/access"
	"berth/internal/access/policy"
	"berth/internal/meta"
)

// Permissions is what the policies of users and roles say: the identity side of
// [access.Rules]. A root user may do everything that its own side can grant.
//
// Source: IAM User Guide, "Policy evaluation logic": an explicit deny in any
// policy denies; an allow needs an identity-based policy, the permissions boundary
// if there is one, and a session policy if there are any.
func (s *Store) Permissions() access.Source { return identities{s} }

// identities implements [access.Teller].
type identities struct{ *Store }

// Evaluate implements [access.Source].
func (s identities) Evaluate(ctx context.Context, req access.Request) (access.Verdict, error) {
	return s.permission(ctx, req, nil)
}

// Tell implements [access.Teller].
func (s identities) Tell(ctx context.Context, req access.Request, tell func(access.Finding)) (access.Verdict, error) {
	return s.permission(ctx, req, tell)
}

// permission asks the policies of a principal, and tells what each says unless
// tell is nil.
func (s *Store) permission(ctx context.Context, req access.Request, tell func(access.Finding)) (access.Verdict, error) {
	if req.Principal.IsRoot() {
		if tell != nil {
			tell(access.RootFinding())
		}
		return access.Allow, nil
	}
	if req.Principal.Provider != "" {
		return access.Silent, nil // nobody of the account yet, so there are no policies
	}
	p, err := s.compiled(ctx, req.Principal)
	if err != nil {
		return access.Silent, err
	}
	return p.verdict(policy.Query{Action: req.Action, Resource: req.Resource, Keys: req.Keys}, telling(req.Principal, tell)), nil
}

// telling makes findings of what the policies of a principal say; nil for a tell
// that is nil.
func telling(p access.Principal, tell func(access.Finding)) func(*ready, policy.Decision) {
	if tell == nil {
		return nil
	}
	return func(from *ready, d policy.Decision) {
		f := access.Finding{Policy: from.title(p), Statement: d.Statement + 1, Sid: d.Sid}
		switch d.Effect {
		case policy.Allow:
			f.Effect = access.Allow
		case policy.Deny:
			f.Effect = access.Deny
		default:
			if from.kind != ofIdentity {
				f.Note = "it limits, and does not allow this"
			}
		}
		tell(f)
	}
}

// kind is what a policy is to its principal.
type kind int

const (
	ofIdentity kind = iota
	ofBoundary
	ofSession
)

// ready is a policy ready to be asked.
type ready struct {
	kind      kind
	name, arn string
	*policy.Compiled
}

// title is what a person calls the policy.
func (r *ready) title(p access.Principal) string {
	owner := ""
	if name, ok := UserName(p); ok {
		owner = " of user " + name
	} else if role, ok := RoleName(p.Role); ok {
		owner = " of role " + role.Name
	}
	switch {
	case r.kind == ofBoundary:
		return "permissions boundary " + r.arn + owner
	case r.kind == ofSession:
		return "session policy"
	case r.arn != "":
		return "managed policy " + r.arn + owner
	}
	return "inline policy " + r.name + owner
}

// compiled are the policies of one principal, ready to be asked.
type compiled struct {
	identity []ready
	boundary []ready // one, or none
	session  []ready
}

// verdict asks them as IAM does: first the policies, then the boundary, then the
// session (IAM User Guide, "Policy evaluation logic").
func (c *compiled) verdict(q policy.Query, tell func(*ready, policy.Decision)) access.Verdict {
	identity, boundary, session := together(c.identity, q, tell), access.Allow, access.Allow
	if len(c.boundary) > 0 {
		boundary = together(c.boundary, q, tell)
	}
	if len(c.session) > 0 {
		session = together(c.session, q, tell)
	}
	switch {
	case identity == access.Deny:
		return access.Deny
	case boundary == access.Deny:
		return access.DenyBoundary
	case session == access.Deny:
		return access.DenySession
	case identity != access.Allow && (boundary != access.Allow || session != access.Allow):
		return access.SilentLimited
	case identity != access.Allow:
		return access.Silent
	case boundary != access.Allow:
		return access.SilentBoundary
	case session != access.Allow:
		return access.SilentSession
	}
	return access.Allow
}

// together is what several policies say: any deny denies, else any allow allows.
// One that tells asks all of them.
func together(policies []ready, q policy.Query, tell func(*ready, policy.Decision)) access.Verdict {
	out := access.Silent
	for i := range policies {
		p := &policies[i]
		d := p.Evaluate(q)
		if tell != nil {
			tell(p, d)
		}
		switch {
		case d.Effect == policy.Deny && tell == nil:
			return access.Deny
		case d.Effect == policy.Deny:
			out = access.Deny
		case d.Effect == policy.Allow && out == access.Silent:
			out = access.Allow
		}
	}
	return out
}

// compiled finds the policies of a principal, ready to be asked.
func (s *Store) compiled(ctx context.Context, p access.Principal) (*compiled, error) {
	return s.permissions.Get(s.db, p.ARN+" "+p.AccessKeyID, func() (*compiled, error) { return s.compile(ctx, p) })
}

func (s *Store) compile(ctx context.Context, p access.Principal) (*compiled, error) {
	texts, err := s.Policies(ctx, p)
	if err != nil {
		return nil, err
	}
	c := &compiled{}
	if texts.Boundary.Text != "" {
		if c.boundary, err = compile(ofBoundary, texts.Boundary); err != nil {
			return nil, fmt.Errorf("read the permissions boundary of %s: %w", p.ARN, err)
		}
	}
	if c.identity, err = compile(ofIdentity, texts.Identity...); err == nil {
		for _, text := range texts.Session {
			session, failed := compile(ofSession, Policy{Text: text})
			c.session, err = append(c.session, session...), errors.Join(err, failed)
		}
	}
	if err != nil {
		// They were accepted once, so this is damage: nobody is let in on a guess.
		return nil, fmt.Errorf("read the policies of %s: %w", p.ARN, err)
	}
	return c, nil
}

func compile(k kind, policies ...Policy) (out []ready, err error) {
	for _, p := range policies {
		d, err := policy.ParseIdentityPolicy(p.Text)
		if err != nil {
			return nil, err
		}
		out = append(out, ready{k, p.Name, p.ARN, policy.Compile(d)})
	}
	return out, nil
}

// PrincipalTags reads the tags of a user or a role, for conditions on them.
func (s *Store) PrincipalTags(ctx context.Context, p access.Principal) (out []access.Tag, err error) {
	if p.IsRoot() {
		return nil, nil
	}
	id, _, _ := strings.Cut(p.UserID, ":")
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		out = nil
		who, err := tx.IAMPrincipalByID(id)
		if errors.Is(err, meta.ErrNotFound) {
			return nil
		}
		for k, v := range who.Tags {
			out = append(out, access.Tag{Key: k, Value: v})
		}
		return err
	})
	return out, err
}

// CheckIdentityPolicy refuses a text that is no identity-based policy.
func CheckIdentityPolicy(text string) error {
	_, err := policy.ParseIdentityPolicy(text)
	return err
}

// CheckRoleTrust refuses a text that is no trust policy of a role.
func CheckRoleTrust(text string) error {
	_, err := policy.ParseTrustPolicy(text)
	return err
}
