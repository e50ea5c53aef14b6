package access_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/access"
)

const (
	home  = "123456789012"
	other = "210987654321"
	repo  = "arn:aws:ecr:us-east-1:123456789012:repository/app"
)

func fixed(v access.Verdict) access.Source {
	return access.SourceFunc(func(context.Context, access.Request) (access.Verdict, error) { return v, nil })
}

func TestPrincipalIsRoot(t *testing.T) {
	for _, tc := range []struct {
		p    access.Principal
		want bool
	}{
		{access.Root(home, "AKIA"), true},
		{access.Principal{Account: home, ARN: "arn:aws-cn:iam::" + home + ":root"}, true},
		{access.Principal{Account: home, ARN: "arn:aws-us-gov:iam::" + home + ":root"}, true},
		{access.Principal{}, false},
		{access.Principal{Account: home, ARN: "arn:aws:iam::" + other + ":root"}, false},
		{access.Principal{Account: home, ARN: "arn:aws:iam::" + home + ":user/root"}, false},
		{access.Principal{Account: home, ARN: "arn:awsome:iam::" + home + ":root"}, false},
		{access.Principal{Account: "1234", ARN: "arn:aws:iam::1234:root"}, false},
		{access.Principal{Account: "", ARN: "arn:aws:iam:::root"}, false},
	} {
		if got := tc.p.IsRoot(); got != tc.want {
			t.Errorf("IsRoot(%q in %q) = %v, want %v", tc.p.ARN, tc.p.Account, got, tc.want)
		}
	}
}

// The rule set of today: root users, no resource side.
func TestRootOnly(t *testing.T) {
	rules := access.Rules{Identity: access.AccountRoot{}}
	user := access.Principal{Account: home, ARN: "arn:aws:iam::" + home + ":user/bob", UserID: "AIDA1"}
	for _, tc := range []struct {
		name string
		req  access.Request
		want string
	}{
		{"root in its own account",
			access.Request{Principal: access.Root(home, "k"), Action: "ecr:PutImage", Resource: repo, ResourceAccount: home}, ""},
		{"root of another account",
			access.Request{Principal: access.Root(other, "k"), Action: "ecr:BatchGetImage", Resource: repo, ResourceAccount: home},
			"User: arn:aws:iam::210987654321:root is not authorized to perform: ecr:BatchGetImage on resource: " + repo +
				" because no resource-based policy allows the ecr:BatchGetImage action"},
		{"a user without permissions",
			access.Request{Principal: user, Action: "ecr:GetAuthorizationToken", Resource: "*", ResourceAccount: home},
			"User: arn:aws:iam::123456789012:user/bob is not authorized to perform: ecr:GetAuthorizationToken on resource: *" +
				" because no identity-based policy allows the ecr:GetAuthorizationToken action"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := rules.Authorize(t.Context(), tc.req)
			if tc.want == "" {
				if err != nil {
					t.Fatalf("denied: %v", err)
				}
				return
			}
			if !access.IsDenied(err) || err.Error() != tc.want {
				t.Errorf("got  %v\nwant %s", err, tc.want)
			}
		})
	}
}

// Explicit deny wins; one side is enough at home; both are needed abroad.
func TestRulesTable(t *testing.T) {
	const s, a, d = access.Silent, access.Allow, access.Deny
	for _, tc := range []struct {
		identity, resource access.Verdict
		same, cross        access.Cause
	}{
		{s, s, access.NoIdentityAllow, access.NoResourceAllow},
		{s, a, 0, access.NoIdentityAllow},
		{s, d, access.ResourceDeny, access.ResourceDeny},
		{a, s, 0, access.NoResourceAllow},
		{a, a, 0, 0},
		{a, d, access.ResourceDeny, access.ResourceDeny},
		{d, s, access.IdentityDeny, access.IdentityDeny},
		{d, a, access.IdentityDeny, access.IdentityDeny},
		{d, d, access.IdentityDeny, access.IdentityDeny},
		{access.SilentBoundary, s, access.NoBoundaryAllow, access.NoResourceAllow},
		{access.SilentBoundary, a, 0, access.NoBoundaryAllow},
		{access.SilentBoundary, d, access.ResourceDeny, access.ResourceDeny},
		{access.SilentSession, s, access.NoSessionAllow, access.NoResourceAllow},
		{access.SilentSession, a, 0, access.NoSessionAllow},
		{access.SilentLimited, s, access.NoIdentityAllow, access.NoResourceAllow},
		{access.SilentLimited, a, 0, access.NoIdentityAllow},
		{s, access.AllowRole, 0, access.NoIdentityAllow},
		{a, access.AllowRole, 0, 0},
		{access.SilentLimited, access.AllowRole, access.NoIdentityAllow, access.NoIdentityAllow},
		{access.SilentBoundary, access.AllowRole, access.NoBoundaryAllow, access.NoBoundaryAllow},
		{access.SilentSession, access.AllowRole, access.NoSessionAllow, access.NoSessionAllow},
		{d, access.AllowRole, access.IdentityDeny, access.IdentityDeny},
		{access.DenyBoundary, a, access.BoundaryDeny, access.BoundaryDeny},
		{access.DenySession, a, access.SessionDeny, access.SessionDeny},
	} {
		rules := access.Rules{Identity: fixed(tc.identity), Resource: fixed(tc.resource)}
		for account, want := range map[string]access.Cause{home: tc.same, other: tc.cross} {
			err := rules.Authorize(t.Context(), access.Request{
				Principal: access.Root(account, "k"), Action: "ecr:PutImage", Resource: repo, ResourceAccount: home})
			var denied *access.DeniedError
			var got access.Cause
			if errors.As(err, &denied) {
				got = denied.Cause
			} else if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("identity %v, resource %v, caller %s: cause %v, want %v", tc.identity, tc.resource, account, got, want)
			}
		}
	}
}

func TestDeniedTails(t *testing.T) {
	for cause, tail := range map[access.Cause]string{
		access.IdentityDeny: " with an explicit deny in an identity-based policy",
		access.ResourceDeny: " with an explicit deny in a resource-based policy",
		access.BoundaryDeny: " with an explicit deny in a permissions boundary",
		access.SessionDeny:  " with an explicit deny in a session policy",

		access.NoBoundaryAllow: " because no permissions boundary allows the ecr:PutImage action",
		access.NoSessionAllow:  " because no session policy allows the ecr:PutImage action",

		access.Cause(0): "",
	} {
		err := &access.DeniedError{Principal: access.Root(home, ""), Action: "ecr:PutImage", Resource: "*", Cause: cause}
		want := "User: arn:aws:iam::123456789012:root is not authorized to perform: ecr:PutImage on resource: *" + tail
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	}
	if !access.IsDenied(fmt.Errorf("wrapped: %w", &access.DeniedError{})) || access.IsDenied(errors.New("x")) {
		t.Error("IsDenied does not follow wrapping")
	}
}

// A question with a hole in it, a failing source or a nonsense verdict is never an allow.
func TestFailClosed(t *testing.T) {
	full := access.Request{Principal: access.Root(home, "k"), Action: "ecr:PutImage", Resource: repo, ResourceAccount: home}
	allow := access.Rules{Identity: fixed(access.Allow), Resource: fixed(access.Allow)}
	holes := map[string]func(*access.Request){
		"no action":           func(r *access.Request) { r.Action = "" },
		"no operation":        func(r *access.Request) { r.Action = "ecr:" },
		"no service":          func(r *access.Request) { r.Action = "PutImage" },
		"no principal":        func(r *access.Request) { r.Principal = access.Principal{} },
		"no resource":         func(r *access.Request) { r.Resource = "" },
		"no resource account": func(r *access.Request) { r.ResourceAccount = "" },
	}
	for name, dig := range holes {
		req := full
		dig(&req)
		if err := allow.Authorize(t.Context(), req); err == nil || access.IsDenied(err) {
			t.Errorf("%s: got %v, want a plain error", name, err)
		}
	}
	boom := errors.New("store is down")
	failing := access.SourceFunc(func(context.Context, access.Request) (access.Verdict, error) { return access.Allow, boom })
	for _, rules := range []access.Rules{{Identity: failing}, {Identity: fixed(access.Allow), Resource: failing}} {
		if err := rules.Authorize(t.Context(), full); !errors.Is(err, boom) {
			t.Errorf("failing source: got %v", err)
		}
	}
	if err := (access.Rules{Identity: fixed(access.Verdict(99))}).Authorize(t.Context(), full); err == nil {
		t.Error("an unknown verdict was allowed")
	}
	if err := (access.Rules{}).Authorize(t.Context(), full); !access.IsDenied(err) {
		t.Errorf("zero Rules: got %v, want a denial", err)
	}
}

// Whatever the caller and the resource are, no foreign account gets in without a resource side.
func TestNoForeignAccess(t *testing.T) {
	rules := access.Rules{Identity: access.AccountRoot{}}
	rapid.Check(t, func(t *rapid.T) {
		account := rapid.StringMatching(`[0-9]{12}`)
		caller, owner := account.Draw(t, "caller"), account.Draw(t, "owner")
		err := rules.Authorize(context.Background(), access.Request{
			Principal: access.Root(caller, "k"), Action: "ecr:PutImage", Resource: "*", ResourceAccount: owner})
		if allowed := err == nil; allowed != (caller == owner) {
			t.Fatalf("caller %s on %s: %v", caller, owner, err)
		}
	})
}

// All accounts are of the organisation of the installation, when it has one; a
// caller who is of no account is of none.
func TestOrganization(t *testing.T) {
	seen := map[string][]string{}
	ask := func(organization string, p access.Principal) {
		t.Helper()
		rules := access.Rules{Organization: organization, Identity: access.SourceFunc(func(_ context.Context, req access.Request) (access.Verdict, error) {
			for _, name := range []string{"aws:principalorgid", "aws:resourceorgid", "aws:federatedprovider", "aws:principaltype"} {
				seen[name] = req.Keys.Lookup(name)
			}
			return access.Allow, nil
		})}
		if err := rules.Authorize(t.Context(), access.Request{Principal: p, Action: "ecr:PutImage", Resource: repo, ResourceAccount: home}); err != nil {
			t.Error(err)
		}
	}
	ask("", access.Root(home, "k"))
	if seen["aws:principalorgid"] != nil || seen["aws:resourceorgid"] != nil || seen["aws:federatedprovider"] != nil {
		t.Errorf("without an organisation: %v", seen)
	}
	ask("o-a1b2c3d4e5", access.Root(home, "k"))
	if fmt.Sprint(seen["aws:principalorgid"], seen["aws:resourceorgid"]) != "[o-a1b2c3d4e5] [o-a1b2c3d4e5]" {
		t.Errorf("with an organisation: %v", seen)
	}
	ask("o-a1b2c3d4e5", access.Principal{Account: home, ARN: "arn:provider:sub", Provider: "arn:provider"})
	if seen["aws:principalorgid"] != nil || seen["aws:principaltype"] != nil || fmt.Sprint(seen["aws:federatedprovider"]) != "[arn:provider]" {
		t.Errorf("with a provider: %v", seen)
	}
}
