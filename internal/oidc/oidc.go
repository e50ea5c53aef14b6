// Package oidc fetches the keys with which identity providers sign: their
// configuration, and the key set that it names, over HTTPS.
//
// # Guarantees
//
//   - Only https, no redirects, no proxies: what is asked is what the issuer's
//     name and its configuration say, and the certificate is checked for both.
//   - Addresses that are not public (private, loopback, link-local and the like)
//     are refused when they are dialled, unless the operator allows their network.
//   - A certificate is trusted by the system's roots and those of the operator, or
//     by a thumbprint of the provider.
//   - Keys are kept for an hour. A token with a key that is not known yet asks
//     again, once a minute at most; a failure is remembered for half a minute.
//     Requests that ask at once share one fetch.
//   - Times, sizes and the number of providers that are remembered are bounded.
package oidc

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"berth/internal/access/webidentity"
	"berth/internal/dial"
)

const (
	keepKeys     = time.Hour
	keepFailure  = 30 * time.Second
	askAgain     = time.Minute // between two fetches for keys that are not known
	fetchTimeout = 10 * time.Second
	maxDocument  = 1 << 20 // bytes of an answer
	maxProviders = 1000
)

// Options are what a client is made of.
type Options struct {
	// Roots are trusted besides those of the system; nil: none.
	Roots []*x509.Certificate
	// Private are the networks whose addresses may be called though they are not
	// public.
	Private []netip.Prefix
	Now     func() time.Time
	Log     *slog.Logger
}

// A Client fetches keys and keeps them. It is safe for concurrent use.
type Client struct {
	Options
	roots  *x509.CertPool
	shared singleflight.Group

	mu    sync.Mutex
	known map[string]fetched // by issuer and thumbprints
}

// fetched is what the last fetch gave.
type fetched struct {
	keys []jose.JSONWebKey
	err  error
	at   time.Time
}

// New makes a client.
func New(o Options) (*Client, error) {
	roots, err := x509.SystemCertPool()
	if err != nil {
		return nil, fmt.Errorf("read the system's trusted certificates: %w", err)
	}
	for _, c := range o.Roots {
		roots.AddCert(c)
	}
	return &Client{Options: o, roots: roots, known: map[string]fetched{}}, nil
}

// Keys gives the keys of an issuer. thumbprints are those of the provider, in
// hexadecimal; enough tells whether the keys have the one that is needed. It
// fails with [webidentity.ErrUnreachable], ErrCertificate or ErrMetadata.
func (c *Client) Keys(ctx context.Context, issuer string, thumbprints []string, enough func([]jose.JSONWebKey) bool) ([]jose.JSONWebKey, error) {
	name := issuer + " " + strings.ToLower(strings.Join(thumbprints, " "))
	c.mu.Lock()
	f, ok := c.known[name]
	c.mu.Unlock()
	if age := c.Now().Sub(f.at); ok {
		switch {
		case f.err != nil && age < keepFailure:
			return nil, f.err
		case f.err == nil && age < keepKeys && (enough(f.keys) || age < askAgain):
			return f.keys, nil
		}
	}
	// One fetch serves all that wait, so it does not end with one of them.
	result := c.shared.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
		defer cancel()
		keys, err := c.fetch(ctx, issuer, thumbprints)
		c.keep(name, fetched{keys, err, c.Now()})
		if err != nil {
			c.Log.Warn("the keys of an identity provider cannot be had", "issuer", issuer, "err", err)
		}
		return keys, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-result:
		keys, _ := r.Val.([]jose.JSONWebKey)
		return keys, r.Err
	}
}

func (c *Client) keep(name string, f fetched) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[name]; !ok && len(c.known) >= maxProviders {
		clear(c.known)
	}
	c.known[name] = f
}

// fetch reads the configuration of an issuer and then its keys.
func (c *Client) fetch(ctx context.Context, issuer string, thumbprints []string) ([]jose.JSONWebKey, error) {
	client := c.client(thumbprints)
	document, err := get(ctx, client, strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration")
	if err != nil {
		return nil, err
	}
	address, err := webidentity.ParseConfiguration(document, issuer)
	if err != nil {
		return nil, err
	}
	set, err := get(ctx, client, address)
	if err != nil {
		return nil, err
	}
	return webidentity.ParseKeys(set)
}

func (c *Client) client(thumbprints []string) *http.Client {
	dialer := &net.Dialer{Timeout: fetchTimeout, Control: dial.Public(c.Private)}
	return &http.Client{
		Transport: &http.Transport{
			DialContext: dialer.DialContext, TLSHandshakeTimeout: fetchTimeout, ResponseHeaderTimeout: fetchTimeout,
			DisableKeepAlives: true, DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
			TLSClientConfig: &tls.Config{
				MinVersion:         tls.VersionTLS12,
				InsecureSkipVerify: true, // VerifyConnection does it, by roots or by thumbprints
				VerifyConnection:   func(s tls.ConnectionState) error { return c.trust(s, thumbprints) },
			},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// get reads one document.
func get(ctx context.Context, client *http.Client, address string) (_ []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", webidentity.ErrMetadata, err)
	}
	resp, err := client.Do(req)
	if errors.Is(err, webidentity.ErrCertificate) {
		return nil, err
	}
	var private *dial.PrivateError
	if errors.As(err, &private) {
		return nil, fmt.Errorf("%w: %w: allow its network with --private-networks if the provider is yours", webidentity.ErrUnreachable, private)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", webidentity.ErrUnreachable, err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		reason := webidentity.ErrMetadata
		if resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusTooManyRequests {
			reason = webidentity.ErrUnreachable
		}
		return nil, fmt.Errorf("%w: %s answers %s", reason, address, resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", webidentity.ErrUnreachable, err)
	case len(b) > maxDocument:
		return nil, fmt.Errorf("%w: %s answers more than %d bytes", webidentity.ErrMetadata, address, maxDocument)
	}
	return b, nil
}

// trust checks the certificate of a connection: by the roots, or else by a
// certificate of the chain whose SHA-1 is a thumbprint, below which the chain must
// be whole (IAM User Guide, "Obtain the thumbprint for an OpenID Connect identity
// provider").
func (c *Client) trust(s tls.ConnectionState, thumbprints []string) error {
	if len(s.PeerCertificates) == 0 {
		return webidentity.ErrCertificate
	}
	leaf, rest := s.PeerCertificates[0], x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		rest.AddCert(cert)
	}
	o := x509.VerifyOptions{DNSName: s.ServerName, Roots: c.roots, Intermediates: rest, CurrentTime: c.Now()}
	_, err := leaf.Verify(o)
	if err == nil {
		return nil
	}
	for _, cert := range s.PeerCertificates {
		sum := sha1.Sum(cert.Raw)
		if slices.ContainsFunc(thumbprints, func(t string) bool { return strings.EqualFold(t, hex.EncodeToString(sum[:])) }) {
			o.Roots = x509.NewCertPool()
			o.Roots.AddCert(cert)
			if _, err := leaf.Verify(o); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("%w: %w", webidentity.ErrCertificate, err)
}
