package oidc_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"go.uber.org/goleak"

	"berth/internal/access/webidentity"
	"berth/internal/oidc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// provider is an identity provider on loopback.
type provider struct {
	*httptest.Server
	mu     sync.Mutex
	keys   []jose.JSONWebKey
	answer func(w http.ResponseWriter, r *http.Request) bool // true: it answered
	asked  atomic.Int64
}

func start(t *testing.T) *provider {
	t.Helper()
	p := &provider{}
	p.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.asked.Add(1)
		if p.answer != nil && p.answer(w, r) {
			return
		}
		var err error
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_, err = fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, p.URL, p.URL+"/keys")
		case "/keys":
			err = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: p.keys})
		default:
			http.NotFound(w, r)
		}
		if err != nil {
			t.Error(err)
		}
	}))
	p.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	t.Cleanup(p.Close)
	p.rotate(t, "one")
	return p
}

func (p *provider) rotate(t *testing.T, id string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.keys = []jose.JSONWebKey{{Key: &k.PublicKey, KeyID: id}} })
}

func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) thumbprint() string {
	sum := sha1.Sum(p.Certificate().Raw)
	return hex.EncodeToString(sum[:])
}

// rig is a client with a clock.
type rig struct {
	*oidc.Client
	now time.Time
	log bytes.Buffer
}

func loopback() []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

func client(t *testing.T, roots []*x509.Certificate, private []netip.Prefix) *rig {
	t.Helper()
	r := &rig{now: time.Now()}
	var err error
	r.Client, err = oidc.New(oidc.Options{Roots: roots, Private: private, Now: func() time.Time { return r.now }, Log: slog.New(slog.NewTextHandler(&r.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func named(id string) func([]jose.JSONWebKey) bool {
	return func(keys []jose.JSONWebKey) bool { return keys[0].KeyID == id }
}

func TestKeysAreKeptAndRotated(t *testing.T) {
	p := start(t)
	r := client(t, []*x509.Certificate{p.Certificate()}, loopback())
	expect := func(id, want string, asked int64) {
		t.Helper()
		got, err := r.Keys(t.Context(), p.URL, nil, named(id))
		if err != nil || got[0].KeyID != want || p.asked.Load() != asked {
			t.Errorf("%v, %v after %d requests; want %s after %d", got, err, p.asked.Load(), want, asked)
		}
	}
	expect("one", "one", 2)
	expect("one", "one", 2)
	p.rotate(t, "two")
	expect("two", "one", 2) // a token with an unknown key asks once a minute at most
	r.now = r.now.Add(time.Minute)
	expect("two", "two", 4)
	expect("forged", "two", 4)
	r.now = r.now.Add(time.Hour)
	p.rotate(t, "three")
	expect("two", "three", 6) // what is withdrawn is forgotten within the hour
}

func TestFailuresAreRemembered(t *testing.T) {
	p := start(t)
	r := client(t, []*x509.Certificate{p.Certificate()}, loopback())
	p.set(func() {
		p.answer = func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true }
	})
	for range 5 {
		if _, err := r.Keys(t.Context(), p.URL, nil, named("one")); !errors.Is(err, webidentity.ErrUnreachable) {
			t.Error(err)
		}
	}
	if n := p.asked.Load(); n != 1 || strings.Count(r.log.String(), "cannot be had") != 1 {
		t.Errorf("%d requests, log %s", n, r.log.String())
	}
	p.set(func() { p.answer = nil })
	r.now = r.now.Add(31 * time.Second)
	if _, err := r.Keys(t.Context(), p.URL, nil, named("one")); err != nil {
		t.Error(err)
	}
}

// Many requests at once make one fetch, which goes on when the first of them goes away.
func TestOneFetchForAll(t *testing.T) {
	p := start(t)
	r := client(t, []*x509.Certificate{p.Certificate()}, loopback())
	arrived, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	p.set(func() {
		p.answer = func(http.ResponseWriter, *http.Request) bool {
			once.Do(func() { close(arrived); <-goOn })
			return false
		}
	})
	impatient, leave := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() { _, err := r.Keys(impatient, p.URL, nil, named("one")); gone <- err }()
	<-arrived
	var waiting sync.WaitGroup
	for range 20 {
		waiting.Go(func() {
			if _, err := r.Keys(t.Context(), p.URL, nil, named("one")); err != nil {
				t.Error(err)
			}
		})
	}
	leave()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(goOn)
	waiting.Wait()
	if p.asked.Load() != 2 {
		t.Errorf("%d requests", p.asked.Load())
	}
}

func TestCertificates(t *testing.T) {
	p := start(t)
	for what, tc := range map[string]struct {
		roots       []*x509.Certificate
		thumbprints []string
		want        error
	}{
		"a root of the operator":       {[]*x509.Certificate{p.Certificate()}, nil, nil},
		"a thumbprint":                 {nil, []string{strings.Repeat("a", 40), p.thumbprint()}, nil},
		"a thumbprint in capitals":     {nil, []string{strings.ToUpper(p.thumbprint())}, nil},
		"neither":                      {nil, nil, webidentity.ErrCertificate},
		"another thumbprint":           {nil, []string{strings.Repeat("a", 40)}, webidentity.ErrCertificate},
		"a root and a thumbprint that": {[]*x509.Certificate{p.Certificate()}, []string{strings.Repeat("a", 40)}, nil},
	} {
		r := client(t, tc.roots, loopback())
		if _, err := r.Keys(t.Context(), p.URL, tc.thumbprints, named("one")); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", what, err)
		}
		// A certificate is for its names, whoever vouches for it.
		elsewhere := strings.Replace(p.URL, "127.0.0.1", "127.0.0.2", 1)
		if _, err := r.Keys(t.Context(), elsewhere, tc.thumbprints, named("one")); !errors.Is(err, webidentity.ErrCertificate) && !errors.Is(err, webidentity.ErrUnreachable) {
			t.Errorf("%s, another name: %v", what, err)
		}
	}
	old := client(t, nil, loopback())
	old.now = p.Certificate().NotAfter.Add(time.Hour)
	if _, err := old.Keys(t.Context(), p.URL, []string{p.thumbprint()}, named("one")); !errors.Is(err, webidentity.ErrCertificate) {
		t.Errorf("an expired certificate: %v", err)
	}
}

// TestPrivateAddressesAreRefused: a provider's name, or the address of its keys,
// must not lead into the operator's network (CVE-2020-13788 of Harbor,
// CVE-2026-32591 of Quay).
func TestPrivateAddressesAreRefused(t *testing.T) {
	p := start(t)
	r := client(t, []*x509.Certificate{p.Certificate()}, nil)
	for _, issuer := range []string{
		p.URL, strings.Replace(p.URL, "127.0.0.1", "localhost", 1), strings.Replace(p.URL, "127.0.0.1", "[::1]", 1),
		strings.Replace(p.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1), strings.Replace(p.URL, "127.0.0.1", "0.0.0.0", 1), "https://10.0.0.1",
		"https://192.168.1.1", "https://172.16.0.1", "https://169.254.169.254", "https://100.64.0.1", "https://[fe80::1]", "https://[fd00::1]",
		"https://[64:ff9b::7f00:1]", "https://[2002:7f00:1::]", "https://224.0.0.1", "https://255.255.255.255",
	} {
		_, err := r.Keys(t.Context(), issuer, nil, named("one"))
		if !errors.Is(err, webidentity.ErrUnreachable) || !strings.Contains(err.Error(), "is not a public one: allow its network with --private-networks") {
			t.Errorf("%s: %v", issuer, err)
		}
	}
	if p.asked.Load() != 0 {
		t.Errorf("%d requests came through", p.asked.Load())
	}
	other := client(t, []*x509.Certificate{p.Certificate()}, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	if _, err := other.Keys(t.Context(), p.URL, nil, named("one")); !errors.Is(err, webidentity.ErrUnreachable) {
		t.Errorf("with another network allowed: %v", err)
	}
}

// What a provider answers does not lead elsewhere, and does not fill memory.
func TestHostileProviders(t *testing.T) {
	p := start(t)
	for what, tc := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request) bool
		want   error
	}{
		"a redirect": {func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, p.URL+"/elsewhere", http.StatusFound)
			return true
		}, webidentity.ErrMetadata},
		"keys by http": {func(w http.ResponseWriter, _ *http.Request) bool {
			_, err := fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"http://127.0.0.1:1/keys"}`, p.URL)
			return err == nil
		}, webidentity.ErrMetadata},
		"another issuer's configuration": {func(w http.ResponseWriter, _ *http.Request) bool {
			_, err := fmt.Fprintf(w, `{"issuer":"https://token.actions.githubusercontent.com","jwks_uri":%q}`, p.URL+"/keys")
			return err == nil
		}, webidentity.ErrMetadata},
		"keys on a private address": {func(w http.ResponseWriter, _ *http.Request) bool {
			_, err := fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":"https://169.254.169.254/keys"}`, p.URL)
			return err == nil
		}, webidentity.ErrUnreachable},
		"an endless document": {func(w http.ResponseWriter, r *http.Request) bool {
			for r.Context().Err() == nil {
				if _, err := w.Write(bytes.Repeat([]byte(" "), 64<<10)); err != nil {
					break
				}
			}
			return true
		}, webidentity.ErrMetadata},
		"an endless header": {func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			return false
		}, webidentity.ErrUnreachable},
		"nothing there": {func(w http.ResponseWriter, r *http.Request) bool { http.NotFound(w, r); return true }, webidentity.ErrMetadata},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) bool {
			_, err := w.Write([]byte("<html>"))
			return err == nil
		}, webidentity.ErrMetadata},
	} {
		p.set(func() { p.answer = tc.answer })
		r := client(t, []*x509.Certificate{p.Certificate()}, loopback())
		if _, err := r.Keys(t.Context(), p.URL, nil, named("one")); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
