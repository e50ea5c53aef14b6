package iam_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/access/token"
	"berth/internal/iam"
	"berth/internal/kms"
	"berth/internal/kms/envelope"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
)

const account = "123456789012"

type rig struct {
	*iam.Store
	db     *meta.DB
	tokens *token.Issuer
	now    time.Time
	dir    string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{now: time.Unix(1_700_000_000, 0), dir: t.TempDir()}
	clock := func() time.Time { return r.now }
	var err error
	if r.db, err = sqlite.Open(context.Background(), filepath.Join(r.dir, "meta.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
	if r.tokens, err = token.New(bytes.Repeat([]byte{1}, token.KeySize), clock); err != nil {
		t.Fatal(err)
	}
	r.Store = iam.New(r.db, r.tokens, secrets(t), clock)
	return r
}

func (r *rig) root(t *testing.T, given iam.Credentials) iam.Credentials {
	t.Helper()
	c, err := r.EnsureRoot(context.Background(), account, given)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRootKey(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	made := r.root(t, iam.Credentials{})
	if !strings.HasPrefix(made.AccessKeyID, "AKIA") || len(made.AccessKeyID) != 20 || len(made.SecretAccessKey) != 40 {
		t.Errorf("%s, a secret of %d characters", made.AccessKeyID, len(made.SecretAccessKey))
	}
	if again := r.root(t, iam.Credentials{}); again != made {
		t.Error("a second start made another key")
	}
	given := iam.Credentials{AccessKeyID: "OPERATOR", SecretAccessKey: "sixteen characters"}
	if got := r.root(t, given); got != given {
		t.Errorf("%v", got)
	}
	if _, err := r.Secret(ctx, made.AccessKeyID, ""); !errors.Is(err, sigv4.ErrUnknownKey) {
		t.Errorf("the key that was replaced still works: %v", err)
	}
	if got := r.root(t, iam.Credentials{}); got != given { // not given again, it stays
		t.Errorf("%v", got)
	}
	for name, bad := range map[string]iam.Credentials{
		"id alone":     {AccessKeyID: "OPERATOR"},
		"secret alone": {SecretAccessKey: "sixteen characters"},
		"short secret": {AccessKeyID: "OPERATOR", SecretAccessKey: "fifteen charact"},
		"short id":     {AccessKeyID: "OPE", SecretAccessKey: "sixteen characters"},
		"slash in id":  {AccessKeyID: "OPER/ATOR", SecretAccessKey: "sixteen characters"},
		"line in id":   {AccessKeyID: "OPERATOR\n", SecretAccessKey: "sixteen characters"},
	} {
		_, err := r.EnsureRoot(ctx, account, bad)
		if err == nil {
			t.Errorf("%s was accepted", name)
		} else if bad.SecretAccessKey != "" && strings.Contains(err.Error(), bad.SecretAccessKey) {
			t.Errorf("%s: the secret is in %v", name, err)
		}
	}
	if got := r.root(t, iam.Credentials{}); got != given {
		t.Errorf("a refused key changed the stored one: %v", got)
	}
}

func TestCredentialsDoNotPrint(t *testing.T) {
	c := iam.Credentials{AccessKeyID: "AKIATEST", SecretAccessKey: "geheim"}
	for _, format := range []string{"%v", "%+v", "%s", "%#v", "%q"} {
		if got := fmt.Sprintf(format, c); strings.Contains(got, "geheim") {
			t.Errorf("%s prints %s", format, got)
		}
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("started", "root", c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("started", "root", c)
	if strings.Contains(log.String(), "geheim") || !strings.Contains(log.String(), "AKIATEST") {
		t.Errorf("the log says %s", log.String())
	}
}

func TestSecret(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	key := r.root(t, iam.Credentials{})
	s, err := r.Secret(ctx, key.AccessKeyID, "")
	if err != nil || s.SecretAccessKey != key.SecretAccessKey || s.Principal != access.Root(account, key.AccessKeyID) || !s.Active {
		t.Errorf("%v, %v", s, err)
	}
	for name, err := range map[string]error{
		"unknown":         secretError(r, "AKIANOBODY", ""),
		"empty":           secretError(r, "", ""),
		"session token":   secretError(r, key.AccessKeyID, "token"),
		"lower-case":      secretError(r, strings.ToLower(key.AccessKeyID), ""),
		"with a wildcard": secretError(r, "AKIA%", ""),
	} {
		if !errors.Is(err, sigv4.ErrUnknownKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func secretError(r *rig, id, session string) error {
	_, err := r.Secret(context.Background(), id, session)
	return err
}

func TestPassword(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	key := r.root(t, iam.Credentials{})
	root := access.Root(account, key.AccessKeyID)
	issue := func(p access.Principal) string {
		t.Helper()
		password, _, err := r.tokens.Issue(p, "us-east-1", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		return password
	}
	good := issue(root)
	if p, err := r.Password(ctx, good); err != nil || p != root {
		t.Errorf("%v, %v", p, err)
	}
	admin := root
	admin.ARN = "arn:aws:iam::123456789012:user/admin"
	other := root
	other.Account = "999999999999"
	for name, password := range map[string]string{
		"nonsense": "x", "empty": "", "of a key that is not": issue(access.Root(account, "AKIANOBODY")),
		"of another principal": issue(admin), "of another account": issue(other),
	} {
		if p, err := r.Password(ctx, password); !errors.Is(err, token.ErrInvalid) || !p.IsZero() {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	r.now = r.now.Add(time.Hour)
	if p, err := r.Password(ctx, good); !errors.Is(err, token.ErrExpired) || !p.IsZero() {
		t.Errorf("after its time: %v, %v", p, err)
	}
	r.now = r.now.Add(-time.Hour)
	r.root(t, iam.Credentials{AccessKeyID: "OPERATOR", SecretAccessKey: "sixteen characters"}) // replaces the key
	if _, err := r.Password(ctx, good); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("after its key: %v", err)
	}
}

// A database that fails is no wrong password: the client is not told to log in again.
func TestPasswordWithoutDatabase(t *testing.T) {
	r := newRig(t)
	key := r.root(t, iam.Credentials{})
	password, _, err := r.tokens.Issue(access.Root(account, key.AccessKeyID), "us-east-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.db.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := r.Password(context.Background(), password)
	if err == nil || errors.Is(err, token.ErrInvalid) || errors.Is(err, token.ErrExpired) || !p.IsZero() {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := r.Secret(context.Background(), key.AccessKeyID, ""); err == nil || errors.Is(err, sigv4.ErrUnknownKey) {
		t.Errorf("%v", err)
	}
}

func TestUserCreated(t *testing.T) {
	r := newRig(t)
	key := r.root(t, iam.Credentials{})
	if at, err := r.UserCreated(context.Background(), access.Root(account, key.AccessKeyID)); err != nil || !at.Equal(r.now) {
		t.Errorf("%v, %v", at, err)
	}
	if _, err := r.UserCreated(context.Background(), access.Root(account, "AKIANOBODY")); !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

func secrets(t *testing.T) kms.Wrapper {
	t.Helper()
	m, err := envelope.NewMemory(bytes.Repeat([]byte{2}, envelope.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The secret of a key is sealed in its row, and that of one row does not open in another.
func TestSecretsAreSealed(t *testing.T) {
	r := newRig(t)
	ctx := context.Background()
	root := r.root(t, iam.Credentials{})
	_, ann := r.user(t, "ann")
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		mine, err1 := tx.AccessKey(root.AccessKeyID)
		hers, err2 := tx.AccessKey(ann.AccessKeyID)
		if bytes.Contains(mine.Sealed, []byte(root.SecretAccessKey[:8])) {
			t.Error("the secret is in its row")
		}
		mine.Sealed = hers.Sealed
		return errors.Join(err1, err2, tx.PutAccessKey(mine))
	})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := r.Secret(ctx, root.AccessKeyID, ""); err == nil || errors.Is(err, sigv4.ErrUnknownKey) {
		t.Errorf("a secret opened in another row: %v, %v", s, err)
	}
	if _, err := r.EnsureRoot(ctx, account, iam.Credentials{}); err == nil {
		t.Error("a key that does not open was given out")
	}
	given := iam.Credentials{AccessKeyID: root.AccessKeyID, SecretAccessKey: "a secret of the operator"}
	if r.root(t, given) != given {
		t.Error("the operator cannot repair the root key")
	}
	if s, err := r.Secret(ctx, given.AccessKeyID, ""); err != nil || s.SecretAccessKey != given.SecretAccessKey {
		t.Errorf("%v, %v", s, err)
	}
}
