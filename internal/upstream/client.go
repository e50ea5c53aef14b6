package upstream

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/dial"
)

// Limits of what an upstream may take.
const (
	MaxManifest   = 4 << 20 // bytes, as of our own (distribution-spec, "Pushing Manifests")
	maxToken      = 1 << 20 // bytes of a token's answer
	maxRedirects  = 5       // of one request
	answerTimeout = time.Minute
	stallTimeout  = time.Minute // without a byte of a body
)

// Credentials are those of a rule; the zero value is nobody.
type Credentials struct {
	Username string
	Password string
}

// A Source is a repository of an upstream and who asks for it.
type Source struct {
	Host        string // registry-1.docker.io
	Repository  string // library/nginx
	Credentials Credentials
	// Limit is told what the registry says of its limits, when it does; nil: nobody.
	Limit func(Limit)
}

// Options are what a client is made of.
type Options struct {
	Mapping Mapping
	Now     func() time.Time
	Stall   time.Duration // without a byte of a body; 0 is a minute
}

// Client reads from upstreams. Its methods may be called at the same time.
type Client struct {
	mapping  Mapping
	public   *http.Transport // to public addresses alone
	mapped   *http.Transport // to what the mapping names
	now      func() time.Time
	stall    time.Duration
	tokens   tokens
	mu       sync.Mutex
	silences map[string]time.Time // hosts that want to be left alone, until then
}

// New makes a client.
func New(o Options) *Client {
	transport := func(dial func(*http.Transport)) *http.Transport {
		t := &http.Transport{
			ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 8, IdleConnTimeout: 90 * time.Second,
			TLSHandshakeTimeout: connectTimeout, ResponseHeaderTimeout: answerTimeout,
			DisableCompression:     true, // what is stored is what was hashed
			MaxResponseHeaderBytes: 64 << 10,
		}
		dial(t)
		return t
	}
	stall := o.Stall
	if stall == 0 {
		stall = stallTimeout
	}
	return &Client{
		mapping: o.Mapping, now: o.Now, stall: stall, silences: map[string]time.Time{},
		public: transport(func(t *http.Transport) { t.DialContext = dialer(dial.Public(nil)) }),
		mapped: transport(func(t *http.Transport) { t.DialContext = dialer(nil) }),
		tokens: tokens{known: map[tokenKey]token{}},
	}
}

// Close ends idle connections.
func (c *Client) Close() {
	c.public.CloseIdleConnections()
	c.mapped.CloseIdleConnections()
}

// A Descriptor is what an upstream says of a manifest.
type Descriptor struct {
	Digest    digest.Digest
	MediaType string
	Size      int64
}

// manifestTypes are what a registry may answer with, Docker's and the OCI's.
const manifestTypes = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " +
	"application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json, */*;q=0.1"

// Head asks which manifest a tag names, without fetching it.
func (c *Client) Head(ctx context.Context, s Source, ref string) (Descriptor, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.get(ctx, s, http.MethodHead, "/manifests/"+ref, http.Header{"Accept": {manifestTypes}})
	if err != nil {
		return Descriptor{}, err
	}
	if err := resp.Body.Close(); err != nil {
		return Descriptor{}, fail(Unavailable, s.Host, err, "broke off its answer")
	}
	d := Descriptor{Digest: digest.Digest(resp.Header.Get("Docker-Content-Digest")), MediaType: resp.Header.Get("Content-Type"), Size: resp.ContentLength}
	if d.Digest.Validate() != nil {
		return Descriptor{}, fail(Malformed, s.Host, nil, "does not say which digest %s of %s has", ref, s.Repository)
	}
	return d, nil
}

// A Manifest is one as it came.
type Manifest struct {
	Descriptor
	Body []byte
}

// Manifest fetches a manifest by tag or digest.
func (c *Client) Manifest(ctx context.Context, s Source, ref string) (Manifest, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.get(ctx, s, http.MethodGet, "/manifests/"+ref, http.Header{"Accept": {manifestTypes}})
	if err != nil {
		return Manifest{}, err
	}
	body, err := readAll(resp.Body, MaxManifest)
	switch {
	case errors.Is(err, errTooLarge):
		return Manifest{}, fail(Malformed, s.Host, err, "has a manifest %s of %s that is larger than the limit of 4 MiB", ref, s.Repository)
	case err != nil:
		return Manifest{}, fail(Unavailable, s.Host, err, "broke off the manifest %s of %s", ref, s.Repository)
	case resp.ContentLength >= 0 && int64(len(body)) != resp.ContentLength:
		return Manifest{}, fail(Unavailable, s.Host, nil, "broke off the manifest %s of %s", ref, s.Repository)
	}
	want := digest.Digest(ref)
	if !strings.Contains(ref, ":") {
		want = digest.Digest(resp.Header.Get("Docker-Content-Digest"))
	}
	if want == "" {
		want = digest.FromBytes(body)
	}
	if want.Validate() != nil || want.Algorithm().FromBytes(body) != want {
		return Manifest{}, fail(Malformed, s.Host, nil, "gave a manifest for %s of %s whose digest is not %s", ref, s.Repository, want)
	}
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	return Manifest{Descriptor{want, strings.TrimSpace(media), int64(len(body))}, body}, nil
}

var errTooLarge = errors.New("larger than its limit")

// readAll reads and closes a body.
func readAll(body io.ReadCloser, limit int64) (b []byte, err error) {
	defer func() { err = errors.Join(err, body.Close()) }()
	b, err = io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = errTooLarge
	}
	return b, err
}

// A Blob is a blob on its way. Reading it fails when no byte comes for a minute,
// and when fewer bytes come than were announced.
type Blob struct {
	io.ReadCloser
	Size int64 // of the whole blob; -1 when the registry does not say
}

// Blob opens a blob, from a byte on: 0 is all of it. A registry that cannot begin
// in the middle is Malformed then.
func (c *Client) Blob(ctx context.Context, s Source, d digest.Digest, from int64) (Blob, error) {
	header := http.Header{"Accept": {"*/*"}}
	if from > 0 {
		header.Set("Range", rangeFrom(from))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	resp, err := c.get(ctx, s, http.MethodGet, "/blobs/"+d.String(), header)
	if err != nil {
		cancel(nil)
		return Blob{}, err
	}
	size := resp.ContentLength
	if from > 0 {
		whole, ok := partOf(resp, from)
		if !ok {
			cancel(nil)
			return Blob{}, errors.Join(fail(Malformed, s.Host, nil, "cannot go on in the middle of %s", d), resp.Body.Close())
		}
		size = whole
	}
	return Blob{Size: size, ReadCloser: newBody(resp.Body, cancel, c.stall, s.Host)}, nil
}

// Check logs in, and fails as any other request would.
func (c *Client) Check(ctx context.Context, host string, who Credentials) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	resp, err := c.get(ctx, Source{Host: host, Credentials: who}, http.MethodGet, "", nil)
	if err != nil {
		return err
	}
	_, err = readAll(resp.Body, maxToken)
	if err != nil {
		return fail(Unavailable, host, err, "broke off its answer")
	}
	return nil
}

// place is where a URL is reached on behalf of a host, and by which connections;
// false: nowhere, since it is not HTTPS. What the mapping names is reached only
// for a host that it names too, so that no other registry leads there.
func (c *Client) place(host string, u *url.URL) (*url.URL, *http.Transport, bool) {
	if c.mapping[strings.ToLower(host)] != nil {
		if m := c.mapping[strings.ToLower(u.Host)]; m != nil && u.Scheme == "https" {
			return m, c.mapped, true
		}
		for _, m := range c.mapping {
			if m.Scheme == u.Scheme && strings.EqualFold(m.Host, u.Host) {
				return m, c.mapped, true
			}
		}
	}
	return u, c.public, u.Scheme == "https"
}
