package pullthrough_test

import (
	"net/http"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

// cached is a bench with an image that was pulled.
func cached(t *testing.T) (*bench, testkit.Content) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1000))
	b.wantTag(nginx, "latest", image)
	b.settled(nginx, "latest", image)
	b.eventually("the end of the import", b.cache.Idle)
	return b, image
}

const head = "HEAD library/nginx/manifests/latest"

// A tag is served for a day without asking; then one HEAD decides.
func TestTagIsCheckedAfterADay(t *testing.T) {
	b, old := cached(t)
	before := b.upstream.total()
	b.advance(24*time.Hour - time.Second)
	b.wantTag(nginx, "latest", old)
	if n := b.upstream.total(); n != before {
		t.Fatalf("%d requests within the day", n-before)
	}
	b.advance(2 * time.Second)
	b.wantTag(nginx, "latest", old)
	b.wantTag(nginx, "latest", old)
	if n := b.upstream.total(); n != before+1 || b.upstream.asked(head) != 1 {
		t.Fatalf("%d requests, %d of them HEAD, for a tag that is the same", n-before, b.upstream.asked(head))
	}
	fresh := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 2000))
	b.advance(23 * time.Hour)
	b.wantTag(nginx, "latest", old)
	b.advance(2 * time.Hour)
	b.wantTag(nginx, "latest", fresh)
	b.wantAll(nginx, fresh)
	b.settled(nginx, "latest", fresh)
	if err := b.digest(nginx, old.Digest()); err != nil {
		t.Errorf("the image that the tag named before: %v", err)
	}
	b.advance(48 * time.Hour) // digests never change
	before = b.upstream.total()
	if err := b.digest(nginx, fresh.Digest()); err != nil || b.upstream.total() != before {
		t.Errorf("a digest was asked for again: %v", err)
	}
}

// An upstream that fails, or has nothing any more, takes nothing away.
func TestStaleIsServedOnError(t *testing.T) {
	b, image := cached(t)
	for name, fail := range map[string]func(w http.ResponseWriter, r *http.Request){
		"500": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"404": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) },
		"403": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) },
		"cut": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no digest": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
		},
		"a successor that cannot be fetched": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				w.Header().Set("Docker-Content-Digest", "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
				return
			}
			w.WriteHeader(http.StatusInternalServerError)
		},
	} {
		b.advance(25 * time.Hour)
		b.upstream.do(func(w http.ResponseWriter, r *http.Request, _ testkit.Blob) bool { fail(w, r); return true })
		before := b.upstream.total()
		for range 3 { // who failed just now is left alone for a while
			b.wantTag(nginx, "latest", image)
		}
		if n := b.upstream.total() - before; n < 1 || n > 3 { // net/http asks once more when an idle connection breaks
			t.Errorf("%s: %d requests", name, n)
		}
	}
	b.upstream.Close()
	b.advance(25 * time.Hour)
	b.wantTag(nginx, "latest", image)
	b.wantAll(nginx, image)
	b.upstream.do(nil)
}

// An upstream that does not answer holds nobody up for long.
func TestSlowCheckServesWhatIsHere(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for seconds")
	}
	b, image := cached(t)
	stop := make(chan struct{})
	defer close(stop)
	b.upstream.do(func(http.ResponseWriter, *http.Request, testkit.Blob) bool { <-stop; return false })
	b.advance(25 * time.Hour)
	began := time.Now()
	b.wantTag(nginx, "latest", image)
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("the pull took %s", d)
	}
}

// An immutable tag keeps the image that it was cached with.
func TestImmutableTagIsNotRefreshed(t *testing.T) {
	b, image := cached(t)
	if _, err := b.registry.SetMutability(t.Context(), scope, nginx, registry.Mutability{Mode: registry.Immutable}); err != nil {
		t.Fatal(err)
	}
	b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 2000))
	b.advance(25 * time.Hour)
	before := b.upstream.total()
	b.wantTag(nginx, "latest", image)
	if b.upstream.total() != before {
		t.Error("the upstream was asked")
	}
}

// A tag that somebody pushed here is theirs, and a rule that is gone asks nobody.
func TestPushedTagStays(t *testing.T) {
	b, _ := cached(t)
	own := testkit.RandomImage(t, 1, 500)
	for _, blob := range own.Blobs {
		if _, err := b.registry.PutBlob(t.Context(), scope, nginx, blob.Descriptor.Digest, reader(blob.Bytes)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := b.registry.PutImage(t.Context(), scope, nginx, registry.Push{MediaType: own.Root.Descriptor.MediaType, Body: own.Root.Bytes, Tags: []string{"latest", "mine"}}); err != nil {
		t.Fatal(err)
	}
	b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 2000))
	b.advance(25 * time.Hour)
	before := b.upstream.total()
	b.wantTag(nginx, "latest", own)
	b.wantTag(nginx, "mine", own)
	if _, err := b.registry.DeleteCacheRule(t.Context(), scope, "docker-hub"); err != nil {
		t.Fatal(err)
	}
	_, err := b.tag(nginx, "other")
	wantCode(t, "without a rule", err, registry.ImageNotFound)
	if b.upstream.total() != before {
		t.Error("the upstream was asked")
	}
}

// A cached blob is shared with repositories that never heard of the cache. That
// the cached repository goes, or its image, takes nothing from them
// (distribution#2367, #4191, #1356).
func TestCachedBlobExpiresForItsRepositoryOnly(t *testing.T) {
	b, image := cached(t)
	if _, err := b.registry.CreateRepository(t.Context(), scope, registry.NewRepository{Name: "own"}); err != nil {
		t.Fatal(err)
	}
	layer := image.Blobs[1]
	if _, mounted, err := b.registry.MountBlob(t.Context(), scope, "own", nginx, layer.Descriptor.Digest); err != nil || !mounted {
		t.Fatalf("mounted %t, %v", mounted, err)
	}
	if _, err := b.registry.DeleteRepository(t.Context(), scope, nginx, true); err != nil {
		t.Fatal(err)
	}
	if data, err := b.blob("own", layer.Descriptor.Digest); err != nil || string(data) != string(layer.Bytes) {
		t.Errorf("the other repository: %d bytes, %v", len(data), err)
	}
	b.wantTag(nginx, "latest", image) // and the cache fetches it again
	b.settled(nginx, "latest", image)
	b.wantAll(nginx, image)
}

// What never arrived is forgotten after a day, and can be fetched again.
func TestSweep(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1000))
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, blob testkit.Blob) bool {
		if blob.Descriptor.Digest == image.Blobs[1].Descriptor.Digest {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	b.wantTag(nginx, "latest", image)
	b.eventually("the end of the import", b.cache.Idle)
	kept := func() (n int) {
		repo, err := b.registry.Repository(t.Context(), scope, nginx)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.db.View(t.Context(), func(tx *meta.Tx) error {
			list, err := tx.CachedManifests(repo.ID, 10)
			n = len(list)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if kept() != 1 {
		t.Fatalf("%d manifests are on their way", kept())
	}
	b.advance(25 * time.Hour)
	if err := b.registry.SweepArriving(t.Context(), b.clock().Add(-24*time.Hour)); err != nil || kept() != 0 {
		t.Errorf("%d manifests stay, %v", kept(), err)
	}
	b.upstream.do(nil)
	b.wantTag(nginx, "latest", image)
	b.settled(nginx, "latest", image)
}

// A repository that a pull creates has the settings of its template.
func TestTemplateCreatesTheRepository(t *testing.T) {
	b := newBench(t)
	if _, err := b.registry.CreateTemplate(t.Context(), scope, "docker-hub", registry.TemplateChange{
		AppliedFor: []string{registry.ForPullThrough}, Mutability: &registry.Mutability{Mode: registry.Immutable},
	}); err != nil {
		t.Fatal(err)
	}
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1000))
	b.wantTag(nginx, "latest", image)
	b.settled(nginx, "latest", image)
	repo, err := b.registry.Repository(t.Context(), scope, nginx)
	if err != nil || repo.Mutability != registry.Immutable {
		t.Errorf("the repository is %s, %v", repo.Mutability, err)
	}
}
