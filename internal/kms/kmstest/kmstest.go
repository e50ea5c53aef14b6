// Package kmstest is the suite that every place for keys passes.
package kmstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"berth/internal/kms"
)

// Code is the code of a refusal, or "" when err is none.
func Code(err error) string {
	var e *kms.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// Wrapper checks that what a context wrapped, that context alone unwraps, and
// that damage is noticed.
func Wrapper(t *testing.T, w kms.Wrapper) {
	t.Helper()
	ctx := context.Background()
	secret := bytes.Repeat([]byte("0123456789abcdef"), 2)
	c := kms.Context{"aws:ecr:arn": "arn:aws:ecr:us-east-1:000000000000:repository/a", "x": "y"}
	wrapped, err := w.Wrap(ctx, secret, c)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(wrapped, secret) {
		t.Error("the wrapped key has the key in it")
	}
	if again, err := w.Wrap(ctx, secret, c); err != nil || bytes.Equal(again, wrapped) {
		t.Errorf("wrapping twice gives the same bytes, which tells that the keys are the same (%v)", err)
	}
	if got, err := w.Unwrap(ctx, wrapped, kms.Context{"x": "y", "aws:ecr:arn": c["aws:ecr:arn"]}); err != nil || !bytes.Equal(got, secret) {
		t.Errorf("unwrap: %x, %v", got, err)
	}
	for name, other := range map[string]kms.Context{
		"none": nil, "a part": {"x": "y"}, "more": {"aws:ecr:arn": c["aws:ecr:arn"], "x": "y", "z": ""},
		"swapped": {"x": c["aws:ecr:arn"], "aws:ecr:arn": "y"}, "another case": {"aws:ecr:arn": c["aws:ecr:arn"], "X": "y"},
	} {
		if _, err := w.Unwrap(ctx, wrapped, other); Code(err) != kms.InvalidCipher {
			t.Errorf("context %s: %v", name, err)
		}
	}
	for _, i := range []int{len(wrapped) / 2, len(wrapped) - 1} {
		spoilt := slices.Clone(wrapped)
		spoilt[i] ^= 1
		if got, err := w.Unwrap(ctx, spoilt, c); err == nil {
			t.Errorf("byte %d of %d changed: unwrapped to %x", i, len(wrapped), got)
		}
	}
	for _, junk := range [][]byte{nil, {0}, []byte("junk"), wrapped[:len(wrapped)-1], bytes.Repeat([]byte{1}, 200), make([]byte, 7000)} {
		if got, err := w.Unwrap(ctx, junk, c); err == nil {
			t.Errorf("%d bytes of junk unwrapped to %x", len(junk), got)
		}
	}
	sizes(t, w)
	together(t, w)
}

func sizes(t *testing.T, w kms.Wrapper) {
	t.Helper()
	ctx := context.Background()
	for _, n := range []int{1, 16, 32, 4096} {
		key := bytes.Repeat([]byte{7}, n)
		wrapped, err := w.Wrap(ctx, key, nil)
		if err != nil {
			t.Errorf("%d bytes: %v", n, err)
			continue
		}
		if got, err := w.Unwrap(ctx, wrapped, kms.Context{}); err != nil || !bytes.Equal(got, key) {
			t.Errorf("%d bytes come back as %d, %v", n, len(got), err)
		}
	}
	for _, n := range []int{0, 4097} {
		if _, err := w.Wrap(ctx, make([]byte, n), nil); err == nil {
			t.Errorf("a key of %d bytes is wrapped", n)
		}
	}
}

func together(t *testing.T, w kms.Wrapper) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c, key := kms.Context{"n": fmt.Sprint(i)}, []byte(fmt.Sprint("key ", i))
			wrapped, err := w.Wrap(context.Background(), key, c)
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := w.Unwrap(context.Background(), wrapped, c); err != nil || !bytes.Equal(got, key) {
				t.Errorf("%d of 8 at once: %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

// A Place is a provider with what a suite needs to know of it. Functions that
// are nil name what the place does not have.
type Place struct {
	Provider        kms.Provider
	Account, Region string
	NewKey          func(t *testing.T) (arn string) // that can encrypt
	NewAlias        func(t *testing.T, arn string) (name string)
	Disable, Enable func(t *testing.T, arn string)
	Delete          func(t *testing.T, arn string) // gone, or on its way
}

// Provider runs the suite for a place of keys.
func Provider(t *testing.T, p Place) {
	ctx := context.Background()
	t.Run("wrapper", func(t *testing.T) { Wrapper(t, p.Provider.Key(p.NewKey(t))) })
	t.Run("keys are apart", func(t *testing.T) {
		wrapped, err := p.Provider.Key(p.NewKey(t)).Wrap(ctx, []byte("secret"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Provider.Key(p.NewKey(t)).Unwrap(ctx, wrapped, nil); Code(err) != kms.InvalidCipher {
			t.Errorf("another key: %v", err)
		}
	})
	t.Run("resolve", func(t *testing.T) { resolve(t, p) })
	t.Run("absent", func(t *testing.T) {
		absent := "arn:aws:kms:" + p.Region + ":" + p.Account + ":key/00000000-0000-4000-8000-00000000dead"
		if _, err := p.Provider.Resolve(ctx, p.Account, p.Region, absent); Code(err) != kms.NotFound {
			t.Errorf("resolve: %v", err)
		}
		if _, err := p.Provider.Key(absent).Wrap(ctx, []byte("secret"), nil); Code(err) != kms.NotFound {
			t.Errorf("wrap: %v", err)
		}
		if _, err := p.Provider.Resolve(ctx, p.Account, p.Region, "arn:aws:s3:::bucket"); Code(err) == "" {
			t.Errorf("the ARN of something else: %v", err)
		}
	})
	t.Run("disabled", func(t *testing.T) {
		if p.Disable == nil {
			t.Skip("keys cannot be disabled here")
		}
		refusedWhile(t, p, p.Disable, p.Enable, kms.Disabled)
	})
	t.Run("deleted", func(t *testing.T) {
		refusedWhile(t, p, p.Delete, nil, kms.NotFound, kms.InvalidState)
	})
}

func resolve(t *testing.T, p Place) {
	arn := p.NewKey(t)
	_, id, _ := bytes.Cut([]byte(arn), []byte(":key/"))
	names := []string{arn, string(id)}
	if p.NewAlias != nil {
		alias := p.NewAlias(t, arn)
		names = append(names, alias, "arn:aws:kms:"+p.Region+":"+p.Account+":"+alias)
	}
	for _, name := range names {
		if got, err := p.Provider.Resolve(context.Background(), p.Account, p.Region, name); err != nil || got != arn {
			t.Errorf("%s: %q, %v, want %s", name, got, err, arn)
		}
	}
}

// refusedWhile checks that a key refuses after one step and, when there is a
// step back, works again after it.
func refusedWhile(t *testing.T, p Place, step, back func(*testing.T, string), codes ...string) {
	t.Helper()
	ctx, arn := context.Background(), p.NewKey(t)
	key := p.Provider.Key(arn)
	wrapped, err := key.Wrap(ctx, []byte("secret"), nil)
	if err != nil {
		t.Fatal(err)
	}
	step(t, arn)
	if _, err := key.Wrap(ctx, []byte("secret"), nil); !slices.Contains(codes, Code(err)) {
		t.Errorf("wrap: %v, want %v", err, codes)
	}
	if _, err := key.Unwrap(ctx, wrapped, nil); !slices.Contains(codes, Code(err)) {
		t.Errorf("unwrap: %v, want %v", err, codes)
	}
	if _, err := p.Provider.Resolve(ctx, p.Account, p.Region, arn); !slices.Contains(codes, Code(err)) {
		t.Errorf("resolve: %v, want %v", err, codes)
	}
	if back == nil {
		return
	}
	back(t, arn)
	if got, err := key.Unwrap(ctx, wrapped, nil); err != nil || string(got) != "secret" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}
