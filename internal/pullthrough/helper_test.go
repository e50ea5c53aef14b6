package pullthrough_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/access"
	"berth/internal/access/token"
	"berth/internal/blob/file"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/pullthrough"
	"berth/internal/registry"
	"berth/internal/seal/sealtest"
	"berth/internal/testkit"
	"berth/internal/upstream"
)

var scope = meta.Scope{Account: "123456789012", Region: "us-east-1"}

// hub is the upstream of the rule docker-hub.
const hub = registry.DockerHub

// A fake is a registry that serves what it was given, and does what a test tells
// it to do instead.
type fake struct {
	*httptest.Server
	mu      sync.Mutex
	files   map[string]testkit.Blob // by the end of the path: repository/manifests/tag
	counts  map[string]int
	instead func(w http.ResponseWriter, r *http.Request, b testkit.Blob) bool
}

func newFake(t testing.TB) *fake {
	f := &fake{files: map[string]testkit.Blob{}, counts: map[string]int{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// put offers a content under a tag.
func (f *fake) put(repository, tag string, c testkit.Content) testkit.Content {
	f.mu.Lock()
	defer f.mu.Unlock()
	for b, isManifest := range c.All() {
		kind := "/blobs/"
		if isManifest {
			kind = "/manifests/"
		}
		f.files[repository+kind+b.Descriptor.Digest.String()] = b
	}
	if tag != "" {
		f.files[repository+"/manifests/"+tag] = c.Root
	}
	return c
}

// do replaces what the fake does; false lets it go on as usual.
func (f *fake) do(fn func(w http.ResponseWriter, r *http.Request, b testkit.Blob) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.instead = fn
}

// asked is how often something was asked for, by method and end of the path.
func (f *fake) asked(what string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.counts[what]
}

// total is how many requests there were.
func (f *fake) total() (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.counts {
		n += c
	}
	return n
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	f.mu.Lock()
	f.counts[r.Method+" "+path]++
	b, ok := f.files[path]
	instead := f.instead
	f.mu.Unlock()
	if instead != nil && instead(w, r, b) {
		return
	}
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	send(w, r, b)
}

func send(w http.ResponseWriter, r *http.Request, b testkit.Blob) {
	w.Header().Set("Docker-Content-Digest", b.Descriptor.Digest.String())
	w.Header().Set("Content-Type", b.Descriptor.MediaType)
	from := 0
	if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(b.Bytes)-1, len(b.Bytes)))
		w.Header().Set("Content-Length", strconv.Itoa(len(b.Bytes)-from))
		w.WriteHeader(http.StatusPartialContent)
	} else {
		w.Header().Set("Content-Length", strconv.Itoa(len(b.Bytes)))
	}
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes[from:])
	}
}

// A bench is a cache between a registry on stores of its own and a fake.
type bench struct {
	t        testing.TB
	cache    *pullthrough.Cache
	registry *registry.Registry
	db       *meta.DB
	dir      string
	upstream *fake
	log      *bytes.Buffer

	mu     sync.Mutex
	now    time.Time
	denied map[string]bool
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), now: time.Unix(1_700_000_000, 0), upstream: newFake(t), log: &bytes.Buffer{}, denied: map[string]bool{}}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	b.db, err = sqlite.Open(context.Background(), filepath.Join(b.dir, "meta.db"))
	must(err)
	ring, keys := sealtest.New(t, b.db, b.dir, b.clock)
	blobs, err := file.Open(file.System{}, b.dir, ring)
	must(err)
	tokens, err := token.New(bytes.Repeat([]byte{7}, token.KeySize), b.clock)
	must(err)
	log := slog.New(slog.NewTextHandler(&locked{w: b.log}, nil))
	b.registry = registry.New(registry.Options{
		DB: b.db, Blobs: blobs, Seal: ring, KMS: keys, Cursors: tokens, Log: log, Now: b.clock, Host: func(meta.Scope) string { return "registry.test" },
	})
	b.open()
	t.Cleanup(func() {
		b.cache.Close()
		if err := b.db.Close(); err != nil {
			t.Error(err)
		}
	})
	b.rule("docker-hub", hub, "")
	return b
}

// open makes another cache on the same stores.
func (b *bench) open() {
	b.t.Helper()
	mapping, err := upstream.ParseMapping([]string{hub + "=" + b.upstream.URL, "quay.io=" + b.upstream.URL})
	dir := filepath.Join(b.dir, "spool")
	if err := errors.Join(err, pullthrough.PrepareSpool(dir)); err != nil {
		b.t.Fatal(err)
	}
	b.cache = pullthrough.New(pullthrough.Options{
		Registry: b.registry, Client: upstream.New(upstream.Options{Mapping: mapping, Now: b.clock, Stall: 300 * time.Millisecond}),
		Credentials: func(context.Context, meta.CacheRule) (upstream.Credentials, error) {
			return upstream.Credentials{}, nil
		},
		Dir: dir, Log: slog.New(slog.NewTextHandler(&locked{w: b.log}, nil)), Now: b.clock,
	})
}

func reader(b []byte) io.Reader { return bytes.NewReader(b) }

type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (b *bench) rule(prefix, host, upstreamPrefix string) {
	b.t.Helper()
	if _, err := b.registry.CreateCacheRule(context.Background(), meta.CacheRule{Scope: scope, Prefix: prefix, UpstreamURL: host, UpstreamPrefix: upstreamPrefix}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) deny(action string, denied bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.denied[action] = denied
}

func (b *bench) pull(name string) pullthrough.Pull {
	return pullthrough.Pull{Scope: scope, Name: name, May: func(action string, _ []access.Tag) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.denied[action] {
			return &access.DeniedError{Action: action, Resource: name}
		}
		return nil
	}}
}

// tag pulls what a tag names, and gives its digest.
func (b *bench) tag(name, tag string) (digest.Digest, error) {
	m, err := b.cache.Manifest(context.Background(), b.pull(name), registry.ImageRef{Tag: tag})
	if err == nil && digest.FromBytes(m.Bytes).String() != m.Digest {
		b.t.Errorf("%s:%s came with other bytes than its digest", name, tag)
	}
	return digest.Digest(m.Digest), err
}

func (b *bench) wantTag(name, tag string, want testkit.Content) {
	b.t.Helper()
	if got, err := b.tag(name, tag); err != nil || got != want.Digest() {
		b.t.Fatalf("%s:%s is %s, %v; want %s", name, tag, got, err, want.Digest())
	}
}

func (b *bench) digest(name string, d digest.Digest) error {
	_, err := b.cache.Manifest(context.Background(), b.pull(name), registry.ImageRef{Digest: d.String()})
	return err
}

func (b *bench) blob(name string, d digest.Digest) ([]byte, error) {
	s, err := b.cache.Blob(context.Background(), b.pull(name), d)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(s.Reader)
	return data, errors.Join(err, s.Reader.Close())
}

// wantAll pulls a content as a client does.
func (b *bench) wantAll(name string, c testkit.Content) {
	b.t.Helper()
	for blob, isManifest := range c.All() {
		d := blob.Descriptor.Digest
		if isManifest {
			if err := b.digest(name, d); err != nil {
				b.t.Fatalf("manifest %s: %v", d, err)
			}
			continue
		}
		if data, err := b.blob(name, d); err != nil || !bytes.Equal(data, blob.Bytes) {
			b.t.Fatalf("blob %s: %d bytes of %d, %v", d, len(data), len(blob.Bytes), err)
		}
	}
}

// settled waits until a tag is an image of the repository, and nothing more is on
// its way: who refers to an image is asked for after it has its tag.
func (b *bench) settled(name, tag string, want testkit.Content) {
	b.t.Helper()
	b.eventually("the tag "+tag, func() bool {
		img, err := b.registry.Image(context.Background(), scope, name, registry.ImageRef{Tag: tag})
		return err == nil && img.Digest == want.Digest().String()
	})
	b.eventually("the end of the import", b.cache.Idle)
	for blob, isManifest := range want.All() {
		var err error
		if isManifest {
			_, err = b.registry.Image(context.Background(), scope, name, registry.ImageRef{Digest: blob.Descriptor.Digest.String()})
		} else {
			_, err = b.registry.ProbeBlob(context.Background(), scope, name, blob.Descriptor.Digest)
		}
		if err != nil {
			b.t.Errorf("after the import: %v", err)
		}
	}
}

func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	b.t.Fatalf("waited in vain for %s\n%s", what, b.log)
}

func wantCode(t testing.TB, what string, err error, code registry.Code) {
	t.Helper()
	if !registry.Is(err, code) {
		t.Errorf("%s: %v, want code %d", what, err, code)
	}
}
