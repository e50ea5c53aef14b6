package pullthrough_test

import (
	"net/http"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/pullthrough"
	"berth/internal/testkit"
)

// status is what is counted of the one rule.
func (b *bench) status() pullthrough.Status {
	b.t.Helper()
	rules, _, err := b.registry.CacheRules(b.t.Context(), scope, []string{"docker-hub"}, "", 10)
	if err != nil {
		b.t.Fatal(err)
	}
	out, err := b.cache.Status(b.t.Context(), scope, rules)
	if err != nil || len(out) != 1 || out[0].Rule.Prefix != "docker-hub" {
		b.t.Fatalf("%+v, %v", out, err)
	}
	return out[0]
}

// What a rule does is counted, and outlives the cache that counted it.
func TestCountsOfARule(t *testing.T) {
	b := newBench(t)
	if s := b.status(); s.CacheCounts != (meta.CacheCounts{}) || !s.Limit.At.IsZero() {
		t.Errorf("before anything: %+v", s)
	}
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 2, 100<<10))
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, _ testkit.Blob) bool {
		w.Header().Set("RateLimit-Limit", "100;w=21600")
		w.Header().Set("RateLimit-Remaining", "99;w=21600")
		return false
	})
	b.wantTag(nginx, "latest", image)
	b.settled(nginx, "latest", image)
	var size int64
	for _, blob := range image.Blobs {
		size += blob.Descriptor.Size
	}
	want := meta.CacheCounts{Misses: 1, Requests: int64(b.upstream.total()), Fetched: 3, FetchedBytes: size}
	b.eventually("the end of the import", b.cache.Idle)
	want.Requests = int64(b.upstream.total())
	got := b.status()
	if limit := (meta.CacheLimit{Pulls: 100, Remaining: 99, Window: 6 * time.Hour, At: b.clock().UTC()}); got.Limit != limit {
		t.Errorf("the limit is %+v, want %+v", got.Limit, limit)
	}
	// Who refers to the image is asked for in two ways, which count as one request.
	if want.Requests--; got.CacheCounts != want {
		t.Errorf("after the first pull %+v, want %+v", got.CacheCounts, want)
	}
	b.wantTag(nginx, "latest", image)
	b.wantAll(nginx, image)
	want.Hits, want.Served, want.ServedBytes = 2, 3, size
	b.cache.Close()
	b.open()
	if got := b.status(); got.CacheCounts != want {
		t.Errorf("after the second pull, in another cache: %+v, want %+v", got.CacheCounts, want)
	}
	if n := len(b.cache.Stats()); n != 0 {
		t.Errorf("the new cache counted %d rules itself", n)
	}
}

// Who reads a blob on its way after the first saves the upstream as much.
func TestSharedFlightSaves(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1<<20))
	layer := image.Blobs[1]
	goOn := make(chan struct{})
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, blob testkit.Blob) bool {
		if blob.Descriptor.Digest == layer.Descriptor.Digest {
			<-goOn
		}
		return false
	})
	b.wantTag(nginx, "latest", image)
	for range 3 {
		s, err := b.cache.Blob(t.Context(), b.pull(nginx), layer.Descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Reader.Close() }()
	}
	close(goOn)
	b.settled(nginx, "latest", image)
	if s := b.status(); s.Served != 2 || s.ServedBytes != 2*layer.Descriptor.Size {
		t.Errorf("%+v", s.CacheCounts)
	}
}

// A registry that says that too much was asked of it is seen to be left alone.
func TestStatusOfSilence(t *testing.T) {
	b := newBench(t)
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, _ testkit.Blob) bool {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
		return true
	})
	if _, err := b.tag(nginx, "latest"); err == nil {
		t.Error("the upstream gave something")
	}
	if s := b.status(); !s.SilentUntil.Equal(b.clock().Add(10*time.Minute)) || s.Misses != 1 || s.Hits != 0 {
		t.Errorf("%+v", s)
	}
	b.advance(11 * time.Minute)
	if s := b.status(); !s.SilentUntil.IsZero() {
		t.Errorf("later: %+v", s)
	}
}
