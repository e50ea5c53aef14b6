package local_test

import (
	"context"
	"fmt"
	"testing"

	"berth/internal/access"
	"berth/internal/kms/local"
)

func user(account, name string) access.Principal {
	return access.Principal{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name, UserID: "AIDA" + name}
}

// A key's policy alone decides who may use it; it may leave that to the account.
// Source: KMS Developer Guide, "Key policies in AWS KMS" and "Determining access
// to AWS KMS keys".
func TestKeyPoliciesDecide(t *testing.T) {
	const (
		toAccount  = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:root"},"Action":"kms:*","Resource":"*"}`
		toAnn      = `{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"},"Action":"kms:*","Resource":"*"}`
		toOther    = `{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"kms:Encrypt","Resource":"*"}`
		notAnn     = `{"Effect":"Deny","Principal":{"AWS":"arn:aws:iam::000000000000:user/ann"},"Action":"kms:Encrypt","Resource":"*"}`
		throughECR = `{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*","Condition":{"StringEquals":` +
			`{"kms:ViaService":"ecr.us-east-1.amazonaws.com","kms:CallerAccount":"000000000000"}}}`
		forTeam = `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:team":"red"}}}`
		tagged  = `{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"kms:*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"red"}}}`
	)
	root, ann, bob := access.Root(home.Account, ""), user(home.Account, "ann"), user(home.Account, "bob")
	far := user("999999999999", "far")
	f, ctx := start(t, local.Options{}), context.Background()
	key, err := f.Create(ctx, home, local.NewKey{Tags: map[string]string{"team": "red"}})
	if err != nil {
		t.Fatal(err)
	}
	var identity access.Verdict
	rules := access.Rules{
		Identity:     access.SourceFunc(func(context.Context, access.Request) (access.Verdict, error) { return identity, nil }),
		Resource:     f.Permissions(),
		ResourceTags: f.TagsOf,
	}
	for _, tc := range []struct {
		name       string
		statements string
		who        access.Principal
		identity   access.Verdict
		keys       map[string][]string
		cause      access.Cause // 0: allowed
	}{
		{"the account's root, named by the account", toAccount, root, access.Allow, nil, 0},
		{"the account's root, not named", toAnn, root, access.Allow, nil, access.NoResourceAllow},
		{"a user whose policies allow, in an account that is named", toAccount, bob, access.Allow, nil, 0},
		{"a user without policies, in an account that is named", toAccount, bob, access.Silent, nil, access.NoIdentityAllow},
		{"a user who is named needs no policies", toAnn, ann, access.Silent, nil, 0},
		{"a user whose policies allow, and who is not named", toAnn, bob, access.Allow, nil, access.NoResourceAllow},
		{"a user who is named, and whose policies deny", toAnn, ann, access.Deny, nil, access.IdentityDeny},
		{"a deny of the key's policy", toAccount + "," + toAnn + "," + notAnn, ann, access.Allow, nil, access.ResourceDeny},
		{"another account that is named, with policies", toOther, far, access.Allow, nil, 0},
		{"another account that is named, without policies", toOther, far, access.Silent, nil, access.NoIdentityAllow},
		{"another account that is not named", toAccount, far, access.Allow, nil, access.NoResourceAllow},
		{"through ECR only, and it is", throughECR, bob, access.Silent, map[string][]string{"kms:viaservice": {"ecr.us-east-1.amazonaws.com"}}, 0},
		{"through ECR only, and it is not", throughECR, bob, access.Allow, nil, access.NoResourceAllow},
		{"an encryption context", forTeam, bob, access.Silent, map[string][]string{"kms:encryptioncontext:team": {"red"}}, 0},
		{"another encryption context", forTeam, bob, access.Allow, map[string][]string{"kms:encryptioncontext:team": {"blue"}}, access.NoResourceAllow},
		{"the key's tags", tagged, bob, access.Silent, nil, 0},
	} {
		text := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[%s]}`, tc.statements)
		if err := f.SetPolicy(ctx, key.ARN, text, asRoot(key.ARN), true); err != nil {
			t.Fatal(tc.name, err)
		}
		identity = tc.identity
		req := access.Request{Principal: tc.who, Action: "kms:Encrypt", Resource: key.ARN, ResourceAccount: home.Account, ServiceKeys: tc.keys}
		var got access.Cause
		explained, err := rules.Explain(ctx, req)
		if err != nil {
			t.Fatal(tc.name, err)
		}
		if explained.Denied != nil {
			got = explained.Denied.Cause
		}
		if got != tc.cause {
			t.Errorf("%s: cause %d, want %d", tc.name, got, tc.cause)
		}
		if err := rules.Authorize(ctx, req); access.IsDenied(err) != (tc.cause != 0) {
			t.Errorf("%s: decided otherwise than explained: %v", tc.name, err)
		}
	}
	// What is no key here has no policy, and is left to the caller's own side.
	for _, arn := range []string{"*", "arn:aws:kms:us-east-1:000000000000:alias/x", "arn:aws:kms:us-east-1:000000000000:key/none", "nonsense"} {
		v, err := f.Permissions().Evaluate(ctx, access.Request{Principal: root, Action: "kms:Encrypt", Resource: arn, ResourceAccount: home.Account})
		if err != nil || v != access.Silent {
			t.Errorf("%s: %v, %v", arn, v, err)
		}
	}
}

// Whoever sets a policy must be able to set the next one.
func TestPolicyDoesNotLockItsAuthorOut(t *testing.T) {
	f, ctx := start(t, local.Options{}), context.Background()
	arn := f.newKey(t)
	const only = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::000000000000:user/%s"},"Action":"kms:*","Resource":"*"}]}`
	as := func(p access.Principal) access.Request {
		return access.Request{Principal: p, Resource: arn, ResourceAccount: home.Account}
	}
	want(t, f.SetPolicy(ctx, arn, fmt.Sprintf(only, "bob"), as(user(home.Account, "ann")), false), local.MalformedPolicy,
		"The new key policy will not allow you to update the key policy in the future.")
	ok(t, f.SetPolicy(ctx, arn, fmt.Sprintf(only, "ann"), as(user(home.Account, "ann")), false))
	_, err := f.Create(ctx, home, local.NewKey{Policy: fmt.Sprintf(only, "bob"), Caller: as(user(home.Account, "ann"))})
	want(t, err, local.MalformedPolicy, "")
	_, err = f.Create(ctx, home, local.NewKey{Policy: fmt.Sprintf(only, "bob"), Caller: as(user(home.Account, "ann")), Bypass: true})
	ok(t, err)
}
