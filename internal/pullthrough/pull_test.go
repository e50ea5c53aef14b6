package pullthrough_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"berth/internal/registry"
	"berth/internal/testkit"
)

const nginx = "docker-hub/library/nginx"

// The first pull gets the upstream's image and leaves it here whole; the next ones
// ask the upstream for nothing.
func TestCachedImageIsFetchedOnce(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 3, 200<<10))
	b.wantTag(nginx, "latest", image)
	b.wantAll(nginx, image)
	b.settled(nginx, "latest", image)
	b.eventually("the end of the import", b.cache.Idle)
	before := b.upstream.total()
	for range 3 {
		b.wantTag(nginx, "latest", image)
		b.wantAll(nginx, image)
	}
	if n := b.upstream.total(); n != before {
		t.Errorf("%d more requests", n-before)
	}
	for blob := range image.All() {
		if n := b.upstream.asked("GET library/nginx/blobs/" + blob.Descriptor.Digest.String()); n > 1 {
			t.Errorf("%s was fetched %d times", blob.Descriptor.Digest, n)
		}
	}
}

// The first bytes come before the upstream sent the last, and the last not before
// all are known to be right.
func TestFirstPullStreams(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 2<<20))
	layer := image.Blobs[1]
	half, goOn := make(chan struct{}), make(chan struct{})
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, blob testkit.Blob) bool {
		if blob.Descriptor.Digest != layer.Descriptor.Digest || r.Method != http.MethodGet {
			return false
		}
		_, _ = w.Write(blob.Bytes[:1<<20])
		_ = http.NewResponseController(w).Flush()
		close(half)
		<-goOn
		_, _ = w.Write(blob.Bytes[1<<20:])
		return true
	})
	b.wantTag(nginx, "latest", image)
	s, err := b.cache.Blob(t.Context(), b.pull(nginx), layer.Descriptor.Digest)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1<<20)
	if _, err := io.ReadFull(s.Reader, first); err != nil {
		t.Fatal(err)
	}
	<-half
	late, err := b.cache.Blob(t.Context(), b.pull(nginx), layer.Descriptor.Digest) // joins from the beginning
	if err != nil {
		t.Fatal(err)
	}
	close(goOn)
	rest, err := io.ReadAll(s.Reader)
	if err != nil || !bytes.Equal(append(first, rest...), layer.Bytes) {
		t.Errorf("%d bytes, %v", len(rest), err)
	}
	if all, err := io.ReadAll(late.Reader); err != nil || !bytes.Equal(all, layer.Bytes) {
		t.Errorf("the second reader: %d bytes, %v", len(all), err)
	}
	if err := s.Reader.Close(); err != nil {
		t.Error(err)
	}
	if err := late.Reader.Close(); err != nil {
		t.Error(err)
	}
	b.settled(nginx, "latest", image)
}

// A hundred clients at once cost one request for each manifest and blob.
func TestOneFetchForManyClients(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 2, 300<<10))
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, blob testkit.Blob) bool {
		time.Sleep(20 * time.Millisecond) // so that they meet
		return false
	})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if d, err := b.tag(nginx, "latest"); err != nil || d != image.Digest() {
				t.Errorf("%s, %v", d, err)
				return
			}
			for _, blob := range image.Blobs {
				if data, err := b.blob(nginx, blob.Descriptor.Digest); err != nil || !bytes.Equal(data, blob.Bytes) {
					t.Errorf("%d bytes, %v", len(data), err)
				}
			}
		})
	}
	wg.Wait()
	b.settled(nginx, "latest", image)
	for _, blob := range image.Blobs {
		if n := b.upstream.asked("GET library/nginx/blobs/" + blob.Descriptor.Digest.String()); n != 1 {
			t.Errorf("%s was fetched %d times", blob.Descriptor.Digest, n)
		}
	}
	if n := b.upstream.asked("GET library/nginx/manifests/latest"); n != 1 {
		t.Errorf("the tag was fetched %d times", n)
	}
}

// A client that goes away ends nothing.
func TestClientGoneImportGoesOn(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1<<20))
	goOn := make(chan struct{})
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, blob testkit.Blob) bool {
		if blob.Descriptor.Size > 1<<20 {
			<-goOn
		}
		return false
	})
	b.wantTag(nginx, "latest", image)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := b.cache.Blob(ctx, b.pull(nginx), image.Blobs[1].Descriptor.Digest)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if n, err := s.Reader.Read(make([]byte, 100)); err == nil {
		t.Errorf("%d bytes without a client", n)
	}
	if err := s.Reader.Close(); err != nil {
		t.Error(err)
	}
	close(goOn)
	b.settled(nginx, "latest", image)
}

// All platforms of an index follow the one that was pulled, and so do signatures.
func TestIndexAndReferrersFollow(t *testing.T) {
	b := newBench(t)
	index := b.upstream.put("library/nginx", "latest", testkit.RandomIndex(t, 1000, "amd64", "arm64", "s390x"))
	signature := testkit.Artifact(t, "application/vnd.example.signature", []byte("signed"), &index)
	b.upstream.put("library/nginx", "", signature)
	list := testkit.Index(t, signature)
	b.upstream.put("library/nginx", "", list)
	b.upstream.mu.Lock()
	b.upstream.files["library/nginx/referrers/"+index.Digest().String()] = list.Root
	b.upstream.mu.Unlock()

	b.wantTag(nginx, "latest", index)
	child := index.Children[1]
	if err := b.digest(nginx, child.Digest()); err != nil {
		t.Fatal(err)
	}
	if data, err := b.blob(nginx, child.Blobs[1].Descriptor.Digest); err != nil || !bytes.Equal(data, child.Blobs[1].Bytes) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	b.settled(nginx, "latest", index)
	b.eventually("the signature", func() bool {
		found, _, err := b.registry.Referrers(t.Context(), scope, nginx, index.Digest().String(), "", 0, 10)
		return err == nil && len(found) == 1 && found[0].Digest == signature.Digest().String()
	})
}

// A digest is fetched only when a manifest that was pulled by tag lists it.
func TestUnknownDigestIsNotFetched(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1000))
	wantCode(t, "no repository", b.digest(nginx, image.Digest()), registry.RepositoryNotFound)
	other := b.upstream.put("library/nginx", "other", testkit.RandomImage(t, 1, 1000))
	b.wantTag(nginx, "other", other)
	b.settled(nginx, "other", other)
	b.eventually("the end of the import", b.cache.Idle)
	before := b.upstream.total()
	wantCode(t, "a digest never pulled by tag", b.digest(nginx, image.Digest()), registry.ImageNotFound)
	_, err := b.blob(nginx, image.Blobs[1].Descriptor.Digest)
	wantCode(t, "a blob that nothing lists", err, registry.LayerNotFound)
	if n := b.upstream.asked("GET library/nginx/manifests/" + image.Digest().String()); n != 0 || b.upstream.total() != before {
		t.Errorf("the upstream was asked")
	}
}

// Without the rights of a first pull nothing is fetched and nothing is made.
func TestFirstPullNeedsRights(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1000))
	b.deny("CreateRepository", true)
	_, err := b.tag(nginx, "latest")
	wantCode(t, "without CreateRepository", err, registry.RepositoryNotFound)
	b.deny("CreateRepository", false)
	b.deny("BatchImportUpstreamImage", true)
	if _, err = b.tag(nginx, "latest"); err == nil {
		t.Error("imported without BatchImportUpstreamImage")
	}
	if _, err := b.registry.Repository(t.Context(), scope, nginx); !registry.Is(err, registry.RepositoryNotFound) || b.upstream.total() != 0 {
		t.Errorf("%v after %d requests", err, b.upstream.total())
	}
	b.deny("BatchImportUpstreamImage", false)
	_, err = b.tag(nginx, "missing")
	wantCode(t, "not at the upstream", err, registry.ImageNotFound)
	if _, err := b.registry.Repository(t.Context(), scope, nginx); !registry.Is(err, registry.RepositoryNotFound) {
		t.Errorf("a tag that is nowhere made the repository: %v", err)
	}
	b.wantTag(nginx, "latest", image)
	b.settled(nginx, "latest", image)
	// An image that is here can be pulled by whoever may pull.
	b.deny("BatchImportUpstreamImage", true)
	b.wantTag(nginx, "latest", image)
	_, err = b.tag(nginx, "other")
	wantCode(t, "another tag", err, registry.ImageNotFound)
}

// Names are those of ECR's documentation.
func TestNamesOfRules(t *testing.T) {
	b := newBench(t)
	b.rule("quay", "quay.io", "")
	b.rule("team-a", "quay.io", "team-a")
	b.rule("my-app", "quay.io", "upstream-app")
	b.rule("quay/special", "quay.io", "ROOT")
	upstreamOf := func(name string) string {
		t.Helper()
		up, err := b.registry.Upstream(t.Context(), scope, name)
		if err != nil {
			t.Fatal(err)
		}
		if up == nil {
			return ""
		}
		return up.Rule.UpstreamURL + "/" + up.Repository
	}
	for name, want := range map[string]string{
		"quay/my-app/image1": "quay.io/my-app/image1", "team-a/myapp/image1": "quay.io/team-a/myapp/image1",
		"my-app/image1": "quay.io/upstream-app/image1", "quay/special/x": "quay.io/x", "quay": "", "quayx/y": "", "my-app": "",
		"docker-hub/nginx": hub + "/library/nginx", "docker-hub/library/nginx": hub + "/library/nginx", "docker-hub/bitnami/redis": hub + "/bitnami/redis",
	} {
		if got := upstreamOf(name); got != want {
			t.Errorf("%s comes from %q, want %q", name, got, want)
		}
	}
	b.rule("ROOT", "quay.io", "")
	if got := upstreamOf("some/where"); got != "quay.io/some/where" {
		t.Errorf("by ROOT: %q", got)
	}
	for name, want := range map[string]string{"docker-hub/nginx": nginx, nginx: nginx, "docker-hub/bitnami/redis": "docker-hub/bitnami/redis", "some/where": "some/where"} {
		if got, err := b.cache.Name(t.Context(), scope, name); err != nil || got != want {
			t.Errorf("%s lies under %s (%v), want %s", name, got, err, want)
		}
	}
	if _, err := b.registry.CreateRepository(t.Context(), scope, registry.NewRepository{Name: "docker-hub/nginx"}); err != nil {
		t.Fatal(err)
	}
	if got, err := b.cache.Name(t.Context(), scope, "docker-hub/nginx"); err != nil || got != "docker-hub/nginx" {
		t.Errorf("a repository of that name: %s, %v", got, err)
	}
}
