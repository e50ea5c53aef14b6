package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"berth/internal/blob"
)

// A Backend makes the stores under test.
type Backend struct {
	// Fresh makes empty storage and returns what opens a store on it. Each call of open gives another store on the
	// same bytes, as a restart or a second server does; all of them may be used at once.
	Fresh func(t *testing.T) (open func(t *testing.T) blob.Store)
	// InPlace says that a small stage may lie where its copy will before it is committed, so that the store can
	// neither list it as staged nor discard it; Delete of its copy removes it.
	InPlace bool
	// InState is up to how many bytes a stage lies in its own state and nowhere in the store: what is not there can
	// be neither listed nor lost.
	InState int64
	// Shared says that stores opened on the same storage may write at the same time, as on several servers.
	Shared bool
}

const domain = "000000000000.aes"

// maxState is the most that blob.Stage allows.
const maxState = 128 << 10

// Run exercises a store.
func Run(t *testing.T, b Backend) {
	run := func(name string, f func(t *testing.T, open func(t *testing.T) blob.Store)) {
		t.Run(name, func(t *testing.T) { f(t, b.Fresh(t)) })
	}
	// Sizes around the buffers, segments and parts that stores use inside.
	const kib, mib = 1 << 10, 1 << 20
	for _, size := range []int{
		0, 1, 4095, 4096, 64*kib - 1, 64 * kib, 64*kib + 1, 128 * kib, 5*mib - 1, 5 * mib, 5*mib + 1, 20*mib + 3,
	} {
		if size > mib && testing.Short() {
			continue
		}
		run(fmt.Sprintf("round trip %d", size), func(t *testing.T, open func(*testing.T) blob.Store) { roundTrip(t, open(t), size) })
	}
	run("many rounds", manyRounds)
	run("rounds larger than a part", largeRounds)
	run("round without bytes", emptyRounds)
	run("resume forgets what was not acknowledged", resume)
	run("a crashed round is forgotten", crashedRound)
	run("overlapping rounds", overlap)
	run("go on after reading what is staged", readStaged)
	run("another server goes on", carryOver)
	run("commit twice", commitTwice)
	run("commit after a restart", commitAfterRestart)
	run("delete", deleteCopy)
	run("discard", func(t *testing.T, open func(*testing.T) blob.Store) { discard(t, b, open(t)) })
	run("discard after commit", discardCommitted)
	run("missing", missing)
	run("domains are apart", domains)
	run("hostile names", hostile)
	run("hostile states", hostileStates)
	run("wrong size", wrongSize)
	run("list and remove", func(t *testing.T, open func(*testing.T) blob.Store) { list(t, b, open(t)) })
	run("check and URL", powers)
	run("concurrent stages", concurrentStages)
	if b.Shared {
		run("concurrent commits", concurrentCommits)
	}
}

// Bytes is a recognisable pattern of n bytes: no two places of the first 4 GiB that are 4 bytes long look the same
// at the same alignment, so that parts in a wrong order show.
func Bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		word := uint32(i/4) * 2654435761
		b[i] = byte(word >> (8 * (i % 4)))
	}
	return b
}

// Append writes one round and fails the test when it cannot.
func Append(t testing.TB, s blob.Store, st blob.Stage, b []byte) blob.Stage {
	t.Helper()
	next, err := tryAppend(s, st, b)
	if err != nil {
		t.Fatal(err)
	}
	if next.ID != st.ID || next.Domain != st.Domain || next.Size != st.Size+int64(len(b)) {
		t.Fatalf("a round of %d bytes made %s/%s of %d bytes out of %s/%s of %d",
			len(b), next.Domain, next.ID, next.Size, st.Domain, st.ID, st.Size)
	}
	if next.State == nil || len(next.State) > maxState {
		t.Fatalf("the state after a round has %d bytes (nil: %t)", len(next.State), next.State == nil)
	}
	return next
}

// tryAppend writes one round in pieces of an odd size, as they come from a network.
func tryAppend(s blob.Store, st blob.Stage, b []byte) (blob.Stage, error) {
	w, err := s.Append(context.Background(), st)
	if err != nil {
		return st, err
	}
	for len(b) > 0 && err == nil {
		piece := b[:min(len(b), 33_333)]
		b = b[len(piece):]
		var n int
		if n, err = w.Write(piece); err == nil && n != len(piece) {
			err = io.ErrShortWrite
		}
	}
	next, closeErr := w.Close()
	return next, errors.Join(err, closeErr)
}

// New is a stage without a round.
func New(id string) blob.Stage { return blob.Stage{ID: id, Domain: domain} }

// Commit commits and fails the test when it cannot.
func Commit(t testing.TB, s blob.Store, st blob.Stage) blob.Copy {
	t.Helper()
	c, err := s.Commit(context.Background(), st)
	if err != nil {
		t.Fatal(err)
	}
	if c.ID != st.ID && !strings.HasPrefix(c.ID, st.ID+"-") || c.Domain != st.Domain || c.Size != st.Size {
		t.Fatalf("the copy of %s/%s of %d bytes is %+v", st.Domain, st.ID, st.Size, c)
	}
	return c
}

// Put stores bytes in one round.
func Put(t testing.TB, s blob.Store, id string, b []byte) blob.Copy {
	t.Helper()
	return Commit(t, s, Append(t, s, New(id), b))
}

// Read reads a whole copy.
func Read(t testing.TB, s blob.Store, c blob.Copy) []byte {
	t.Helper()
	r, err := s.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Size() != c.Size {
		t.Errorf("Size() = %d, and the copy has %d bytes", r.Size(), c.Size)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func want(t testing.TB, s blob.Store, c blob.Copy, b []byte) {
	t.Helper()
	if got := Read(t, s, c); !bytes.Equal(got, b) {
		t.Fatalf("read %d bytes that differ from the %d written%s", len(got), len(b), difference(got, b))
	}
}

func difference(a, b []byte) string {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf(", first at %d", i)
		}
	}
	return ""
}

func staged(t testing.TB, s blob.Store, st blob.Stage) []byte {
	t.Helper()
	r, err := s.OpenStaged(context.Background(), st)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func roundTrip(t *testing.T, s blob.Store, size int) {
	ctx := context.Background()
	b := Bytes(size)
	c := Put(t, s, "up-1", b)
	want(t, s, c, b)
	r, err := s.Open(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	if end, err := r.Seek(0, io.SeekEnd); err != nil || end != int64(size) {
		t.Fatalf("Seek to the end: %d, %v", end, err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read at the end: %d, %v", n, err)
	}
	const page, part = 64 << 10, 5 << 20
	for _, at := range []int{
		size / 2, size - 1, 0, page - 1, page, page + 1, part - 1, part, part + 1, 2*part - 1, 2 * part, 3*part + 7, 1,
	} {
		if at < 0 || at >= size {
			continue
		}
		if _, err := r.Seek(int64(at), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, min(70_000, size-at))
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, b[at:at+len(got)]) {
			t.Fatalf("the range at %d differs (%v)%s", at, err, difference(got, b[at:]))
		}
		if now, err := r.Seek(0, io.SeekCurrent); err != nil || now != int64(at+len(got)) {
			t.Errorf("after a range at %d of %d bytes the place is %d (%v)", at, len(got), now, err)
		}
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		t.Error("Seek before the beginning is no error")
	}
}

func deleteCopy(t *testing.T, open func(*testing.T) blob.Store) {
	s, ctx := open(t), context.Background()
	st := Append(t, s, New("up-1"), Bytes(70_000))
	c := Commit(t, s, st)
	other := Put(t, s, "up-2", Bytes(100))
	for range 2 {
		if err := s.Delete(ctx, c); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Open(ctx, c); !errors.Is(err, blob.ErrNotFound) {
			t.Errorf("open after delete: %v", err)
		}
	}
	if _, err := s.Commit(ctx, st); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("commit after delete: %v", err)
	}
	want(t, s, other, Bytes(100))
}

func domains(t *testing.T, open func(*testing.T) blob.Store) {
	s, ctx := open(t), context.Background()
	c := Put(t, s, "up-1", []byte("x"))
	elsewhere := c
	elsewhere.Domain = "111111111111.aes"
	if r, err := s.Open(ctx, elsewhere); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("a blob is visible from another domain: %v, %v", r, err)
	}
	if err := s.Delete(ctx, elsewhere); err != nil {
		t.Error(err)
	}
	want(t, s, c, []byte("x"))
}

func wrongSize(t *testing.T, open func(*testing.T) blob.Store) {
	s := open(t)
	for i, size := range []int{0, 1, 70_000} {
		c := Put(t, s, fmt.Sprintf("up-%d", i), Bytes(size))
		for _, off := range []int64{1, -1} {
			wrong := c
			if wrong.Size += off; wrong.Size < 0 {
				continue
			}
			if r, err := s.Open(context.Background(), wrong); !errors.Is(err, blob.ErrDamaged) {
				t.Errorf("open %d bytes as %d: %v, %v", c.Size, wrong.Size, r, err)
			}
		}
		want(t, s, c, Bytes(size))
	}
}
