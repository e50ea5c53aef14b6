package upload_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/blob/file"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/seal"
	"berth/internal/seal/sealtest"
	"berth/internal/upload"
)

const account = "000000000000"

// stores are what a receiver works on, with one repository in them.
type stores struct {
	dir   string
	db    *meta.DB
	ring  *seal.Ring
	blobs *faulty
	repo  int64
	clock *clock

	maxSmall int // of receivers
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newStores(t testing.TB) *stores {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlite.Open(context.Background(), filepath.Join(dir, "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &stores{maxSmall: -1, dir: dir, db: db, clock: &clock{now: time.Unix(1_700_000_000, 0)}}
	s.ring, _ = sealtest.New(t, db, dir, s.clock.Now)
	if err := s.ring.Ensure(context.Background(), seal.Domain{Account: account}); err != nil {
		t.Fatal(err)
	}
	files, err := file.Open(file.System{}, dir, s.ring)
	if err != nil {
		t.Fatal(err)
	}
	s.blobs = &faulty{Store: files}
	s.repo = s.addRepository(t, "app")
	return s
}

func (s *stores) addRepository(t testing.TB, name string) int64 {
	t.Helper()
	r := &meta.Repository{Scope: meta.Scope{Account: account, Region: "us-east-1"}, Name: name, Mutability: "MUTABLE", Encryption: "AES256"}
	if err := s.db.Update(context.Background(), func(tx *meta.Tx) error { return tx.InsertRepository(r) }); err != nil {
		t.Fatal(err)
	}
	return r.ID
}

// receiver is a new process over the same stores.
func (s *stores) receiver() *upload.Receiver {
	r := upload.New(s.db, s.blobs, s.ring, s.clock.Now)
	r.MaxSmall = s.maxSmall
	return r
}

func (s *stores) target() upload.Target { return upload.Target{RepositoryID: s.repo, Domain: account} }

func (s *stores) start(t testing.TB, r *upload.Receiver) string {
	t.Helper()
	u, err := r.Start(context.Background(), s.target(), "")
	if err != nil {
		t.Fatal(err)
	}
	return u.ID
}

// size is what the session's row says.
func (s *stores) size(t testing.TB, r *upload.Receiver, id string) int64 {
	t.Helper()
	u, err := r.Session(context.Background(), s.repo, id)
	if err != nil {
		t.Fatal(err)
	}
	return u.Size
}

// member is the row through which the repository reaches a blob.
func (s *stores) member(t testing.TB, d digest.Digest) (meta.Member, bool) {
	t.Helper()
	var m meta.Member
	err := s.db.View(context.Background(), func(tx *meta.Tx) (err error) {
		m, err = tx.Member(s.repo, d.String())
		return err
	})
	if err != nil && !errors.Is(err, meta.ErrNotFound) {
		t.Fatal(err)
	}
	return m, err == nil
}

// wantStored fails unless the blob is a member and its bytes are exactly want.
func (s *stores) wantStored(t testing.TB, d digest.Digest, want []byte) {
	t.Helper()
	m, ok := s.member(t, d)
	if !ok {
		t.Fatalf("%s is not in the repository", d)
	}
	got, err := s.read(m.Blob)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) || m.Size != int64(len(want)) {
		t.Fatalf("stored %d bytes, row says %d, want %d (equal: %v)", len(got), m.Size, len(want), bytes.Equal(got, want))
	}
}

// read gives the bytes of a row, wherever they lie.
func (s *stores) read(b meta.Blob) ([]byte, error) {
	var f blob.Reader
	var err error
	if upload.IsSmall(b) {
		f, err = upload.OpenSmall(context.Background(), s.ring, b)
	} else {
		f, err = s.blobs.Open(context.Background(), copyOf(b))
	}
	if err != nil {
		return nil, err
	}
	got, err := io.ReadAll(f)
	return got, errors.Join(err, f.Close())
}

func copyOf(b meta.Blob) blob.Copy {
	return blob.Copy{Domain: b.Domain, ID: b.Location, DataKey: b.DataKey, Size: b.Size}
}

// list finds the files of the blob store, staged and committed.
func (s *stores) list(t testing.TB) (staged, committed []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, "blobs"), func(p string, d os.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
		case strings.HasSuffix(p, ".part"):
			staged = append(staged, p)
		default:
			committed = append(committed, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return staged, committed
}

// staged counts the files in the staging area.
func (s *stores) staged(t testing.TB) int {
	staged, _ := s.list(t)
	return len(staged)
}

// files counts the committed blobs.
func (s *stores) files(t testing.TB) int {
	_, committed := s.list(t)
	return len(committed)
}

// stagedFile is the one file in the staging area.
func (s *stores) stagedFile(t testing.TB) string {
	t.Helper()
	staged, _ := s.list(t)
	if len(staged) != 1 {
		t.Fatalf("%d staged files, want 1", len(staged))
	}
	return staged[0]
}

// stage is the stage of a session.
func (s *stores) stage(t testing.TB, id string) blob.Stage {
	t.Helper()
	var stage blob.Stage
	u, err := s.receiver().Session(context.Background(), s.repo, id)
	if err == nil {
		stage, err = s.receiver().Stage(context.Background(), u)
	}
	if err != nil {
		t.Fatal(err)
	}
	return stage
}

// readStaged gives the bytes of a session.
func (s *stores) readStaged(t testing.TB, id string) []byte {
	t.Helper()
	f, err := s.blobs.OpenStaged(context.Background(), s.stage(t, id))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

// A faulty store fails where it is told to.
type faulty struct {
	blob.Store
	mu        sync.Mutex
	room      int64 // bytes that can be written before the disk is full; 0: no limit
	closeErr  error
	commitErr error
}

func (f *faulty) set(change func(*faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faulty) Append(ctx context.Context, s blob.Stage) (blob.Staged, error) {
	w, err := f.Store.Append(ctx, s)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return &faultyStaged{Staged: w, room: f.room, limited: f.room > 0, closeErr: f.closeErr}, nil
}

func (f *faulty) Commit(ctx context.Context, s blob.Stage) (blob.Copy, error) {
	f.mu.Lock()
	err := f.commitErr
	f.mu.Unlock()
	if err != nil {
		return blob.Copy{}, err
	}
	return f.Store.Commit(ctx, s)
}

type faultyStaged struct {
	blob.Staged
	room     int64
	limited  bool
	closeErr error
}

// Write is a short write once the room is used up, as on a full disk.
func (w *faultyStaged) Write(p []byte) (int, error) {
	if !w.limited || int64(len(p)) <= w.room {
		n, err := w.Staged.Write(p)
		w.room -= int64(n)
		return n, err
	}
	n, err := w.Staged.Write(p[:w.room])
	w.room -= int64(n)
	return n, errors.Join(err, blob.ErrNoSpace, syscall.ENOSPC)
}

func (w *faultyStaged) Close() (blob.Stage, error) {
	s, err := w.Staged.Close()
	return s, errors.Join(err, w.closeErr)
}

// failing gives its bytes and then its error, as a connection that breaks.
func failing(b []byte, err error) io.Reader {
	return io.MultiReader(bytes.NewReader(b), errReader{err})
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

// pattern is n bytes that differ by seed and place.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i*31) + byte(i>>8)
	}
	return b
}
