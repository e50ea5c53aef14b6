package access

import (
	"context"
	"errors"
)

// A Finding is what one policy says about a request.
type Finding struct {
	// Policy names it as a person knows it: "inline policy pull of user ci",
	// "repository policy of arn:…".
	Policy string
	// Effect is Silent, Allow or Deny.
	Effect Verdict
	// Statement is the statement that says so, counted from 1, and Sid its Sid. 0:
	// it is no statement. Note says why a policy that is silent matters.
	Statement int
	Sid       string
	Note      string
}

// A Teller is a [Source] that can tell what each of its policies says.
type Teller interface {
	Source
	// Tell is Evaluate that also calls tell for each policy. Its verdict and its
	// error are those of Evaluate.
	Tell(ctx context.Context, req Request, tell func(Finding)) (Verdict, error)
}

// An Explanation is a decision with its reasons.
type Explanation struct {
	// Denied is the denial; nil: the request is allowed.
	Denied *DeniedError
	// Findings are what the policies say, those of the caller first. The resource's
	// are not asked when the caller's deny explicitly.
	Findings []Finding
}

// Explain is Authorize with the reasons: the same decision by the same code, on
// sources that are listened to. Its error is that of Authorize when there is no
// decision.
func (r Rules) Explain(ctx context.Context, req Request) (Explanation, error) {
	var e Explanation
	hear := func(f Finding) { e.Findings = append(e.Findings, f) }
	r.Identity, r.Resource = listen(r.Identity, hear), listen(r.Resource, hear)
	err := r.Authorize(ctx, req)
	if errors.As(err, &e.Denied) {
		err = nil
	}
	if err != nil {
		return Explanation{}, err
	}
	return e, nil
}

// listen makes a source that can tell do so whenever it is asked.
func listen(s Source, hear func(Finding)) Source {
	t, ok := s.(Teller)
	if !ok {
		return s
	}
	return SourceFunc(func(ctx context.Context, req Request) (Verdict, error) { return t.Tell(ctx, req, hear) })
}

// Missing is what would have to change for the request to be allowed, as far as
// the decision came to know; empty: nothing.
func (e Explanation) Missing() string {
	if e.Denied == nil {
		return ""
	}
	action := e.Denied.Action
	switch kind, explicit := e.Denied.Cause.policy(); {
	case kind == "":
		return ""
	case explicit:
		return "the explicit deny in " + article(kind) + kind + " would have to go: nothing overrides it"
	default:
		return "an allow of " + action + " in " + article(kind) + kind
	}
}

// RootFinding is what is found of a root user, who needs no policy.
func RootFinding() Finding { return Finding{Policy: "root user of the account", Effect: Allow} }

// Tell implements [Teller].
func (a AccountRoot) Tell(ctx context.Context, req Request, tell func(Finding)) (Verdict, error) {
	v, err := a.Evaluate(ctx, req)
	if v == Allow {
		tell(RootFinding())
	}
	return v, err
}

// String names a verdict, as policies do.
func (v Verdict) String() string {
	switch {
	case v == Allow, v == AllowRole:
		return "Allow"
	case v.denies():
		return "Deny"
	}
	return "Silent"
}
