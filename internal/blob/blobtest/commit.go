package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/blob"
)

// shapes are stages of one round, of several, and of several parts.
func shapes(t *testing.T, s blob.Store) map[string]blob.Stage {
	t.Helper()
	stages := map[string]blob.Stage{
		"one round":  Append(t, s, New("one"), Bytes(1000)),
		"two rounds": Append(t, s, Append(t, s, New("two"), Bytes(1000)[:10]), Bytes(1000)[10:]),
	}
	if !testing.Short() {
		stages["parts"] = Append(t, s, New("parts"), Bytes(11<<20))
		stages["whole parts"] = Append(t, s, New("whole-parts"), Bytes(10<<20))
	}
	return stages
}

func commitTwice(t *testing.T, open func(*testing.T) blob.Store) {
	s := open(t)
	for name, st := range shapes(t, s) {
		first := Commit(t, s, st)
		if second := Commit(t, s, st); second != first {
			t.Errorf("%s: the second commit gives %+v and the first %+v", name, second, first)
		}
		want(t, s, first, Bytes(int(st.Size)))
	}
}

func commitAfterRestart(t *testing.T, open func(*testing.T) blob.Store) {
	for name, st := range shapes(t, open(t)) {
		first := Commit(t, open(t), st)
		if second := Commit(t, open(t), st); second != first {
			t.Errorf("%s: after a restart a commit gives %+v and before it %+v", name, second, first)
		}
		want(t, open(t), first, Bytes(int(st.Size)))
	}
}

func discard(t *testing.T, b Backend, s blob.Store) {
	ctx := context.Background()
	for name, st := range shapes(t, s) {
		for range 2 {
			if err := s.Discard(ctx, st); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if b.InPlace {
			if err := s.Delete(ctx, blob.Copy{Domain: st.Domain, ID: st.ID, Size: st.Size}); err != nil {
				t.Fatal(err)
			}
		}
		if st.Size <= b.InState {
			continue // there was nothing to discard
		}
		if c, err := s.Commit(ctx, st); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: commit after discard: %v, %v", name, c, err)
		}
		if _, err := tryAppend(s, st, []byte("more")); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: append after discard: %v", name, err)
		}
	}
}

// discardCommitted: a sweeper that comes too late must not take what was committed.
func discardCommitted(t *testing.T, open func(*testing.T) blob.Store) {
	s := open(t)
	for name, st := range shapes(t, s) {
		c := Commit(t, s, st)
		if err := s.Discard(context.Background(), st); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		want(t, s, c, Bytes(int(st.Size)))
	}
}

func missing(t *testing.T, open func(*testing.T) blob.Store) {
	s, ctx := open(t), context.Background()
	c := blob.Copy{Domain: domain, ID: "absent", Size: 10}
	if _, err := s.Open(ctx, c); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Open: %v", err)
	}
	if err := s.Delete(ctx, c); err != nil {
		t.Errorf("Delete: %v", err)
	}
	st := New("absent")
	if err := s.Discard(ctx, st); err != nil {
		t.Errorf("Discard: %v", err)
	}
	st.Size = 10
	if err := s.Discard(ctx, st); err != nil {
		t.Errorf("Discard of a stage with bytes: %v", err)
	}
	if _, err := tryAppend(s, st, nil); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Append beyond what is staged: %v", err)
	}
	if _, err := s.OpenStaged(ctx, st); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("OpenStaged: %v", err)
	}
	if _, err := s.Commit(ctx, st); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Commit: %v", err)
	}
}

// refused wants an error that is not ErrNotFound: a bad name is a fault of the caller, and never looked for.
func refused(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, blob.ErrNotFound) {
		t.Errorf("%s: %v", what, err)
	}
}

func hostile(t *testing.T, open func(*testing.T) blob.Store) {
	s, ctx := open(t), context.Background()
	type name struct{ domain, id string }
	var names []name
	for _, id := range []string{"", ".", "..", "../x", "a/b", "A", "x\x00", "x\n", "a_b", "a.b", "é", strings.Repeat("x", 65)} {
		names = append(names, name{domain, id})
	}
	for _, d := range []string{"", ".", "..", "../x", "a/b", ".a", "-a", "x\x00", "x\n", "é", strings.Repeat("x", 129)} {
		names = append(names, name{d, "up-1"})
	}
	st := Append(t, s, New("up-1"), []byte("x"))
	for _, n := range names {
		what := fmt.Sprintf("domain %q, ID %q", n.domain, n.id)
		for _, state := range [][]byte{nil, st.State} {
			named := blob.Stage{ID: n.id, Domain: n.domain, State: state, Size: int64(min(len(state), 1))}
			_, err := s.Append(ctx, named)
			refused(t, "Append, "+what, err)
			_, err = s.OpenStaged(ctx, named)
			refused(t, "OpenStaged, "+what, err)
			_, err = s.Commit(ctx, named)
			refused(t, "Commit, "+what, err)
			refused(t, "Discard, "+what, s.Discard(ctx, named))
		}
		c := blob.Copy{Domain: n.domain, ID: n.id, Size: 1}
		_, err := s.Open(ctx, c)
		refused(t, "Open, "+what, err)
		refused(t, "Delete, "+what, s.Delete(ctx, c))
		if l, ok := s.(blob.Lister); ok && n.domain != "" {
			for _, isStaged := range []bool{true, false} {
				refused(t, "Remove, "+what, l.Remove(ctx, blob.Object{Domain: n.domain, ID: n.id, Staged: isStaged}))
			}
		}
		if r, ok := s.(blob.Redirector); ok {
			_, err := r.URL(ctx, c, time.Minute)
			refused(t, "URL, "+what, err)
		}
	}
	want(t, s, Commit(t, s, st), []byte("x"))
}

func hostileStates(t *testing.T, open func(*testing.T) blob.Store) {
	s, ctx := open(t), context.Background()
	for _, state := range [][]byte{{}, {0}, {255}, []byte("{}"), []byte("garbage"), bytes.Repeat([]byte{1}, 200), make([]byte, maxState+1)} {
		st := New("up-1")
		st.State, st.Size = state, 10
		if _, err := tryAppend(s, st, []byte("x")); err == nil {
			t.Errorf("Append takes the state %.20q", state)
		}
		if _, err := s.Commit(ctx, st); err == nil {
			t.Errorf("Commit takes the state %.20q", state)
		}
		if r, err := s.OpenStaged(ctx, st); err == nil {
			t.Errorf("OpenStaged takes the state %.20q", state)
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

func list(t *testing.T, b Backend, s blob.Store) {
	l, ok := s.(blob.Lister)
	if !ok {
		t.Skip("the store lists nothing")
	}
	ctx := context.Background()
	find := func() map[string][]blob.Object {
		t.Helper()
		found := map[string][]blob.Object{}
		err := l.List(ctx, func(o blob.Object) error {
			found[o.ID] = append(found[o.ID], o)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return found
	}
	if found := find(); len(found) != 0 {
		t.Fatalf("an empty store lists %v", found)
	}
	begun := time.Now().Add(-time.Minute)
	stages := shapes(t, s)
	c := Put(t, s, "committed", Bytes(70_000))
	if o := find()[c.ID]; len(o) != 1 || o[0].Staged || o[0].Domain != c.Domain || o[0].Size < c.Size {
		t.Errorf("the committed copy is listed as %+v", o)
	}
	for name, st := range stages {
		if st.Size <= b.InState {
			continue
		}
		objects := of(find(), st.ID)
		if len(objects) == 0 {
			t.Errorf("%s: the stage is not listed", name)
		}
		for _, o := range objects {
			if !o.Staged && !b.InPlace || o.Domain != st.Domain && o.Domain != "" || o.Modified.Before(begun) {
				t.Errorf("%s: the stage is listed as %+v", name, o)
			}
			for range 2 {
				if err := l.Remove(ctx, o); err != nil {
					t.Fatal(err)
				}
			}
		}
		if left := of(find(), st.ID); len(left) != 0 {
			t.Errorf("%s: after it was removed the stage is listed as %+v", name, left)
		}
		if _, err := s.Commit(ctx, st); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("%s: commit of what was removed: %v", name, err)
		}
	}
	want(t, s, c, Bytes(70_000))
	stop := errors.New("stop")
	if err := l.List(ctx, func(blob.Object) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the function ends the listing with %v", err)
	}
	if err := l.Remove(ctx, find()[c.ID][0]); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(ctx, c); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("open what was removed: %v", err)
	}
}

// of gives what belongs to a stage: its ID is its own or begins with it.
func of(found map[string][]blob.Object, id string) (out []blob.Object) {
	for key, objects := range found {
		if key == id || strings.HasPrefix(key, id+"-") {
			out = append(out, objects...)
		}
	}
	return out
}

func powers(t *testing.T, open func(*testing.T) blob.Store) {
	s, ctx := open(t), context.Background()
	if c, ok := s.(blob.Checker); ok {
		if err := c.Check(ctx); err != nil {
			t.Error(err)
		}
	}
	if r, ok := s.(blob.Redirector); ok {
		if u, err := r.URL(ctx, Put(t, s, "up-1", []byte("x")), time.Minute); err != nil || u == "" {
			t.Errorf("URL: %q, %v", u, err)
		}
	}
}

func concurrentStages(t *testing.T, open func(*testing.T) blob.Store) {
	s := open(t)
	size := 100_000
	if !testing.Short() {
		size = 7 << 20
	}
	b := Bytes(size + 16)
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			own := b[i : i+size]
			st, err := tryAppend(s, New(fmt.Sprintf("up-%d", i)), own[:size/2])
			if err == nil {
				st, err = tryAppend(s, st, own[size/2:])
			}
			var c blob.Copy
			if err == nil {
				c, err = s.Commit(context.Background(), st)
			}
			var r blob.Reader
			if err == nil {
				r, err = s.Open(context.Background(), c)
			}
			if err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(r)
			if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, own) {
				t.Errorf("stage %d: %d bytes differ (%v)", i, len(got), err)
			}
		})
	}
	wait.Wait()
}

// concurrentCommits: a client that lost patience asks another server, while the first is still at it.
func concurrentCommits(t *testing.T, open func(*testing.T) blob.Store) {
	for name, st := range shapes(t, open(t)) {
		stores := []blob.Store{open(t), open(t), open(t)}
		copies, errs := make([]blob.Copy, len(stores)), make([]error, len(stores))
		var wait sync.WaitGroup
		for i, s := range stores {
			wait.Go(func() { copies[i], errs[i] = s.Commit(context.Background(), st) })
		}
		wait.Wait()
		for i, err := range errs {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if copies[i] != copies[0] {
				t.Errorf("%s: one commit gives %+v, another %+v", name, copies[i], copies[0])
			}
		}
		if errs[0] == nil {
			want(t, stores[0], copies[0], Bytes(int(st.Size)))
		}
	}
}
