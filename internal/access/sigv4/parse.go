package sigv4

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	algorithm  = "AWS4-HMAC-SHA256"
	terminator = "aws4_request"
	isoBasic   = "20060102T150405Z"
	dateOnly   = "20060102"

	// unsignedPayload stands in place of the body's hash where a body needs no
	// hash (S3, presigned GET).
	unsignedPayload = "UNSIGNED-PAYLOAD"

	// maxSkew is how far a signature's date may lie from our clock.
	maxSkew = 15 * time.Minute
	// MaxPresign is the longest lifetime of a presigned URL (S3 API Reference,
	// X-Amz-Expires).
	MaxPresign = 7 * 24 * time.Hour
)

// Bounds on what an unauthenticated caller may make us look at. Real requests
// stay far below: SDKs sign about ten headers and an IAM session token is under
// 4 KiB.
const (
	maxAuthorization = 8 << 10
	maxCredential    = 512
	maxAccessKeyID   = 128 // IAM API Reference: accessKeyIdType is 16-128
	maxSecurityToken = 16 << 10
	maxSignedHeaders = 100
	maxHeaders       = 200
	maxHeaderBytes   = 64 << 10
	maxQueryBytes    = 64 << 10
	maxQueryParams   = 1000
	maxPathBytes     = 8 << 10
)

// credential is the parsed Credential parameter: key and scope.
type credential struct {
	accessKeyID, date, region, service string
	terminator                         string
}

// authorization is everything a signature says about itself.
type authorization struct {
	credential
	signedHeaders []string // lower case, strictly ascending
	signature     string   // 64 lower-case hex digits
	signedAt      time.Time
	securityToken string
	presigned     bool
	expires       time.Duration // presigned only
}

// parseHeader reads an Authorization header value. It never looks at anything
// else in the request.
func parseHeader(value string) (*authorization, *Error) {
	if len(value) > maxAuthorization {
		return nil, incomplete("Authorization header is longer than %d bytes", maxAuthorization)
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(value), " ")
	if !strings.HasPrefix(scheme, "AWS4-") {
		return nil, missingToken()
	}
	if scheme != algorithm {
		return nil, incomplete("Unsupported AWS 'algorithm': '%s' (Hashed with SHA-256 and encoded with Base64) Authorization=%s",
			clip(scheme), fingerprint(value))
	}
	var cred, headers, signature string
	// AWS splits at commas and blanks alike, so a list without commas is fine.
	for part := range strings.FieldsFuncSeq(rest, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		name, v, ok := strings.Cut(part, "=")
		if !ok {
			return nil, incomplete("Invalid key=value pair (missing equal-sign) in Authorization header "+
				"(hashed with SHA-256 and encoded with Base64): '%s'.", fingerprint(part))
		}
		var target *string
		switch name {
		case "Credential":
			target = &cred
		case "SignedHeaders":
			target = &headers
		case "Signature":
			target = &signature
		default:
			continue
		}
		if *target != "" {
			return nil, incomplete("Authorization header contains more than one '%s' parameter. "+
				"(Hashed with SHA-256 and encoded with Base64) Authorization=%s", name, fingerprint(value))
		}
		*target = v
	}
	missing := ""
	for _, p := range [...]struct{ name, value string }{{"Credential", cred}, {"Signature", signature}, {"SignedHeaders", headers}} {
		if p.value == "" {
			missing += "Authorization header requires '" + p.name + "' parameter. "
		}
	}
	if missing != "" {
		return nil, incomplete("%s(Hashed with SHA-256 and encoded with Base64) Authorization=%s", missing, fingerprint(value))
	}
	return assemble(cred, headers, signature)
}

// queryAuth names the query parameters of a presigned request.
const (
	qAlgorithm     = "X-Amz-Algorithm"
	qCredential    = "X-Amz-Credential"
	qDate          = "X-Amz-Date"
	qExpires       = "X-Amz-Expires"
	qSignedHeaders = "X-Amz-SignedHeaders"
	qSignature     = "X-Amz-Signature"
	qSecurityToken = "X-Amz-Security-Token"
	qContentSHA256 = "X-Amz-Content-Sha256"
)

// parseQuery reads the signature parameters of a presigned request.
func parseQuery(params []param) (*authorization, *Error) {
	values := make(map[string]string, 8)
	for _, p := range params {
		switch p.name {
		case qAlgorithm, qCredential, qDate, qExpires, qSignedHeaders, qSignature, qSecurityToken:
			if _, dup := values[p.name]; dup {
				return nil, incomplete("AWS query-string parameter '%s' must appear only once. "+
					"Re-examine the query-string parameters.", p.name)
			}
			values[p.name] = p.value
		}
	}
	if got := values[qAlgorithm]; got != algorithm {
		return nil, incomplete("Unsupported AWS 'algorithm': '%s'. ", clip(got))
	}
	missing := ""
	for _, name := range []string{qCredential, qSignature, qSignedHeaders, qDate} {
		if values[name] == "" {
			missing += "AWS query-string parameters must include '" + name + "'. "
		}
	}
	if missing != "" {
		return nil, incomplete("%sRe-examine the query-string parameters.", missing)
	}
	a, aerr := assemble(values[qCredential], values[qSignedHeaders], values[qSignature])
	if aerr != nil {
		return nil, aerr
	}
	a.presigned = true
	a.securityToken = values[qSecurityToken]
	if len(a.securityToken) > maxSecurityToken {
		return nil, unrecognizedClient()
	}
	if a.signedAt, aerr = parseBasic(values[qDate]); aerr != nil {
		return nil, aerr
	}
	if a.expires, aerr = parseExpires(values[qExpires], a.service); aerr != nil {
		return nil, aerr
	}
	return a, nil
}

// parseExpires reads X-Amz-Expires. S3 demands it; a link for any other service
// may leave it out, as SDKs do for STS, and then lives as long as a signed
// header would.
func parseExpires(value, service string) (time.Duration, *Error) {
	if value == "" {
		if service == serviceS3 {
			return 0, incomplete("AWS query-string parameters must include 'X-Amz-Expires'. Re-examine the query-string parameters.")
		}
		return maxSkew, nil
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err != nil:
		return 0, incomplete("X-Amz-Expires should be a number")
	case seconds < 0:
		return 0, incomplete("X-Amz-Expires must be non-negative")
	case seconds > int64(MaxPresign/time.Second):
		return 0, incomplete("X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds")
	}
	return time.Duration(seconds) * time.Second, nil
}

// assemble checks the three parameters both forms share.
func assemble(cred, headers, signature string) (*authorization, *Error) {
	c, aerr := parseCredential(cred)
	if aerr != nil {
		return nil, aerr
	}
	list, aerr := parseSignedHeaders(headers)
	if aerr != nil {
		return nil, aerr
	}
	if !isSHA256Hex(signature) {
		return nil, mismatch()
	}
	return &authorization{credential: c, signedHeaders: list, signature: signature}, nil
}

// parseCredential splits <key id>/<yyyymmdd>/<region>/<service>/aws4_request.
func parseCredential(s string) (credential, *Error) {
	parts := strings.Split(s, "/")
	if len(s) > maxCredential || len(parts) != 5 {
		return credential{}, incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '%s'", clip(s))
	}
	c := credential{accessKeyID: parts[0], date: parts[1], region: parts[2], service: parts[3], terminator: parts[4]}
	if c.accessKeyID == "" || len(c.accessKeyID) > maxAccessKeyID {
		return credential{}, unrecognizedClient()
	}
	return c, nil
}

// parseSignedHeaders reads the semicolon-separated list. AWS demands lower case
// and ascending order; both are checked instead of repaired, so that a header
// can be listed in one way only.
func parseSignedHeaders(s string) ([]string, *Error) {
	list := strings.Split(s, ";")
	if len(list) > maxSignedHeaders {
		return nil, incomplete("SignedHeaders lists more than %d headers", maxSignedHeaders)
	}
	for i, name := range list {
		if !isHeaderName(name) || (i > 0 && list[i-1] >= name) {
			return nil, incomplete("SignedHeaders must be lower-case header names in ascending order, separated by semicolons: got '%s'", clip(s))
		}
	}
	if _, ok := slices.BinarySearch(list, "host"); !ok {
		return nil, invalidSignature("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	return list, nil
}

// requestDate finds the signing time of a header-signed request: X-Amz-Date,
// or the standard Date header when that is absent.
func requestDate(h http.Header, authorizationHeader string) (time.Time, *Error) {
	value := h.Get("X-Amz-Date")
	if value == "" {
		value = h.Get("Date")
		if value == "" {
			return time.Time{}, incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "+
				"(Hashed with SHA-256 and encoded with Base64) Authorization=%s", fingerprint(authorizationHeader))
		}
		if t, err := http.ParseTime(value); err == nil {
			return t.UTC(), nil
		}
	}
	return parseBasic(value)
}

// parseBasic reads a date of exactly the form 20060102T150405Z; time.Parse alone
// would let fractions of a second pass.
func parseBasic(value string) (time.Time, *Error) {
	t, err := time.Parse(isoBasic, value)
	if err != nil || len(value) != len(isoBasic) {
		return time.Time{}, incomplete("Date must be in ISO-8601 'basic format'. Got '%s'. See http://en.wikipedia.org/wiki/ISO_8601", clip(value))
	}
	return t, nil
}

// param is one decoded query parameter.
type param struct{ name, value string }

// splitQuery decodes a raw query the way handlers will see it, but keeps
// parameters that url.ParseQuery drops (those with a semicolon): what is on the
// wire is what was signed.
func splitQuery(raw string) ([]param, *Error) {
	if len(raw) > maxQueryBytes {
		return nil, incomplete("Query string is longer than %d bytes", maxQueryBytes)
	}
	if raw == "" {
		return nil, nil
	}
	n := strings.Count(raw, "&") + 1
	if n > maxQueryParams {
		return nil, incomplete("Query string has more than %d parameters", maxQueryParams)
	}
	params := make([]param, 0, n)
	for pair := range strings.SplitSeq(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			return nil, incomplete("Query string has an invalid percent-encoding")
		}
		if value, err = url.QueryUnescape(value); err != nil {
			return nil, incomplete("Query string has an invalid percent-encoding")
		}
		params = append(params, param{name, value})
	}
	return params, nil
}

// isHeaderName accepts RFC 9110 tokens in lower case.
func isHeaderName(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if ('a' <= c && c <= 'z') || ('0' <= c && c <= '9') || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0 {
			continue
		}
		return false
	}
	return true
}

// isScopeName accepts the names AWS uses for regions and services: lower-case
// letters, digits and hyphens, at most 63.
func isScopeName(s string) bool {
	if s == "" || len(s) > 63 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if ('a' <= c && c <= 'z') || ('0' <= c && c <= '9') || (c == '-' && i > 0 && i < len(s)-1) {
			continue
		}
		return false
	}
	return true
}

func isSHA256Hex(s string) bool {
	if len(s) != 64 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// clip keeps a caller's own words in a message short and printable.
func clip(s string) string {
	const limit = 128
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	if len(s) > limit {
		return strings.ToValidUTF8(s[:limit], "") + "..."
	}
	return s
}
