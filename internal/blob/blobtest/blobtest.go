// Package blobtest is the suite that every blob store passes.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
)

// Run exercises a store. open returns a fresh, empty one each time.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	// Sizes around the buffer and segment sizes that stores use inside.
	for _, size := range []int{0, 1, 4095, 4096, 65535, 65536, 65537, 1 << 20, 3<<20 + 1} {
		t.Run(fmt.Sprintf("round trip %d", size), func(t *testing.T) { roundTrip(t, open(t), size) })
	}
	t.Run("append in parts", func(t *testing.T) { parts(t, open(t)) })
	t.Run("resume drops unacknowledged bytes", func(t *testing.T) { resume(t, open(t)) })
	t.Run("missing", func(t *testing.T) { missing(t, open(t)) })
	t.Run("domains are apart", func(t *testing.T) { domains(t, open(t)) })
	t.Run("hostile names", func(t *testing.T) { hostile(t, open(t)) })
	t.Run("commit twice", func(t *testing.T) { twice(t, open(t)) })
}

// Bytes is a recognisable pattern of n bytes.
func Bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func stage(t *testing.T, s blob.Store, id string, offset int64, b []byte) {
	t.Helper()
	w, err := s.Append(context.Background(), id, offset)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, s blob.Store, id, domain string, b []byte) blob.Key {
	t.Helper()
	stage(t, s, id, 0, b)
	key := blob.Key{Domain: domain, Digest: digest.FromBytes(b)}
	if err := s.Commit(context.Background(), id, key); err != nil {
		t.Fatal(err)
	}
	return key
}

func read(t *testing.T, s blob.Store, key blob.Key) []byte {
	t.Helper()
	r, err := s.Open(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if r.Size() != int64(len(b)) {
		t.Errorf("Size() = %d, read %d bytes", r.Size(), len(b))
	}
	return b
}

func roundTrip(t *testing.T, s blob.Store, size int) {
	want := Bytes(size)
	key := put(t, s, "up-1", "d", want)
	if got := read(t, s, key); !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes that differ from the %d written", len(got), size)
	}
	r, err := s.Open(context.Background(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, at := range []int{size / 2, size - 1, 0} {
		if at < 0 || at >= size {
			continue
		}
		if _, err := r.Seek(int64(at), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, min(100, size-at))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want[at:at+len(got)]) {
			t.Fatalf("range at %d differs (%v)", at, err)
		}
	}
	if err := s.Delete(context.Background(), key); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(context.Background(), key); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("open after delete: %v", err)
	}
}

func parts(t *testing.T, s blob.Store) {
	want := Bytes(200_000)
	for at := 0; at < len(want); at += 70_000 {
		stage(t, s, "up-1", int64(at), want[at:min(at+70_000, len(want))])
	}
	key := blob.Key{Domain: "d", Digest: digest.FromBytes(want)}
	if err := s.Commit(context.Background(), "up-1", key); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, s, key), want) {
		t.Error("parts joined to something else")
	}
}

func resume(t *testing.T, s blob.Store) {
	want := Bytes(100_000)
	stage(t, s, "up-1", 0, want[:60_000])
	stage(t, s, "up-1", 60_000, []byte("bytes of a request that was cut off"))
	stage(t, s, "up-1", 60_000, want[60_000:])
	r, err := s.OpenStaged(context.Background(), "up-1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("staged %d bytes that differ from the %d acknowledged", len(got), len(want))
	}
}

func missing(t *testing.T, s blob.Store) {
	ctx := context.Background()
	key := blob.Key{Domain: "d", Digest: digest.FromString("absent")}
	if _, err := s.Open(ctx, key); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Open: %v", err)
	}
	if err := s.Delete(ctx, key); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if err := s.Discard(ctx, "absent"); err != nil {
		t.Errorf("Discard: %v", err)
	}
	if _, err := s.Append(ctx, "absent", 10); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Append beyond what is staged: %v", err)
	}
	if err := s.Commit(ctx, "absent", key); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Commit: %v", err)
	}
}

func domains(t *testing.T, s blob.Store) {
	key := put(t, s, "up-1", "one", []byte("x"))
	key.Domain = "two"
	if _, err := s.Open(context.Background(), key); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("a blob is visible from another domain: %v", err)
	}
}

func hostile(t *testing.T, s blob.Store) {
	ctx := context.Background()
	for _, id := range []string{"", "..", "../x", "a/b", "A", "x\x00"} {
		if _, err := s.Append(ctx, id, 0); err == nil {
			t.Errorf("staging id %q was accepted", id)
		}
	}
	for _, k := range []blob.Key{
		{Domain: "d", Digest: "sha256:../../etc/passwd"}, {Domain: "d", Digest: "sha256:AB"}, {Domain: "d", Digest: "x"},
		{Domain: "..", Digest: digest.FromString("")}, {Domain: "a/b", Digest: digest.FromString("")},
	} {
		if _, err := s.Open(ctx, k); err == nil || errors.Is(err, blob.ErrNotFound) {
			t.Errorf("key %+v was taken for a name: %v", k, err)
		}
	}
}

func twice(t *testing.T, s blob.Store) {
	put(t, s, "up-1", "d", []byte("same"))
	key := put(t, s, "up-2", "d", []byte("same"))
	if string(read(t, s, key)) != "same" {
		t.Error("a second commit of the same bytes changed them")
	}
}
