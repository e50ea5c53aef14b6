package metatest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"berth/internal/meta"
)

func principal(kind, name string) meta.IAMPrincipal {
	return meta.IAMPrincipal{
		ID: kind + "-" + name, Kind: kind, Account: home.Account, Name: name, Path: "/", Tags: map[string]string{}, CreatedAt: time.Unix(5, 0).UTC(),
	}
}

// same compares what was read with what was written.
func same(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

func principals(t *testing.T, db *meta.DB) {
	ctx := context.Background()
	user, role := principal(meta.KindUser, "ci"), principal(meta.KindRole, "ci")
	role.TrustPolicy, role.MaxSession, role.Description = "{}", time.Hour, "d"
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.InsertIAMPrincipal(user), tx.InsertIAMPrincipal(role), tx.InsertIAMPrincipal(principal(meta.KindUser, "Bob")))
	})
	for _, name := range []string{"ci", "CI"} {
		twice := principal(meta.KindUser, name)
		twice.ID = "another"
		if err := db.Update(ctx, func(tx *meta.Tx) error { return tx.InsertIAMPrincipal(twice) }); !errors.Is(err, meta.ErrExists) {
			t.Errorf("a second user %s: %v, want ErrExists", name, err)
		}
	}
	user.Tags, user.Boundary = map[string]string{"a": "b"}, "arn:boundary"
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.SaveIAMPrincipal(user),
			tx.PutInlinePolicy(user.ID, meta.NamedPolicy{Name: "p", Document: "old"}),
			tx.PutInlinePolicy(user.ID, meta.NamedPolicy{Name: "p", Document: "new"}),
			tx.PutInlinePolicy(user.ID, meta.NamedPolicy{Name: "a", Document: "x"}),
			tx.Attach(user.ID, "arn:2"), tx.Attach(user.ID, "arn:1"), tx.Attach(user.ID, "arn:1"), tx.Attach(role.ID, "arn:1"))
	})
	view(t, db, func(tx *meta.Tx) error {
		gotUser, err1 := tx.IAMPrincipal(meta.KindUser, home.Account, "ci")
		same(t, "user", gotUser, user)
		gotRole, err2 := tx.IAMPrincipalByID(role.ID)
		same(t, "role", gotRole, role)
		if _, err := tx.IAMPrincipal(meta.KindUser, home.Account, "CI"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a user by a name of another case: %v", err)
		}
		users, err3 := tx.IAMPrincipals(meta.KindUser, home.Account)
		if len(users) != 2 || users[0].Name != "Bob" {
			t.Errorf("users %+v", users)
		}
		n, err4 := tx.CountIAMPrincipals(meta.KindRole, home.Account)
		same(t, "number of roles", n, 1)
		inline, err5 := tx.InlinePolicies(user.ID)
		same(t, "inline policies", inline, []meta.NamedPolicy{{Name: "a", Document: "x"}, {Name: "p", Document: "new"}})
		attached, err6 := tx.Attachments(user.ID)
		same(t, "attachments", attached, []string{"arn:1", "arn:2"})
		uses, bounds, err7 := tx.AttachmentCount("arn:1")
		same(t, "uses", []int{uses, bounds}, []int{2, 0})
		_, bounds, err8 := tx.AttachmentCount("arn:boundary")
		same(t, "boundaries", bounds, 1)
		return errors.Join(err1, err2, err3, err4, err5, err6, err7, err8)
	})
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.Detach(user.ID, "arn:2"), tx.DeleteInlinePolicy(user.ID, "a"), tx.DeleteIAMPrincipal(user.ID))
	})
	view(t, db, func(tx *meta.Tx) error {
		inline, err1 := tx.InlinePolicies(user.ID)
		attached, err2 := tx.Attachments(user.ID)
		if len(inline)+len(attached) > 0 {
			t.Errorf("policies outlive their user: %v %v", inline, attached)
		}
		return errors.Join(err1, err2)
	})
	for what, gone := range map[string]func(tx *meta.Tx) error{
		"user":          func(tx *meta.Tx) error { return tx.DeleteIAMPrincipal(user.ID) },
		"inline policy": func(tx *meta.Tx) error { return tx.DeleteInlinePolicy(role.ID, "p") },
		"attachment":    func(tx *meta.Tx) error { return tx.Detach(role.ID, "arn:2") },
		"saved user":    func(tx *meta.Tx) error { return tx.SaveIAMPrincipal(user) },
	} {
		if err := db.Update(ctx, gone); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("%s that is not there: %v, want ErrNotFound", what, err)
		}
	}
}

func policies(t *testing.T, db *meta.DB) {
	at := time.Unix(5, 0).UTC()
	p := meta.IAMPolicy{
		ARN: "arn:p", ID: "ANPA1", Account: home.Account, Name: "pull", Path: "/", DefaultVersion: 1, LastVersion: 1,
		Tags: map[string]string{}, CreatedAt: at, UpdatedAt: at,
	}
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.InsertIAMPolicy(p),
			tx.InsertPolicyVersion(p.ARN, meta.PolicyVersion{Number: 1, Document: "one", CreatedAt: at}),
			tx.InsertPolicyVersion(p.ARN, meta.PolicyVersion{Number: 2, Document: "two", CreatedAt: at}))
	})
	twice := p
	twice.ARN, twice.Name = "arn:q", "PULL"
	if err := db.Update(context.Background(), func(tx *meta.Tx) error { return tx.InsertIAMPolicy(twice) }); !errors.Is(err, meta.ErrExists) {
		t.Errorf("a second policy of the name: %v, want ErrExists", err)
	}
	p.DefaultVersion, p.LastVersion, p.Tags = 2, 2, map[string]string{"a": "b"}
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.SaveIAMPolicy(p), tx.DeletePolicyVersion(p.ARN, 1))
	})
	view(t, db, func(tx *meta.Tx) error {
		got, err1 := tx.IAMPolicy(p.ARN)
		same(t, "policy", got, p)
		all, err2 := tx.IAMPolicies(home.Account)
		same(t, "policies", all, []meta.IAMPolicy{p})
		v, err3 := tx.PolicyVersion(p.ARN, 2)
		same(t, "version", v, meta.PolicyVersion{Number: 2, Document: "two", CreatedAt: at})
		versions, err4 := tx.PolicyVersions(p.ARN)
		same(t, "versions", versions, []meta.PolicyVersion{v})
		return errors.Join(err1, err2, err3, err4)
	})
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteIAMPolicy(p.ARN) })
	view(t, db, func(tx *meta.Tx) error {
		if _, err := tx.PolicyVersion(p.ARN, 2); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a version outlives its policy: %v", err)
		}
		return nil
	})
}

func identities(t *testing.T, db *meta.DB) {
	at := time.Unix(5, 0).UTC()
	role := principal(meta.KindRole, "r")
	ofRole := meta.IAMSession{ID: "ASIA1", PrincipalID: role.ID, Account: home.Account, Principal: "arn:s", UserID: "AROA:s", Policies: []string{"{}", "x"}, CreatedAt: at, ExpiresAt: at.Add(time.Hour)}
	ofRoot := meta.IAMSession{ID: "ASIA2", Account: home.Account, Principal: "arn:root", UserID: home.Account, Policies: []string{}, CreatedAt: at, ExpiresAt: at.Add(time.Minute)}
	provider := meta.OIDCProvider{ARN: "arn:o", Account: home.Account, URL: "example.com", ClientIDs: []string{"c"}, Thumbprints: []string{}, Tags: map[string]string{}, CreatedAt: at}
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.InsertAccount(meta.Account{ID: home.Account, CreatedAt: at}), tx.EnsureAccount(meta.Account{ID: home.Account, CreatedAt: at.Add(1)}),
			tx.InsertIAMPrincipal(role), tx.InsertIAMSession(ofRole), tx.InsertIAMSession(ofRoot), tx.PutOIDCProvider(provider))
	})
	if err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.InsertAccount(meta.Account{ID: home.Account}) }); !errors.Is(err, meta.ErrExists) {
		t.Errorf("a second account: %v, want ErrExists", err)
	}
	provider.Thumbprints = []string{"t"}
	update(t, db, func(tx *meta.Tx) error { return tx.PutOIDCProvider(provider) })
	view(t, db, func(tx *meta.Tx) error {
		accounts, err1 := tx.Accounts()
		same(t, "accounts", accounts, []meta.Account{{ID: home.Account, CreatedAt: at}})
		got, err2 := tx.IAMSession("ASIA1")
		same(t, "session of a role", got, ofRole)
		root, err3 := tx.IAMSession("ASIA2")
		same(t, "session of a root user", root, ofRoot)
		o, err4 := tx.OIDCProvider("arn:o")
		same(t, "identity provider", o, provider)
		all, err5 := tx.OIDCProviders(home.Account)
		same(t, "number of identity providers", len(all), 1)
		some, err6 := tx.HasRepositories(home.Account)
		same(t, "repositories", some, false)
		return errors.Join(err1, err2, err3, err4, err5, err6)
	})
	gone := func(ids ...string) {
		t.Helper()
		view(t, db, func(tx *meta.Tx) error {
			for _, id := range []string{"ASIA1", "ASIA2"} {
				if _, err := tx.IAMSession(id); errors.Is(err, meta.ErrNotFound) != slices.Contains(ids, id) {
					t.Errorf("session %s: %v", id, err)
				}
			}
			return nil
		})
	}
	gone()
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteIAMSessions(at.Add(2 * time.Minute)) })
	gone("ASIA2")
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.InsertIAMSession(ofRoot), tx.DeleteRootSessions(home.Account))
	})
	gone("ASIA2")
	renamed := role
	renamed.Name, renamed.Path = "q", "/x/"
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.PutAccessKey(meta.AccessKey{ID: "AK0", Sealed: []byte{1}, Account: home.Account, Principal: "arn:from"}), tx.RenameIAMPrincipal(renamed, "arn:from", "arn:to"))
	})
	view(t, db, func(tx *meta.Tx) error {
		got, err1 := tx.IAMPrincipalByID(role.ID)
		same(t, "renamed role", got, renamed)
		session, err2 := tx.IAMSession("ASIA1")
		same(t, "ARN of its session", session.Principal, "arn:to")
		keys, err3 := tx.AccessKeys("arn:to")
		same(t, "number of its keys", len(keys), 1)
		return errors.Join(err1, err2, err3)
	})
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteIAMPrincipal(role.ID) })
	gone("ASIA1", "ASIA2")
	key := meta.KMSKey{ARN: "arn:k", Scope: home, ID: "k"}
	theirs := meta.Repository{Scope: meta.Scope{Account: "999999999999", Region: home.Region}, Name: "theirs", KMSKey: key.ARN}
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(
			tx.InsertKMSKey(key), tx.InsertKMSAlias(meta.KMSAlias{Scope: home, Name: "alias/k", ARN: key.ARN}),
			tx.InsertKMSKeyVersion(&meta.KMSKeyVersion{ID: "v", ARN: key.ARN, Wrapped: []byte{1}}), tx.InsertRepository(&theirs),
		)
	})
	view(t, db, func(tx *meta.Tx) error {
		mine, err1 := tx.SealedForOthers(home.Account)
		other, err2 := tx.SealedForOthers(theirs.Scope.Account)
		same(t, "whose keys encrypt repositories of others", []bool{mine, other}, []bool{true, false})
		return errors.Join(err1, err2)
	})
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(
			tx.DeleteRepository(theirs.ID),
			tx.PutAccessKey(meta.AccessKey{ID: "AK", Sealed: []byte{1}, Account: home.Account}),
			tx.PutRegistryPolicy(home, "policy"), tx.PutRegistryPolicy(meta.Scope{Account: "999999999999", Region: home.Region}, "other"),
			tx.InsertSecret(meta.Secret{ARN: "arn:secret", Scope: home, Name: "s"}),
			tx.DeleteAccount(home.Account),
		)
	})
	view(t, db, func(tx *meta.Tx) error {
		if _, err := tx.AccessKey("AK"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("an access key outlives its account: %v", err)
		}
		if text, err := tx.RegistryPolicy(home); err != nil || text != "" {
			t.Errorf("the policy of a registry outlives its account: %q, %v", text, err)
		}
		if text, err := tx.RegistryPolicy(meta.Scope{Account: "999999999999", Region: home.Region}); err != nil || text != "other" {
			t.Errorf("the policy of another account's registry is %q, %v", text, err)
		}
		for what, find := range map[string]func() error{
			"a secret":     func() error { _, err := tx.Secret("arn:secret"); return err },
			"a KMS key":    func() error { _, err := tx.KMSKey(key.ARN); return err },
			"its material": func() error { _, err := tx.KMSKeyVersion("v"); return err },
			"its alias":    func() error { _, err := tx.KMSAlias(home, "alias/k"); return err },
		} {
			if err := find(); !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("%s outlives its account: %v", what, err)
			}
		}
		if _, err := tx.OIDCProvider("arn:o"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("an identity provider outlives its account: %v", err)
		}
		return nil
	})
}
