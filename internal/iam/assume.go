package iam

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"berth/internal/access"
	"berth/internal/access/policy"
	"berth/internal/meta"
)

// A RoleRequest asks for a session of a role (STS API reference, AssumeRole and
// AssumeRoleWithWebIdentity).
type RoleRequest struct {
	RoleARN     string
	SessionName string
	ExternalID  string
	Policy      string   // session policy; empty: none
	PolicyARNs  []string // managed session policies
	Length      time.Duration
	Call        access.Call
}

var (
	roleARNPattern     = regexp.MustCompile(`^arn:aws:iam::(\d{12}):role(/(?:[\x21-\x7e]*/)?)([A-Za-z0-9_+=,.@-]+)$`)
	sessionNamePattern = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
)

// RoleName takes the ARN of a role apart.
func RoleName(arn string) (Ref, bool) {
	m := roleARNPattern.FindStringSubmatch(arn)
	if m == nil {
		return Ref{}, false
	}
	return Ref{meta.KindRole, m[1], m[3]}, true
}

// checkRoleRequest finds what is wrong with a request whoever makes it.
func (s *Store) checkRoleRequest(r RoleRequest) error {
	switch {
	case r.RoleARN == "":
		return Constraint("roleArn", "null", "Member must not be null")
	case !roleARNPattern.MatchString(r.RoleARN):
		return Invalid("%s is invalid", r.RoleARN)
	case r.SessionName == "":
		return Constraint("roleSessionName", "null", "Member must not be null")
	case !sessionNamePattern.MatchString(r.SessionName):
		return Constraint("roleSessionName", r.SessionName, `Member must satisfy regular expression pattern: [\w+=,.@-]*`)
	case len(r.Policy) > maxSessionPolicy:
		return Constraint("policy", r.Policy, fmt.Sprintf("Member must have length less than or equal to %d", maxSessionPolicy))
	case len(r.PolicyARNs) > 10:
		return Invalid("Too many policy ARNs: at most 10 are allowed.")
	}
	if r.Policy != "" {
		if err := s.checkPolicy(r.Policy); err != nil {
			return err
		}
	}
	return checkDuration(r.Length, maxRoleSession)
}

// Actions by which roles are assumed.
const (
	assumeRole        = "sts:AssumeRole"
	assumeWebIdentity = "sts:AssumeRoleWithWebIdentity"
)

// AssumeRole makes a session of a role for a caller whom authorize allows it,
// which asks the role's trust policy through [Store.TrustPolicies]. A role that
// does not exist is refused as one that does not trust the caller.
func (s *Store) AssumeRole(ctx context.Context, caller access.Principal, r RoleRequest, authorize access.Authorizer) (Session, error) {
	given := r.Length
	if given == 0 {
		r.Length = time.Hour
	}
	if err := s.checkRoleRequest(r); err != nil {
		return Session{}, err
	}
	if caller.IsRoot() {
		return Session{}, &Error{http.StatusForbidden, "AccessDenied", "Roles may not be assumed by root accounts."}
	}
	keys := map[string][]string{"sts:rolesessionname": {r.SessionName}}
	if r.ExternalID != "" {
		keys["sts:externalid"] = []string{r.ExternalID}
	}
	role, err := s.askRole(ctx, r, authorize, access.Request{Principal: caller, Action: assumeRole, ServiceKeys: keys})
	if access.IsDenied(err) { // STS does not say which side it was
		err = &access.DeniedError{Principal: caller, Action: assumeRole, Resource: r.RoleARN}
	}
	if err != nil {
		return Session{}, err
	}
	if strings.Contains(caller.ARN, ":assumed-role/") && given > maxChainedSession {
		return Session{}, Invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	return s.assume(ctx, role, r)
}

// askRole asks whether a request may assume its role, and finds the role.
func (s *Store) askRole(ctx context.Context, r RoleRequest, authorize access.Authorizer, req access.Request) (meta.IAMPrincipal, error) {
	ref, _ := RoleName(r.RoleARN)
	req.Resource, req.ResourceAccount, req.Call = r.RoleARN, ref.Account, r.Call
	if err := authorize.Authorize(ctx, req); err != nil {
		return meta.IAMPrincipal{}, err
	}
	role, err := s.roleAt(ctx, r.RoleARN)
	if errors.Is(err, meta.ErrNotFound) { // deleted since
		err = &access.DeniedError{Principal: req.Principal, Action: req.Action, Resource: r.RoleARN}
	}
	return role, err
}

// roleAt finds a role by its ARN, path and all; meta.ErrNotFound.
func (s *Store) roleAt(ctx context.Context, arn string) (role meta.IAMPrincipal, err error) {
	ref, ok := RoleName(arn)
	if !ok {
		return role, meta.ErrNotFound
	}
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		role, err = tx.IAMPrincipal(ref.Kind, ref.Account, ref.Name)
		return err
	})
	if err == nil && ARN(role) != arn {
		err = meta.ErrNotFound
	}
	return role, err
}

// assume makes the session of a role. Only who may assume it comes here, and
// learns what is wrong with the session's policies and length.
func (s *Store) assume(ctx context.Context, role meta.IAMPrincipal, r RoleRequest) (Session, error) {
	var policies []string
	err := s.db.View(ctx, func(tx *meta.Tx) error {
		policies = nil
		if r.Policy != "" {
			policies = append(policies, r.Policy)
		}
		for _, arn := range r.PolicyARNs {
			text, err := managedText(tx, role.Account, arn)
			if err != nil {
				return attachable(err, arn)
			}
			policies = append(policies, text)
		}
		return nil
	})
	if err != nil {
		return Session{}, err
	}
	if r.Length > role.MaxSession {
		return Session{}, Invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return s.newSession(ctx, role.ID, access.Principal{
		Account: role.Account,
		ARN:     "arn:aws:sts::" + role.Account + ":assumed-role/" + role.Name + "/" + r.SessionName,
		UserID:  role.ID + ":" + r.SessionName,
		Role:    ARN(role),
	}, policies, r.Length)
}

// TrustPolicies is what the trust policies of roles say: the resource side of
// [access.Rules] for the actions that assume roles. A role's policy alone decides
// who may assume it. One that names the caller suffices within the account; one
// that names the account leaves it to the account's own policies.
//
// Source: IAM User Guide, "How to use trust policies with IAM roles" and "AWS JSON
// policy elements: Principal".
func (s *Store) TrustPolicies() access.Source { return trusts{s} }

// trusts implements [access.Teller].
type trusts struct{ *Store }

// Evaluate implements [access.Source].
func (s trusts) Evaluate(ctx context.Context, req access.Request) (access.Verdict, error) {
	return s.Tell(ctx, req, func(access.Finding) {})
}

// Tell implements [access.Teller].
func (s trusts) Tell(ctx context.Context, req access.Request, tell func(access.Finding)) (access.Verdict, error) {
	if !strings.HasPrefix(req.Action, assumeRole) {
		return access.Silent, nil
	}
	role, err := s.roleAt(ctx, req.Resource)
	if errors.Is(err, meta.ErrNotFound) {
		tell(access.Finding{Policy: "trust policy of " + req.Resource, Note: "there is no such role"})
		return access.Withheld, nil
	}
	if err != nil {
		return access.Silent, err
	}
	d, err := policy.ParseTrustPolicy(role.TrustPolicy)
	if err != nil {
		// It was accepted once, so this is damage: nobody is let in on a guess.
		return access.Silent, fmt.Errorf("read the trust policy of %s: %w", req.Resource, err)
	}
	p := req.Principal
	caller := policy.Caller{Account: p.Account, ARN: p.ARN, Role: p.Role}
	if p.Provider != "" {
		caller = policy.Caller{Federated: p.Provider}
	}
	decision := d.Evaluate(policy.Query{Caller: caller, Action: req.Action, Resource: req.Resource, Keys: req.Keys})
	v, note := access.Withheld, "only the role's trust policy can allow it, and it does not"
	switch {
	case decision.Effect == policy.Deny:
		v, note = access.Deny, ""
	case decision.Effect == policy.Allow && decision.Role:
		v, note = access.AllowRole, ""
	case decision.Effect == policy.Allow && (!decision.Account || req.CrossAccount()):
		v, note = access.Allow, ""
	case decision.Effect == policy.Allow:
		v, note = access.Silent, "it allows the account, which leaves it to the caller's own policies"
	}
	tell(access.Finding{Policy: "trust policy of " + req.Resource, Effect: v, Statement: decision.Statement + 1, Sid: decision.Sid, Note: note})
	return v, nil
}
