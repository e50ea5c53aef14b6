package ociapi_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/registry"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// A load sends requests of the Distribution API over loopback, as clients do.
type load struct {
	*servertest.Server
	user, password string
	client         *http.Client
}

func newLoad(b *testing.B) *load { return newLoadWith(b, server.Config{}) }

func newLoadWith(b *testing.B, cfg server.Config) *load {
	s := servertest.StartWith(b, cfg)
	s.CreateRepositories("app")
	l := &load{Server: s, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	l.user, l.password = s.Login()
	b.Cleanup(l.client.CloseIdleConnections)
	return l
}

// do is safe for concurrent use; it reads the whole answer.
func (l *load) do(b *testing.B, method, path string, body []byte, want int, headers ...string) {
	req, err := http.NewRequest(method, l.Endpoint+path, bytes.NewReader(body))
	if err != nil {
		b.Error(err)
		return
	}
	req.SetBasicAuth(l.user, l.password)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := l.client.Do(req)
	if err != nil {
		b.Error(err)
		return
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if cerr := resp.Body.Close(); err != nil || cerr != nil || resp.StatusCode != want {
		b.Errorf("%s %s: %d, %v, %v", method, path, resp.StatusCode, err, cerr)
	}
}

func (l *load) push(b *testing.B, data []byte) digest.Digest {
	d := digest.FromBytes(data)
	l.do(b, "POST", "/v2/app/blobs/uploads/?digest="+d.String(), data, 201)
	return d
}

// image pushes one and gives its digest; its tag is v1.
func (l *load) image(b *testing.B) digest.Digest {
	img := testkit.RandomImage(b, 3, 1000)
	for _, blob := range img.Blobs {
		l.push(b, blob.Bytes)
	}
	l.do(b, "PUT", "/v2/app/manifests/v1", img.Root.Bytes, 201, "Content-Type", img.Root.Descriptor.MediaType)
	return img.Digest()
}

func random(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data) // never fails (crypto/rand)
	return data
}

func (l *load) parallel(b *testing.B, method, path string) {
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.do(b, method, path, nil, 200)
		}
	})
}

func BenchmarkManifestGetByTag(b *testing.B) {
	l := newLoad(b)
	l.image(b)
	l.parallel(b, "GET", "/v2/app/manifests/v1")
}

// BenchmarkManifestGetJudged is BenchmarkManifestGetByTag of a registry that looks
// at the last scan of what is pulled.
func BenchmarkManifestGetJudged(b *testing.B) {
	l := newLoadWith(b, server.Config{Admission: registry.Admission{DenyAt: "HIGH"}})
	l.image(b)
	l.parallel(b, "GET", "/v2/app/manifests/v1")
}

func BenchmarkManifestHeadByTag(b *testing.B) {
	l := newLoad(b)
	l.image(b)
	l.parallel(b, "HEAD", "/v2/app/manifests/v1")
}

func BenchmarkManifestGetByDigest(b *testing.B) {
	l := newLoad(b)
	l.parallel(b, "GET", "/v2/app/manifests/"+l.image(b).String())
}

func BenchmarkBlobHead(b *testing.B) {
	l := newLoad(b)
	l.parallel(b, "HEAD", "/v2/app/blobs/"+l.push(b, random(4<<10)).String())
}

func BenchmarkBlobGet(b *testing.B) {
	for _, size := range []int{4 << 10, 4 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			l := newLoad(b)
			at := "/v2/app/blobs/" + l.push(b, random(size)).String()
			b.SetBytes(int64(size))
			l.parallel(b, "GET", at)
		})
	}
}

// BenchmarkLayerPush is the durable write of a small layer that nobody has yet.
func BenchmarkLayerPush4KiB(b *testing.B) {
	l := newLoad(b)
	b.SetBytes(4 << 10)
	b.ReportAllocs()
	b.SetParallelism(8)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.push(b, random(4<<10))
		}
	})
}

func BenchmarkLayerPush4MiB(b *testing.B) {
	l := newLoad(b)
	data := random(4 << 20)
	b.SetBytes(4 << 20)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		copy(data, fmt.Sprint(i))
		l.push(b, data)
	}
}
