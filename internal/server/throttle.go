package server

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/access/token"
	"berth/internal/iam"
)

// Credentials that are wrong cost a source something: it may fail guessBurst
// times at once, and once a second in the long run. A source that has used that up
// is not heard until the next second, right or wrong. A client with good
// credentials never notices, unless it shares its address with one that guesses.
const (
	guessBurst  = 60
	guessRefill = time.Second
	maxSources  = 10_000
)

// throttle counts failed logins by source.
type throttle struct {
	now func() time.Time

	mu      sync.Mutex
	sources map[netip.Prefix]guesses
}

// guesses are what a source has used up at a time.
type guesses struct {
	used int
	at   time.Time
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, sources: map[netip.Prefix]guesses{}}
}

// sourceOf is whom an address stands for: with IPv6, a network of its own
// (RFC 6177). It is false for an address that cannot be read.
func sourceOf(r *http.Request) (netip.Prefix, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}, false
	}
	addr := ap.Addr().Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	return p, err == nil
}

// current gives back what has come back since.
func (t *throttle) current(p netip.Prefix) guesses {
	g, ok := t.sources[p]
	now := t.now()
	if !ok {
		return guesses{at: now}
	}
	n := int(now.Sub(g.at) / guessRefill)
	return guesses{used: max(0, g.used-n), at: g.at.Add(time.Duration(n) * guessRefill)}
}

// Spent reports whether a source has failed too often.
func (t *throttle) Spent(r *http.Request) bool {
	p, ok := sourceOf(r)
	if !ok {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current(p).used >= guessBurst
}

// Failed counts a failure.
func (t *throttle) Failed(r *http.Request) {
	p, ok := sourceOf(r)
	if !ok {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	g := t.current(p)
	g.used++
	if _, known := t.sources[p]; !known && len(t.sources) >= maxSources {
		t.forget()
	}
	t.sources[p] = g
}

// forget drops the sources that owe nothing any more, or else all: whoever has so
// many addresses is not held up by counting them.
func (t *throttle) forget() {
	for p := range t.sources {
		if t.current(p).used == 0 {
			delete(t.sources, p)
		}
	}
	if len(t.sources) >= maxSources {
		clear(t.sources)
	}
}

// signatures checks signed requests within the throttle.
type signatures struct {
	*sigv4.Verifier
	throttle *throttle
}

// Verify implements the doors' authenticators.
func (s signatures) Verify(r *http.Request, body []byte) (sigv4.Identity, error) {
	if s.throttle.Spent(r) {
		return sigv4.Identity{}, sigv4.Throttled()
	}
	id, err := s.Verifier.Verify(r, body)
	if sigv4.IsWrong(err) {
		s.throttle.Failed(r)
	}
	return id, err
}

// passwords checks registry passwords within the throttle.
type passwords struct {
	users    *iam.Store
	throttle *throttle
}

// Password implements ociapi.Authenticator.
func (p passwords) Password(r *http.Request, password string) (access.Principal, error) {
	if p.throttle.Spent(r) {
		return access.Principal{}, token.ErrThrottled
	}
	who, err := p.users.Password(r.Context(), password)
	if errors.Is(err, token.ErrInvalid) {
		p.throttle.Failed(r)
	}
	return who, err
}
