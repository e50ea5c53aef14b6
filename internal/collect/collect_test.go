package collect_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/access/token"
	"berth/internal/blob"
	"berth/internal/blob/file"
	"berth/internal/collect"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/registry"
	"berth/internal/seal/sealtest"
)

var home = meta.Scope{Account: "123456789012", Region: "us-east-1"}

const (
	lease = time.Hour
	grace = 10 * time.Minute
)

var quiet = slog.New(slog.DiscardHandler)

// A lab is a registry with its collector, on a clock of its own.
type lab struct {
	t     testing.TB
	db    *meta.DB
	blobs *file.Store
	reg   *registry.Registry
	gc    *collect.Collector

	mu  sync.Mutex
	now time.Time
}

func newLab(t testing.TB) *lab {
	t.Helper()
	dir := t.TempDir()
	l := &lab{t: t, now: time.Unix(1_700_000_000, 0)}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	l.db, err = sqlite.Open(context.Background(), filepath.Join(dir, "meta.db"))
	must(err)
	t.Cleanup(func() { must(l.db.Close()) })
	ring, keys := sealtest.New(t, l.db, dir, l.clock)
	l.blobs, err = file.Open(file.System{}, dir, ring)
	must(err)
	tokens, err := token.New(bytes.Repeat([]byte{7}, token.KeySize), l.clock)
	must(err)
	l.reg = registry.New(registry.Options{
		DB: l.db, Blobs: l.blobs, Seal: ring, KMS: keys, Cursors: tokens, Log: quiet, Now: l.clock, MaxSmall: -1,
		Host: func(meta.Scope) string { return "registry.test" },
	})
	l.gc = l.collector()
	_, err = l.reg.CreateRepository(t.Context(), home, registry.NewRepository{Name: "app"})
	must(err)
	return l
}

func (l *lab) collector() *collect.Collector {
	return collect.New(collect.Options{DB: l.db, Blobs: l.blobs, Log: quiet, Now: l.clock, Lease: lease, Grace: grace})
}

func (l *lab) clock() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *lab) advance(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.now = l.now.Add(d)
}

func (l *lab) put(repository, text string) digest.Digest {
	l.t.Helper()
	d := digest.FromString(text)
	if _, err := l.reg.PutBlob(context.Background(), home, repository, d, bytes.NewReader([]byte(text))); err != nil {
		l.t.Fatal(err)
	}
	return d
}

// image pushes an image whose only blob is the config given.
func (l *lab) image(config digest.Digest, tag string) (digest.Digest, error) {
	body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":1},"layers":[],"annotations":{"tag":%q}}`, config, tag)
	p, err := l.reg.PutImage(context.Background(), home, "app", registry.Push{Body: body, Tags: []string{tag}})
	return p.Digest, err
}

func (l *lab) collect() collect.Report {
	l.t.Helper()
	r, err := l.gc.Collect(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	return r
}

// stored counts the copies in the blob store.
func (l *lab) stored() (n int) {
	l.t.Helper()
	if err := l.blobs.List(context.Background(), func(blob.Object) error { n++; return nil }); err != nil {
		l.t.Fatal(err)
	}
	return n
}

func (l *lab) has(d digest.Digest) bool {
	l.t.Helper()
	_, err := l.reg.ProbeBlob(context.Background(), home, "app", d)
	if err != nil && !registry.Is(err, registry.LayerNotFound) {
		l.t.Fatal(err)
	}
	return err == nil
}

// quay#6318: what was just uploaded, mounted or reported as there stays until
// a manifest can name it. zot#77: also when it is old and was only probed.
func TestInvariant03_ProbedBlobOutlivesCollection(t *testing.T) {
	l := newLab(t)
	d := l.put("app", "layer")
	for range 5 { // far beyond the first lease
		l.advance(lease - time.Second)
		l.collect()
		if !l.has(d) {
			t.Fatal("a blob with a lease was collected")
		}
	}
	if _, err := l.image(d, "v1"); err != nil {
		t.Fatalf("the manifest of a blob that was reported as there: %v", err)
	}
	l.advance(100 * lease)
	l.collect()
	if !l.has(d) {
		t.Fatal("a blob that an image lists was collected")
	}

	loose := l.put("app", "loose")
	l.advance(lease + time.Second)
	if r := l.collect(); r.Memberships != 1 || r.Blobs != 1 || r.Copies != 0 {
		t.Errorf("%+v, want one blob to die and no bytes to go yet", r)
	}
	if l.has(loose) {
		t.Error("a dead blob is reported as there")
	}
	if n := l.stored(); n != 2 {
		t.Errorf("%d copies within the time of grace, want 2", n)
	}
	l.advance(grace + time.Second)
	if r := l.collect(); r.Copies != 1 || r.Bytes != 5 || l.stored() != 1 {
		t.Errorf("%+v, %d copies left", r, l.stored())
	}
}

// harbor#12975 and its like: bytes go only when, at that moment, nothing refers
// to them. A blob that comes back between the plan and the deletion stays.
func TestInvariant02_DeletionRechecksReferences(t *testing.T) {
	l := newLab(t)
	d := l.put("app", "layer")
	l.advance(lease + time.Second)

	var page []meta.Membership
	err := l.db.View(t.Context(), func(tx *meta.Tx) (err error) {
		page, err = tx.Memberships(0, "", 10)
		return err
	})
	if err != nil || len(page) != 1 || page[0].Referenced {
		t.Fatalf("%+v, %v", page, err)
	}
	if _, err := l.image(d, "v1"); err != nil { // after the plan, before it is carried out
		t.Fatal(err)
	}
	err = l.db.Update(t.Context(), func(tx *meta.Tx) error {
		return tx.RemoveUnused(page[0].RepositoryID, page[0].Digest, l.clock())
	})
	if !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("a membership that an image needs by now was ended: %v", err)
	}
	err = l.db.Update(t.Context(), func(tx *meta.Tx) error { _, err := tx.DropBlob(page[0].BlobID, l.clock()); return err })
	if !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("a blob that a repository has was dropped: %v", err)
	}

	// Pushed again while the old copy waits to be deleted: the new one has
	// another name and stays.
	other := l.put("app", "other")
	l.advance(lease + time.Second)
	l.collect()
	l.put("app", "other")
	l.advance(grace + time.Second)
	if r := l.collect(); r.Copies != 1 {
		t.Errorf("%+v, want the old copy to go", r)
	}
	if !l.has(other) || !l.has(d) {
		t.Error("a blob that was pushed again is gone")
	}
}

// Collection waits for nothing that pushes hold, and the other way round.
func TestInvariant03_CollectionLetsPushesThrough(t *testing.T) {
	l := newLab(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				l.advance(time.Minute)
				if _, err := l.gc.Collect(context.Background()); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for i := range 60 {
		tag := fmt.Sprintf("v%d", i)
		d := l.put("app", "layer "+tag)
		img, err := l.image(d, tag)
		if registry.Is(err, registry.LayersMissing) {
			continue // the clock of this test runs so fast that a lease may end in between
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%3 == 0 {
			if _, _, err := l.reg.DeleteImages(context.Background(), home, "app", []registry.ImageRef{{Digest: img.String()}}); err != nil {
				t.Fatal(err)
			}
		} else if !l.has(d) {
			t.Fatalf("the layer of image %s is gone", tag)
		}
	}
	close(stop)
	wg.Wait()
}

// Every way to let go of bytes gives them back: deletion of images and
// repositories, and uploads that end without a blob.
func TestEverythingGivesItsBytesBack(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	img, err := l.image(l.put("app", "of an image"), "v1")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.reg.DeleteImages(ctx, home, "app", []registry.ImageRef{{Digest: img.String()}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.reg.CreateRepository(ctx, home, registry.NewRepository{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	l.put("other", "of a repository")
	u, err := l.reg.StartUpload(ctx, home, "other", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.reg.AppendUpload(ctx, home, "other", u.ID, 0, bytes.NewReader(make([]byte, 200_000))); err != nil {
		t.Fatal(err)
	}
	if _, err := l.reg.DeleteRepository(ctx, home, "other", true); err != nil {
		t.Fatal(err)
	}
	if n := l.stored(); n != 3 {
		t.Fatalf("%d copies and stages, want 3", n)
	}
	l.reg.Sweep(ctx)
	l.advance(lease + time.Second)
	l.collect()
	l.advance(grace + time.Second)
	l.collect()
	if n := l.stored(); n != 0 {
		t.Errorf("%d copies and stages are left", n)
	}
}

// harbor#22991: a collector that dies leaves no state that stops the next one.
func TestOneCollectsAtATime(t *testing.T) {
	l := newLab(t)
	err := l.db.Update(t.Context(), func(tx *meta.Tx) error {
		_, err := tx.Claim("collect", "a server that died", l.clock(), l.clock().Add(time.Minute))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.gc.Collect(t.Context()); !errors.Is(err, collect.ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
	l.advance(time.Minute)
	l.collect()
	if _, err := l.collector().Collect(t.Context()); err != nil {
		t.Errorf("the claim was not given back: %v", err)
	}
}

// Bytes that a backup may still copy stay.
func TestBackupKeepsBytes(t *testing.T) {
	l := newLab(t)
	l.put("app", "layer")
	l.advance(lease + time.Second)
	l.collect()
	l.advance(grace + time.Second)
	err := l.db.Update(t.Context(), func(tx *meta.Tx) error {
		_, err := tx.Claim(collect.BackupClaim, "a backup", l.clock(), l.clock().Add(time.Minute))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if r := l.collect(); !r.Waiting || l.stored() != 1 {
		t.Errorf("%+v, %d copies left", r, l.stored())
	}
	l.advance(time.Minute)
	if r := l.collect(); r.Waiting || r.Copies != 1 {
		t.Errorf("%+v", r)
	}
}
