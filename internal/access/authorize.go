package access

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// Request is one question: may this principal perform this operation on this
// resource?
type Request struct {
	Principal Principal
	// Action is the operation's name with its service prefix, "ecr:PutImage".
	Action string
	// Resource is the ARN the operation touches, or "*" for operations that
	// have no resource (ecr:GetAuthorizationToken).
	Resource string
	// ResourceAccount is the account that owns the resource: the registryId of
	// the call, or the caller's own account for operations on "*".
	ResourceAccount string
	// Call is how the request came, for conditions.
	Call Call
	// Tags are those that the request sets on its resource, and TagKeys the keys
	// of those it removes.
	Tags    []Tag
	TagKeys []string
	// ServiceKeys are condition keys of the action's service, by their names in
	// lower case.
	ServiceKeys map[string][]string
	// Keys are the condition keys. [Rules] sets them.
	Keys Keys
}

// tagKeys is what aws:TagKeys says.
func (r *Request) tagKeys() []string {
	out := append([]string(nil), r.TagKeys...)
	for _, t := range r.Tags {
		out = append(out, t.Key)
	}
	return out
}

// check refuses questions nobody should be able to ask. It guards against a
// route that forgot to name its operation or to authenticate.
func (r Request) check() error {
	service, name, ok := strings.Cut(r.Action, ":")
	switch {
	case !ok || service == "" || name == "":
		return fmt.Errorf("access: action %q is not of the form service:Operation", r.Action)
	case r.Principal.Account == "" || r.Principal.ARN == "":
		return fmt.Errorf("access: %s asked without an authenticated principal", r.Action)
	case r.ResourceAccount == "" || r.Resource == "":
		return fmt.Errorf("access: %s asked without a resource and its account", r.Action)
	}
	return nil
}

// CrossAccount reports whether the resource belongs to somebody else.
func (r Request) CrossAccount() bool { return r.ResourceAccount != r.Principal.Account }

// Authorizer is the one place where calls are allowed or denied.
type Authorizer interface {
	// Authorize returns nil when the request is allowed, a *[DeniedError] when
	// it is not, and any other error when no decision could be made (which the
	// caller must treat as a denial and report as a server error).
	Authorize(ctx context.Context, req Request) error
}

// Cause says which kind of permission decided against the caller.
type Cause int

const (
	// NoIdentityAllow: nothing on the caller's side allows the action.
	NoIdentityAllow Cause = iota + 1
	// NoResourceAllow: nothing on the resource's side allows the action.
	NoResourceAllow
	// IdentityDeny: a policy on the caller's side denies it explicitly.
	IdentityDeny
	// ResourceDeny: a policy on the resource's side denies it explicitly.
	ResourceDeny
	// NoBoundaryAllow: the caller's policies allow it, and its permissions
	// boundary does not.
	NoBoundaryAllow
	// NoSessionAllow: everything else on the caller's side allows it, and no
	// policy of its session does.
	NoSessionAllow
	// BoundaryDeny: the caller's permissions boundary denies it explicitly.
	BoundaryDeny
	// SessionDeny: a policy of the caller's session denies it explicitly.
	SessionDeny
)

// DeniedError is AWS's access-denied answer: AccessDeniedException on the JSON
// API, code DENIED on the registry API, the same sentence on both.
type DeniedError struct {
	Principal Principal
	Action    string
	Resource  string
	Cause     Cause
}

// Error returns ECR's sentence. The "because no …" tails of identity-based and
// resource-based policies are confirmed by published ECR output; the others are
// the AWS-wide form (IAM User Guide, "Troubleshoot access denied error
// messages"), not yet seen from ECR itself.
func (e *DeniedError) Error() string {
	s := "User: " + e.Principal.ARN + " is not authorized to perform: " + e.Action + " on resource: " + e.Resource
	switch kind, explicit := e.Cause.policy(); {
	case kind == "":
		return s
	case explicit:
		return s + " with an explicit deny in " + article(kind) + kind
	default:
		return s + " because no " + kind + " allows the " + e.Action + " action"
	}
}

// policy is the kind of policy that decided, as AWS calls it, and whether it
// denies explicitly.
func (c Cause) policy() (kind string, explicit bool) {
	switch c {
	case NoIdentityAllow, IdentityDeny:
		kind = "identity-based policy"
	case NoResourceAllow, ResourceDeny:
		kind = "resource-based policy"
	case NoBoundaryAllow, BoundaryDeny:
		kind = "permissions boundary"
	case NoSessionAllow, SessionDeny:
		kind = "session policy"
	}
	return kind, c == IdentityDeny || c == ResourceDeny || c == BoundaryDeny || c == SessionDeny
}

func article(kind string) string {
	if strings.HasPrefix(kind, "i") {
		return "an "
	}
	return "a "
}

// IsDenied reports whether err is or wraps a *[DeniedError].
func IsDenied(err error) bool {
	var d *DeniedError
	return errors.As(err, &d)
}

// Verdict is what one side says about a request.
type Verdict int

const (
	// Silent: nothing applies, which is the implicit deny.
	Silent Verdict = iota
	// Allow: at least one permission allows and none denies.
	Allow
	// Deny: a permission denies explicitly; nothing overrides it.
	Deny
	// SilentBoundary and SilentSession are Silent where only a permissions
	// boundary or a session policy is missing; DenyBoundary and DenySession are
	// Deny by one of those. Only the identity side says them.
	SilentBoundary
	SilentSession
	DenyBoundary
	DenySession
	// SilentLimited is Silent where no policy of the caller's own allows, and a
	// permissions boundary or a session policy does not either. Only the identity
	// side says it.
	SilentLimited
	// AllowRole is Allow for the caller's role, and not for the caller itself: a
	// permissions boundary or a session policy that does not allow stands in its
	// way. Only the resource side says it.
	AllowRole
	// Withheld: the resource lets in only whom its own policy lets in, and that is
	// not the caller, whatever the caller's side allows. Only the resource side
	// says it, of KMS keys.
	Withheld
)

// denies reports whether the verdict is an explicit deny.
func (v Verdict) denies() bool { return v == Deny || v == DenyBoundary || v == DenySession }

// cause is why the identity side, with this verdict, keeps a request from being
// allowed.
func (v Verdict) cause() Cause {
	switch v {
	case Deny:
		return IdentityDeny
	case SilentBoundary:
		return NoBoundaryAllow
	case SilentSession:
		return NoSessionAllow
	case DenyBoundary:
		return BoundaryDeny
	case DenySession:
		return SessionDeny
	}
	return NoIdentityAllow
}

// Source is one side's permissions: those attached to the caller, or those
// attached to the resource.
type Source interface {
	// Evaluate must depend only on the request and the stored permissions. An
	// error means that no verdict could be reached.
	Evaluate(ctx context.Context, req Request) (Verdict, error)
}

// SourceFunc lets a function be a [Source].
type SourceFunc func(context.Context, Request) (Verdict, error)

// Evaluate calls f.
func (f SourceFunc) Evaluate(ctx context.Context, req Request) (Verdict, error) { return f(ctx, req) }

// AccountRoot is the identity side as long as the only identities are the root
// users of accounts: a root user may do everything its own side can grant, and
// nobody else may do anything.
//
// Source: IAM User Guide, "AWS account root user" (full access to its account).
type AccountRoot struct{}

// Evaluate allows root principals and is silent about everybody else.
func (AccountRoot) Evaluate(_ context.Context, req Request) (Verdict, error) {
	if req.Principal.IsRoot() {
		return Allow, nil
	}
	return Silent, nil
}

// Rules joins both sides as IAM does (IAM User Guide, "Policy evaluation logic"
// and "Cross-account policy evaluation logic"):
//
//  1. an explicit deny on either side denies;
//  2. within one account an allow on either side suffices, unless the resource
//     withholds itself, as a KMS key does whose policy names neither the caller
//     nor the account (KMS Developer Guide, "Key policies in AWS KMS");
//  3. across accounts both sides must allow;
//  4. an allow of the resource side for the caller's role does not pass a
//     permissions boundary or a session policy that does not allow.
//
// A nil Source is silent, so the zero Rules deny everything. Sources are asked
// only as far as needed to decide.
type Rules struct {
	Identity Source
	Resource Source
	// ResourceTags serves conditions on them; nil: resources have none.
	ResourceTags TagReader
	// PrincipalTags serves conditions on the caller's; nil: callers have none.
	PrincipalTags func(context.Context, Principal) ([]Tag, error)
	// Organization is the id of the organisation that all accounts are of; empty:
	// of none.
	Organization string
	// Now is the time that conditions compare with; nil is [time.Now].
	Now func() time.Time
}

// Authorize implements [Authorizer].
func (r Rules) Authorize(ctx context.Context, req Request) error {
	if err := req.check(); err != nil {
		return err
	}
	k := r.keys(ctx, &req)
	if err := r.decide(ctx, req); k.err == nil || err != nil && !IsDenied(err) {
		return err
	}
	return fmt.Errorf("read what the conditions on %s ask for: %w", req.Action, k.err)
}

// keys gives a request its condition keys.
func (r Rules) keys(ctx context.Context, req *Request) *keys {
	now := time.Now
	if r.Now != nil {
		now = r.Now
	}
	k := &keys{req: req, now: now(), organization: r.Organization}
	if r.ResourceTags != nil {
		k.tags = sync.OnceValues(func() ([]Tag, error) { return r.ResourceTags(ctx, req.Resource) })
	}
	if r.PrincipalTags != nil {
		k.principalTags = sync.OnceValues(func() ([]Tag, error) { return r.PrincipalTags(ctx, req.Principal) })
	}
	req.Keys = k
	return k
}

// decide asks both sides.
func (r Rules) decide(ctx context.Context, req Request) error {
	identity, err := ask(ctx, r.Identity, req)
	if err != nil {
		return fmt.Errorf("evaluate identity-based permissions for %s: %w", req.Action, err)
	}
	if identity.denies() {
		return deny(req, identity.cause())
	}
	resource, err := ask(ctx, r.Resource, req)
	if err != nil {
		return fmt.Errorf("evaluate resource-based permissions for %s: %w", req.Action, err)
	}
	if resource.denies() {
		return deny(req, ResourceDeny)
	}
	if resource == Withheld {
		return deny(req, NoResourceAllow)
	}
	if req.CrossAccount() {
		// ECR names the resource side first when both are missing, since that
		// is the side the caller cannot see.
		if resource != Allow && resource != AllowRole {
			return deny(req, NoResourceAllow)
		}
		if identity != Allow {
			return deny(req, identity.cause())
		}
		return nil
	}
	if identity == Allow || resource == Allow || resource == AllowRole && identity == Silent {
		return nil
	}
	return deny(req, identity.cause())
}

func ask(ctx context.Context, s Source, req Request) (Verdict, error) {
	if s == nil {
		return Silent, nil
	}
	v, err := s.Evaluate(ctx, req)
	if err != nil {
		return Silent, err
	}
	if v < Silent || v > Withheld {
		return Silent, fmt.Errorf("unknown verdict %d", v)
	}
	return v, nil
}

func deny(req Request, cause Cause) error {
	return &DeniedError{Principal: req.Principal, Action: req.Action, Resource: req.Resource, Cause: cause}
}
