package pullthrough_test

import (
	"context"
	"net/http"
	"strconv"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

// Whatever an upstream does to a blob, nobody gets other bytes for good ones, and
// nothing that is wrong or partial stays. When it is well again, so is the image.
func TestUpstreamFaultsLeaveNothing(t *testing.T) {
	for name, fault := range map[string]func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}){
		"cut": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			w.Header().Set("Content-Length", strconv.Itoa(len(blob.Bytes)))
			_, _ = w.Write(blob.Bytes[:len(blob.Bytes)/2])
			panic(http.ErrAbortHandler)
		},
		"cut at the first byte": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) { panic(http.ErrAbortHandler) },
		"cut before the last byte": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			w.Header().Set("Content-Length", strconv.Itoa(len(blob.Bytes)))
			_, _ = w.Write(blob.Bytes[:len(blob.Bytes)-1])
			panic(http.ErrAbortHandler)
		},
		"stall": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			w.Header().Set("Content-Length", strconv.Itoa(len(blob.Bytes)))
			_, _ = w.Write(blob.Bytes[:1000])
			_ = http.NewResponseController(w).Flush()
			<-gone
		},
		"shorter": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			_, _ = w.Write(blob.Bytes[:len(blob.Bytes)-1])
		},
		"longer": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			_, _ = w.Write(append(blob.Bytes[:len(blob.Bytes):len(blob.Bytes)], 'x'))
		},
		"shorter, in chunks": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write(blob.Bytes[:len(blob.Bytes)/2])
		},
		"other bytes": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			other := append([]byte(nil), blob.Bytes...)
			other[len(other)/2] ^= 1
			_, _ = w.Write(other)
		},
		"nothing at all": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {},
		"429": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"500": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			w.WriteHeader(http.StatusInternalServerError)
		},
		"404": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			w.WriteHeader(http.StatusNotFound)
		},
		"401": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			w.WriteHeader(http.StatusUnauthorized)
		},
		"redirect into the private network": func(w http.ResponseWriter, blob testkit.Blob, gone <-chan struct{}) {
			w.Header().Set("Location", "http://169.254.169.254/latest/meta-data")
			w.WriteHeader(http.StatusFound)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 600<<10))
			layer := image.Blobs[1].Descriptor
			b.upstream.do(func(w http.ResponseWriter, r *http.Request, blob testkit.Blob) bool {
				if blob.Descriptor.Digest != layer.Digest {
					return false
				}
				fault(w, blob, r.Context().Done())
				return true
			})
			b.wantTag(nginx, "latest", image)
			if data, err := b.blob(nginx, layer.Digest); err == nil || len(data) >= int(layer.Size) {
				t.Errorf("%d bytes of %d came, %v", len(data), layer.Size, err)
			}
			b.eventually("the end of the import", b.cache.Idle)
			if _, err := b.registry.ProbeBlob(t.Context(), scope, nginx, layer.Digest); !registry.Is(err, registry.LayerNotFound) {
				t.Errorf("the repository has the layer: %v", err)
			}
			err := b.db.View(t.Context(), func(tx *meta.Tx) error { _, err := tx.Blob(scope.Account, layer.Digest.String()); return err })
			if err == nil {
				t.Error("the store has the layer")
			}
			if _, err := b.registry.Image(t.Context(), scope, nginx, registry.ImageRef{Tag: "latest"}); !registry.Is(err, registry.ImageNotFound) {
				t.Errorf("the repository has the image: %v", err)
			}

			b.upstream.do(nil)
			b.advance(2 * pauseOfTests)
			b.wantTag(nginx, "latest", image)
			b.wantAll(nginx, image)
			b.settled(nginx, "latest", image)
		})
	}
}

// pauseOfTests is at least how long nothing is tried again that failed.
const pauseOfTests = 61e9

// A transfer that breaks off is continued where it was, at the price of one more
// request.
func TestBrokenTransferGoesOn(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1<<20))
	layer := image.Blobs[1]
	cuts := 2
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, blob testkit.Blob) bool {
		b.upstream.mu.Lock()
		defer b.upstream.mu.Unlock()
		if blob.Descriptor.Digest != layer.Descriptor.Digest || cuts == 0 {
			return false
		}
		if cuts--; cuts == 1 {
			w.Header().Set("Content-Length", strconv.Itoa(len(blob.Bytes)))
			_, _ = w.Write(blob.Bytes[:300<<10])
		}
		panic(http.ErrAbortHandler)
	})
	b.wantTag(nginx, "latest", image)
	b.wantAll(nginx, image)
	b.settled(nginx, "latest", image)
}

// What the upstream does to manifests has its own word for those who pull.
func TestRefusalsOfUpstreams(t *testing.T) {
	b := newBench(t)
	b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1000))
	for _, tc := range []struct {
		status int
		want   registry.Code
	}{
		{http.StatusUnauthorized, registry.UpstreamDenied}, {http.StatusForbidden, registry.UpstreamDenied}, {http.StatusBadGateway, registry.UpstreamUnavailable},
		{http.StatusNotFound, registry.ImageNotFound}, {http.StatusTooManyRequests, registry.UpstreamTooMany},
	} {
		b.upstream.do(func(w http.ResponseWriter, _ *http.Request, _ testkit.Blob) bool {
			w.WriteHeader(tc.status)
			return true
		})
		_, err := b.tag(nginx, "latest")
		wantCode(t, strconv.Itoa(tc.status), err, tc.want)
	}
	before := b.upstream.total()
	if _, err := b.tag(nginx, "latest"); !registry.Is(err, registry.UpstreamTooMany) || b.upstream.total() != before {
		t.Errorf("a registry that wants to be left alone was asked again: %v", err)
	}
	for name, blob := range map[string]testkit.Blob{
		"no manifest": testkit.NewBlob("text/html", []byte("<html>")), "schema 1": testkit.NewBlob("application/vnd.docker.distribution.manifest.v1+json", []byte(`{"schemaVersion":1}`)),
	} {
		b := newBench(t)
		b.upstream.do(func(w http.ResponseWriter, r *http.Request, _ testkit.Blob) bool { send(w, r, blob); return true })
		_, err := b.tag(nginx, "latest")
		wantCode(t, name, err, registry.UpstreamUnavailable)
	}
}

// A server that ends in the middle leaves nothing partial, and what was on its way
// is found by the next.
func TestCloseInTheMiddle(t *testing.T) {
	b := newBench(t)
	image := b.upstream.put("library/nginx", "latest", testkit.RandomImage(t, 1, 1<<20))
	layer := image.Blobs[1].Descriptor
	b.upstream.do(func(w http.ResponseWriter, r *http.Request, blob testkit.Blob) bool {
		if blob.Descriptor.Digest != layer.Digest {
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(blob.Bytes)))
		_, _ = w.Write(blob.Bytes[:1000])
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return true
	})
	b.wantTag(nginx, "latest", image)
	s, err := b.cache.Blob(context.Background(), b.pull(nginx), layer.Digest)
	if err != nil {
		t.Fatal(err)
	}
	b.cache.Close()
	if n, err := s.Reader.Read(make([]byte, 2000)); err == nil && n == 2000 {
		t.Errorf("%d bytes after the end", n)
	}
	if err := s.Reader.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.tag("docker-hub/library/other", "latest"); err == nil {
		t.Error("a cache that is closed fetches")
	}
	if _, err := b.registry.ProbeBlob(t.Context(), scope, nginx, layer.Digest); !registry.Is(err, registry.LayerNotFound) {
		t.Errorf("the repository has the layer: %v", err)
	}
	b.upstream.do(nil)
	b.open()
	if err := b.digest(nginx, image.Digest()); err != nil {
		t.Errorf("another server does not know the manifest on its way: %v", err)
	}
	b.wantAll(nginx, image)
	b.wantTag(nginx, "latest", image)
	b.settled(nginx, "latest", image)
}

// An entry of an index that the upstream does not have keeps the index from being
// an image, and from nobody what there is.
func TestIndexWithoutAChild(t *testing.T) {
	b := newBench(t)
	index := testkit.RandomIndex(t, 1000, "amd64", "arm64")
	b.upstream.put("library/nginx", "latest", index)
	gone := index.Children[1].Digest()
	b.upstream.mu.Lock()
	delete(b.upstream.files, "library/nginx/manifests/"+gone.String())
	b.upstream.mu.Unlock()
	b.wantTag(nginx, "latest", index)
	if err := b.digest(nginx, index.Children[0].Digest()); err != nil {
		t.Fatal(err)
	}
	b.wantAll(nginx, index.Children[0])
	b.eventually("the end of the import", b.cache.Idle)
	b.wantTag(nginx, "latest", index)
	wantCode(t, "the child that is gone", b.digest(nginx, gone), registry.ImageNotFound)
	wantCode(t, "a child of nobody", b.digest(nginx, digest.FromString("x")), registry.ImageNotFound)
}
