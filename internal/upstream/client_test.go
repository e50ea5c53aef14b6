package upstream_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/upstream"
)

// A fake is a registry on loopback with TLS.
type fake struct {
	*httptest.Server
	host string
	hits atomic.Int32
	pool *x509.CertPool
}

func newFake(t *testing.T, answer func(f *fake, w http.ResponseWriter, r *http.Request)) *fake {
	t.Helper()
	f := &fake{pool: x509.NewCertPool()}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.hits.Add(1)
		answer(f, w, r)
	}))
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that fail as they should
	f.StartTLS()
	t.Cleanup(f.Close)
	f.host = strings.TrimPrefix(f.URL, "https://")
	f.pool.AddCert(f.Certificate())
	return f
}

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

func (f *fake) client() *upstream.Client {
	return upstream.New(upstream.Options{Allow: loopback(), RootCAs: f.pool})
}

// wantFailure fails unless err is a failure with the text, where HOST stands for
// the host of the registry.
func wantFailure(t *testing.T, what string, f *fake, err error, text string) {
	t.Helper()
	var failure *upstream.Failure
	if want := strings.ReplaceAll(text, "HOST", f.host); !errors.As(err, &failure) || !strings.Contains(failure.Reason, want) {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func status(code int) func(*fake, http.ResponseWriter, *http.Request) {
	return func(_ *fake, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

// withToken is a registry that wants the token "good" of its own /token.
func withToken(header, answer string, code int) func(*fake, http.ResponseWriter, *http.Request) {
	return func(f *fake, w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			if r.URL.Query().Get("service") != "the service" || r.Header.Get("Authorization") != "" {
				code = http.StatusBadRequest
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, answer)
		case r.URL.Path == "/v2/" && r.Header.Get("Authorization") == "Bearer good":
		default:
			w.Header().Add("WWW-Authenticate", "Negotiate")
			w.Header().Add("WWW-Authenticate", strings.ReplaceAll(header, "URL", f.URL))
			w.WriteHeader(http.StatusUnauthorized)
		}
	}
}

func TestCheck(t *testing.T) {
	const bearer = `Bearer realm="URL/token",service="the service"`
	for name, tc := range map[string]struct {
		answer func(*fake, http.ResponseWriter, *http.Request)
		want   string // empty: it is fine
	}{
		"open":                    {status(200), ""},
		"token":                   {withToken(bearer, `{"token":"good"}`, 200), ""},
		"token by its other name": {withToken(bearer, `{"access_token":"good","expires_in":60}`, 200), ""},
		"no such page":            {status(404), "The upstream registry HOST answers with the status 404 to GET /v2/, so it is no registry, or not one for everybody."},
		"broken":                  {status(503), "answers with the status 503 to GET /v2/"},
		"no challenge":            {status(401), "The upstream registry HOST asks for a user name and a password, and the rule has none."},
		"basic":                   {withToken(`Basic realm="URL"`, "", 200), "asks for a user name and a password"},
		"token for some":          {withToken(bearer, `{}`, 403), "The upstream registry HOST gives no token to everybody: HOST answers with the status 403."},
		"no token":                {withToken(bearer, `{}`, 200), "The upstream registry HOST gives no token: the answer of HOST has none."},
		"no JSON":                 {withToken(bearer, `token`, 200), "gives no token: the answer of HOST has none"},
		"token without end":       {withToken(bearer, `{"token":"`+strings.Repeat("x", 1<<20)+`"}`, 200), "gives no token"},
		"token that does not do":  {withToken(bearer, `{"token":"bad"}`, 200), "The upstream registry HOST answers with the status 401 to GET /v2/ with the token that it gave."},
		"token with a line end":   {withToken(bearer, `{"token":"go\nod"}`, 200), "The upstream registry HOST cannot be reached: "},
		"realm without TLS":       {withToken(`Bearer realm="http://auth.test/token"`, "", 200), `The upstream registry HOST sends clients for a token to "http://auth.test/token", which is not a URL with TLS.`},
		"realm that is none":      {withToken(`Bearer realm="%zz"`, "", 200), "which is not a URL with TLS"},
		"realm with a password":   {withToken(`Bearer realm="https://u:p@auth.test/"`, "", 200), "which is not a URL with TLS"},
		"no realm":                {withToken(`Bearer service="x"`, "", 200), "which is not a URL with TLS"},
		"headers without end": {func(_ *fake, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
		}, "The upstream registry HOST cannot be reached: "},
		"redirects once": {func(_ *fake, w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v2/" {
				http.Redirect(w, r, "/elsewhere/v2/", http.StatusTemporaryRedirect)
			}
		}, ""},
		"redirects without end": {func(_ *fake, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path+"x", http.StatusTemporaryRedirect)
		}, "it redirects more than 5 times"},
		"redirects to plain HTTP": {func(_ *fake, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://registry.test/v2/", http.StatusTemporaryRedirect)
		}, "it redirects to a place without TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, tc.answer)
			err := f.client().Check(t.Context(), f.host)
			if tc.want != "" {
				wantFailure(t, name, f, err, tc.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// The token is for the registry that gave it, and for no other to which that
// sends the client.
func TestTokenStaysWithItsRegistry(t *testing.T) {
	var got atomic.Value
	other := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) { got.Store(r.Header.Get("Authorization")) })
	dance := withToken(`Bearer realm="URL/token",service="the service"`, `{"token":"good"}`, 200)
	f := newFake(t, func(f *fake, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			http.Redirect(w, r, other.URL+"/v2/", http.StatusTemporaryRedirect)
			return
		}
		dance(f, w, r)
	})
	f.pool.AddCert(other.Certificate())
	if err := f.client().Check(t.Context(), f.host); err != nil || got.Load() != "" {
		t.Errorf("%v; the other registry got the header %q", err, got.Load())
	}
}

// Nobody makes the server connect to what only the server can reach (CWE-918):
// not by an address, not by a name, not by a redirect, not by a realm.
func TestInvariant11_PrivateUpstreamIsRefused(t *testing.T) {
	inside := newFake(t, status(200))
	_, port, _ := strings.Cut(inside.host, ":")
	refuse := upstream.New(upstream.Options{RootCAs: inside.pool})
	const text = "is at an address that is not public, which is refused."
	for _, host := range []string{inside.host, "localhost:" + port, "[::1]:" + port, "[::ffff:127.0.0.1]:" + port, "169.254.169.254", "10.0.0.1:" + port, "0.0.0.0:" + port} {
		wantFailure(t, host, inside, refuse.Check(t.Context(), host), "The upstream registry "+host+" "+text)
	}
	// One address may be reached, and sends the client to another.
	for name, answer := range map[string]func(*fake, http.ResponseWriter, *http.Request){
		"redirect": func(_ *fake, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.2:"+port+"/", http.StatusFound)
		},
		"realm": withToken(`Bearer realm="https://127.0.0.2:`+port+`/token"`, "", 200),
	} {
		f := newFake(t, answer)
		f.pool.AddCert(inside.Certificate())
		one := upstream.New(upstream.Options{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, RootCAs: f.pool})
		wantFailure(t, name, f, one.Check(t.Context(), f.host), "The upstream registry HOST "+text)
	}
	if n := inside.hits.Load(); n != 0 {
		t.Errorf("%d requests came through", n)
	}
}

func TestCheckEnds(t *testing.T) {
	release := make(chan struct{})
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	t.Cleanup(func() { close(release) })
	slow := upstream.New(upstream.Options{Allow: loopback(), RootCAs: f.pool, Timeout: 50 * time.Millisecond})
	wantFailure(t, "timeout", f, slow.Check(t.Context(), f.host), "The upstream registry HOST does not answer in time.")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.client().Check(ctx, f.host); !errors.Is(err, context.Canceled) {
		t.Errorf("a request that was cancelled: %v", err)
	}
}

func TestCheckNeedsTrust(t *testing.T) {
	f := newFake(t, status(200))
	stranger := upstream.New(upstream.Options{Allow: loopback(), RootCAs: x509.NewCertPool()})
	wantFailure(t, "unknown authority", f, stranger.Check(t.Context(), f.host), "The upstream registry HOST cannot be reached: tls: failed to verify certificate")
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(plain.Close)
	host := strings.TrimPrefix(plain.URL, "http://")
	if err := stranger.Check(t.Context(), host); err == nil || !strings.Contains(err.Error(), "cannot be reached") {
		t.Errorf("a registry without TLS: %v", err)
	}
	plain.Close()
	if err := stranger.Check(t.Context(), host); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("The upstream registry %s cannot be reached: dial tcp", host)) {
		t.Errorf("nobody there: %v", err)
	}
}
