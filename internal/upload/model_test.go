package upload_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/upload"
)

// model is what a client may know: the bytes acknowledged in each session, and
// the blobs acknowledged.
type model struct {
	s        *stores
	r        *upload.Receiver
	sessions map[string][]byte
	blobs    map[digest.Digest][]byte
	next     byte
}

// TestModel runs random histories of clients, crashes and failures against a
// map. What was acknowledged must be there, and nothing else.
func TestModel(t *testing.T) {
	fewerChecks(t)
	for name, small := range map[string]int{"all bytes in the store": -1, "small blobs in rows": 4096} {
		t.Run(name, func(t *testing.T) { testModel(t, small) })
	}
}

func testModel(t *testing.T, small int) {
	s := newStores(t)
	s.maxSmall = small
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{s: s, r: s.receiver(), sessions: map[string][]byte{}, blobs: map[digest.Digest][]byte{}}
		rt.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"start":    m.start,
			"append":   m.append,
			"broken":   m.broken,
			"full":     m.full,
			"wrong":    m.wrongOffset,
			"complete": m.complete,
			"mismatch": m.mismatch,
			"cancel":   m.cancel,
			"put":      m.put,
			"restart":  func(*rapid.T) { m.r = s.receiver() },
		})
		for id := range m.sessions {
			if err := m.r.Cancel(context.Background(), s.repo, id); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// fewerChecks shortens a test that waits for the disk at every step, unless the
// number of checks was given on the command line.
func fewerChecks(t *testing.T) {
	t.Helper()
	checks := flag.Lookup("rapid.checks")
	if before := checks.Value.String(); before == checks.DefValue {
		if err := checks.Value.Set("12"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := checks.Value.Set(before); err != nil {
				t.Error(err)
			}
		})
	}
}

func (m *model) pick(t *rapid.T) string {
	if len(m.sessions) == 0 {
		t.Skip("no session")
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m.sessions))).Draw(t, "session")
}

func (m *model) bytes(t *rapid.T) []byte {
	m.next++
	return pattern(m.next, rapid.SampledFrom([]int{0, 1, 100, 4096, 262_143, 262_144, 262_145}).Draw(t, "size"))
}

func (m *model) start(t *rapid.T) {
	a := rapid.SampledFrom([]digest.Algorithm{digest.SHA256, digest.SHA512}).Draw(t, "algorithm")
	u, err := m.r.Start(context.Background(), m.s.target(), a)
	if err != nil {
		t.Fatal(err)
	}
	m.sessions[u.ID] = nil
}

func (m *model) append(t *rapid.T) {
	id, b := m.pick(t), m.bytes(t)
	at := rapid.SampledFrom([]int64{upload.AnyOffset, int64(len(m.sessions[id]))}).Draw(t, "at")
	u, err := m.r.Append(context.Background(), m.s.repo, id, at, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	m.sessions[id] = slices.Concat(m.sessions[id], b)
	if u.Size != int64(len(m.sessions[id])) {
		t.Fatalf("size %d, want %d", u.Size, len(m.sessions[id]))
	}
}

func (m *model) broken(t *rapid.T) {
	id, b := m.pick(t), m.bytes(t)
	_, err := m.r.Append(context.Background(), m.s.repo, id, upload.AnyOffset, failing(b, io.ErrUnexpectedEOF))
	var client *upload.ClientError
	if !errors.As(err, &client) {
		t.Fatalf("got %v", err)
	}
	m.sessions[id] = slices.Concat(m.sessions[id], b)
}

func (m *model) full(t *rapid.T) {
	id := m.pick(t)
	m.s.blobs.set(func(f *faulty) { f.room = 150_000 })
	_, err := m.r.Append(context.Background(), m.s.repo, id, upload.AnyOffset, bytes.NewReader(pattern(0, 400_000)))
	m.s.blobs.set(func(f *faulty) { f.room = 0 })
	if !errors.Is(err, blob.ErrNoSpace) {
		t.Fatalf("got %v", err)
	}
}

func (m *model) wrongOffset(t *rapid.T) {
	id := m.pick(t)
	at := int64(len(m.sessions[id])) + rapid.SampledFrom([]int64{1, 1000}).Draw(t, "beyond")
	_, err := m.r.Append(context.Background(), m.s.repo, id, at, bytes.NewReader([]byte("x")))
	var offset *upload.OffsetError
	if !errors.As(err, &offset) {
		t.Fatalf("got %v", err)
	}
}

func (m *model) complete(t *rapid.T) {
	id := m.pick(t)
	d := rapid.SampledFrom([]digest.Algorithm{digest.SHA256, digest.SHA512}).Draw(t, "algorithm").FromBytes(m.sessions[id])
	if _, err := m.r.Complete(context.Background(), m.s.target(), id, d); err != nil {
		t.Fatal(err)
	}
	m.blobs[d] = m.sessions[id]
	delete(m.sessions, id)
}

func (m *model) mismatch(t *rapid.T) {
	id := m.pick(t)
	_, err := m.r.Complete(context.Background(), m.s.target(), id, digest.FromString("something else"))
	var mismatch *upload.DigestError
	if !errors.As(err, &mismatch) {
		t.Fatalf("got %v", err)
	}
	delete(m.sessions, id)
}

func (m *model) cancel(t *rapid.T) {
	id := m.pick(t)
	if err := m.r.Cancel(context.Background(), m.s.repo, id); err != nil {
		t.Fatal(err)
	}
	delete(m.sessions, id)
}

func (m *model) put(t *rapid.T) {
	b := m.bytes(t)
	d := digest.FromBytes(b)
	if _, err := m.r.Put(context.Background(), m.s.target(), d, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	m.blobs[d] = b
}

// check compares everything that a client can ask for.
func (m *model) check(t *rapid.T) {
	for id, want := range m.sessions {
		u, err := m.r.Session(context.Background(), m.s.repo, id)
		if err != nil {
			t.Fatal(err)
		}
		if u.Size != int64(len(want)) {
			t.Fatalf("session has %d bytes, want %d", u.Size, len(want))
		}
	}
	for d, want := range m.blobs {
		m.checkBlob(t, d, want)
	}
}

func (m *model) checkBlob(t *rapid.T, d digest.Digest, want []byte) {
	var row meta.Member
	err := m.s.db.View(context.Background(), func(tx *meta.Tx) (err error) {
		row, err = tx.Member(m.s.repo, d.String())
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", d, err)
	}
	got, err := m.s.read(row.Blob)
	if err != nil {
		t.Fatal(err)
	}
	if small := len(want) <= m.r.MaxSmall; small != upload.IsSmall(row.Blob) && len(want) > 0 {
		t.Fatalf("%s: %d bytes, in its row: %t", d, len(want), !small)
	}
	if !bytes.Equal(got, want) || row.Size != int64(len(want)) {
		t.Fatalf("%s: stored %d bytes, row says %d, want %d", d, len(got), row.Size, len(want))
	}
}
