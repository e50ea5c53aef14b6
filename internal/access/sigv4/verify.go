package sigv4

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"berth/internal/access"
)

const serviceS3 = "s3"

// ErrUnknownKey is what a [KeyLookup] returns (wrapped or not) for an access key
// that does not exist, or does not go with the session token given.
var ErrUnknownKey = errors.New("unknown access key")

// Secret is what the key store knows about one access key.
type Secret struct {
	// SecretAccessKey is the shared secret.
	SecretAccessKey string
	// Principal is who signs with the key.
	Principal access.Principal
	// Active is false for a key that was switched off; it is then refused just
	// as an unknown one.
	Active bool
	// Expires is when temporary credentials end; zero for lasting keys.
	Expires time.Time
}

// String, GoString and LogValue keep the secret out of logs and errors.
func (s Secret) String() string       { return "secret of " + s.Principal.AccessKeyID }
func (s Secret) GoString() string     { return s.String() }
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// KeyLookup finds the secret of an access key. sessionToken is empty for
// lasting keys; a lookup must refuse with [ErrUnknownKey] a lasting key that
// comes with a token and a temporary key that comes without its own.
type KeyLookup interface {
	Secret(ctx context.Context, accessKeyID, sessionToken string) (Secret, error)
}

// Options says what a [Verifier] accepts.
type Options struct {
	// Services are the signing names accepted in the credential scope. Empty
	// means none: every request is refused.
	Services []string
	// ValidRegion says which regions exist; nil accepts any well-formed name,
	// since an API request's region is its signature's scope.
	ValidRegion func(region string) bool
	// CacheSize bounds the derived signing keys remembered; 0 means 1024, a
	// negative number none.
	CacheSize int
}

// Identity is a verified signature.
type Identity struct {
	Principal access.Principal
	// Region and Service are the credential scope, which the signature covers.
	Region, Service string
	// SignedAt is the signature's date, in UTC.
	SignedAt time.Time
	// Expires is when the credentials end; zero for lasting keys.
	Expires time.Time
}

// Verifier checks signatures. It is safe for concurrent use.
type Verifier struct {
	lookup KeyLookup
	now    func() time.Time
	opt    Options
	cache  *keyCache
}

// New returns a Verifier that finds secrets by lookup and reads the time from
// now.
func New(lookup KeyLookup, now func() time.Time, opt Options) *Verifier {
	if opt.CacheSize == 0 {
		opt.CacheSize = 1024
	}
	opt.Services = slices.Clone(opt.Services)
	return &Verifier{lookup: lookup, now: now, opt: opt, cache: newKeyCache(opt.CacheSize)}
}

// ForService returns a Verifier that accepts this one service and shares
// everything else, including the cache. A door uses it once it knows which
// service a request is meant for, so that a signature for sts cannot be used
// on ecr.
func (v *Verifier) ForService(service string) *Verifier {
	w := *v
	w.opt.Services = []string{service}
	return &w
}

// Verify checks the signature of an API call whose body was read already, in
// the Authorization header or, without one, in the query string.
//
// It returns an *[Error] when the signature does not hold, and any other error
// when the key store failed.
func (v *Verifier) Verify(r *http.Request, body []byte) (Identity, error) {
	params, a, aerr := parseRequest(r)
	if aerr != nil {
		return Identity{}, aerr
	}
	return v.verify(r, params, a, body)
}

// Check refuses what Verify would refuse whatever the body is: no or malformed
// signature, wrong scope or date, unknown key. A door asks it before it reads
// a large body, so that only holders of a key can make it do that. A request
// that passes is not authenticated yet.
func (v *Verifier) Check(r *http.Request) error {
	_, a, aerr := parseRequest(r)
	if aerr != nil {
		return aerr
	}
	_, err := v.admit(r, a, v.now().UTC())
	return err
}

// parseRequest finds the signature of an API call.
func parseRequest(r *http.Request) ([]param, *authorization, *Error) {
	params, aerr := precheck(r)
	if aerr != nil {
		return nil, nil, aerr
	}
	headers := r.Header.Values("Authorization")
	inQuery := slices.ContainsFunc(params, func(p param) bool { return p.name == qAlgorithm })
	var a *authorization
	switch {
	case len(headers) == 0 && !inQuery:
		return nil, nil, missingToken()
	case len(headers) > 0 && inQuery:
		return nil, nil, incomplete("Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, " +
			"Signature query string parameter or the Authorization header should be specified")
	case inQuery:
		a, aerr = parseQuery(params)
	case len(headers) > 1:
		return nil, nil, incomplete("Request carries more than one Authorization header")
	default:
		a, aerr = parseSigned(r, headers[0])
	}
	return params, a, aerr
}

// parseSigned reads a signature in the Authorization header.
func parseSigned(r *http.Request, header string) (*authorization, *Error) {
	a, aerr := parseHeader(header)
	if aerr != nil {
		return nil, aerr
	}
	if a.signedAt, aerr = requestDate(r.Header, header); aerr != nil {
		return nil, aerr
	}
	a.securityToken = r.Header.Get(qSecurityToken)
	if len(a.securityToken) > maxSecurityToken {
		return nil, unrecognizedClient()
	}
	return a, nil
}

// VerifyPresigned checks a request signed in its query string that carries no
// body, the way download links are fetched. A request with a body is refused.
func (v *Verifier) VerifyPresigned(r *http.Request) (Identity, error) {
	params, aerr := precheck(r)
	if aerr != nil {
		return Identity{}, aerr
	}
	if r.ContentLength != 0 || len(r.TransferEncoding) > 0 {
		return Identity{}, mismatch()
	}
	if !slices.ContainsFunc(params, func(p param) bool { return p.name == qAlgorithm }) {
		return Identity{}, missingToken()
	}
	a, aerr := parseQuery(params)
	if aerr != nil {
		return Identity{}, aerr
	}
	return v.verify(r, params, a, nil)
}

// precheck bounds the request before anything is built from it.
func precheck(r *http.Request) ([]param, *Error) {
	if len(r.URL.Path) > maxPathBytes {
		return nil, incomplete("Path is longer than %d bytes", maxPathBytes)
	}
	if len(r.Header) > maxHeaders {
		return nil, incomplete("Request has more than %d headers", maxHeaders)
	}
	return splitQuery(r.URL.RawQuery)
}

// admit checks everything that does not depend on the signature itself, and
// finds the key's secret.
func (v *Verifier) admit(r *http.Request, a *authorization, now time.Time) (Secret, error) {
	if aerr := v.checkScope(a); aerr != nil {
		return Secret{}, aerr
	}
	if aerr := checkDate(a, now); aerr != nil {
		return Secret{}, aerr
	}
	if aerr := checkUnsigned(r.Header, a.signedHeaders); aerr != nil {
		return Secret{}, aerr
	}
	return v.secret(r.Context(), a, now)
}

func (v *Verifier) verify(r *http.Request, params []param, a *authorization, body []byte) (Identity, error) {
	secret, err := v.admit(r, a, v.now().UTC())
	if err != nil {
		return Identity{}, err
	}
	payloads, aerr := payloadHashes(r, params, a, body)
	if aerr != nil {
		return Identity{}, aerr
	}
	head, aerr := canonicalHead(make([]byte, 0, 1024), r, params, a.signedHeaders, a.service)
	if aerr != nil {
		return Identity{}, aerr
	}
	key, cached := v.cache.get(a.credential, secret.SecretAccessKey)
	if !cached {
		key = deriveKey(secret.SecretAccessKey, a.credential)
	}
	amzDate := stamp(a.signedAt)
	for _, payload := range payloads {
		want := signature(key, head, payload, amzDate, a.credential)
		if !hmac.Equal([]byte(want), []byte(a.signature)) {
			continue
		}
		if !cached {
			v.cache.add(a.credential, secret.SecretAccessKey, key)
		}
		return Identity{Principal: secret.Principal, Region: a.region, Service: a.service, SignedAt: a.signedAt, Expires: secret.Expires}, nil
	}
	return Identity{}, mismatch()
}

// checkScope compares the credential scope with what this verifier serves, and
// joins its findings in AWS's order.
func (v *Verifier) checkScope(a *authorization) *Error {
	text := ""
	if !isScopeName(a.region) || (v.opt.ValidRegion != nil && !v.opt.ValidRegion(a.region)) {
		text += wrongRegion(clip(a.region))
	}
	if !slices.Contains(v.opt.Services, a.service) {
		text += wrongService(v.opt.Services)
	}
	if a.terminator != terminator {
		text += wrongTerminator(clip(a.terminator))
	}
	if a.date != a.signedAt.Format(dateOnly) {
		text += wrongDate(clip(a.date), a.signedAt)
	}
	if text != "" {
		return invalidSignature("%s", text)
	}
	return nil
}

func checkDate(a *authorization, now time.Time) *Error {
	if a.signedAt.After(now.Add(maxSkew)) {
		return notYetCurrent(a.signedAt, now)
	}
	if a.presigned {
		if !now.Before(a.signedAt.Add(a.expires)) {
			return presignExpired(a.signedAt, a.expires, now)
		}
		return nil
	}
	if a.signedAt.Before(now.Add(-maxSkew)) {
		return signatureExpired(a.signedAt, now)
	}
	return nil
}

// checkUnsigned refuses X-Amz-* headers outside the signature: they steer the
// service, so a man in the middle must not be able to add one. (AWS words this
// for S3 only; the same words are used here.)
func checkUnsigned(h http.Header, signed []string) *Error {
	var extra []string
	for name := range h {
		if len(name) < 6 || !strings.EqualFold(name[:6], "x-amz-") {
			continue
		}
		lower := strings.ToLower(name)
		if _, ok := slices.BinarySearch(signed, lower); !ok {
			extra = append(extra, clip(lower))
		}
	}
	if len(extra) == 0 {
		return nil
	}
	slices.Sort(extra)
	return invalidSignature("There were headers present in the request which were not signed: %s", strings.Join(extra, ", "))
}

// secret looks the key up. Its refusals say no more than AWS does.
func (v *Verifier) secret(ctx context.Context, a *authorization, now time.Time) (Secret, error) {
	if strings.ContainsFunc(a.accessKeyID, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	}) {
		return Secret{}, unrecognizedClient()
	}
	s, err := v.lookup.Secret(ctx, a.accessKeyID, a.securityToken)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return Secret{}, unrecognizedClient()
	case err != nil:
		return Secret{}, fmt.Errorf("look up access key %s: %w", a.accessKeyID, err)
	case !s.Active || s.SecretAccessKey == "" || s.Principal.IsZero():
		return Secret{}, unrecognizedClient()
	case !s.Expires.IsZero() && !now.Before(s.Expires):
		return Secret{}, expiredToken()
	}
	return s, nil
}

// payloadHashes returns the payload hashes a signature may have used: normally
// the one of the body. A presigned GET or HEAD without a body may also have
// been signed as UNSIGNED-PAYLOAD, and SDKs differ in that; both forms say that
// there is nothing to cover.
func payloadHashes(r *http.Request, params []param, a *authorization, body []byte) ([]string, *Error) {
	declared := r.Header.Get(qContentSHA256)
	if a.presigned && declared == "" {
		for _, p := range params {
			if p.name == qContentSHA256 {
				declared = p.value
			}
		}
	}
	bodiless := a.presigned && len(body) == 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead)
	mayBeUnsigned := a.service == serviceS3 || bodiless
	hash := emptyPayload
	if len(body) > 0 {
		sum := sha256.Sum256(body)
		hash = hex.EncodeToString(sum[:])
	}
	switch {
	case declared == unsignedPayload && mayBeUnsigned:
		return []string{unsignedPayload}, nil
	case declared != "" && declared != hash:
		return nil, mismatch()
	case declared == "" && a.service == serviceS3 && !a.presigned:
		return nil, incomplete("Missing required header for this request: x-amz-content-sha256")
	case declared == "" && a.presigned && mayBeUnsigned:
		return []string{unsignedPayload, hash}, nil
	}
	return []string{hash}, nil
}
