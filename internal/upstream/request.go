package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"berth/internal/dial"
)

// get sends a request for something of a source, with the credentials that it
// needs, and follows where it leads. The answer is 200 or 206.
func (c *Client) get(ctx context.Context, s Source, method, path string, header http.Header) (*http.Response, error) {
	if err := c.silent(s.Host); err != nil {
		return nil, err
	}
	target := &url.URL{Scheme: "https", Host: s.Host, Path: "/v2/" + s.Repository + path}
	if s.Repository == "" {
		target.Path = "/v2/"
	}
	for range maxRedirects + 1 {
		resp, err := c.authorized(ctx, s, method, target, header)
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 300 || resp.StatusCode >= 400 {
			return resp, c.judge(resp, s, path)
		}
		location := resp.Header.Get("Location")
		next, err := target.Parse(location)
		if cerr := discard(resp); cerr != nil {
			err = errors.Join(err, cerr)
		}
		if err != nil || location == "" {
			return nil, fail(Malformed, s.Host, err, "redirects to a place that is none")
		}
		target = next
	}
	return nil, fail(Malformed, s.Host, nil, "redirects more than %d times", maxRedirects)
}

// authorized sends one request, and sends it again with what the answer's
// challenge asks for. Only the source's own host gets its credentials.
func (c *Client) authorized(ctx context.Context, s Source, method string, target *url.URL, header http.Header) (*http.Response, error) {
	who, own := s.Credentials, c.isOwn(s.Host, target)
	if !own {
		who = Credentials{}
	}
	key := tokenKey{host: strings.ToLower(target.Host), repository: s.Repository, who: who}
	authorization := c.tokens.get(key, c.now())
	resp, err := c.send(ctx, s.Host, method, target, header, authorization)
	if err == nil && own {
		c.tell(s, resp)
	}
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	challenges := resp.Header.Values("WWW-Authenticate")
	if err := discard(resp); err != nil {
		return nil, fail(Unavailable, s.Host, err, "broke off its answer")
	}
	authorization, err = c.answer(ctx, s, key, challenges)
	if err != nil {
		return nil, err
	}
	resp, err = c.send(ctx, s.Host, method, target, header, authorization)
	if err == nil && own {
		c.tell(s, resp)
	}
	return resp, err
}

// isOwn reports whether a URL lies at the host itself, also by the place that it
// is mapped to.
func (c *Client) isOwn(host string, u *url.URL) bool {
	if u.Scheme == "https" && strings.EqualFold(u.Host, host) {
		return true
	}
	m := c.mapping[strings.ToLower(host)]
	return m != nil && m.Scheme == u.Scheme && strings.EqualFold(m.Host, u.Host)
}

// send sends one request to where its host is.
func (c *Client) send(ctx context.Context, host, method string, target *url.URL, header http.Header, authorization string) (*http.Response, error) {
	base, transport, ok := c.place(host, target)
	if !ok {
		return nil, fail(Forbidden, host, nil, "leads to %s, which is not HTTPS", target.Host)
	}
	at := *target
	at.Scheme, at.Host, at.User, at.Fragment = base.Scheme, base.Host, nil, ""
	req, err := http.NewRequestWithContext(ctx, method, at.String(), nil)
	if err != nil {
		return nil, fail(Malformed, host, err, "leads to a URL that is none")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", "berth")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := transport.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	var private *dial.PrivateError
	if errors.As(err, &private) {
		return nil, fail(Forbidden, host, err, "leads to %s, and %s: map the host to a URL with --upstream to allow it", target.Host, private)
	}
	return nil, fail(Unavailable, host, err, "cannot be reached (%s)", reason(err))
}

// reason is the short cause of a failure, without URLs, which may be signed.
func reason(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}

// judge turns an answer that is no success into an error.
func (c *Client) judge(resp *http.Response, s Source, path string) error {
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusPartialContent {
		return nil
	}
	what := strings.TrimPrefix(s.Repository+path, "/")
	if what == "" {
		what = "the API of registries (GET /v2/)"
	}
	cause := discard(resp)
	switch code := resp.StatusCode; {
	case code == http.StatusNotFound:
		return fail(NotFound, s.Host, cause, "does not have %s", what)
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fail(Denied, s.Host, cause, "does not let us have %s (%s)", what, resp.Status)
	case code == http.StatusTooManyRequests:
		e := fail(TooMany, s.Host, cause, "says that too much was asked of it")
		e.Retry = c.silence(s.Host, resp.Header.Get("Retry-After"))
		return e
	default:
		return fail(Unavailable, s.Host, cause, "answers %s for %s", resp.Status, what)
	}
}

// discard reads what little is left of an answer, so that its connection can be
// used again.
func discard(resp *http.Response) error {
	_, err := io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	return errors.Join(err, resp.Body.Close())
}
