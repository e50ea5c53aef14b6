package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"berth/internal/access"
	"berth/internal/kms"
	"berth/internal/kms/keyring"
	"berth/internal/kms/kmstest"
	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/meta/postgres"
	"berth/internal/meta/sqlite"
	"berth/internal/testkit"
)

var home = meta.Scope{Account: "000000000000", Region: "us-east-1"}

// A clock is moved by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) days(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.AddDate(0, 0, n)
}

type fixture struct {
	*local.KMS
	db     *meta.DB
	master *keyring.Keyring
	clock  *clock
}

func start(t testing.TB, o local.Options) fixture {
	t.Helper()
	db, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	return on(t, db, o)
}

func on(t testing.TB, db *meta.DB, o local.Options) fixture {
	t.Helper()
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	master, err := keyring.OpenOrCreate(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	c := &clock{now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	return fixture{local.New(db, master, c.Now, o), db, master, c}
}

func (f fixture) newKey(t testing.TB) string {
	t.Helper()
	key, err := f.Create(context.Background(), home, local.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	return key.ARN
}

func place(f fixture) kmstest.Place {
	ctx := context.Background()
	step := func(fn func(context.Context, string) error) func(*testing.T, string) {
		return func(t *testing.T, arn string) {
			t.Helper()
			if err := fn(ctx, arn); err != nil {
				t.Fatal(err)
			}
		}
	}
	return kmstest.Place{
		Provider: f.KMS, Account: home.Account, Region: home.Region,
		NewKey: func(t *testing.T) string { return f.newKey(t) },
		NewAlias: func(t *testing.T, arn string) string {
			name := "alias/" + uuid.NewString()
			if err := f.CreateAlias(ctx, home, name, arn); err != nil {
				t.Fatal(err)
			}
			return name
		},
		Disable: step(f.Disable), Enable: step(f.Enable),
		Delete: step(func(ctx context.Context, arn string) error {
			_, err := f.ScheduleDeletion(ctx, arn, 7)
			return err
		}),
	}
}

func TestSuite(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { kmstest.Provider(t, place(start(t, local.Options{}))) })
	t.Run("postgres", func(t *testing.T) {
		db, err := postgres.Open(context.Background(), testkit.Postgres(t))
		if err != nil {
			t.Fatal(err)
		}
		f := on(t, db, local.Options{})
		kmstest.Provider(t, place(f))
		lifeOfAKey(t, f)
	})
}

func want(t *testing.T, err error, code, message string) {
	t.Helper()
	var e *kms.Error
	if !errors.As(err, &e) || e.Code != code || message != "" && e.Message != message {
		t.Errorf("got %v, want %s: %s", err, code, message)
	}
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// The texts are those of AWS KMS.
func TestStatesAndTexts(t *testing.T) {
	f, ctx := start(t, local.Options{}), context.Background()
	arn := f.newKey(t)
	ok(t, f.Disable(ctx, arn))
	_, err := f.Key(arn).Wrap(ctx, []byte("x"), nil)
	want(t, err, kms.Disabled, arn+" is disabled.")
	want(t, f.EnableRotation(ctx, arn, 0), kms.Disabled, arn+" is disabled.")
	ok(t, f.Enable(ctx, arn))
	_, err = f.CancelDeletion(ctx, arn)
	want(t, err, kms.InvalidState, arn+" is not pending deletion.")
	for _, days := range []int{-1, 0, 6, 31} {
		_, err := f.ScheduleDeletion(ctx, arn, days)
		want(t, err, local.Validation, "")
	}
	key, err := f.ScheduleDeletion(ctx, arn, 30)
	if err != nil || !key.DeletionAt.Equal(f.clock.Now().AddDate(0, 0, 30)) {
		t.Errorf("%v, %v", key, err)
	}
	pending := arn + " is pending deletion."
	_, err = f.ScheduleDeletion(ctx, arn, 30)
	want(t, err, kms.InvalidState, pending)
	_, err = f.Key(arn).Wrap(ctx, []byte("x"), nil)
	want(t, err, kms.InvalidState, pending)
	want(t, f.Enable(ctx, arn), kms.InvalidState, pending)
	want(t, f.Disable(ctx, arn), kms.InvalidState, pending)
	want(t, f.Tag(ctx, arn, map[string]string{"a": "b"}), kms.InvalidState, pending)
	want(t, f.CreateAlias(ctx, home, "alias/x", arn), kms.InvalidState, pending)
	_, err = f.Rotate(ctx, arn)
	want(t, err, kms.InvalidState, pending)
	if key, err := f.CancelDeletion(ctx, arn); err != nil || key.State != local.Disabled || !key.DeletionAt.IsZero() {
		t.Errorf("%v, %v", key, err)
	}
	none := "arn:aws:kms:us-east-1:000000000000:key/" + uuid.NewString()
	_, err = f.Resolve(ctx, home.Account, home.Region, none)
	want(t, err, kms.NotFound, "Key '"+none+"' does not exist")
	_, err = f.Resolve(ctx, home.Account, home.Region, "alias/none")
	want(t, err, kms.NotFound, "Alias arn:aws:kms:us-east-1:000000000000:alias/none is not found.")
	_, err = f.Resolve(ctx, home.Account, home.Region, strings.Replace(arn, "us-east-1", "eu-west-1", 1))
	want(t, err, kms.NotFound, "Invalid arn eu-west-1")
	for _, text := range []string{"", "no good", "alias/", "alias/a b", "key/" + uuid.NewString(), "a\x00"} {
		_, err := f.Resolve(ctx, home.Account, home.Region, text)
		want(t, err, kms.NotFound, "Invalid keyId '"+text+"'")
	}
	for _, text := range []string{"arn:", "arn:aws:kms:us-east-1:1:key/x", "arn:aws:kms:us-east-1:000000000000:key/", "arn:aws:kms:us-east-1:000000000000:key/a b",
		"arn:aws:kms:us-east-1:000000000000:key/" + strings.Repeat("x", 300)} {
		_, err := f.Resolve(ctx, home.Account, home.Region, text)
		want(t, err, kms.InvalidARN, "Invalid arn "+text)
		_, err = f.Key(text).Wrap(ctx, []byte("x"), nil)
		want(t, err, kms.InvalidARN, "")
	}
}

func TestManagedKey(t *testing.T) {
	f, ctx := start(t, local.Options{}), context.Background()
	arns := make([]string, 8)
	var wg sync.WaitGroup
	for i := range arns {
		wg.Go(func() {
			var err error
			if arns[i], err = f.Resolve(ctx, home.Account, home.Region, local.ECRAlias); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	arn := arns[0]
	for _, other := range arns {
		if other != arn || other == "" {
			t.Fatalf("the first uses made %v", arns)
		}
	}
	key, err := f.Describe(ctx, arn)
	if err != nil || key.Manager != local.AWS || key.RotationDays != 365 {
		t.Errorf("%+v, %v", key, err)
	}
	if again, err := f.Resolve(ctx, home.Account, home.Region, "arn:aws:kms:us-east-1:000000000000:alias/aws/ecr"); err != nil || again != arn {
		t.Errorf("%s, %v", again, err)
	}
	if other, err := f.Resolve(ctx, home.Account, "eu-west-1", local.ECRAlias); err != nil || other == arn {
		t.Errorf("another region has the key %s, %v", other, err)
	}
	// Services use it, users only look at it.
	if _, err := f.Key(arn).Wrap(ctx, []byte("x"), nil); err != nil {
		t.Error(err)
	}
	if _, _, _, err := f.Encrypt(ctx, arn, []byte("x"), nil); !errors.Is(err, local.ErrManaged) {
		t.Errorf("encrypt: %v", err)
	}
	_, scheduled := f.ScheduleDeletion(ctx, arn, 7)
	_, rotated := f.Rotate(ctx, arn)
	for what, err := range map[string]error{
		"disable": f.Disable(ctx, arn), "delete": scheduled, "rotate": rotated, "alias": f.CreateAlias(ctx, home, "alias/mine", arn),
		"policy": f.SetPolicy(ctx, arn, local.DefaultPolicy(home), asRoot(arn), false), "tag": f.Tag(ctx, arn, map[string]string{"a": "b"}),
	} {
		if !errors.Is(err, local.ErrManaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	want(t, f.DeleteAlias(ctx, home, local.ECRAlias), local.NotAuthorized, "")
	want(t, f.CreateAlias(ctx, home, "alias/aws/mine", f.newKey(t)), local.NotAuthorized, "")
}

func TestCreateMissing(t *testing.T) {
	f, ctx := start(t, local.Options{CreateMissing: true}), context.Background()
	arn := "arn:aws-cn:kms:cn-north-1:123456789012:key/production/ecr"
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := f.Resolve(ctx, home.Account, home.Region, arn); err != nil || got != arn {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	kmstest.Wrapper(t, f.Key(arn))
	keys, _, err := f.Keys(ctx, meta.Scope{Account: "123456789012", Region: "cn-north-1"}, "", 10)
	if err != nil || len(keys) != 1 || keys[0].ARN != arn || keys[0].ID != "production/ecr" {
		t.Errorf("%+v, %v", keys, err)
	}
	ok(t, f.Disable(ctx, arn))
	_, err = f.Resolve(ctx, home.Account, home.Region, arn)
	want(t, err, kms.Disabled, "")
	for _, name := range []string{"alias/none", "arn:aws:kms:us-east-1:000000000000:alias/none", uuid.NewString()} {
		_, err := f.Resolve(ctx, home.Account, home.Region, name)
		want(t, err, kms.NotFound, "")
	}
}

func TestLifeOfAKey(t *testing.T) { lifeOfAKey(t, start(t, local.Options{})) }

// Rotation keeps what is old readable; the end of a key takes everything with it.
func lifeOfAKey(t *testing.T, f fixture) {
	ctx, c := context.Background(), kms.Context{"a": "b"}
	arn := f.newKey(t)
	ok(t, f.CreateAlias(ctx, home, "alias/life", arn))
	ok(t, f.EnableRotation(ctx, arn, 90))
	var sealed [][]byte
	seal := func() {
		t.Helper()
		b, _, _, err := f.Encrypt(ctx, arn, fmt.Append(nil, len(sealed)), c)
		ok(t, err)
		sealed = append(sealed, b)
	}
	seal()
	f.clock.days(89)
	ok(t, f.Sweep(ctx))
	seal()
	f.clock.days(1)
	ok(t, f.Sweep(ctx))
	ok(t, f.Sweep(ctx))
	seal()
	_, err := f.Rotate(ctx, arn)
	ok(t, err)
	seal()
	materials, _, err := f.Materials(ctx, arn, 0, 100)
	if err != nil || len(materials) != 3 || materials[0].Rotation+materials[1].Rotation+materials[2].Rotation != "AUTOMATICON_DEMAND" {
		t.Fatalf("%+v, %v", materials, err)
	}
	// A new master key, and the old one gone.
	old := f.master.Current()
	if _, err := f.master.Rotate(); err != nil {
		t.Fatal(err)
	}
	n, err := f.Rewrap(ctx)
	if again, err2 := f.Rewrap(ctx); err != nil || n < 3 || again != 0 || err2 != nil {
		t.Errorf("wrapped anew %d, then %d: %v, %v", n, again, err, err2)
	}
	ok(t, f.master.Retire([]string{old}))
	for i, b := range sealed {
		got, key, material, err := f.Decrypt(ctx, arn, b, c)
		if err != nil || string(got) != fmt.Sprint(i) || key != arn || material != materials[max(0, i-1)].ID {
			t.Errorf("%d: %q by %s of %s, %v", i, got, material, key, err)
		}
		if by, account, err := f.CiphertextKey(ctx, b); err != nil || by != arn || account != home.Account {
			t.Errorf("%d: made by %s, %v", i, by, err)
		}
	}
	_, err = f.ScheduleDeletion(ctx, "arn:aws:kms:us-east-1:000000000000:alias/life", 7)
	ok(t, err)
	f.clock.days(7)
	_, err = f.Key(arn).Unwrap(ctx, sealed[0], c)
	want(t, err, kms.NotFound, "Key '"+arn+"' does not exist")
	_, err = f.CancelDeletion(ctx, arn)
	want(t, err, kms.NotFound, "")
	ok(t, f.Sweep(ctx))
	ok(t, f.db.View(ctx, func(tx *meta.Tx) error {
		_, err := tx.KMSKey(arn)
		_, err2 := tx.KMSKeyVersion(materials[0].ID)
		_, err3 := tx.KMSAlias(home, "alias/life")
		for _, err := range []error{err, err2, err3} {
			if !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("after its end: %v", err)
			}
		}
		return nil
	}))
	_, _, err = f.CiphertextKey(ctx, sealed[0])
	want(t, err, kms.InvalidCipher, "")
}

// A name whose key is past its date can be given again before any Sweep.
func TestNamesOfDeletedKeysAreFree(t *testing.T) {
	f, ctx := start(t, local.Options{CreateMissing: true}), context.Background()
	arn := "arn:aws:kms:us-east-1:000000000000:key/again"
	_, err := f.Resolve(ctx, home.Account, home.Region, arn)
	ok(t, err)
	sealed, err := f.Key(arn).Wrap(ctx, []byte("x"), nil)
	ok(t, err)
	ok(t, f.CreateAlias(ctx, home, "alias/again", arn))
	_, err = f.ScheduleDeletion(ctx, arn, 7)
	ok(t, err)
	f.clock.days(8)
	ok(t, f.CreateAlias(ctx, home, "alias/again", f.newKey(t)))
	_, err = f.Resolve(ctx, home.Account, home.Region, arn)
	ok(t, err)
	_, err = f.Key(arn).Unwrap(ctx, sealed, nil)
	want(t, err, kms.InvalidCipher, "")
}

func TestAliases(t *testing.T) {
	f, ctx := start(t, local.Options{}), context.Background()
	a, b := f.newKey(t), f.newKey(t)
	ok(t, f.CreateAlias(ctx, home, "alias/x", a))
	want(t, f.CreateAlias(ctx, home, "alias/x", b), local.AlreadyExists, "An alias with the name arn:aws:kms:us-east-1:000000000000:alias/x already exists")
	want(t, f.CreateAlias(ctx, home, "x", a), local.Validation, "Invalid identifier")
	want(t, f.CreateAlias(ctx, home, "alias/x:y", a), local.InvalidAliasName, "alias/x:y contains invalid characters for an alias")
	want(t, f.UpdateAlias(ctx, home, "alias/y", b), kms.NotFound, "Alias arn:aws:kms:us-east-1:000000000000:alias/y is not found.")
	ok(t, f.UpdateAlias(ctx, home, "alias/x", b))
	if got, err := f.Resolve(ctx, home.Account, home.Region, "alias/x"); err != nil || got != b {
		t.Errorf("%s, %v", got, err)
	}
	want(t, f.CreateAlias(ctx, meta.Scope{Account: home.Account, Region: "eu-west-1"}, "alias/far", a), kms.NotFound, "")
	for i := range 49 {
		ok(t, f.CreateAlias(ctx, home, fmt.Sprintf("alias/n%02d", i), b))
	}
	want(t, f.CreateAlias(ctx, home, "alias/n50", b), local.LimitExceeded, "")
	list, more, err := f.Aliases(ctx, home, b, "alias/n10", 3)
	if err != nil || len(list) != 3 || !more || list[0].Name != "alias/n11" {
		t.Errorf("%+v, %t, %v", list, more, err)
	}
	ok(t, f.DeleteAlias(ctx, home, "alias/x"))
	want(t, f.DeleteAlias(ctx, home, "alias/x"), kms.NotFound, "")
}

func TestPolicies(t *testing.T) {
	f, ctx := start(t, local.Options{}), context.Background()
	arn := f.newKey(t)
	const s = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":%s,"Action":%s,"Resource":"*"}]}`
	for _, tc := range []struct{ principal, action, code string }{
		{`{"AWS":"arn:aws:iam::000000000000:root"}`, `"kms:*"`, ""},
		{`{"AWS":["000000000000"]}`, `["kms:Describe*","kms:Put*"]`, ""},
		{`"*"`, `"*"`, ""},
		{`{"AWS":"arn:aws:iam::111111111111:root"}`, `"kms:*"`, local.MalformedPolicy},
		{`{"Service":"ecr.amazonaws.com"}`, `"kms:*"`, local.MalformedPolicy},
		{`{"AWS":"*"}`, `"kms:Encrypt"`, local.MalformedPolicy},
	} {
		text := fmt.Sprintf(s, tc.principal, tc.action)
		err := f.SetPolicy(ctx, arn, text, asRoot(arn), false)
		if tc.code == "" {
			key, err2 := f.Describe(ctx, arn)
			if err != nil || err2 != nil || key.Policy != text {
				t.Errorf("%s: %v, %v", text, err, err2)
			}
			continue
		}
		want(t, err, tc.code, "The new key policy will not allow you to update the key policy in the future.")
		ok(t, f.SetPolicy(ctx, arn, text, asRoot(arn), true))
	}
	for _, text := range []string{"", "{", "null", "[]", `{}`, `{"Version":"2012-10-17","Statement":[]}`, `{"Version":"x","Statement":` +
		`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}}`, fmt.Sprintf(s, `null,"Effect":"Maybe"`, `"*"`)} {
		want(t, f.SetPolicy(ctx, arn, text, asRoot(arn), true), local.MalformedPolicy, "")
	}
	want(t, f.SetPolicy(ctx, arn, strings.Repeat(" ", local.MaxPolicy+1), asRoot(arn), true), local.LimitExceeded, "")
}

// The material is in the database under the master key only.
func TestMaterialIsWrapped(t *testing.T) {
	f, ctx := start(t, local.Options{}), context.Background()
	a, b := f.newKey(t), f.newKey(t)
	var va, vb meta.KMSKeyVersion
	ok(t, f.db.View(ctx, func(tx *meta.Tx) (err error) {
		va, err = tx.CurrentKMSKeyVersion(a)
		if err != nil {
			return err
		}
		vb, err = tx.CurrentKMSKeyVersion(b)
		return err
	}))
	if id, err := f.master.KeyID(va.Wrapped); err != nil || id != f.master.Current() || bytes.Equal(va.Wrapped, vb.Wrapped) {
		t.Errorf("wrapped by %s, %v", id, err)
	}
	sealed, _, _, err := f.Encrypt(ctx, b, []byte("x"), nil)
	ok(t, err)
	// Material that is moved to another key's row opens nothing, and says that the master key refuses.
	ok(t, f.db.Update(ctx, func(tx *meta.Tx) error { return tx.RewrapKMSKeyVersion(vb.ID, va.Wrapped) }))
	_, _, _, err = f.Decrypt(ctx, b, sealed, nil)
	want(t, err, kms.KeyUnavailable, "")
}

func FuzzUnwrap(f *testing.F) {
	fx := start(f, local.Options{})
	arn := fx.newKey(f)
	sealed, err := fx.Key(arn).Wrap(context.Background(), []byte("secret"), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(sealed[:40])
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := fx.Key(arn).Unwrap(context.Background(), b, kms.Context{"x": ""}); kmstest.Code(err) != kms.InvalidCipher {
			t.Fatalf("%x: %v", b, err)
		}
	})
}

// asRoot is the root user of home, asking for something on a key.
func asRoot(arn string) access.Request {
	return access.Request{Principal: access.Root(home.Account, ""), Action: "kms:PutKeyPolicy", Resource: arn, ResourceAccount: home.Account}
}
