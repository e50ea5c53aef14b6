package iam_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"berth/internal/access"
	"berth/internal/iam"
	"berth/internal/meta"
)

// grant is a policy with one statement about one action, or about all.
func grant(effect, action string) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"S` + effect + `","Effect":"` + effect + `","Action":"` + action + `","Resource":"*"}]}`
}

// explain asks for a principal in its own account, and sees that the decision is
// that of Authorize.
func (r *rig) explain(t *testing.T, p access.Principal, action string) access.Explanation {
	t.Helper()
	rules := access.Rules{Identity: r.Permissions()}
	req := access.Request{Principal: p, Action: action, Resource: "*", ResourceAccount: p.Account}
	e, err := rules.Explain(context.Background(), req)
	if err != nil {
		t.Fatal(err)
	}
	got := rules.Authorize(context.Background(), req)
	if (got == nil) != (e.Denied == nil) || got != nil && got.Error() != e.Denied.Error() {
		t.Errorf("%s by %s: %v, explained as %v", action, p.ARN, got, e.Denied)
	}
	return e
}

// Every policy of a user says its part: the inline one, the managed one, the
// boundary.
func TestExplainUser(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	ref, p := r.user(t, "ci")
	const pullOnly = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
	m, err := r.CreatePolicy(ctx, meta.IAMPolicy{Account: account, Name: "no-delete"}, grant("Deny", "ecr:Delete*"))
	if err = errors.Join(err, r.PutInlinePolicy(ctx, ref, "all", grant("Allow", "ecr:*")), r.Attach(ctx, ref, m.ARN), r.SetBoundary(ctx, ref, pullOnly)); err != nil {
		t.Fatal(err)
	}
	inline := access.Finding{Policy: "inline policy all of user ci", Effect: access.Allow, Statement: 1, Sid: "SAllow"}
	managed := access.Finding{Policy: "managed policy " + m.ARN + " of user ci"}
	boundary := access.Finding{Policy: "permissions boundary " + pullOnly + " of user ci"}
	silent := boundary
	silent.Note = "it limits, and does not allow this"
	for action, tc := range map[string]struct {
		cause             access.Cause
		managed, boundary access.Finding
	}{
		"ecr:BatchGetImage":    {0, managed, access.Finding{Policy: boundary.Policy, Effect: access.Allow, Statement: 1}},
		"ecr:PutImage":         {access.NoBoundaryAllow, managed, silent},
		"ecr:DeleteRepository": {access.IdentityDeny, access.Finding{Policy: managed.Policy, Effect: access.Deny, Statement: 1, Sid: "SDeny"}, silent},
	} {
		e := r.explain(t, p, action)
		if cause := causeOf(e); cause != tc.cause || !slices.Equal(e.Findings, []access.Finding{inline, tc.managed, tc.boundary}) {
			t.Errorf("%s: cause %d, %+v", action, cause, e.Findings)
		}
	}
	if err := r.SetBoundary(ctx, ref, m.ARN); err != nil {
		t.Fatal(err)
	}
	if err := r.Detach(ctx, ref, m.ARN); err != nil {
		t.Fatal(err)
	}
	if e := r.explain(t, p, "ecr:DeleteRepository"); causeOf(e) != access.BoundaryDeny {
		t.Errorf("%+v", e)
	}
	if e := r.explain(t, p, "sts:AssumeRole"); causeOf(e) != access.NoIdentityAllow {
		t.Errorf("%+v", e)
	}
}

func causeOf(e access.Explanation) access.Cause {
	if e.Denied == nil {
		return 0
	}
	return e.Denied.Cause
}

// A session is limited by its policies; its role by itself, which an ARN names,
// is not.
func TestExplainSession(t *testing.T) {
	r := newRig(t)
	r.CheckPolicy, r.CheckTrustPolicy = iam.CheckIdentityPolicy, iam.CheckRoleTrust
	ctx := context.Background()
	_, caller := r.user(t, "ci")
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}`
	role, err := r.Create(ctx, meta.IAMPrincipal{Kind: meta.KindRole, Account: account, Name: "deploy", Path: "/ops/", TrustPolicy: trust})
	if err == nil {
		err = r.PutInlinePolicy(ctx, iam.Ref{Kind: meta.KindRole, Account: account, Name: "deploy"}, "all", grant("Allow", "ecr:*"))
	}
	if err != nil {
		t.Fatal(err)
	}
	own := access.Finding{Policy: "inline policy all of role deploy", Effect: access.Allow, Statement: 1, Sid: "SAllow"}
	for _, tc := range []struct {
		policy string
		effect access.Verdict
		cause  access.Cause
	}{
		{grant("Allow", "ecr:PutImage"), access.Allow, 0},
		{grant("Allow", "ecr:ListImages"), access.Silent, access.NoSessionAllow},
		{grant("Deny", "ecr:PutImage"), access.Deny, access.SessionDeny},
	} {
		s, err := r.AssumeRole(ctx, caller, iam.RoleRequest{RoleARN: iam.ARN(role), SessionName: "s1", Policy: tc.policy}, allows(func(access.Request) bool { return true }))
		if err != nil {
			t.Fatal(err)
		}
		e := r.explain(t, s.Principal, "ecr:PutImage")
		if len(e.Findings) != 2 || e.Findings[0] != own || e.Findings[1].Policy != "session policy" || e.Findings[1].Effect != tc.effect || causeOf(e) != tc.cause {
			t.Errorf("%s: %+v", tc.policy, e)
		}
	}
	session := "arn:aws:sts::" + account + ":assumed-role/deploy/s1"
	for _, arn := range []string{iam.ARN(role), session} {
		p, err := r.FindPrincipal(ctx, arn)
		if err != nil || p.ARN != arn || p.Role != iam.ARN(role) {
			t.Fatalf("%+v, %v", p, err)
		}
		if e := r.explain(t, p, "ecr:PutImage"); e.Denied != nil || !slices.Equal(e.Findings, []access.Finding{own}) {
			t.Errorf("%s: %+v", arn, e)
		}
	}
}

func TestFindPrincipal(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	r.root(t, iam.Credentials{})
	_, user := r.user(t, "ci")
	root := access.Root(account, "")
	user.AccessKeyID = ""
	for _, want := range []access.Principal{root, user} {
		if got, err := r.FindPrincipal(ctx, want.ARN); err != nil || got != want {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
	if e := r.explain(t, root, "ecr:PutImage"); e.Denied != nil || !slices.Equal(e.Findings, []access.Finding{access.RootFinding()}) {
		t.Errorf("%+v", e)
	}
	for _, arn := range []string{
		"arn:aws:iam::" + account + ":user/nobody", "arn:aws:iam::" + account + ":user/path/ci", "arn:aws:iam::" + account + ":role/ci",
		"arn:aws:sts::" + account + ":assumed-role/ci/s1", "arn:aws:iam::999999999999:user/ci", "arn:aws:iam::999999999999:root",
	} {
		_, err := r.FindPrincipal(ctx, arn)
		refused(t, arn, err, iam.CodeNoSuchEntity, "")
	}
	for _, arn := range []string{"", "*", "ci", account, "arn:aws:iam::12:root", "arn:aws:iam::" + account + ":group/g", "arn:aws:ecr:us-east-1:" + account + ":repository/app"} {
		_, err := r.FindPrincipal(ctx, arn)
		refused(t, arn, err, iam.CodeValidation, "is not the ARN of")
	}
}
