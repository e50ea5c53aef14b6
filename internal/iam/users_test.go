package iam_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/access/token"
	"berth/internal/iam"
	"berth/internal/meta"
)

const document = `{"Version":"2012-10-17","Statement":[]}`

// refused expects a refusal of IAM.
func refused(t *testing.T, what string, err error, code, message string) {
	t.Helper()
	var e *iam.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(e.Message, message) {
		t.Errorf("%s: %v, want %s with %q", what, err, code, message)
	}
}

// user makes a user with a key, and returns the principal that signs with it.
func (r *rig) user(t *testing.T, name string) (iam.Ref, access.Principal) {
	t.Helper()
	ctx := context.Background()
	u, err := r.Create(ctx, meta.IAMPrincipal{Kind: meta.KindUser, Account: account, Name: name})
	if err != nil {
		t.Fatal(err)
	}
	k, c, err := r.CreateAccessKey(ctx, iam.Owner{Account: account, ARN: iam.ARN(u), UserID: u.ID, Name: u.Name})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Secret(ctx, k.ID, "")
	if err != nil || s.SecretAccessKey != c.SecretAccessKey || s.Principal.ARN != "arn:aws:iam::"+account+":user/"+name || s.Principal.UserID != u.ID {
		t.Fatalf("%v, %v", s, err)
	}
	return iam.Ref{Kind: meta.KindUser, Account: account, Name: name}, s.Principal
}

// role makes a role that trusts whom its hook trusts.
func (r *rig) role(t *testing.T, name string) (iam.Ref, string) {
	t.Helper()
	p, err := r.Create(context.Background(), meta.IAMPrincipal{Kind: meta.KindRole, Account: account, Name: name, TrustPolicy: document})
	if err != nil {
		t.Fatal(err)
	}
	return iam.Ref{Kind: meta.KindRole, Account: account, Name: name}, iam.ARN(p)
}

func TestPoliciesOfAUser(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	ref, p := r.user(t, "ci")
	m, err := r.CreatePolicy(ctx, meta.IAMPolicy{Account: account, Name: "m"}, `{"Statement":["one"]}`)
	if err == nil {
		_, err = r.CreatePolicyVersion(ctx, account, m.ARN, `{"Statement":["two"]}`, true)
	}
	err = errors.Join(err, r.PutInlinePolicy(ctx, ref, "p", document), r.Attach(ctx, ref, m.ARN),
		r.Attach(ctx, ref, "arn:aws:iam::aws:policy/AdministratorAccess"), r.SetBoundary(ctx, ref, m.ARN))
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Policies(ctx, p)
	if err != nil || len(got.Identity) != 3 || !slices.Contains(got.Identity, iam.Policy{Name: "p", Text: document}) ||
		!slices.Contains(got.Identity, iam.Policy{ARN: m.ARN, Text: `{"Statement":["two"]}`}) ||
		got.Boundary != (iam.Policy{ARN: m.ARN, Text: `{"Statement":["two"]}`}) || len(got.Session) > 0 {
		t.Errorf("%+v, %v", got, err)
	}
	stranger := p
	stranger.Account = "999999999999"
	for what, p := range map[string]access.Principal{"root": access.Root(account, "x"), "another account": stranger, "nobody": {}} {
		if got, err := r.Policies(ctx, p); err != nil || len(got.Identity) > 0 {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	refused(t, "delete a policy in use", r.DeletePolicy(ctx, account, m.ARN), iam.CodeDeleteConflict, "attached to entities")
	refused(t, "attach a policy of another account", r.Attach(ctx, ref, "arn:aws:iam::999999999999:policy/m"), iam.CodeNoSuchEntity, "not attachable")
}

// The policies of a user that was made again under its name are its own.
func TestUserMadeAgain(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	ref, old := r.user(t, "ci")
	password, _, err := r.tokens.Issue(old, "us-east-1", time.Hour)
	if err == nil {
		err = r.DeleteAccessKey(ctx, iam.Owner{ARN: old.ARN}, old.AccessKeyID)
	}
	if err = errors.Join(err, r.Delete(ctx, ref)); err != nil {
		t.Fatal(err)
	}
	ref, _ = r.user(t, "ci")
	if err := r.PutInlinePolicy(ctx, ref, "p", document); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Policies(ctx, old); err != nil || len(got.Identity) > 0 {
		t.Errorf("the user before has %+v, %v", got, err)
	}
	if _, err := r.Password(ctx, password); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("the password of the user before: %v", err)
	}
}

// Keys and sessions of a user follow its new name.
func TestUpdateUser(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	ref, p := r.user(t, "ci")
	r.user(t, "other")
	s, err := r.SessionToken(ctx, p, 0)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "the name of another", r.UpdateUser(ctx, ref, "OTHER", ""), iam.CodeExists, "User with name OTHER already exists.")
	if err := r.UpdateUser(ctx, ref, "cd", "/x/"); err != nil {
		t.Fatal(err)
	}
	const arn = "arn:aws:iam::" + account + ":user/x/cd"
	key, err1 := r.Secret(ctx, p.AccessKeyID, "")
	session, err2 := r.Secret(ctx, s.AccessKeyID, s.SessionToken)
	if err := errors.Join(err1, err2); err != nil || key.Principal.ARN != arn || session.Principal.ARN != arn {
		t.Errorf("%v, %v, %v", key.Principal, session.Principal, err)
	}
	keys, err := r.AccessKeys(ctx, iam.Owner{ARN: arn})
	if err != nil || len(keys) != 1 {
		t.Errorf("%v, %v", keys, err)
	}
}

func TestQuotas(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	ref, p := r.user(t, "ci")
	o := iam.Owner{Account: account, ARN: p.ARN, UserID: p.UserID, Name: "ci"}
	if _, _, err := r.CreateAccessKey(ctx, o); err != nil {
		t.Fatal(err)
	}
	_, _, err := r.CreateAccessKey(ctx, o)
	refused(t, "a third key", err, iam.CodeLimitExceeded, "Cannot exceed quota for AccessKeysPerUser: 2")
	long := `{"Statement":"` + strings.Repeat("x", 1100) + `"}`
	if err := errors.Join(r.PutInlinePolicy(ctx, ref, "a", long), r.PutInlinePolicy(ctx, ref, "a", long)); err != nil {
		t.Error(err)
	}
	refused(t, "two long policies", r.PutInlinePolicy(ctx, ref, "b", long), iam.CodeLimitExceeded, "Maximum policy size of 2048 bytes exceeded for user ci")
	tags := map[string]string{}
	for i := range 51 {
		tags[strings.Repeat("k", i+1)] = ""
	}
	refused(t, "51 tags", r.Tag(ctx, ref, tags), iam.CodeLimitExceeded, "tags")
	m, err := r.CreatePolicy(ctx, meta.IAMPolicy{Account: account, Name: "m"}, document)
	for range 4 {
		if err == nil {
			_, err = r.CreatePolicyVersion(ctx, account, m.ARN, document, false)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.CreatePolicyVersion(ctx, account, m.ARN, document, false)
	refused(t, "a sixth version", err, iam.CodeLimitExceeded, "up to 5 versions")
	for i := range 11 {
		m, err := r.CreatePolicy(ctx, meta.IAMPolicy{Account: account, Name: strings.Repeat("n", i+1)}, document)
		if err == nil {
			err = r.Attach(ctx, ref, m.ARN)
		}
		if i < 10 && err != nil {
			t.Fatal(err)
		} else if i == 10 {
			refused(t, "an eleventh policy", err, iam.CodeLimitExceeded, "Cannot exceed quota for PoliciesPerUser: 10")
		}
	}
}

// allows is an authorizer that allows what it holds for true.
type allows func(access.Request) bool

func (a allows) Authorize(_ context.Context, q access.Request) error {
	if a(q) {
		return nil
	}
	return &access.DeniedError{Principal: q.Principal, Action: q.Action, Resource: q.Resource, Cause: access.NoResourceAllow}
}

func TestAssumeRole(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	_, caller := r.user(t, "ci")
	ref, arn := r.role(t, "deploy")
	if err := r.PutInlinePolicy(ctx, ref, "p", document); err != nil {
		t.Fatal(err)
	}
	request := iam.RoleRequest{RoleARN: arn, SessionName: "s1", ExternalID: "x", Policy: `{"Statement":"session"}`,
		PolicyARNs: []string{"arn:aws:iam::aws:policy/ReadOnlyAccess"}}
	if _, err := r.AssumeRole(ctx, caller, request, access.Rules{Identity: r.Permissions()}); !access.IsDenied(err) {
		t.Errorf("without anything that reads trust policies: %v", err)
	}
	allow := allows(func(q access.Request) bool {
		return q.Principal == caller && q.Action == "sts:AssumeRole" && q.Resource == arn && q.ServiceKeys["sts:rolesessionname"][0] == "s1" &&
			slices.Equal(q.ServiceKeys["sts:externalid"], []string{"x"})
	})
	s, err := r.AssumeRole(ctx, caller, request, allow)
	if err != nil || s.Principal.ARN != "arn:aws:sts::"+account+":assumed-role/deploy/s1" || !strings.HasPrefix(s.AccessKeyID, "ASIA") || !s.Expires.Equal(r.now.Add(time.Hour)) {
		t.Fatalf("%v %v", s.Principal, err)
	}
	secret, err := r.Secret(ctx, s.AccessKeyID, s.SessionToken)
	if err != nil || secret.SecretAccessKey != s.SecretAccessKey || secret.Principal != s.Principal || !secret.Expires.Equal(s.Expires) {
		t.Errorf("%v, %v", secret, err)
	}
	got, err := r.Policies(ctx, s.Principal)
	if err != nil || !slices.Equal(got.Identity, []iam.Policy{{Name: "p", Text: document}}) || len(got.Session) != 2 || got.Session[0] != request.Policy {
		t.Errorf("%+v, %v", got, err)
	}
	other, err := r.AssumeRole(ctx, caller, request, allow)
	if err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"without its token":     secretError(r, s.AccessKeyID, ""),
		"another session's":     secretError(r, s.AccessKeyID, other.SessionToken),
		"altered token":         secretError(r, s.AccessKeyID, s.SessionToken[1:]),
		"lasting key and token": secretError(r, caller.AccessKeyID, s.SessionToken),
	} {
		if !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, change := range map[string]func(q *iam.RoleRequest){
		"an unknown role":      func(q *iam.RoleRequest) { q.RoleARN += "x" },
		"a role by other path": func(q *iam.RoleRequest) { q.RoleARN = strings.Replace(arn, "role/", "role/x/", 1) },
		"a stranger":           func(q *iam.RoleRequest) { q.ExternalID = "y" },
	} {
		q := request
		change(&q)
		if _, err := r.AssumeRole(ctx, caller, q, allow); !access.IsDenied(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	q := request
	q.Length = 2 * time.Hour
	_, err = r.AssumeRole(ctx, caller, q, allow)
	refused(t, "longer than the role allows", err, iam.CodeValidation, "exceeds the MaxSessionDuration")
	_, err = r.AssumeRole(ctx, access.Root(account, "x"), request, allow)
	refused(t, "root", err, "AccessDenied", "Roles may not be assumed by root accounts.")

	password, _, err := r.tokens.Issue(s.Principal, "us-east-1", 12*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := r.Password(ctx, password); err != nil || p != s.Principal {
		t.Errorf("%v, %v", p, err)
	}
	r.now = s.Expires
	if _, err := r.Password(ctx, password); !errors.Is(err, token.ErrExpired) {
		t.Errorf("a password of a session that ended: %v", err)
	}
	r.now = s.Expires.Add(-time.Minute)
	if err := errors.Join(r.DeleteInlinePolicy(ctx, ref, "p"), r.Delete(ctx, ref)); err != nil {
		t.Fatal(err)
	}
	if err := secretError(r, s.AccessKeyID, s.SessionToken); !errors.Is(err, sigv4.ErrUnknownKey) {
		t.Errorf("a session of a role that is gone: %v", err)
	}
	if _, err := r.Password(ctx, password); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("its password: %v", err)
	}
}

func TestSessionToken(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	_, caller := r.user(t, "ci")
	s, err := r.SessionToken(ctx, caller, 0)
	if err != nil || s.Principal.ARN != caller.ARN || s.Principal.UserID != caller.UserID || !s.Expires.Equal(r.now.Add(12*time.Hour)) {
		t.Fatalf("%v %v", s.Principal, err)
	}
	if _, err := r.SessionToken(ctx, s.Principal, 0); err == nil {
		t.Error("a session made a session")
	}
	key := r.root(t, iam.Credentials{})
	s, err = r.SessionToken(ctx, access.Root(account, key.AccessKeyID), 0)
	if err != nil || !s.Principal.IsRoot() || !s.Expires.Equal(r.now.Add(time.Hour)) {
		t.Fatalf("%v %v", s.Principal, err)
	}
}

// Who reads the database finds no session to use.
func TestSessionSecretsAreNotStored(t *testing.T) {
	r := newRig(t)
	_, caller := r.user(t, "ci")
	s, err := r.SessionToken(context.Background(), caller, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.db.Close(); err != nil {
		t.Fatal(err)
	}
	found := false
	files, err := filepath.Glob(filepath.Join(r.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found = found || bytes.Contains(b, []byte(s.AccessKeyID))
		if bytes.Contains(b, []byte(s.SecretAccessKey)) || bytes.Contains(b, []byte(s.SessionToken)) {
			t.Errorf("the secret or the token of a session is in %s", name)
		}
	}
	if !found {
		t.Errorf("the session is in none of %q, so this test looks in the wrong place", files)
	}
}

func TestAccounts(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	const other = "222222222222"
	r.root(t, iam.Credentials{})
	c, err := r.CreateAccount(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	if s, err := r.Secret(ctx, c.AccessKeyID, ""); err != nil || s.Principal != access.Root(other, c.AccessKeyID) {
		t.Errorf("%v, %v", s, err)
	}
	_, err = r.CreateAccount(ctx, other)
	refused(t, "a second time", err, iam.CodeExists, "already exists")
	_, err = r.CreateAccount(ctx, "12")
	refused(t, "a short number", err, iam.CodeValidation, "accountId")
	all, err := r.Accounts(ctx)
	if err != nil || len(all) != 2 || all[0].ID != account || all[1].ID != other {
		t.Errorf("%v, %v", all, err)
	}
	session, err := r.SessionToken(ctx, access.Root(other, c.AccessKeyID), 0)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := r.RotateRootKey(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	if err := secretError(r, c.AccessKeyID, ""); !errors.Is(err, sigv4.ErrUnknownKey) {
		t.Errorf("the key that was replaced still works: %v", err)
	}
	if err := secretError(r, session.AccessKeyID, session.SessionToken); !errors.Is(err, sigv4.ErrUnknownKey) {
		t.Errorf("a session of the key that was replaced still works: %v", err)
	}
	if _, err := r.Secret(ctx, fresh.AccessKeyID, ""); err != nil {
		t.Error(err)
	}
	// Its key encrypts what is not its own.
	scope := meta.Scope{Account: other, Region: "us-east-1"}
	repository := meta.Repository{Scope: meta.Scope{Account: account, Region: "us-east-1"}, Name: "app", Encryption: "KMS", KMSKey: "arn:key"}
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		return errors.Join(tx.InsertKMSKey(meta.KMSKey{ARN: "arn:key", Scope: scope, ID: "k"}), tx.InsertRepository(&repository))
	})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, "a key in use by others", r.DeleteAccount(ctx, other), iam.CodeDeleteConflict, "KMS keys encrypt repositories of another account")
	if err := r.db.Update(ctx, func(tx *meta.Tx) error { return tx.DeleteRepository(repository.ID) }); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteAccount(ctx, other); err != nil {
		t.Fatal(err)
	}
	if err := secretError(r, fresh.AccessKeyID, ""); !errors.Is(err, sigv4.ErrUnknownKey) {
		t.Errorf("the key of an account that is gone: %v", err)
	}
	refused(t, "a second time", r.DeleteAccount(ctx, other), iam.CodeNoSuchEntity, "cannot be found")
}

// The unique ids of AWS's own policies are unique, and of the form of ids.
func TestManagedPolicyIDs(t *testing.T) {
	r := newRig(t)
	all, err := r.ListPolicies(context.Background(), account, true, false)
	if err != nil || len(all) < 6 {
		t.Fatal(all, err)
	}
	seen := map[string]string{}
	for _, p := range all {
		if !regexp.MustCompile(`^ANPA[A-Z2-7]{17}$`).MatchString(p.ID) || seen[p.ID] != "" {
			t.Errorf("%s has the id %s, as has %q", p.Name, p.ID, seen[p.ID])
		}
		seen[p.ID] = p.Name
	}
}
