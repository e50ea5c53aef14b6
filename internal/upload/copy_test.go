package upload

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"
)

func TestCopyHashed(t *testing.T) {
	b := bytes.Repeat([]byte("0123456789"), 100)
	for name, body := range map[string]io.Reader{
		"whole":                bytes.NewReader(b),
		"one byte at a time":   iotest.OneByteReader(bytes.NewReader(b)),
		"data with the end":    iotest.DataErrReader(bytes.NewReader(b)),
		"halves":               iotest.HalfReader(bytes.NewReader(b)),
		"reads that give none": iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(b))),
	} {
		t.Run(name, func(t *testing.T) {
			var w bytes.Buffer
			h := newHash(digest.SHA256)
			n, err := copyHashed(&w, h, body, make([]byte, 64), int64(len(b)))
			if err != nil || n != int64(len(b)) || !bytes.Equal(w.Bytes(), b) || h.sum() != digest.FromBytes(b) {
				t.Errorf("copied %d bytes: %v", n, err)
			}
		})
	}
}

// The largest layer passes; one byte more does not, wherever it comes.
func TestInvariant11_LayerSizeIsCapped(t *testing.T) {
	for _, size := range []int{101, 164, 1000} {
		var w bytes.Buffer
		_, err := copyHashed(&w, newHash(digest.SHA256), bytes.NewReader(make([]byte, size)), make([]byte, 64), 100)
		if !errors.Is(err, ErrTooLarge) || w.Len() > 100 {
			t.Errorf("%d bytes: %v, %d written", size, err, w.Len())
		}
	}
}

// The hash never runs ahead of the writer: a session that continues after a
// failed write would else have a digest of bytes that it does not have.
func TestHashHasOnlyWhatWasWritten(t *testing.T) {
	b := bytes.Repeat([]byte("x"), 1000)
	h := newHash(digest.SHA256)
	n, err := copyHashed(&failAfter{good: 3}, h, bytes.NewReader(b), make([]byte, 64), 1<<20)
	if err == nil || n != 3*64 || h.sum() != digest.FromBytes(b[:n]) {
		t.Errorf("n = %d, %v", n, err)
	}
}

type failAfter struct{ good int }

func (w *failAfter) Write(p []byte) (int, error) {
	if w.good == 0 {
		return len(p) / 2, io.ErrShortWrite
	}
	w.good--
	return len(p), nil
}

func TestHashStateRoundTrip(t *testing.T) {
	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		h := newHash(a)
		for i := range 300 { // over several block boundaries
			h.write([]byte{byte(i)})
			state, err := h.state()
			if err != nil {
				t.Fatal(err)
			}
			restored, err := restoreHash(a, state)
			if err != nil {
				t.Fatal(err)
			}
			if restored.sum() != h.sum() {
				t.Fatalf("%s differs after %d bytes", a, i+1)
			}
			h = restored
		}
	}
}

// CVE-2026-32590 (a serializer that runs code): a stored state that was
// tampered with is an error, nothing more.
func FuzzRestoreHash(f *testing.F) {
	for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
		h := newHash(a)
		h.write([]byte("some bytes"))
		state, err := h.state()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(state, a == digest.SHA512)
		f.Add(state[:len(state)-1], a == digest.SHA512)
	}
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, state []byte, large bool) {
		a := digest.SHA256
		if large {
			a = digest.SHA512
		}
		h, err := restoreHash(a, state)
		if err != nil {
			return
		}
		h.write([]byte("more"))
		if err := h.sum().Validate(); err != nil {
			t.Error(err)
		}
		if _, err := h.state(); err != nil {
			t.Error(err)
		}
	})
}

func TestKeyedMutexForgetsNames(t *testing.T) {
	var k keyedMutex
	var wg sync.WaitGroup
	counts := map[string]*int{"a": new(int), "b": new(int)}
	for name, n := range counts {
		for range 100 {
			wg.Go(func() {
				unlock, err := k.lock(t.Context(), name)
				if err != nil {
					t.Error(err)
					return
				}
				defer unlock()
				if !k.held(name) {
					t.Error("a lock that is taken is not held")
				}
				*n++
			})
		}
	}
	wg.Wait()
	if *counts["a"] != 100 || *counts["b"] != 100 || len(k.locks) != 0 || k.held("a") {
		t.Errorf("counts %d and %d, %d locks remembered", *counts["a"], *counts["b"], len(k.locks))
	}
}

// Who gives up waiting leaves no trace, and does not get the lock later.
func TestKeyedMutexStopsWaiting(t *testing.T) {
	var k keyedMutex
	unlock, err := k.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.lock(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that was given up ended with %v", err)
	}
	unlock()
	if len(k.locks) != 0 {
		t.Errorf("%d locks remembered", len(k.locks))
	}
	again, err := k.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	again()
}
