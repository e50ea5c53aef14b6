package seal_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"berth/internal/kms"
	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/seal"
	"berth/internal/seal/sealtest"
)

const account = "123456789012"

var home = meta.Scope{Account: account, Region: "us-east-1"}

type bench struct {
	db   *meta.DB
	dir  string
	now  time.Time
	ring *seal.Ring
	keys *local.KMS
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), now: time.Unix(1_700_000_000, 0)}
	var err error
	if b.db, err = sqlite.Open(context.Background(), filepath.Join(b.dir, "meta.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.db.Close(); err != nil {
			t.Error(err)
		}
	})
	b.ring, b.keys = b.open(t)
	return b
}

// open is another server on the same database.
func (b *bench) open(t testing.TB) (*seal.Ring, *local.KMS) {
	return sealtest.New(t, b.db, b.dir, func() time.Time { return b.now })
}

func ensure(t testing.TB, r *seal.Ring, d seal.Domain) string {
	t.Helper()
	if err := r.Ensure(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	return d.Name()
}

func TestTextOpensOnlyAsItWasSealed(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	d := ensure(t, b.ring, seal.Domain{Account: account})
	other := ensure(t, b.ring, seal.Domain{Account: "000000000000"})
	text := []byte("a manifest")
	sealed, err := b.ring.Seal(ctx, d, "purpose", text)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, text) {
		t.Error("the text is readable")
	}
	again, _ := b.open(t)
	if got, err := again.Open(ctx, d, "purpose", sealed); err != nil || !bytes.Equal(got, text) {
		t.Errorf("after a restart: %q, %v", got, err)
	}
	if _, err := b.ring.Open(ctx, d, "another purpose", sealed); !errors.Is(err, seal.ErrAltered) {
		t.Errorf("for another purpose: %v", err)
	}
	if _, err := b.ring.Open(ctx, other, "purpose", sealed); !errors.Is(err, seal.ErrUnknownKey) {
		t.Errorf("in another domain: %v", err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := b.ring.Open(ctx, d, "purpose", changed); !errors.Is(err, seal.ErrAltered) && !errors.Is(err, seal.ErrUnknownKey) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := b.ring.Open(ctx, d, "purpose", sealed[:i]); !errors.Is(err, seal.ErrAltered) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

func TestTheYoungestKeySeals(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	domain := seal.Domain{Account: account}
	d := ensure(t, b.ring, domain)
	old, err := b.ring.Seal(ctx, d, "p", []byte("old"))
	if err != nil {
		t.Fatal(err)
	}
	other, _ := b.open(t)
	before, err := other.Sealing(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ring.Renew(ctx, domain); err != nil {
		t.Fatal(err)
	}
	mine, err1 := b.ring.Sealing(ctx, d)
	b.now = b.now.Add(time.Minute)
	theirs, err2 := other.Sealing(ctx, d)
	if err := errors.Join(err1, err2); err != nil || mine == before || theirs != mine {
		t.Errorf("keys %d, then %d and %d on another server: %v", before, mine, theirs, err)
	}
	if got, err := other.Open(ctx, d, "p", old); err != nil || string(got) != "old" {
		t.Errorf("what the old key sealed: %q, %v", got, err)
	}
	one, err1 := b.ring.Derive(ctx, d, mine, "a", 44)
	two, err2 := b.ring.Derive(ctx, d, mine, "b", 44)
	three, err3 := b.ring.Derive(ctx, d, before, "a", 44)
	if err := errors.Join(err1, err2, err3); err != nil || bytes.Equal(one, two) || bytes.Equal(one, three) {
		t.Errorf("derived keys are not apart: %v", err)
	}
}

func TestKMSKeyDecides(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	key, err := b.keys.Create(ctx, home, local.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	domain := seal.Domain{Account: account, KMSKey: key.ARN}
	d := ensure(t, b.ring, domain)
	sealed, err := b.ring.Seal(ctx, d, "p", []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if err := b.keys.Disable(ctx, key.ARN); err != nil {
		t.Fatal(err)
	}
	var refused *kms.Error
	for what, try := range map[string]func() error{
		"Ensure":  func() error { return b.ring.Ensure(ctx, domain) },
		"Seal":    func() error { _, err := b.ring.Seal(ctx, d, "p", []byte("x")); return err },
		"Open":    func() error { _, err := b.ring.Open(ctx, d, "p", sealed); return err },
		"Sealing": func() error { _, err := b.ring.Sealing(ctx, d); return err },
	} {
		if err := try(); !errors.As(err, &refused) || refused.Code != kms.Disabled {
			t.Errorf("%s with a disabled key: %v", what, err)
		}
	}
	if err := b.keys.Enable(ctx, key.ARN); err != nil {
		t.Fatal(err)
	}
	if got, err := b.ring.Open(ctx, d, "p", sealed); err != nil || string(got) != "text" {
		t.Errorf("after the key was enabled: %q, %v", got, err)
	}
}

func TestDomainsAreApart(t *testing.T) {
	names := map[string]bool{}
	for _, d := range []seal.Domain{
		{Account: account}, {Account: "000000000000"}, {Account: account, KMSKey: "arn:1"}, {Account: account, KMSKey: "arn:2"},
		{Account: account, KMSKey: "arn:1", Dual: true},
	} {
		names[d.Name()] = true
	}
	if len(names) != 5 {
		t.Errorf("names %v", names)
	}
}

func FuzzOpen(f *testing.F) {
	b := newBench(f)
	d := seal.Domain{Account: account}
	if err := b.ring.Ensure(f.Context(), d); err != nil {
		f.Fatal(err)
	}
	sealed, err := b.ring.Seal(f.Context(), d.Name(), "p", []byte("text"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, in []byte) {
		if got, err := b.ring.Open(t.Context(), d.Name(), "p", in); err == nil && !bytes.Equal(in, sealed) {
			t.Errorf("%x opened as %q", in, got)
		}
	})
}

func BenchmarkText(b *testing.B) {
	s := newBench(b)
	d := seal.Domain{Account: account}
	if err := s.ring.Ensure(b.Context(), d); err != nil {
		b.Fatal(err)
	}
	text := make([]byte, 1000)
	b.ReportAllocs()
	for b.Loop() {
		sealed, err := s.ring.Seal(b.Context(), d.Name(), "p", text)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := s.ring.Open(b.Context(), d.Name(), "p", sealed); err != nil {
			b.Fatal(err)
		}
	}
}
