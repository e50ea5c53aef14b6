package blobtest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"berth/internal/blob"
)

func manyRounds(t *testing.T, open func(*testing.T) blob.Store) {
	s := open(t)
	b := Bytes(300_000)
	st := New("up-1")
	for at, n := 0, 1; at < len(b); at, n = at+n, n*3+1 {
		st = Append(t, s, st, b[at:min(at+n, len(b))])
		if got := staged(t, s, st); !bytes.Equal(got, b[:st.Size]) {
			t.Fatalf("%d bytes are staged that differ from the %d acknowledged", len(got), st.Size)
		}
	}
	want(t, s, Commit(t, s, st), b)
}

func largeRounds(t *testing.T, open func(*testing.T) blob.Store) {
	if testing.Short() {
		t.Skip("writes 40 MiB")
	}
	s := open(t)
	b := Bytes(40 << 20)
	st := New("up-1")
	at := 0
	for _, n := range []int{1, 5<<20 - 1, 1, 5 << 20, 7<<20 + 3, 100, 5<<20 - 103, 12 << 20, 0, 3} {
		st = Append(t, s, st, b[at:at+n])
		at += n
	}
	want(t, s, Commit(t, s, st), b[:at])
}

func emptyRounds(t *testing.T, open func(*testing.T) blob.Store) {
	s := open(t)
	st := Append(t, s, New("up-1"), nil)
	if got := staged(t, s, st); len(got) != 0 {
		t.Errorf("%d bytes are staged after a round without any", len(got))
	}
	st = Append(t, s, st, nil)
	st = Append(t, s, st, []byte("bytes"))
	st = Append(t, s, st, nil)
	want(t, s, Commit(t, s, st), []byte("bytes"))
}

// resume: the owner keeps the stage of before a round that it could not note, and goes on from there.
func resume(t *testing.T, open func(*testing.T) blob.Store) {
	s := open(t)
	b := Bytes(200_000)
	first := Append(t, s, New("up-1"), b[:60_000])
	Append(t, s, first, []byte("bytes of a request whose progress was not noted"))
	Append(t, s, first, b[:120_000])
	second := Append(t, s, first, b[60_000:])
	if got := staged(t, s, second); !bytes.Equal(got, b) {
		t.Errorf("%d bytes are staged that differ from the %d acknowledged", len(got), len(b))
	}
	want(t, s, Commit(t, s, second), b)

	// The same with a first round, of which nothing at all is noted.
	Append(t, s, New("up-2"), []byte("as long"))
	want(t, s, Commit(t, s, Append(t, s, New("up-2"), []byte("AS LONG"))), []byte("AS LONG"))

	if testing.Short() {
		return
	}
	// The same in the middle of large parts.
	b = Bytes(23 << 20)
	first = Append(t, s, New("up-3"), b[:8<<20])
	Append(t, s, first, bytes.Repeat([]byte("x"), 9<<20))
	second = Append(t, s, first, b[8<<20:17<<20])
	Append(t, s, second, []byte("too much"))
	want(t, s, Commit(t, s, Append(t, s, second, b[17<<20:])), b)
}

// crashedRound: a round that was never closed, as when the server ended in it.
func crashedRound(t *testing.T, open func(*testing.T) blob.Store) {
	s, ctx := open(t), context.Background()
	sizes := []int{1000}
	if !testing.Short() {
		sizes = append(sizes, 11<<20)
	}
	for _, size := range sizes {
		id := "up-" + string(rune('a'+size%26))
		b := Bytes(2 * size)
		st := Append(t, s, New(id), b[:size])
		crashing, cancel := context.WithCancel(ctx)
		w, err := s.Append(crashing, st)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte("!"), size+1)); err != nil {
			t.Fatal(err)
		}
		cancel()
		// A store may have written what it had, or nothing, when the end came. Close stands for the operating
		// system, which frees what the process held; what it returns is lost.
		if next, err := w.Close(); err == nil && next.Size == st.Size {
			t.Error("Close returns no error and nothing of what was written")
		}
		s = open(t)
		want(t, s, Commit(t, s, Append(t, s, st, b[size:])), b)
	}
}

// overlap: two rounds from the same stage at once. The owner notes the progress of only one, and that one must hold.
func overlap(t *testing.T, open func(*testing.T) blob.Store) {
	s, ctx := open(t), context.Background()
	st := Append(t, s, New("up-1"), []byte("begun "))
	lost, err := s.Append(ctx, st)
	if err != nil {
		t.Skipf("the store refuses overlapping rounds: %v", err)
	}
	if _, err := lost.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	kept, err := tryAppend(s, st, []byte("kept"))
	_, lostErr := lost.Close()
	if err != nil {
		t.Skipf("the store refuses overlapping rounds: %v, %v", err, lostErr)
	}
	c, err := s.Commit(ctx, kept)
	if err != nil {
		if errors.Is(err, blob.ErrNotFound) {
			t.Skip("the store notices that two rounds overlapped, and gives nothing")
		}
		t.Fatal(err)
	}
	want(t, s, c, []byte("begun kept"))
}

// readStaged: reading between two rounds changes nothing, however the store does it.
func readStaged(t *testing.T, open func(*testing.T) blob.Store) {
	s := open(t)
	sizes := []int{0, 1000}
	if !testing.Short() {
		sizes = append(sizes, 5<<20, 12<<20)
	}
	for i, size := range sizes {
		b := Bytes(size + 6<<20)
		st := Append(t, s, New("up-"+string(rune('a'+i))), b[:size])
		for range 2 {
			if got := staged(t, s, st); !bytes.Equal(got, b[:size]) {
				t.Fatalf("%d bytes are staged that differ from the %d acknowledged", len(got), size)
			}
		}
		next := Append(t, s, st, b[size:size+100])
		next = Append(t, s, next, b[size+100:])
		if got := staged(t, s, next); !bytes.Equal(got, b) {
			t.Fatalf("%d bytes are staged that differ from the %d acknowledged", len(got), len(b))
		}
		want(t, s, Commit(t, s, next), b)
	}
}

func carryOver(t *testing.T, open func(*testing.T) blob.Store) {
	b := Bytes(150_000)
	if !testing.Short() {
		b = Bytes(13 << 20)
	}
	st := New("up-1")
	for at := 0; at < len(b); {
		n := min(len(b)/3+1, len(b)-at)
		st = Append(t, open(t), st, b[at:at+n])
		at += n
	}
	s := open(t)
	if got := staged(t, s, st); !bytes.Equal(got, b) {
		t.Errorf("%d bytes are staged that differ from the %d acknowledged", len(got), len(b))
	}
	want(t, open(t), Commit(t, open(t), st), b)
}
