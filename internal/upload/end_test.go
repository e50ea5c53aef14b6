package upload_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/meta"
	"berth/internal/upload"
)

// zot#2598: abandoned sessions go, with their bytes.
func TestExpire(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	ctx := context.Background()
	old := make([]string, 250) // more than one page
	for i := range old {
		old[i] = s.start(t, r)
	}
	for _, id := range old[:3] {
		if _, err := r.Append(ctx, s.repo, id, 0, bytes.NewReader(pattern(1, 100_000))); err != nil {
			t.Fatal(err)
		}
	}
	s.clock.advance(time.Hour)
	fresh := s.start(t, r)
	if _, err := r.Append(ctx, s.repo, old[0], 100_000, bytes.NewReader(pattern(1, 100_000))); err != nil { // made progress since
		t.Fatal(err)
	}
	n, err := r.Expire(ctx, s.clock.Now().Add(-time.Minute))
	if err != nil || n != len(old)-1 {
		t.Fatalf("expired %d sessions (%v), want %d", n, err, len(old)-1)
	}
	for _, id := range []string{fresh, old[0]} {
		if _, err := r.Session(ctx, s.repo, id); err != nil {
			t.Errorf("a session that is alive expired: %v", err)
		}
	}
	if n := s.staged(t); n != 1 {
		t.Errorf("%d staged files, want that of the session with progress", n)
	}
}

// A chunk may take longer than the lifetime of an idle session.
func TestExpireSparesSessionsThatReceive(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	ctx := context.Background()
	id, idle := s.start(t, r), s.start(t, r)
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := r.Append(ctx, s.repo, id, 0, pr)
		done <- err
	}()
	if _, err := pw.Write([]byte("slow")); err != nil { // returns when Append has read it
		t.Fatal(err)
	}
	s.clock.advance(48 * time.Hour)
	if n, err := r.Expire(ctx, s.clock.Now().Add(-24*time.Hour)); err != nil || n != 1 {
		t.Fatalf("expired %d (%v), want the idle session alone", n, err)
	}
	if _, err := r.Session(ctx, s.repo, idle); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("the idle session is there: %v", err)
	}
	if err := pw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := s.size(t, r, id); n != 4 {
		t.Errorf("session has %d bytes", n)
	}
}

func TestCancelDuringAppend(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	ctx := context.Background()
	id := s.start(t, r)
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := r.Append(ctx, s.repo, id, 0, pr)
		done <- err
	}()
	if _, err := pw.Write([]byte("some")); err != nil {
		t.Fatal(err)
	}
	if err := r.Cancel(ctx, s.repo, id); err != nil {
		t.Fatal(err)
	}
	if err := pw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("the append of a cancelled session ended with %v", err)
	}
	if n := s.staged(t); n != 0 {
		t.Errorf("%d staged files are left", n)
	}
}

func TestPutLeavesNothingOnFailure(t *testing.T) {
	b := pattern(1, 1_000_000)
	for name, tc := range map[string]struct {
		body io.Reader
		set  func(*faulty)
		want error
	}{
		"client fails": {failing(b[:500_000], io.ErrUnexpectedEOF), func(*faulty) {}, io.ErrUnexpectedEOF},
		"disk full":    {bytes.NewReader(b), func(f *faulty) { f.room = 500_000 }, blob.ErrNoSpace},
		"close fails":  {bytes.NewReader(b), func(f *faulty) { f.closeErr = io.ErrClosedPipe }, io.ErrClosedPipe},
		"fsync fails":  {bytes.NewReader(b), func(f *faulty) { f.commitErr = io.ErrShortWrite }, io.ErrShortWrite},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStores(t)
			s.blobs.set(tc.set)
			if _, err := s.receiver().Put(context.Background(), s.target(), digest.FromBytes(b), tc.body); !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if n, m := s.staged(t), s.files(t); n != 0 || m != 0 {
				t.Errorf("%d staged and %d committed files are left", n, m)
			}
			if _, ok := s.member(t, digest.FromBytes(b)); ok {
				t.Error("a row is left")
			}
		})
	}
}

func TestConcurrentPutsOfOneBlob(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	b := pattern(1, 200_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := r.Put(context.Background(), s.target(), digest.FromBytes(b), bytes.NewReader(b)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	s.wantStored(t, digest.FromBytes(b), b)
	// Each push has a copy of its own; those that came second wait to be deleted.
	if n, m := s.staged(t), s.files(t); n != 0 || m != 8 {
		t.Errorf("%d staged and %d committed files", n, m)
	}
	err := s.db.View(context.Background(), func(tx *meta.Tx) error {
		trash, err := tx.OldTrash(s.clock.Now().Add(time.Second), 10)
		if len(trash) != 7 {
			t.Errorf("%d copies wait to be deleted, want 7", len(trash))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The repository goes while its upload runs: the answer says so, and no row
// points into nothing.
func TestRepositoryDeletedDuringUpload(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	ctx := context.Background()
	id := s.start(t, r)
	b := pattern(1, 10)
	if _, err := r.Append(ctx, s.repo, id, 0, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Update(ctx, func(tx *meta.Tx) error { return tx.DeleteRepository(s.repo) }); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Append(ctx, s.repo, id, 10, bytes.NewReader(b)); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("Append: %v", err)
	}
	if _, err := r.Complete(ctx, s.target(), id, digest.FromBytes(b)); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("Complete: %v", err)
	}
}
