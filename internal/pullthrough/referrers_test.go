package pullthrough_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/registry"
	"berth/internal/testkit"
)

// Who refers to an image is asked for once a day, and what came late follows. An
// upstream that does not answer is an error only when it never did.
func TestReferrersOfTheUpstream(t *testing.T) {
	b := newBench(t)
	down, lists := true, true
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, _ testkit.Blob) bool {
		asked := strings.Contains(r.URL.Path, "/referrers/") || strings.Contains(r.URL.Path, "/manifests/sha256-")
		lists = lists || asked
		if down && asked {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1000))
	b.wantTag(nginx, "latest", image)
	b.settled(nginx, "latest", image)
	referrers := func() (int, error) {
		t.Helper()
		if err := b.cache.Referrers(t.Context(), b.pull(nginx), image.Digest()); err != nil {
			return 0, err
		}
		found, _, err := b.registry.Referrers(t.Context(), scope, nginx, image.Digest().String(), "", 0, 10)
		return len(found), err
	}
	_, err := referrers()
	wantCode(t, "never asked", err, registry.UpstreamUnavailable)
	if refused, ok := err.(*registry.Error); !ok || refused.Form().Exception != "UnableToListUpstreamImageReferrersException" {
		t.Errorf("the exception of %v", err)
	}
	b.deny("BatchImportUpstreamImage", true)
	if n, err := referrers(); n != 0 || err != nil {
		t.Errorf("for who may not import: %d, %v", n, err)
	}
	b.deny("BatchImportUpstreamImage", false)
	if err := b.cache.Referrers(t.Context(), b.pull("docker-hub/library/none"), image.Digest()); err != nil {
		t.Errorf("of no repository: %v", err)
	}

	down = false
	if n, err := referrers(); n != 0 || err != nil {
		t.Errorf("the upstream has none: %d, %v", n, err)
	}
	signature := testkit.Artifact(t, "application/vnd.example.signature", []byte("signed"), &image)
	b.upstream.put("library/nginx", "", signature)
	list := testkit.Index(t, signature)
	b.upstream.mu.Lock()
	b.upstream.files["library/nginx/referrers/"+image.Digest().String()] = list.Root
	b.upstream.mu.Unlock()
	lists = false
	if n, err := referrers(); n != 0 || err != nil || lists {
		t.Errorf("within a day: %d, %v, asked: %t", n, err, lists)
	}
	b.advance(25 * time.Hour)
	down = true
	if n, err := referrers(); n != 0 || err != nil || !lists {
		t.Errorf("after a day, without the upstream: %d, %v, asked: %t", n, err, lists)
	}
	down = false
	b.advance(2 * time.Minute)
	if n, err := referrers(); n != 1 || err != nil {
		t.Errorf("after a day: %d, %v", n, err)
	}
}
