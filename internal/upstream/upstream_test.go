package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/upstream"
)

const (
	hub   = "registry-1.docker.io"
	image = "library/nginx"
)

var alice = upstream.Credentials{Username: "alice", Password: "s3cret"}

// A fake is a registry whose answers a test decides, and what it was asked.
type fake struct {
	*httptest.Server
	mu   sync.Mutex
	seen []string // method, path and Authorization
}

func serve(t *testing.T, h http.HandlerFunc) *fake {
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.seen = append(f.seen, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+r.Header.Get("Authorization")))
		f.mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.seen...)
}

func client(t *testing.T, mapping ...string) *upstream.Client {
	t.Helper()
	m, err := upstream.ParseMapping(mapping)
	if err != nil {
		t.Fatal(err)
	}
	c := upstream.New(upstream.Options{Mapping: m, Now: time.Now, Stall: 200 * time.Millisecond})
	t.Cleanup(c.Close)
	return c
}

func source(host string, who upstream.Credentials) upstream.Source {
	return upstream.Source{Host: host, Repository: image, Credentials: who}
}

func manifest(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	w.Header().Set("Docker-Content-Digest", digest.FromString(body).String())
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = io.WriteString(w, body)
}

func wantKind(t *testing.T, what string, err error, k upstream.Kind) {
	t.Helper()
	if !upstream.Is(err, k) {
		t.Errorf("%s: %v, want kind %d", what, err, k)
	}
	if err != nil && strings.Contains(err.Error(), alice.Password) {
		t.Errorf("%s: the error has the password in it: %v", what, err)
	}
}

// The whole dance: a challenge, a token for the credentials, the manifest, and
// the token again for the next request.
func TestTokenOfOwnHost(t *testing.T) {
	var f *fake
	f = serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			if u, p, _ := r.BasicAuth(); u != alice.Username || p != alice.Password || r.URL.Query().Get("scope") != "repository:library/nginx:pull" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, `{"access_token":"good","expires_in":300}`)
		case r.Header.Get("Authorization") != "Bearer good":
			w.Header().Add("WWW-Authenticate", `Basic realm="x"`)
			w.Header().Add("WWW-Authenticate", `Bearer realm="`+f.URL+`/token",service="a, b",scope="repository:library/nginx:pull"`)
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("RateLimit-Limit", "100;w=21600")
			w.Header().Set("RateLimit-Remaining", "76;w=21600")
			manifest(w, `{"a":1}`)
		}
	})
	c := client(t, hub+"="+f.URL)
	var l upstream.Limit
	src := source(hub, alice)
	src.Limit = func(told upstream.Limit) { l = told }
	for range 2 {
		m, err := c.Manifest(t.Context(), src, "latest")
		if err != nil || string(m.Body) != `{"a":1}` || m.Digest != digest.FromString(`{"a":1}`) || m.MediaType != "application/vnd.oci.image.manifest.v1+json" {
			t.Fatalf("%+v, %v", m, err)
		}
	}
	if got := f.asked(); len(got) != 4 || strings.Count(strings.Join(got, "\n"), "/token") != 1 {
		t.Errorf("asked %q", got)
	}
	if l.Limit != 100 || l.Remaining != 76 || l.Window != 6*time.Hour || l.At.IsZero() {
		t.Errorf("limits %+v", l)
	}
	_, err := c.Manifest(t.Context(), source(hub, upstream.Credentials{Username: "alice", Password: "wrong"}), "latest")
	wantKind(t, "a wrong password", err, upstream.Denied)
}

// CVE-2026-33540: a registry that names another's realm does not get what that
// realm would be told, and the realm is told nothing.
func TestInvariant11_UpstreamCredentialsStayWithTheirHosts(t *testing.T) {
	thief := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"t"}`) })
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://thief.example/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	c := client(t, "good.example="+f.URL, "thief.example="+thief.URL)
	_, err := c.Manifest(t.Context(), source("good.example", alice), "latest")
	wantKind(t, "a foreign realm", err, upstream.Forbidden)
	if got := thief.asked(); len(got) != 0 {
		t.Errorf("the foreign realm was asked %q", got)
	}
	// Without credentials there is nothing to lose.
	if _, err := c.Manifest(t.Context(), source("good.example", upstream.Credentials{}), "latest"); !upstream.Is(err, upstream.Denied) || len(thief.asked()) != 1 || thief.asked()[0] != "GET /token" {
		t.Errorf("%v, %q", err, thief.asked())
	}
	// The realm that Docker Hub is known to have gets them.
	c = client(t, hub+"="+f.URL, "auth.docker.io="+thief.URL)
	f.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "Bearer t" {
			manifest(w, "{}")
			return
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://auth.docker.io/token"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	if _, err := c.Manifest(t.Context(), source(hub, alice), "latest"); err != nil {
		t.Error(err)
	}
}

// Redirects lead to other hosts, and credentials stay.
func TestRedirectTakesNoCredentials(t *testing.T) {
	data := strings.Repeat("x", 1000)
	cdn := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, data) })
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("Location", "https://cdn.example/signed?key=1")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	c := client(t, hub+"="+f.URL, "cdn.example="+cdn.URL)
	b, err := c.Blob(t.Context(), source(hub, alice), digest.FromString(data), 0)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(b)
	if err := errors.Join(err, b.Close()); err != nil || string(got) != data || b.Size != 1000 {
		t.Errorf("%d bytes of %d, %v", len(got), b.Size, err)
	}
	if asked := cdn.asked(); len(asked) != 1 || asked[0] != "GET /signed" {
		t.Errorf("the other host was asked %q", asked)
	}
}

// CVE-2026-32591: names, redirects and realms that lead into the private network
// lead nowhere, also to places that are mapped for other hosts.
func TestInvariant11_PrivateUpstreamIsRefused(t *testing.T) {
	inside := serve(t, func(w http.ResponseWriter, _ *http.Request) { manifest(w, "{}") })
	at, err := url.Parse(inside.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(at.Host)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, "mirror.example="+inside.URL)
	for _, host := range []string{
		"127.0.0.1:" + port, "localhost:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port, "0.0.0.0:" + port, "10.1.2.3", "169.254.169.254",
		"192.168.1.1", "100.100.100.200", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", at.Host,
	} {
		_, err := c.Manifest(t.Context(), source(host, alice), "latest")
		wantKind(t, host, err, upstream.Forbidden)
	}
	for name, location := range map[string]string{
		"metadata service": "https://169.254.169.254/latest/meta-data/", "plain": "http://169.254.169.254/latest/meta-data/",
		"loopback": "https://127.0.0.1:" + port + "/", "name of loopback": "https://localhost:" + port + "/", "another scheme": "file:///etc/passwd",
	} {
		f := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/manifests/realm") {
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+location+`"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			w.Header().Set("Location", location)
			w.WriteHeader(http.StatusFound)
		})
		c := client(t, "evil.example="+f.URL)
		for _, ref := range []string{"latest", "realm"} {
			_, err := c.Manifest(t.Context(), source("evil.example", upstream.Credentials{}), ref)
			if !upstream.Is(err, upstream.Forbidden) && !upstream.Is(err, upstream.Malformed) {
				t.Errorf("%s, %s: %v", name, ref, err)
			}
		}
	}
	if got := inside.asked(); len(got) != 0 {
		t.Errorf("the private server was asked %q", got)
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	body := `{"a":1}`
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   upstream.Kind
	}{
		"missing":   {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotFound) }, upstream.NotFound},
		"forbidden": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusForbidden) }, upstream.Denied},
		"broken":    {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusBadGateway) }, upstream.Unavailable},
		"strange":   {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }, upstream.Unavailable},
		"loop": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", r.URL.Path)
			w.WriteHeader(http.StatusFound)
		}, upstream.Malformed},
		"cut": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, body)
		}, upstream.Unavailable},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for range 5 {
				_, _ = w.Write(make([]byte, 1<<20))
			}
		}, upstream.Malformed},
		"another digest": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Docker-Content-Digest", digest.FromString("other").String())
			_, _ = io.WriteString(w, body)
		}, upstream.Malformed},
		"no login known": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", "Negotiate")
			w.WriteHeader(http.StatusUnauthorized)
		}, upstream.Denied},
	} {
		f := serve(t, tc.answer)
		_, err := client(t, hub+"="+f.URL).Manifest(t.Context(), source(hub, upstream.Credentials{}), "latest")
		wantKind(t, name, err, tc.want)
	}
	f := serve(t, func(w http.ResponseWriter, r *http.Request) { manifest(w, body) })
	_, err := client(t, hub+"="+f.URL).Manifest(t.Context(), source(hub, upstream.Credentials{}), digest.FromString("other").String())
	wantKind(t, "asked by digest", err, upstream.Malformed)
	f.Close()
	_, err = client(t, hub+"="+f.URL).Manifest(t.Context(), source(hub, upstream.Credentials{}), "latest")
	wantKind(t, "nobody there", err, upstream.Unavailable)
}

// A registry that wants to be left alone is left alone.
func TestTooManyRequests(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "600")
		w.WriteHeader(http.StatusTooManyRequests)
	})
	c := client(t, hub+"="+f.URL)
	for range 3 {
		_, err := c.Manifest(t.Context(), source(hub, upstream.Credentials{}), "latest")
		wantKind(t, "429", err, upstream.TooMany)
		var e *upstream.Error
		if errors.As(err, &e); e.Retry < 9*time.Minute || e.Retry > 10*time.Minute {
			t.Errorf("try again after %s", e.Retry)
		}
	}
	if n := len(f.asked()); n != 1 {
		t.Errorf("asked %d times", n)
	}
	if until := c.SilentUntil(hub); until.Before(time.Now().Add(9 * time.Minute)) {
		t.Errorf("left alone until %s", until)
	}
	if until := c.SilentUntil("quay.io"); !until.IsZero() {
		t.Errorf("another host is left alone until %s", until)
	}
}

// A blob that stands still fails in time, and one can go on in the middle.
func TestBlobsStallAndGoOn(t *testing.T) {
	data := strings.Repeat("0123456789", 1000)
	stop := make(chan struct{})
	f := serve(t, func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(data)-1, len(data)))
			w.Header().Set("Content-Length", strconv.Itoa(len(data)-from))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, data[from:])
			return
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		_, _ = io.WriteString(w, data[:1000])
		_ = http.NewResponseController(w).Flush()
		<-stop
	})
	defer close(stop)
	c := client(t, hub+"="+f.URL)
	s := source(hub, upstream.Credentials{})
	b, err := c.Blob(t.Context(), s, digest.FromString(data), 0)
	if err != nil {
		t.Fatal(err)
	}
	first, err := io.ReadAll(b)
	wantKind(t, "a blob that stands still", err, upstream.Unavailable)
	_ = b.Close()
	rest, err := c.Blob(t.Context(), s, digest.FromString(data), int64(len(first)))
	if err != nil {
		t.Fatal(err)
	}
	second, err := io.ReadAll(rest)
	if err := errors.Join(err, rest.Close()); err != nil || string(first)+string(second) != data || rest.Size != int64(len(data)) {
		t.Errorf("%d and %d bytes of %d, %v", len(first), len(second), rest.Size, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Blob(ctx, s, digest.FromString(data), 0); !errors.Is(err, context.Canceled) {
		t.Errorf("after its context: %v", err)
	}
}

func TestParseMapping(t *testing.T) {
	for _, bad := range []string{"", "host", "=http://a", "host=", "host=ftp://a", "host=http://", "host=http://a/path", "host=http://u:p@a", "a/b=http://a", "host=http://a?x=1"} {
		if m, err := upstream.ParseMapping([]string{bad}); err == nil {
			t.Errorf("%q is read as %v", bad, m)
		}
	}
	m, err := upstream.ParseMapping([]string{"Docker.io=https://mirror:5000/", "quay.io=http://127.0.0.1:1"})
	if err != nil || m["docker.io"].String() != "https://mirror:5000" || m["quay.io"].String() != "http://127.0.0.1:1" {
		t.Errorf("%v, %v", m, err)
	}
}
