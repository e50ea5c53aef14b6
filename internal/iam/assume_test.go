package iam_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"berth/internal/access"
	"berth/internal/iam"
	"berth/internal/meta"
)

// TestWhoMayAssumeARole goes through who trusts whom, as the IAM User Guide says
// ("AWS JSON policy elements: Principal", "Cross-account policy evaluation logic").
func TestWhoMayAssumeARole(t *testing.T) {
	r := newRig(t)
	r.CheckPolicy, r.CheckTrustPolicy = iam.CheckIdentityPolicy, iam.CheckRoleTrust
	ctx := context.Background()
	rules := access.Rules{Identity: r.Permissions(), Resource: r.TrustPolicies()}
	const foreign = "999999999999"
	role := "arn:aws:iam::" + account + ":role/deploy"
	own, other := "arn:aws:iam::"+account+":root", "arn:aws:iam::"+foreign+":root"
	allow, deny := grant("Allow", "sts:AssumeRole"), grant("Deny", "sts:AssumeRole")
	statement := func(effect, principal, condition string) string {
		if condition != "" {
			condition = `,"Condition":` + condition
		}
		return `{"Effect":"` + effect + `","Principal":{"AWS":"` + principal + `"},"Action":"sts:AssumeRole"` + condition + `}`
	}
	user := func(of string) string { return "arn:aws:iam::" + of + ":user/ci" }
	for _, tc := range []struct {
		what     string
		account  string
		trust    string
		identity string
		allowed  bool
	}{
		{"named, and that is enough", account, statement("Allow", user(account), ""), "", true},
		{"named, and denied by its own policy", account, statement("Allow", user(account), ""), deny, false},
		{"the account is named, and leaves it to policies that do not allow", account, statement("Allow", own, ""), "", false},
		{"the account is named, and a policy allows", account, statement("Allow", own, ""), allow, true},
		{"the account is named by its number", account, statement("Allow", account, ""), allow, true},
		{"everybody is named", account, statement("Allow", "*", ""), "", true},
		{"somebody else is named, and a policy allows", account, statement("Allow", "arn:aws:iam::"+account+":user/other", ""), allow, false},
		{"another account is named, and a policy allows", account, statement("Allow", other, ""), allow, false},
		{"named, and denied by the trust policy", account, statement("Allow", user(account), "") + "," + statement("Deny", own, ""), allow, false},
		{"named under a condition that holds", account, statement("Allow", user(account), `{"StringEquals":{"sts:ExternalId":"x"}}`), "", true},
		{"named under a condition that does not hold", account, statement("Allow", user(account), `{"StringEquals":{"sts:ExternalId":"y"}}`), allow, false},
		{"the account under a condition that does not hold", account, statement("Allow", own, `{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), allow, false},

		{"abroad: named, without a policy", foreign, statement("Allow", user(foreign), ""), "", false},
		{"abroad: named, and a policy allows", foreign, statement("Allow", user(foreign), ""), allow, true},
		{"abroad: its account is named, and a policy allows", foreign, statement("Allow", other, ""), allow, true},
		{"abroad: its account is named, without a policy", foreign, statement("Allow", other, ""), "", false},
		{"abroad: everybody is named, without a policy", foreign, statement("Allow", "*", ""), "", false},
		{"abroad: not trusted, and a policy allows", foreign, statement("Allow", own, ""), allow, false},
		{"abroad: named, and denied by its own policy", foreign, statement("Allow", user(foreign), ""), deny, false},
	} {
		u, err := r.Create(ctx, meta.IAMPrincipal{Kind: meta.KindUser, Account: tc.account, Name: "ci"})
		if err != nil {
			t.Fatal(err)
		}
		ref := iam.Ref{Kind: meta.KindUser, Account: tc.account, Name: "ci"}
		if tc.identity != "" {
			if err := r.PutInlinePolicy(ctx, ref, "p", tc.identity); err != nil {
				t.Fatal(err)
			}
		}
		trust := `{"Version":"2012-10-17","Statement":[` + tc.trust + `]}`
		if _, err := r.Create(ctx, meta.IAMPrincipal{Kind: meta.KindRole, Account: account, Name: "deploy", TrustPolicy: trust}); err != nil {
			t.Fatal(tc.what, err)
		}
		caller := access.Principal{Account: tc.account, ARN: iam.ARN(u), UserID: u.ID, AccessKeyID: "AKIA"}
		_, err = r.AssumeRole(ctx, caller, iam.RoleRequest{
			RoleARN: role, SessionName: "s1", ExternalID: "x", Call: access.Call{SourceIP: "198.51.100.1"},
		}, rules)
		if (err == nil) != tc.allowed || err != nil && err.Error() != "User: "+caller.ARN+" is not authorized to perform: sts:AssumeRole on resource: "+role {
			t.Errorf("%s: %v", tc.what, err)
		}
		if tc.identity != "" {
			if err := r.DeleteInlinePolicy(ctx, ref, "p"); err != nil {
				t.Fatal(err)
			}
		}
		for _, gone := range []iam.Ref{ref, {Kind: meta.KindRole, Account: account, Name: "deploy"}} {
			if err := r.Delete(ctx, gone); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A role that trusts a role trusts its sessions, and what is told of it says so.
func TestRoleAssumesRole(t *testing.T) {
	r := newRig(t)
	r.CheckPolicy, r.CheckTrustPolicy = iam.CheckIdentityPolicy, iam.CheckRoleTrust
	ctx := context.Background()
	_, first := r.user(t, "ci")
	trusts := func(arn string) string {
		return `{"Version":"2012-10-17","Statement":[{"Sid":"T","Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"sts:AssumeRole"}]}`
	}
	rules := access.Rules{Identity: r.Permissions(), Resource: r.TrustPolicies()}
	var arns []string
	for i, trusted := range []string{first.ARN, "arn:aws:iam::" + account + ":role/r0"} {
		p, err := r.Create(ctx, meta.IAMPrincipal{Kind: meta.KindRole, Account: account, Name: fmt.Sprint("r", i), TrustPolicy: trusts(trusted)})
		if err != nil {
			t.Fatal(err)
		}
		arns = append(arns, iam.ARN(p))
	}
	s, err := r.AssumeRole(ctx, first, iam.RoleRequest{RoleARN: arns[0], SessionName: "s1"}, rules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.AssumeRole(ctx, s.Principal, iam.RoleRequest{RoleARN: arns[1], SessionName: "s2"}, rules); err != nil {
		t.Error(err)
	}
	if _, err := r.AssumeRole(ctx, first, iam.RoleRequest{RoleARN: arns[1], SessionName: "s2"}, rules); !access.IsDenied(err) {
		t.Errorf("a user assumes a role that trusts a role: %v", err)
	}
	e, err := rules.Explain(ctx, access.Request{Principal: first, Action: "sts:AssumeRole", Resource: arns[1], ResourceAccount: account})
	if err != nil || len(e.Findings) != 1 || e.Findings[0].Policy != "trust policy of "+arns[1] || !strings.Contains(e.Findings[0].Note, "only the role's trust policy") {
		t.Errorf("%+v, %v", e, err)
	}
	e, err = rules.Explain(ctx, access.Request{Principal: first, Action: "sts:AssumeRole", Resource: arns[0] + "x", ResourceAccount: account})
	if err != nil || e.Denied == nil || len(e.Findings) != 1 || e.Findings[0].Note != "there is no such role" {
		t.Errorf("%+v, %v", e, err)
	}
}
