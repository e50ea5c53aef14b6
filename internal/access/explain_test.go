package access_test

import (
	"context"
	"errors"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/access"
)

// side is a source that says one verdict, and tells it as its only policy.
type side struct {
	name    string
	verdict access.Verdict
	err     error
}

func (s side) Evaluate(context.Context, access.Request) (access.Verdict, error) {
	return s.verdict, s.err
}

func (s side) Tell(_ context.Context, _ access.Request, tell func(access.Finding)) (access.Verdict, error) {
	tell(access.Finding{Policy: s.name, Effect: s.verdict, Statement: 1})
	return s.verdict, s.err
}

// A decision is explained by what was asked to reach it.
func TestExplain(t *testing.T) {
	for name, tc := range map[string]struct {
		identity, resource access.Verdict
		account            string
		policies           int
		missing            string
	}{
		"allowed by the caller's side":     {access.Allow, access.Silent, home, 2, ""},
		"allowed by the resource's side":   {access.Silent, access.Allow, home, 2, ""},
		"nothing allows":                   {access.Silent, access.Silent, home, 2, "an allow of ecr:PutImage in an identity-based policy"},
		"from abroad, the resource's side": {access.Allow, access.Silent, other, 2, "an allow of ecr:PutImage in a resource-based policy"},
		"from abroad, the caller's side":   {access.Silent, access.Allow, other, 2, "an allow of ecr:PutImage in an identity-based policy"},
		"from abroad, both":                {access.Allow, access.Allow, other, 2, ""},
		"boundary":                         {access.SilentBoundary, access.Silent, home, 2, "an allow of ecr:PutImage in a permissions boundary"},
		"session":                          {access.SilentSession, access.Silent, home, 2, "an allow of ecr:PutImage in a session policy"},
		"a deny ends it": {access.Deny, access.Allow, home, 1,
			"the explicit deny in an identity-based policy would have to go: nothing overrides it"},
		"a deny of the resource's side": {access.Allow, access.Deny, home, 2,
			"the explicit deny in a resource-based policy would have to go: nothing overrides it"},
	} {
		t.Run(name, func(t *testing.T) {
			rules := access.Rules{Identity: side{"own", tc.identity, nil}, Resource: side{"theirs", tc.resource, nil}}
			e, err := rules.Explain(t.Context(), access.Request{
				Principal: access.Root(tc.account, "k"), Action: "ecr:PutImage", Resource: repo, ResourceAccount: home})
			if err != nil || e.Missing() != tc.missing || (e.Denied == nil) != (tc.missing == "") || len(e.Findings) != tc.policies || e.Findings[0].Policy != "own" {
				t.Errorf("%+v, %v, missing %q", e, err, e.Missing())
			}
		})
	}
	// Sources that cannot tell decide all the same.
	req := access.Request{Principal: access.Root(home, "k"), Action: "ecr:PutImage", Resource: repo, ResourceAccount: home}
	if e, err := (access.Rules{Identity: fixed(access.Allow)}).Explain(t.Context(), req); err != nil || e.Denied != nil || len(e.Findings) > 0 {
		t.Errorf("%+v, %v", e, err)
	}
	e, err := (access.Rules{Identity: access.AccountRoot{}}).Explain(t.Context(), req)
	if err != nil || e.Denied != nil || len(e.Findings) != 1 || e.Findings[0] != access.RootFinding() {
		t.Errorf("%+v, %v", e, err)
	}
}

// Whatever the sides say, and whether they can tell or fail, the explanation is
// of the decision that Authorize makes.
func TestExplainAgreesWithAuthorize(t *testing.T) {
	boom := errors.New("store is down")
	draw := func(t *rapid.T, name string) access.Source {
		s := side{name, access.Verdict(rapid.IntRange(int(access.Silent), int(access.DenySession)+1).Draw(t, name)), nil}
		switch rapid.IntRange(0, 9).Draw(t, name+" kind") {
		case 0:
			return nil
		case 1:
			s.err = boom
		case 2, 3:
			return access.SourceFunc(s.Evaluate)
		}
		return s
	}
	rapid.Check(t, func(t *rapid.T) {
		rules := access.Rules{Identity: draw(t, "identity"), Resource: draw(t, "resource")}
		req := access.Request{
			Principal: access.Root(rapid.SampledFrom([]string{home, other, ""}).Draw(t, "caller"), "k"),
			Action:    "ecr:PutImage", Resource: repo, ResourceAccount: home,
		}
		want := rules.Authorize(context.Background(), req)
		e, err := rules.Explain(context.Background(), req)
		switch {
		case want == nil:
			if err != nil || e.Denied != nil || e.Missing() != "" {
				t.Fatalf("allowed, and explained as %+v, %v", e, err)
			}
		case access.IsDenied(want):
			if err != nil || e.Denied == nil || e.Denied.Error() != want.Error() || e.Missing() == "" {
				t.Fatalf("%v, explained as %+v, %v", want, e, err)
			}
		case err == nil || err.Error() != want.Error():
			t.Fatalf("%v, explained as %+v, %v", want, e, err)
		}
	})
}
