package token

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"berth/internal/access"
)

// frozenPassword was issued at start for root in us-east-1 under testKey.
const frozenPassword = "AQ4yK1qazZpjTQa-faoaDxHj4cx3oeRekdyFyQ1VvtO_I6v9Y2vrOtECx1rF7SOH0rQDzSrlHRd5HeKL_3XITU6fNFY3k_GwAEruCVQ11uMVahBzRWEBc2kpWDn8xsrM4gcLL-mMijg2o6AxKqvFMfp635yO7Rq6EhDJ6MB755xXf8fHeJXju0TIJxdrHKjkVofG"

var (
	testKey = bytes.Repeat([]byte{7}, KeySize)
	start   = time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	root    = access.Root("123456789012", "AKIAEXAMPLE")
)

// issuer returns an Issuer whose clock the test moves.
func issuer(t testing.TB, key []byte) (*Issuer, *time.Time) {
	t.Helper()
	now := start
	i, err := New(key, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	return i, &now
}

func TestIssueAndParse(t *testing.T) {
	i, now := issuer(t, testKey)
	password, expires, err := i.Issue(root, "ap-southeast-1", Lifetime)
	if err != nil {
		t.Fatal(err)
	}
	want := Claims{Principal: root, Account: "123456789012", Region: "ap-southeast-1",
		IssuedAt: start.Truncate(time.Second), ExpiresAt: start.Add(Lifetime).Truncate(time.Second)}
	if got, err := i.Parse(password); err != nil || got != want || !expires.Equal(want.ExpiresAt) {
		t.Errorf("got %+v (%v), want %+v", got, err, want)
	}
	if strings.Contains(password, ":") || len(password) > 1024 {
		t.Errorf("password %q does not suit docker", password)
	}
	raw, err := base64.RawURLEncoding.DecodeString(password)
	if err != nil || bytes.Contains(raw, []byte("123456789012")) || bytes.Contains(raw, []byte("arn:")) {
		t.Errorf("the password shows its content (%v)", err)
	}
	if again, _, _ := i.Issue(root, "ap-southeast-1", Lifetime); again == password {
		t.Error("two passwords are equal")
	}

	*now = expires.Add(-time.Nanosecond)
	if _, err := i.Parse(password); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	*now = expires
	got, err := i.Parse(password)
	if !errors.Is(err, ErrExpired) || got.Principal != root {
		t.Errorf("at its end: %+v, %v", got, err)
	}
	// Another replica reads it; a registry with another key does not, expired or not.
	if other, _ := issuer(t, testKey); true {
		if _, err := other.Parse(password); err != nil {
			t.Error(err)
		}
	}
	foreign, _ := issuer(t, bytes.Repeat([]byte{8}, KeySize))
	if _, err := foreign.Parse(password); !errors.Is(err, ErrInvalid) {
		t.Errorf("another key: %v", err)
	}
}

func TestIssueRefuses(t *testing.T) {
	i, _ := issuer(t, testKey)
	for name, call := range map[string]func() error{
		"no lifetime": func() error { _, _, err := i.Issue(root, "r", 0); return err },
		"13 hours":    func() error { _, _, err := i.Issue(root, "r", 13*time.Hour); return err },
		"nobody":      func() error { _, _, err := i.Issue(access.Principal{}, "r", Lifetime); return err },
		"long claim":  func() error { _, _, err := i.Issue(root, strings.Repeat("r", maxField+1), Lifetime); return err },
		"short key":   func() error { _, err := New(testKey[1:], time.Now); return err },
		"long cursor": func() error { _, err := i.SealCursor("p", make([]byte, MaxCursor)); return err },
	} {
		if call() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The longest claims still make a password that Parse reads.
func TestLongestPassword(t *testing.T) {
	i, _ := issuer(t, testKey)
	f := strings.Repeat("x", maxField)
	p := access.Principal{Account: f[:12], ARN: f, UserID: f, AccessKeyID: f[:128]}
	password, _, err := i.Issue(p, f[:63], Lifetime)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := i.Parse(password); err != nil || got.Principal != p {
		t.Errorf("%d bytes: %v", len(password), err)
	}
}

func TestParseRefuses(t *testing.T) {
	i, _ := issuer(t, testKey)
	password, _, err := i.Issue(root, "us-east-1", Lifetime)
	if err != nil {
		t.Fatal(err)
	}
	cursor, err := i.SealCursor("x", []byte("y"))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]string{
		"empty": "", "text": "test", "spaces": " " + password, "padding": password + "=", "newline": password + "\n", "cut": password[:len(password)-1],
		"long": strings.Repeat("A", MaxPassword+1), "doubled": password + password, "a cursor": cursor,
		"standard base64": strings.Repeat("+/", 60),
	} {
		if c, err := i.Parse(s); !errors.Is(err, ErrInvalid) || c != (Claims{}) {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
		if name != "empty" && strings.Contains(ErrInvalid.Error(), s) {
			t.Errorf("%s: the error repeats the token", name)
		}
	}
}

// Any one-bit change makes a password, or a cursor, invalid.
func TestOneBit(t *testing.T) {
	i, _ := issuer(t, testKey)
	rapid.Check(t, func(t *rapid.T) {
		password, _, err := i.Issue(root, "us-east-1", Lifetime)
		if err != nil {
			t.Fatal(err)
		}
		cursor, err := i.SealCursor("p", []byte("value"))
		if err != nil {
			t.Fatal(err)
		}
		flip := func(s string) string {
			b := []byte(s)
			n := rapid.IntRange(0, 8*len(b)-1).Draw(t, "bit")
			b[n/8] ^= 1 << (n % 8)
			return string(b)
		}
		if _, err := i.Parse(flip(password)); !errors.Is(err, ErrInvalid) {
			t.Fatalf("password: %v", err)
		}
		if _, err := i.OpenCursor("p", flip(cursor)); !errors.Is(err, ErrCursor) {
			t.Fatalf("cursor: %v", err)
		}
	})
}

func TestClaimsRoundTrip(t *testing.T) {
	i, _ := issuer(t, testKey)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringN(0, 40, 160)
		p := access.Principal{Account: text.Draw(t, "account") + "1", ARN: text.Draw(t, "arn") + "a",
			UserID: text.Draw(t, "user"), AccessKeyID: text.Draw(t, "key")}
		ttl := time.Duration(rapid.IntRange(1, 43200).Draw(t, "ttl")) * time.Second
		region := text.Draw(t, "region")
		password, expires, err := i.Issue(p, region, ttl)
		if err != nil {
			t.Fatal(err)
		}
		c, err := i.Parse(password)
		if err != nil || c.Principal != p || c.Region != region || c.Account != p.Account ||
			!c.ExpiresAt.Equal(expires) || c.ExpiresAt.Sub(c.IssuedAt) != ttl {
			t.Fatalf("%+v, %v", c, err)
		}
	})
}

func TestCursors(t *testing.T) {
	i, _ := issuer(t, testKey)
	rapid.Check(t, func(t *rapid.T) {
		purpose, other := rapid.String().Draw(t, "purpose"), rapid.String().Draw(t, "other")
		value := rapid.SliceOfN(rapid.Byte(), 0, 256).Draw(t, "value")
		s, err := i.SealCursor(purpose, value)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := i.OpenCursor(purpose, s); err != nil || !bytes.Equal(got, value) {
			t.Fatalf("got %q, %v", got, err)
		}
		if _, err := i.OpenCursor(other, s); other != purpose && !errors.Is(err, ErrCursor) {
			t.Fatalf("opened for another purpose: %v", err)
		}
	})
	password, _, err := i.Issue(root, "us-east-1", Lifetime)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"", "abc", password, strings.Repeat("A", MaxCursor+1)} {
		if _, err := i.OpenCursor("registry password", s); !errors.Is(err, ErrCursor) {
			t.Errorf("%.20q: %v", s, err)
		}
	}
}

// The layout is frozen: passwords outlive an upgrade of the server.
func TestFrozenPassword(t *testing.T) {
	i, _ := issuer(t, testKey)
	want := Claims{Principal: root, Account: root.Account, Region: "us-east-1",
		IssuedAt: start.Truncate(time.Second), ExpiresAt: start.Add(Lifetime).Truncate(time.Second)}
	if got, err := i.Parse(frozenPassword); err != nil || got != want {
		t.Errorf("got %+v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	i, _ := issuer(f, testKey)
	for _, seed := range []string{"", "AQ", frozenPassword, frozenPassword[1:], frozenPassword + "\n", strings.Repeat("A", 80)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := i.Parse(s)
		if err == nil && s != frozenPassword {
			t.Fatalf("forged %+v", c)
		}
		if _, err := i.OpenCursor("p", s); err == nil {
			t.Fatal("forged a cursor")
		}
	})
}

// The inner layout refuses whatever it did not write itself.
func FuzzDecodeClaims(f *testing.F) {
	c := Claims{Principal: root, Account: root.Account, Region: "us-east-1", IssuedAt: start, ExpiresAt: start}
	text, err := c.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:17])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, text []byte) {
		c, ok := decodeClaims(text)
		if !ok {
			return
		}
		if again, err := c.encode(); err != nil || !bytes.Equal(again, text) {
			t.Fatalf("%x reads as %+v and writes as %x (%v)", text, c, again, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	i, _ := issuer(b, testKey)
	password, _, err := i.Issue(root, "us-east-1", Lifetime)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Parse(password); err != nil {
			b.Fatal(err)
		}
	}
}
