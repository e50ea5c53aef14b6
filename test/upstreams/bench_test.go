package upstreams

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/opencontainers/go-digest"

	"berth/internal/testkit"
)

// A puller takes an image as clients do: the manifest, then all layers at once. It
// verifies what comes.
type puller struct {
	tb             testing.TB
	user, password string
}

func (p puller) get(url string) *http.Response {
	req, err := http.NewRequestWithContext(p.tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		p.tb.Fatal(err)
	}
	req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json")
	if p.user != "" {
		req.SetBasicAuth(p.user, p.password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.tb.Errorf("GET %s: %v, %v", url, resp, err)
		return nil
	}
	return resp
}

// pull gives how many bytes came.
func (p puller) pull(base, repository, tag string) int64 {
	p.tb.Helper()
	resp := p.get(base + "/v2/" + repository + "/manifests/" + tag)
	if resp == nil {
		return 0
	}
	var m struct {
		Config struct{ Digest digest.Digest }
		Layers []struct{ Digest digest.Digest }
	}
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		p.tb.Fatal(err)
	}
	_ = resp.Body.Close()
	var wg sync.WaitGroup
	var total int64
	var mu sync.Mutex
	for _, d := range append(m.Layers, m.Config) {
		wg.Go(func() {
			resp := p.get(base + "/v2/" + repository + "/blobs/" + d.Digest.String())
			if resp == nil {
				return
			}
			v := d.Digest.Verifier()
			n, err := io.Copy(v, resp.Body)
			_ = resp.Body.Close()
			if err != nil || !v.Verified() {
				p.tb.Errorf("%s: %d bytes, %v", d.Digest, n, err)
			}
			mu.Lock()
			defer mu.Unlock()
			total += n
		})
	}
	wg.Wait()
	return total
}

// forget deletes a repository, so that the next pull is the first.
func (b *berth) forget(repository string) {
	b.t.Helper()
	if _, err := b.ECR().DeleteRepository(b.t.Context(), &ecr.DeleteRepositoryInput{RepositoryName: aws.String(repository), Force: true}); err != nil {
		b.t.Fatal(err)
	}
}

// slowly is a way to a registry over which each answer comes at a rate, in bytes a
// second, as from another place of the Internet.
func slowly(tb testing.TB, to string, rate int) string {
	tb.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), nil)
		if err != nil {
			panic(err)
		}
		req.Header = r.Header
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		const part = 128 << 10
		start := time.Now()
		for sent := int64(0); err == nil; {
			var n int64
			n, err = io.CopyN(w, resp.Body, part)
			sent += n
			time.Sleep(time.Until(start.Add(time.Duration(sent) * time.Second / time.Duration(rate))))
		}
	}))
	tb.Cleanup(s.Close)
	return s.URL
}

// BenchmarkPulls compares a pull of the upstream itself, the first pull through the
// cache, one of a cached image while the upstream is down, and one of an own image.
// An image has two layers of 32 MiB. Without a limit, client, cache, upstream and
// disk share the processors of one machine; slow answers come at 20 MB/s each.
func BenchmarkPulls(b *testing.B) {
	image := testkit.RandomImage(b, 2, 32<<20)
	dir := b.TempDir()
	fill(b, dir, map[string]testkit.Content{"team/app:v1": image})
	upstream, stop := startDistribution(b, dir, "")
	slow := slowly(b, upstream.direct, 20_000_000)
	s := start(b, "quay.io="+upstream.direct, "slow.example="+slow)
	s.rule("quay", "quay.io", "")
	s.rule("slow", "slow.example", "")
	s.CreateRepositories("own/app")
	layout := filepath.Join(b.TempDir(), "layout")
	testkit.WriteLayout(b, layout, "v1", image)
	s.crane()("push", layout, s.Host+"/own/app:v1").Run(b)
	user, password := s.Login()
	open, logged := puller{tb: b}, puller{b, user, password}

	run := func(name string, p puller, base, repository string, before func()) {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				b.StopTimer()
				before()
				b.StartTimer()
				b.SetBytes(p.pull(base, repository, "v1"))
			}
		})
	}
	nothing := func() {}
	run("upstream", open, upstream.direct, "team/app", nothing)
	run("slow-upstream", open, slow, "team/app", nothing)
	for name, repository := range map[string]string{"first": "quay/team/app", "slow-first": "slow/team/app"} {
		logged.pull(s.Endpoint, repository, "v1")
		run(name, logged, s.Endpoint, repository, func() {
			s.holds(repository, "v1", image)
			s.forget(repository)
		})
	}
	s.holds("quay/team/app", "v1", image)
	stop() // not one request goes to the upstream now
	run("cached", logged, s.Endpoint, "quay/team/app", nothing)
	run("own", logged, s.Endpoint, "own/app", nothing)
}

// TestMemoryOfFirstPulls: what a first pull needs does not grow with its layers.
func TestMemoryOfFirstPulls(t *testing.T) {
	small, large := testkit.RandomImage(t, 2, 4<<20), testkit.RandomImage(t, 2, 64<<20)
	dir := t.TempDir()
	fill(t, dir, map[string]testkit.Content{"team/app:small": small, "team/app:large": large})
	for _, c := range []testkit.Content{small, large} { // the contents themselves would count
		for i := range c.Blobs {
			c.Blobs[i].Bytes = nil
		}
	}
	upstream, _ := startDistribution(t, dir, "")
	b := start(t, "quay.io="+upstream.direct)
	b.rule("quay", "quay.io", "")
	user, password := b.Login()
	p := puller{t, user, password}
	peak := func(tag string, c testkit.Content) int64 {
		runtime.GC()
		var before runtime.MemStats
		runtime.ReadMemStats(&before)
		done, most := make(chan struct{}), make(chan int64)
		go func() {
			var top uint64
			for {
				var now runtime.MemStats
				runtime.GC() // what is garbage is no need
				runtime.ReadMemStats(&now)
				top = max(top, now.HeapAlloc)
				select {
				case <-done:
					most <- int64(top) - int64(before.HeapAlloc)
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		}()
		p.pull(b.Endpoint, "quay/team/app", tag)
		close(done)
		n := <-most
		b.holds("quay/team/app", tag, c)
		return n
	}
	peak("small", small) // fills pools and connections
	b.forget("quay/team/app")
	few, many := peak("small", small), peak("large", large)
	t.Logf("two layers of 4 MiB: %d KiB, of 64 MiB: %d KiB", few>>10, many>>10)
	if many > few+8<<20 {
		t.Errorf("two layers of 64 MiB took %d KiB, those of 4 MiB %d KiB", many>>10, few>>10)
	}
}
