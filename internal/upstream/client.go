package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Bounds of a conversation.
const (
	defaultTimeout = 10 * time.Second
	maxRedirects   = 5
	maxHeader      = 64 << 10 // bytes
	maxToken       = 64 << 10 // bytes of the answer that holds a token
)

// Options are what a client is made of; zero fields take the defaults.
type Options struct {
	Allow   []netip.Prefix // networks that may be reached though they are not public
	RootCAs *x509.CertPool // who may vouch for registries; nil: whom the system trusts
	Timeout time.Duration  // of one check; 0 is 10 seconds
}

// Client asks registries. Its methods may be called at the same time.
type Client struct {
	http    *http.Client
	allow   []netip.Prefix
	timeout time.Duration
}

// New makes a client.
func New(o Options) *Client {
	c := &Client{allow: o.Allow, timeout: o.Timeout}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	dialer := &net.Dialer{Timeout: c.timeout, Control: c.guard}
	c.http = &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: o.RootCAs}, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: maxHeader, DisableKeepAlives: true, // checks are rare
		},
		CheckRedirect: func(next *http.Request, before []*http.Request) error {
			switch {
			case len(before) >= maxRedirects:
				return fmt.Errorf("it redirects more than %d times", maxRedirects)
			case next.URL.Scheme != "https":
				return errors.New("it redirects to a place without TLS")
			case next.URL.Host != before[0].URL.Host:
				next.Header.Del("Authorization") // a token is for the one who asked for it
			}
			return nil
		},
	}
	return c
}

// A Failure says what keeps a registry from being used, in one sentence for
// whoever made the rule.
type Failure struct{ Reason string }

func (f *Failure) Error() string { return f.Reason }

func fail(format string, args ...any) error { return &Failure{fmt.Sprintf(format, args...)} }

// Check asks a registry, a host with an optional port, whether it speaks the
// distribution API and lets anybody in, with a token if it wants one. The error
// is a *[Failure], or that of ctx.
//
// Source: OCI distribution-spec, "Determining Support"; distribution,
// "Token Authentication Specification".
func (c *Client) Check(ctx context.Context, host string) error {
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := c.check(limited, host)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c *Client) check(ctx context.Context, host string) error {
	base := url.URL{Scheme: "https", Host: host, Path: "/v2/"}
	status, challenges, err := c.ping(ctx, host, base.String(), "")
	if err != nil || status == http.StatusOK {
		return err
	}
	if status != http.StatusUnauthorized {
		return fail("The upstream registry %s answers with the status %d to GET /v2/, so it is no registry, or not one for everybody.", host, status)
	}
	for _, header := range challenges {
		if ch := parseChallenge(header); ch.scheme == "bearer" {
			return c.checkWithToken(ctx, host, base.String(), ch)
		}
	}
	return fail("The upstream registry %s asks for a user name and a password, and the rule has none.", host)
}

// checkWithToken asks again with the token that anybody gets.
func (c *Client) checkWithToken(ctx context.Context, host, base string, ch challenge) error {
	token, err := c.token(ctx, host, ch)
	if err != nil {
		return err
	}
	status, _, err := c.ping(ctx, host, base, token)
	if err != nil || status == http.StatusOK {
		return err
	}
	return fail("The upstream registry %s answers with the status %d to GET /v2/ with the token that it gave.", host, status)
}

// ping is one GET of the base of the API.
func (c *Client) ping(ctx context.Context, host, base, token string) (status int, challenges []string, err error) {
	resp, err := c.get(ctx, host, base, token)
	if err != nil {
		return 0, nil, err
	}
	if err := resp.Body.Close(); err != nil {
		return 0, nil, unreachable(host, err)
	}
	return resp.StatusCode, resp.Header.Values("WWW-Authenticate"), nil
}

func (c *Client) get(ctx context.Context, host, target, token string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, unreachable(host, err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(host, err)
	}
	return resp, nil
}

// unreachable says why there was no answer. It does not tell to which private
// address a name leads.
func unreachable(host string, err error) error {
	var request *url.Error
	switch {
	case errors.Is(err, errPrivate):
		return fail("The upstream registry %s is at an address that is not public, which is refused.", host)
	case errors.Is(err, context.DeadlineExceeded):
		return fail("The upstream registry %s does not answer in time.", host)
	case errors.As(err, &request):
		err = request.Err
	}
	return fail("The upstream registry %s cannot be reached: %v.", host, err)
}

// token asks for the token that anybody gets.
func (c *Client) token(ctx context.Context, host string, ch challenge) (string, error) {
	realm, err := url.Parse(ch.params["realm"])
	if err != nil || realm.Scheme != "https" || realm.Host == "" || realm.User != nil {
		return "", fail("The upstream registry %s sends clients for a token to %q, which is not a URL with TLS.", host, ch.params["realm"])
	}
	q := realm.Query()
	for _, name := range []string{"service", "scope"} {
		if v := ch.params[name]; v != "" {
			q.Set(name, v)
		}
	}
	realm.RawQuery = q.Encode()
	resp, err := c.get(ctx, host, realm.String(), "")
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxToken))
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return "", unreachable(host, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fail("The upstream registry %s gives no token to everybody: %s answers with the status %d.", host, realm.Host, resp.StatusCode)
	}
	var answer struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.Token == "" && answer.AccessToken == "" {
		return "", fail("The upstream registry %s gives no token: the answer of %s has none.", host, realm.Host)
	}
	if answer.Token == "" {
		return answer.AccessToken, nil
	}
	return answer.Token, nil
}
