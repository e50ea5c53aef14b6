package sigv4

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Credentials sign a URL. SessionToken is empty for lasting keys.
type Credentials struct {
	AccessKeyID, SecretAccessKey, SessionToken string
}

// String and GoString keep the secret out of logs and errors.
func (c Credentials) String() string   { return "credentials of " + c.AccessKeyID }
func (c Credentials) GoString() string { return c.String() }

// PresignRequest describes the link to make.
type PresignRequest struct {
	// Method is the HTTP method the link is good for.
	Method string
	// URL is the absolute address; its query, if any, becomes part of the link.
	URL string
	// Header holds headers that the fetcher must send exactly so; usually nil.
	Header http.Header
	// Region and Service are the credential scope.
	Region, Service string
	// SignedAt is when the link's life starts.
	SignedAt time.Time
	// Expires is how long it lives: whole seconds, 1 s to [MaxPresign].
	Expires time.Duration
}

// Presign returns the URL with a signature in its query string. The body, if
// the method has one, must be empty: S3 and GET or HEAD links declare
// UNSIGNED-PAYLOAD, all others the hash of no bytes.
func Presign(c Credentials, p PresignRequest) (string, error) {
	u, err := url.Parse(p.URL)
	if err != nil {
		return "", fmt.Errorf("presign: parse the URL: %w", err)
	}
	switch {
	case u.Host == "":
		return "", fmt.Errorf("presign: URL %q has no host", u.Redacted())
	case c.AccessKeyID == "" || c.SecretAccessKey == "":
		return "", errors.New("presign: credentials are empty")
	case !isScopeName(p.Region) || !isScopeName(p.Service):
		return "", fmt.Errorf("presign: %q and %q are not a region and a service", p.Region, p.Service)
	case p.Expires < time.Second || p.Expires > MaxPresign || p.Expires%time.Second != 0:
		return "", fmt.Errorf("presign: lifetime %s is not in whole seconds from 1s to %s", p.Expires, MaxPresign)
	}
	cred := credential{accessKeyID: c.AccessKeyID, date: p.SignedAt.UTC().Format(dateOnly), region: p.Region, service: p.Service}

	signed := []string{"host"}
	for name := range p.Header {
		lower := strings.ToLower(name)
		if !isHeaderName(lower) || lower == "host" {
			return "", fmt.Errorf("presign: %q is not a header that can be signed", clip(name))
		}
		signed = append(signed, lower)
	}
	slices.Sort(signed)
	signed = slices.Compact(signed)

	existing, aerr := splitQuery(u.RawQuery)
	if aerr != nil {
		return "", fmt.Errorf("presign: %w", aerr)
	}
	params := slices.DeleteFunc(existing, func(q param) bool { return strings.HasPrefix(q.name, "X-Amz-") })
	params = append(params,
		param{qAlgorithm, algorithm},
		param{qCredential, strings.Join([]string{cred.accessKeyID, cred.date, cred.region, cred.service, terminator}, "/")},
		param{qDate, stamp(p.SignedAt)},
		param{qExpires, strconv.FormatInt(int64(p.Expires/time.Second), 10)},
		param{qSignedHeaders, strings.Join(signed, ";")},
	)
	if c.SessionToken != "" {
		params = append(params, param{qSecurityToken, c.SessionToken})
	}
	payload := emptyPayload
	if p.Service == serviceS3 || p.Method == http.MethodGet || p.Method == http.MethodHead {
		payload = unsignedPayload
	}
	r := &http.Request{Method: p.Method, URL: u, Host: u.Host, Header: p.Header}
	head, aerr := canonicalHead(nil, r, params, signed, p.Service)
	if aerr != nil {
		return "", fmt.Errorf("presign: %w", aerr)
	}
	sig := signature(deriveKey(c.SecretAccessKey, cred), head, payload, stamp(p.SignedAt), cred)
	u.RawQuery = string(appendQuery(nil, params)) + "&" + qSignature + "=" + sig
	return u.String(), nil
}
