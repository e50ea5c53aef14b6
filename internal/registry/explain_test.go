package registry_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/access"
	"berth/internal/access/policy"
	"berth/internal/registry"
)

// The policies of a repository and of its registry both say their part.
func TestExplainResource(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	user := func(account string) access.Principal {
		return access.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/ci", UserID: "AIDA1"}
	}
	const partner = "111122223333"
	text := `{"Version":"2012-10-17","Statement":[
		{"Sid":"Partner","Effect":"Allow","Principal":{"AWS":["` + partner + `","` + scope.Account + `"]},"Action":"ecr:BatchGetImage"},
		{"Sid":"Ci","Effect":"Allow","Principal":{"AWS":"` + user(scope.Account).ARN + `"},"Action":"ecr:PutImage"}]}`
	if _, err := b.SetPolicy(ctx, scope, "app", text, owner, false); err != nil {
		t.Fatal(err)
	}
	arn := registry.ARN(scope, "app")
	err := b.SetRegistryPolicy(ctx, scope, `{"Version":"2012-10-17","Statement":[{"Sid":"Frozen","Effect":"Deny","Principal":"*","Action":"ecr:DeleteRepository","Resource":"`+arn+`"}]}`)
	if err != nil {
		t.Fatal(err)
	}
	const note = "it allows the account, which leaves it to the caller's own policies"
	ofRepository, ofRegistry := "repository policy of "+arn, "registry policy of 123456789012 in us-east-1"
	for _, tc := range []struct {
		caller             access.Principal
		action             string
		cause              access.Cause
		repository, freeze access.Finding
	}{
		{user(scope.Account), "ecr:PutImage", 0, access.Finding{Effect: access.Allow, Statement: 2, Sid: "Ci"}, access.Finding{}},
		{user(scope.Account), "ecr:BatchGetImage", access.NoIdentityAllow, access.Finding{Statement: 1, Sid: "Partner", Note: note}, access.Finding{}},
		{user(partner), "ecr:BatchGetImage", access.NoIdentityAllow, access.Finding{Effect: access.Allow, Statement: 1, Sid: "Partner"}, access.Finding{}},
		{user(partner), "ecr:PutImage", access.NoResourceAllow, access.Finding{}, access.Finding{}},
		{user(scope.Account), "ecr:DeleteRepository", access.ResourceDeny, access.Finding{}, access.Finding{Effect: access.Deny, Statement: 1, Sid: "Frozen"}},
	} {
		tc.repository.Policy, tc.freeze.Policy = ofRepository, ofRegistry
		req := access.Request{
			Principal: tc.caller, Action: tc.action, Resource: arn, ResourceAccount: scope.Account, Call: access.Call{Region: scope.Region},
		}
		e, err := access.Rules{Resource: b.Permissions()}.Explain(ctx, req)
		var cause access.Cause
		if e.Denied != nil {
			cause = e.Denied.Cause
		}
		if err != nil || cause != tc.cause || !slices.Equal(e.Findings, []access.Finding{tc.repository, tc.freeze}) {
			t.Errorf("%s by %s: cause %d, %+v, %v", tc.action, tc.caller.ARN, cause, e.Findings, err)
		}
	}
	// No policy decides about passwords but those of the caller.
	e, err := access.Rules{Resource: b.Permissions()}.Explain(ctx, access.Request{
		Principal: user(scope.Account), Action: "ecr:GetAuthorizationToken", Resource: "*", ResourceAccount: scope.Account})
	if err != nil || e.Denied == nil || len(e.Findings) > 0 {
		t.Errorf("%+v, %v", e, err)
	}
}

// identity is the caller's side with one policy.
type identity struct{ *policy.Compiled }

func (i identity) Evaluate(_ context.Context, req access.Request) (access.Verdict, error) {
	switch i.Compiled.Evaluate(policy.Query{Action: req.Action, Resource: req.Resource, Keys: req.Keys}).Effect {
	case policy.Allow:
		return access.Allow, nil
	case policy.Deny:
		return access.Deny, nil
	}
	return access.Silent, nil
}

// Whatever the policies of a repository and of its registry say, explaining a
// request decides as authorizing it does.
func TestExplainAgreesOnPolicies(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	arn := registry.ARN(scope, "app")
	accounts := []string{scope.Account, "111122223333"}
	rapid.Check(t, func(t *rapid.T) {
		statements := func(resource string) string {
			var out []string
			for range rapid.IntRange(1, 3).Draw(t, "statements") {
				out = append(out, fmt.Sprintf(`{"Effect":%q,"Principal":%s,"Action":%q%s}`,
					rapid.SampledFrom([]string{"Allow", "Allow", "Deny"}).Draw(t, "effect"),
					rapid.SampledFrom([]string{`"*"`, `{"AWS":"111122223333"}`, `{"AWS":"arn:aws:iam::123456789012:user/ci"}`, `{"AWS":"123456789012"}`}).Draw(t, "principal"),
					rapid.SampledFrom([]string{"ecr:PutImage", "ecr:BatchGetImage", "ecr:*Image"}).Draw(t, "action"), resource))
			}
			return `{"Version":"2012-10-17","Statement":[` + strings.Join(out, ",") + `]}`
		}
		if _, err := b.SetPolicy(ctx, scope, "app", statements(""), owner, true); err != nil {
			t.Fatal(err)
		}
		if err := b.SetRegistryPolicy(ctx, scope, statements(`,"Resource":"`+arn+`"`)); err != nil {
			t.Fatal(err)
		}
		account := rapid.SampledFrom(accounts).Draw(t, "account")
		rules := access.Rules{Resource: b.Permissions(), Identity: identity{policy.Compile(&policy.Document{Version: policy.Version2012, Statements: []policy.Statement{{
			Effect: rapid.SampledFrom([]policy.Effect{policy.Allow, policy.Deny}).Draw(t, "identity"), Actions: []string{"ecr:Put*"}, Resources: []string{"*"},
		}}})}}
		req := access.Request{
			Principal: access.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/ci", UserID: "AIDA1"},
			Action:    rapid.SampledFrom([]string{"ecr:PutImage", "ecr:BatchGetImage", "ecr:ListImages"}).Draw(t, "action"),
			Resource:  arn, ResourceAccount: scope.Account, Call: access.Call{Region: scope.Region},
		}
		got := rules.Authorize(ctx, req)
		e, err := rules.Explain(ctx, req)
		if err != nil || (got == nil) != (e.Denied == nil) || got != nil && got.Error() != e.Denied.Error() {
			t.Fatalf("%v, explained as %+v, %v", got, e, err)
		}
	})
}
