package audit_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/audit"
	"berth/internal/blob"
	"berth/internal/blob/cold"
	"berth/internal/blob/file"
	"berth/internal/kms/keyring"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/seal/sealtest"
)

// shared is a layer that compresses.
var shared = strings.Repeat("a text that comes again and again. ", 10_000)

// newArchive is a bench with a mover over a main and a second store; the second
// can be made to fail.
func newArchive(t *testing.T, second blob.Store, lease time.Duration) (*bench, *audit.Mover) {
	t.Helper()
	b := newBench(t)
	stores := cold.New(b.blobs, second)
	b.rewire(stores)
	return b, b.Auditor.NewMover(audit.MoveOptions{Lease: lease})
}

// setClass archives or restores the image of a tag.
func (b *bench) setClass(tag, class string) {
	b.t.Helper()
	if _, _, err := b.SetStorageClass(b.t.Context(), scope, "app", registry.ImageRef{Tag: tag}, class); err != nil {
		b.t.Fatal(err)
	}
}

// status is that of the image of a tag.
func (b *bench) status(tag string) string {
	b.t.Helper()
	if err := b.FinishRestores(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	list, _, err := b.DescribeImages(b.t.Context(), scope, "app", []registry.ImageRef{{Tag: tag}}, registry.ImageFilter{}, "", 10)
	if err != nil {
		b.t.Fatal(err)
	}
	return list[0].Status
}

// pull reads a layer as clients do.
func (b *bench) pull(ctx context.Context, d digest.Digest) (string, error) {
	f, err := b.OpenBlob(ctx, scope, "app", d)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(f.Reader)
	return string(text), errors.Join(err, f.Reader.Close())
}

func do(t *testing.T, round func(context.Context) error) {
	t.Helper()
	if err := round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// TestInvariant03_LeasedBlobIsNotArchived: what was just pushed or probed stays
// where it is, and so does what an image lists that is not archived.
func TestInvariant03_LeasedBlobIsNotArchived(t *testing.T) {
	t.Parallel()
	b, soon := newArchive(t, nil, time.Nanosecond)
	late := b.NewMover(audit.MoveOptions{Lease: time.Hour})
	d := b.image("app", "v1", shared)
	moves := func(m *audit.Mover, want bool) {
		t.Helper()
		do(t, m.Archive)
		if row := b.blob(d); row.Moved() != want {
			t.Errorf("moved: %t, want %t: %+v", row.Moved(), want, row)
		}
	}
	moves(soon, false) // active
	b.setClass("v1", registry.StorageArchive)
	moves(late, false) // leased
	b.update(func(tx *meta.Tx) error {
		repo, err := tx.Repository(scope, "app")
		return errors.Join(err, tx.RenewLease(repo.ID, d.String(), time.Now().Add(time.Hour)))
	})
	moves(soon, false) // leased by a server whose clock is ahead
	b.update(func(tx *meta.Tx) error {
		repo, err := tx.Repository(scope, "app")
		return errors.Join(err, tx.RenewLease(repo.ID, d.String(), time.Now()))
	})
	b.image("other", "v1", shared)
	moves(soon, false) // an active image of another repository
	if _, _, err := b.SetStorageClass(t.Context(), scope, "other", registry.ImageRef{Tag: "v1"}, registry.StorageArchive); err != nil {
		t.Fatal(err)
	}
	moves(soon, true)
	if b.Auditor.Blobs.(*cold.Store).Second != nil || b.blob(d).Cold {
		t.Error("it went to a store that is not there")
	}
}

// TestInvariant02_MoveKeepsBytesReadable reads a layer all the time while its
// image is archived and restored: every pull gets all of it, and no image is
// ACTIVE while its layer is away.
func TestInvariant02_MoveKeepsBytesReadable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, second := range []bool{false, true} {
		b, m := newArchive(t, nil, time.Nanosecond)
		if second {
			b.rewire(cold.New(b.blobs, b.openFile(dir)))
			m = b.NewMover(audit.MoveOptions{Lease: time.Nanosecond})
		}
		d := b.image("app", "v1", shared)
		ctx, stop := context.WithCancel(t.Context())
		var readers sync.WaitGroup
		var pulls atomic.Int64
		for range 2 {
			readers.Go(func() {
				for ctx.Err() == nil {
					text, err := b.pull(context.WithoutCancel(ctx), d)
					if err != nil || text != shared {
						t.Errorf("a pull while bytes move: %d bytes, %v", len(text), err)
						return
					}
					pulls.Add(1)
				}
			})
		}
		for range 8 {
			b.setClass("v1", registry.StorageArchive)
			do(t, m.Archive)
			if row := b.blob(d); !row.Moved() || row.Cold != second || row.Packed == 0 {
				t.Errorf("archived: %+v", row)
			}
			b.setClass("v1", registry.StorageStandard)
			if status := b.status("v1"); status != meta.ImageActivating {
				t.Errorf("%s while its layer is away", status)
			}
			do(t, m.Archive) // is not in the way
			do(t, m.Restore)
			if row := b.blob(d); row.Moved() {
				t.Errorf("restored: %+v", row)
			}
			if status := b.status("v1"); status != meta.ImageActive {
				t.Errorf("%s when its layer is back", status)
			}
		}
		stop()
		readers.Wait()
		if pulls.Load() < 8 {
			t.Errorf("only %d pulls", pulls.Load())
		}
		if r := b.check(audit.Options{Deep: true}); !r.Clean() {
			t.Errorf("%+v", r)
		}
	}
}

// TestInvariant04_DamagedArchiveIsNeverServed: a compressed copy that was changed
// is found by whoever reads it first and never served; its image can be restored
// all the same, and the next push repairs it.
func TestInvariant04_DamagedArchiveIsNeverServed(t *testing.T) {
	t.Parallel()
	for name, finder := range map[string]func(*bench, *audit.Mover, digest.Digest) error{
		"a pull": func(b *bench, _ *audit.Mover, d digest.Digest) error {
			if text, err := b.pull(context.Background(), d); err == nil || len(text) == len(shared) {
				return errors.New("it was served")
			}
			return nil
		},
		"a restore": func(_ *bench, m *audit.Mover, _ digest.Digest) error { return m.Restore(context.Background()) },
		"a check": func(b *bench, _ *audit.Mover, _ digest.Digest) error {
			r, err := b.Auditor.Check(context.Background(), audit.Options{Deep: true, Repair: true})
			if kinds(r) != audit.DamagedBlob {
				return errors.New("it was not found")
			}
			return err
		},
		"the scrubber": func(b *bench, _ *audit.Mover, _ digest.Digest) error {
			return b.NewScrubber(audit.ScrubOptions{Every: time.Nanosecond, Rate: 1 << 30}).Round(context.Background())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, m := newArchive(t, nil, time.Nanosecond)
			d := b.image("app", "v1", shared)
			b.setClass("v1", registry.StorageArchive)
			do(t, m.Archive)
			flip(t, b.file(b.blob(d).Location))
			b.setClass("v1", registry.StorageStandard)
			if err := finder(b, m, d); err != nil {
				t.Error(err)
			}
			if !b.blob(d).Damaged {
				t.Error("it was not noted")
			}
			do(t, m.Restore)
			if status := b.status("v1"); status != meta.ImageActive {
				t.Errorf("an image whose layer cannot come back is %s", status)
			}
			if _, err := b.pull(t.Context(), d); err == nil {
				t.Error("damaged bytes were served")
			}
			if _, err := b.PutBlob(t.Context(), scope, "app", d, strings.NewReader(shared)); err != nil {
				t.Fatal(err)
			}
			if text, err := b.pull(t.Context(), d); err != nil || text != shared {
				t.Errorf("after a push: %d bytes, %v", len(text), err)
			}
		})
	}
}

// A failing store takes no bytes, loses them, or cannot be reached.
type failingStore struct {
	blob.Store
	open, commit error
}

func (s *failingStore) Open(ctx context.Context, c blob.Copy) (blob.Reader, error) {
	if s.open != nil {
		return nil, s.open
	}
	return s.Store.Open(ctx, c)
}

func (s *failingStore) Commit(ctx context.Context, st blob.Stage) (blob.Copy, error) {
	if s.commit != nil {
		return blob.Copy{}, s.commit
	}
	return s.Store.Commit(ctx, st)
}

// TestSecondStoreFails: what cannot be moved stays, what cannot be read back is
// not trusted, what cannot be reached is waited for, and none of it is damage.
func TestSecondStoreFails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	second := &failingStore{Store: b.openFile(t.TempDir())}
	b.rewire(cold.New(b.blobs, second))
	m := b.NewMover(audit.MoveOptions{Lease: time.Nanosecond})
	d := b.image("app", "v1", shared)
	b.setClass("v1", registry.StorageArchive)
	for name, fault := range map[string]failingStore{
		"is full": {commit: blob.ErrNoSpace}, "lost what was staged": {commit: blob.ErrNotFound}, "gives other bytes": {open: blob.ErrDamaged}, "is away": {open: blob.ErrUnavailable},
	} {
		second.open, second.commit = fault.open, fault.commit
		if err := m.Archive(t.Context()); err == nil {
			t.Errorf("a second store that %s is no error", name)
		}
		if row := b.blob(d); row.Moved() || row.Damaged {
			t.Errorf("after a second store that %s: %+v", name, row)
		}
	}
	if m.Failures.Load() != 4 || m.Archived.Load() != 0 {
		t.Errorf("%d failures, %d moves", m.Failures.Load(), m.Archived.Load())
	}
	second.open, second.commit = nil, nil
	do(t, m.Archive)
	if row := b.blob(d); !row.Cold {
		t.Errorf("%+v", row)
	}
	b.setClass("v1", registry.StorageStandard)
	second.open = blob.ErrUnavailable
	if err := m.Restore(t.Context()); err == nil {
		t.Error("a second store that is away is no error")
	}
	if row := b.blob(d); row.Damaged || b.status("v1") != meta.ImageActivating {
		t.Errorf("an image whose layer cannot be reached is %s: %+v", b.status("v1"), row)
	}
	second.open = nil
	do(t, m.Restore)
	if status := b.status("v1"); status != meta.ImageActive {
		t.Error(status)
	}
}

// TestMoversTakeTurns: of several servers one archives, and a restore does not
// wait for it.
func TestMoversTakeTurns(t *testing.T) {
	t.Parallel()
	b, m := newArchive(t, nil, time.Nanosecond)
	d := b.image("app", "v1", shared)
	b.setClass("v1", registry.StorageArchive)
	hold := func(name string) {
		b.update(func(tx *meta.Tx) error {
			mine, err := tx.Claim(name, "another", time.Now(), time.Now().Add(time.Hour))
			if !mine {
				t.Errorf("the claim %s is taken", name)
			}
			return err
		})
	}
	hold("archive")
	if err := m.Archive(t.Context()); !errors.Is(err, audit.ErrBusy) {
		t.Errorf("archived beside another: %v", err)
	}
	b.update(func(tx *meta.Tx) error { return tx.Release("archive", "another") })
	do(t, m.Archive)
	hold("archive")
	b.setClass("v1", registry.StorageStandard)
	do(t, m.Restore)
	if row := b.blob(d); row.Moved() {
		t.Errorf("%+v", row)
	}
	b.setClass("v1", registry.StorageStandard)
	hold("restore")
	do(t, m.Restore) // nothing is away: no claim is asked for
}

// openFile opens another store of files.
func (b *bench) openFile(dir string) *file.Store {
	b.t.Helper()
	s, err := file.Open(file.System{}, dir, b.ring)
	if err != nil {
		b.t.Fatal(err)
	}
	return s
}

// TestStoreThatFailsUnderNewKeys: when a copy under a new key cannot be kept, the
// old one is as good as it was, and the next rotation goes on.
func TestStoreThatFailsUnderNewKeys(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := b.image("app", "v1", shared)
	master, err := keyring.Open(filepath.Join(b.dir, sealtest.MasterKey))
	if err != nil {
		t.Fatal(err)
	}
	keys := audit.Keys{Master: master}
	failing := &failingStore{Store: b.blobs, commit: blob.ErrNotFound}
	b.rewire(failing)
	before := b.blob(d)
	r, err := b.Rotate(t.Context(), keys, audit.RotateOptions{DataKeys: true, Reencrypt: true, Settle: time.Microsecond})
	if now := b.blob(d); err == nil || r.Damaged != 0 || now.Damaged || now.Location != before.Location {
		t.Errorf("%+v, %v: the row is %+v", r, err, now)
	}
	failing.commit = nil
	r, err = b.Rotate(t.Context(), keys, audit.RotateOptions{Reencrypt: true, Settle: time.Microsecond})
	if now := b.blob(d); err != nil || r.Blobs == 0 || now.Location == before.Location {
		t.Errorf("%+v, %v: the row is %+v", r, err, now)
	}
}
