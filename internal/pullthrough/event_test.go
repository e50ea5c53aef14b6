package pullthrough_test

import (
	"net/http"
	"strings"
	"testing"

	"berth/internal/meta"
	"berth/internal/testkit"
)

// told are the details of the pull-through cache's events.
func (b *bench) told() (out []string) {
	b.t.Helper()
	err := b.db.Update(b.t.Context(), func(tx *meta.Tx) error {
		if _, err := tx.PlaceEvents(nil, b.clock(), 1000); err != nil {
			return err
		}
		list, err := tx.Events(scope, 0, 1000)
		out = nil
		for _, e := range list {
			if e.Type == "ECR Pull Through Cache Action" {
				out = append(out, e.Detail)
			}
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// An image that arrives whole, and one that does not, are told of (ECR User
// Guide, "Sample events from Amazon ECR", pull through cache).
func TestEventsOfTheCache(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 100))
	b.wantTag(nginx, "latest", image)
	b.settled(nginx, "latest", image)
	b.eventually("the end of the import", b.cache.Idle)
	want := `{"rule-version":"1","sync-status":"SUCCESS","ecr-repository-prefix":"docker-hub","repository-name":"docker-hub/library/nginx",` +
		`"upstream-registry-url":"registry-1.docker.io","image-tag":"latest","image-digest":"` + image.Digest().String() + `"}`
	if got := b.told(); len(got) != 1 || got[0] != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	bad := b.upstream.put("library/nginx", "bad", testkit.RandomImage(t, 1, 200))
	b.upstream.do(func(w http.ResponseWriter, _ *http.Request, blob testkit.Blob) bool {
		if blob.Descriptor.Digest == bad.Blobs[1].Descriptor.Digest {
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	})
	b.wantTag(nginx, "bad", bad)
	b.eventually("the failure is told", func() bool { return len(b.told()) == 2 })
	if got := b.told()[1]; !strings.Contains(got, `"sync-status":"FAILED"`) || !strings.Contains(got, `"image-tag":"bad"`) || !strings.Contains(got, `"failure-reason":"`) {
		t.Errorf("got %s", got)
	}
}
