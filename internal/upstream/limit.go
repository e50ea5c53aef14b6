package upstream

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A Limit is what a registry says of the requests that it still answers, as
// Docker Hub does (Docker documentation, "Docker Hub pull usage and limits").
type Limit struct {
	Limit     int           // pulls within the window
	Remaining int           // of them
	Window    time.Duration // 0 when it is not said
	At        time.Time     // when it was said
}

// SilentUntil is until when a host is left alone, since it said that too much was
// asked of it; zero: it is not.
func (c *Client) SilentUntil(host string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if until := c.silences[strings.ToLower(host)]; c.now().Before(until) {
		return until
	}
	return time.Time{}
}

// maxSilences bounds of how many hosts is remembered that they are left alone.
const maxSilences = 1000

// tell tells who asked what an answer says of limits.
func (c *Client) tell(s Source, resp *http.Response) {
	limit, window, ok := limitOf(resp.Header.Get("RateLimit-Limit"))
	remaining, _, ok2 := limitOf(resp.Header.Get("RateLimit-Remaining"))
	if ok && ok2 && s.Limit != nil {
		s.Limit(Limit{Limit: limit, Remaining: remaining, Window: window, At: c.now()})
	}
}

// limitOf reads "100;w=21600".
func limitOf(s string) (n int, window time.Duration, ok bool) {
	number, rest, _ := strings.Cut(s, ";")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if seconds, found := strings.CutPrefix(strings.TrimSpace(rest), "w="); found {
		if w, werr := strconv.Atoi(seconds); werr == nil && w >= 0 && w < 1<<30 {
			window = time.Duration(w) * time.Second
		}
	}
	return n, window, err == nil && n >= 0
}

// How long a registry is left alone that says that too much was asked of it.
const (
	defaultSilence = time.Minute
	maxSilence     = time.Hour
)

// silence leaves a host alone for as long as its Retry-After says (RFC 9110,
// section 10.2.3).
func (c *Client) silence(host, after string) time.Duration {
	d := defaultSilence
	if n, err := strconv.Atoi(after); err == nil && n >= 0 {
		d = time.Duration(min(n, int(maxSilence/time.Second))) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		d = max(min(at.Sub(c.now()), maxSilence), 0)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.silences) >= maxSilences {
		clear(c.silences)
	}
	c.silences[strings.ToLower(host)] = c.now().Add(d)
	return d
}

// silent fails while a host is left alone.
func (c *Client) silent(host string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	until, ok := c.silences[strings.ToLower(host)]
	if now := c.now(); ok && now.Before(until) {
		e := fail(TooMany, host, nil, "says that too much was asked of it")
		e.Retry = until.Sub(now)
		return e
	}
	delete(c.silences, strings.ToLower(host))
	return nil
}
