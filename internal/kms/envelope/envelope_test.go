package envelope_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/kms"
	"berth/internal/kms/envelope"
)

// What was sealed opens under the same key, header and context, and under no other.
func TestOnlyTheSameContextOpens(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), envelope.KeySize, envelope.KeySize).Draw(t, "key")
		header := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "header")
		plain := rapid.SliceOfN(rapid.Byte(), 1, envelope.MaxKey).Draw(t, "plain")
		contexts := rapid.MapOfN(rapid.StringN(0, 3, -1), rapid.StringN(0, 3, -1), 0, 3)
		c, other := contexts.Draw(t, "context"), contexts.Draw(t, "other")
		sealed, err := envelope.Seal(key, header, plain, c)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasPrefix(sealed, header) || len(plain) > 4 && bytes.Contains(sealed[len(header):], plain) {
			t.Fatal("the header is missing, or the plaintext is not")
		}
		got, err := envelope.Open(key, sealed, len(header), maps.Clone(c))
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%x, %v", got, err)
		}
		if _, err := envelope.Open(key, sealed, len(header), other); (err == nil) != maps.Equal(c, other) {
			t.Fatalf("sealed under %q, opened under %q: %v", c, other, err)
		}
		i := rapid.IntRange(0, len(sealed)-1).Draw(t, "byte")
		sealed[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		if _, err := envelope.Open(key, sealed, len(header), c); !errors.Is(err, envelope.ErrSealed) {
			t.Fatalf("byte %d of %d changed: %v", i, len(sealed), err)
		}
	})
}

func TestRefusals(t *testing.T) {
	key := make([]byte, envelope.KeySize)
	for _, plain := range [][]byte{nil, {}, make([]byte, envelope.MaxKey+1)} {
		if _, err := envelope.Seal(key, nil, plain, nil); !errors.Is(err, envelope.ErrSize) {
			t.Errorf("%d bytes: %v", len(plain), err)
		}
	}
	if _, err := envelope.Seal(key[1:], nil, key, nil); err == nil {
		t.Error("a short key seals")
	}
	if _, err := envelope.Open(key[1:], key, 0, nil); err == nil {
		t.Error("a short key opens")
	}
}

func FuzzOpen(f *testing.F) {
	key := make([]byte, envelope.KeySize)
	sealed, err := envelope.Seal(key, []byte("h"), []byte("secret"), kms.Context{"a": "b"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, 1)
	f.Add([]byte{}, -1)
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if _, err := envelope.Open(key, b, n, nil); !errors.Is(err, envelope.ErrSealed) {
			t.Fatalf("opened under another context: %v", err)
		}
	})
}

// A key in memory unwraps what it wrapped under the same context only, and never prints.
func TestMemory(t *testing.T) {
	key := []byte("0123456789abcdef0123456789abcdef")
	m, err := envelope.NewMemory(key)
	if err != nil {
		t.Fatal(err)
	}
	wrapped, err := m.Wrap(t.Context(), []byte("secret"), kms.Context{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Unwrap(t.Context(), wrapped, kms.Context{"a": "b"}); err != nil || string(got) != "secret" {
		t.Errorf("%q, %v", got, err)
	}
	for name, bad := range map[string][]byte{"nothing": nil, "another version": append([]byte{9}, wrapped[1:]...), "cut": wrapped[:5]} {
		if _, err := m.Unwrap(t.Context(), bad, kms.Context{"a": "b"}); !errors.Is(err, envelope.ErrSealed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := m.Unwrap(t.Context(), wrapped, kms.Context{"a": "c"}); !errors.Is(err, envelope.ErrSealed) {
		t.Errorf("another context: %v", err)
	}
	if _, err := envelope.NewMemory(key[1:]); err == nil {
		t.Error("a short key is taken")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, m); got != "[key in memory]" {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}
