package sigv4

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

func signed(t testing.TB, key, secret, region, service, when string) *http.Request {
	t.Helper()
	r := newRequest(t, "POST", "http://127.0.0.1:5050/", []byte("{}"))
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921.DescribeRegistry")
	creds := aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hexSum([]byte("{}")), service, region, at(when)); err != nil {
		t.Fatal(err)
	}
	return r
}

func testVerifier(now string) *Verifier {
	store := keys{
		testKey:        {secret: testSecret},
		"AKIDDISABLED": {secret: testSecret, disabled: true},
		"ASIAEXPIRED":  {secret: testSecret, expires: at("20260101T000000Z")},
	}
	return New(store, clock(at(now)), Options{Services: []string{"ecr"}})
}

// Each way to be refused gives AWS's own exception, in both protocols.
func TestRefusals(t *testing.T) {
	const mismatchText = "The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
	const invalidToken = "The security token included in the request is invalid."
	authorize := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	replace := func(from, to string) func(*http.Request) {
		return func(r *http.Request) {
			v := r.Header.Get("Authorization")
			if !strings.Contains(v, from) {
				panic("nothing to replace: " + from)
			}
			r.Header.Set("Authorization", strings.Replace(v, from, to, 1))
		}
	}
	for _, tc := range []struct {
		name, now       string
		key, secret     string
		region, service string
		change          func(*http.Request)
		code, queryCode string
		text            string // exact, or a prefix when it ends in "…"
	}{
		{name: "no credentials", change: func(r *http.Request) { r.Header.Del("Authorization") },
			code: "MissingAuthenticationTokenException", queryCode: "MissingAuthenticationToken", text: "Missing Authentication Token"},
		{name: "basic credentials", change: authorize("Basic QVdTOng="),
			code: "MissingAuthenticationTokenException", queryCode: "MissingAuthenticationToken", text: "Missing Authentication Token"},
		{name: "other algorithm", change: replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature", text: "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256' …"},
		{name: "nothing after the algorithm", change: authorize("AWS4-HMAC-SHA256"),
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature",
			text: "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. " +
				"Authorization header requires 'SignedHeaders' parameter. (Hashed with SHA-256 and encoded with Base64) Authorization=…"},
		{name: "no equal sign", change: replace("Credential=", "Credential "),
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature", text: "Invalid key=value pair (missing equal-sign) in Authorization header …"},
		{name: "two signatures", change: replace("Signature=", "Signature=x, Signature="),
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature", text: "Authorization header contains more than one 'Signature' parameter. …"},
		{name: "two authorization headers", change: func(r *http.Request) { r.Header.Add("Authorization", "x") },
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature", text: "Request carries more than one Authorization header"},
		{name: "header and query", change: func(r *http.Request) { r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256" },
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature", text: "Only one auth mechanism allowed; …"},
		{name: "short credential", change: replace("/aws4_request", ""),
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature", text: "Credential must have exactly 5 slash-delimited elements, …"},
		{name: "no date", change: func(r *http.Request) { r.Header.Del("X-Amz-Date") },
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature",
			text: "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. …"},
		{name: "bad date", change: func(r *http.Request) { r.Header.Set("X-Amz-Date", "2026-01-01") },
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature",
			text: "Date must be in ISO-8601 'basic format'. Got '2026-01-01'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{name: "date with fraction", change: func(r *http.Request) { r.Header.Set("X-Amz-Date", "20260101T000000.5Z") },
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature",
			text: "Date must be in ISO-8601 'basic format'. Got '20260101T000000.5Z'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{name: "host not signed", change: replace("host;", ""),
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch",
			text: "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."},
		{name: "headers out of order", change: replace("host;", "x;host;"),
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature", text: "SignedHeaders must be lower-case header names in ascending order…"},
		{name: "unsigned amz header", change: func(r *http.Request) { r.Header.Set("X-Amz-Extra", "1") },
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch",
			text: "There were headers present in the request which were not signed: x-amz-extra"},
		{name: "signed header removed", change: func(r *http.Request) { r.Header.Del("X-Amz-Target") },
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch", text: mismatchText},
		{name: "session token on a lasting key", change: func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") },
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch", text: "There were headers present …"},
		{name: "unknown key", key: "AKIDNOBODY",
			code: "UnrecognizedClientException", queryCode: "InvalidClientTokenId", text: invalidToken},
		{name: "disabled key", key: "AKIDDISABLED",
			code: "UnrecognizedClientException", queryCode: "InvalidClientTokenId", text: invalidToken},
		{name: "impossible key", key: "AKID'OR'1",
			code: "UnrecognizedClientException", queryCode: "InvalidClientTokenId", text: invalidToken},
		{name: "temporary key after its end", key: "ASIAEXPIRED",
			code: "ExpiredTokenException", queryCode: "ExpiredToken", text: "The security token included in the request is expired"},
		{name: "wrong secret", secret: "wrong",
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch", text: mismatchText},
		{name: "signature of another form", change: replace("Signature=", "Signature=0"),
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch", text: mismatchText},
		{name: "too late", now: "20260101T003000Z",
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch",
			text: "Signature expired: 20260101T000000Z is now earlier than 20260101T001500Z (20260101T003000Z - 15 min.)"},
		{name: "too early", now: "20251231T233000Z",
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch",
			text: "Signature not yet current: 20260101T000000Z is still later than 20251231T234500Z (20251231T233000Z + 15 min.)"},
		{name: "wrong service", service: "sts",
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch", text: "Credential should be scoped to correct service: 'ecr'. "},
		{name: "wrong region", region: "US_EAST",
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch", text: "Credential should be scoped to a valid region, not 'US_EAST'. "},
		{name: "wrong terminator", change: replace("/aws4_request", "/aws4_reqest"),
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch",
			text: "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws4_reqest'. "},
		{name: "wrong scope date", change: replace("/20260101/", "/20260102/"),
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch",
			text: "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260102' != '20260101', from '20260101T000000Z'. "},
		{name: "unsigned payload", change: func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") },
			code: "InvalidSignatureException", queryCode: "SignatureDoesNotMatch", text: "There were headers present …"},
		{name: "broken query", change: func(r *http.Request) { r.URL.RawQuery = "a=%zz" },
			code: "IncompleteSignatureException", queryCode: "IncompleteSignature", text: "Query string has an invalid percent-encoding"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			or := func(s, d string) string {
				if s == "" {
					return d
				}
				return s
			}
			r := signed(t, or(tc.key, testKey), or(tc.secret, testSecret), or(tc.region, "us-east-1"), or(tc.service, "ecr"), "20260101T000000Z")
			if tc.change != nil {
				tc.change(r)
			}
			_, err := testVerifier(or(tc.now, "20260101T000100Z")).Verify(r, []byte("{}"))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if e.Code != tc.code || e.QueryCode != tc.queryCode {
				t.Errorf("codes %s / %s, want %s / %s", e.Code, e.QueryCode, tc.code, tc.queryCode)
			}
			if prefix, ok := strings.CutSuffix(tc.text, "…"); ok && !strings.HasPrefix(e.Message, prefix) || !ok && e.Message != tc.text {
				t.Errorf("text %q\nwant %q", e.Message, tc.text)
			}
			if e.Status != http.StatusBadRequest || (e.QueryStatus != http.StatusForbidden && e.QueryCode != "IncompleteSignature") || e.QueryMessage == "" {
				t.Errorf("status %d / %d, query text %q", e.Status, e.QueryStatus, e.QueryMessage)
			}
			if strings.Contains(err.Error(), testSecret) || strings.Contains(fmt.Sprintf("%+v", err), testSecret) {
				t.Error("the secret is in the error")
			}
		})
	}
}

func TestSkewEdges(t *testing.T) {
	for now, ok := range map[string]bool{
		"20260101T001500Z": true, "20260101T001501Z": false,
		"20251231T234500Z": true, "20251231T234459Z": false,
	} {
		_, err := testVerifier(now).Verify(signed(t, testKey, testSecret, "us-east-1", "ecr", "20260101T000000Z"), []byte("{}"))
		if (err == nil) != ok {
			t.Errorf("at %s: %v", now, err)
		}
	}
}

// An outage of the key store is no refusal.
func TestStoreFailure(t *testing.T) {
	_, err := testVerifier("20260101T000000Z").Verify(signed(t, "AKIDBROKEN", "x", "us-east-1", "ecr", "20260101T000000Z"), []byte("{}"))
	var e *Error
	if !errors.Is(err, errStore) || errors.As(err, &e) {
		t.Errorf("got %v", err)
	}
}

// The plain Date header serves when X-Amz-Date is absent.
func TestDateHeader(t *testing.T) {
	r := newRequest(t, "GET", "http://127.0.0.1:5050/", nil)
	when := at("20260101T000000Z")
	r.Header.Set("Date", when.Format(http.TimeFormat))
	c := credential{accessKeyID: testKey, date: "20260101", region: "us-east-1", service: "ecr"}
	head, aerr := canonicalHead(nil, r, nil, []string{"date", "host"}, "ecr")
	if aerr != nil {
		t.Fatal(aerr)
	}
	sig := signature(deriveKey(testSecret, c), head, emptyPayload, stamp(when), c)
	r.Header.Set("Authorization", algorithm+" Credential="+testKey+"/20260101/us-east-1/ecr/aws4_request,SignedHeaders=date;host,Signature="+sig)
	if _, err := testVerifier("20260101T000100Z").Verify(r, nil); err != nil {
		t.Error(err)
	}
}

// A verifier narrowed to one service refuses the others and shares the cache.
func TestForService(t *testing.T) {
	both := New(keys{testKey: {secret: testSecret}}, clock(at("20260101T000000Z")), Options{Services: []string{"ecr", "sts"}})
	r := signed(t, testKey, testSecret, "us-east-1", "sts", "20260101T000000Z")
	for service, ok := range map[string]bool{"sts": true, "ecr": false} {
		if _, err := both.ForService(service).Verify(r, []byte("{}")); (err == nil) != ok {
			t.Errorf("%s: %v", service, err)
		}
	}
	if _, err := both.Verify(r, []byte("{}")); err != nil {
		t.Error(err)
	}
	if both.cache.len() != 1 {
		t.Errorf("%d keys cached, want 1", both.cache.len())
	}
	none := New(keys{testKey: {secret: testSecret}}, clock(at("20260101T000000Z")), Options{})
	if _, err := none.Verify(r, []byte("{}")); err == nil {
		t.Error("a verifier for no service accepted one")
	}
	picky := New(keys{testKey: {secret: testSecret}}, clock(at("20260101T000000Z")),
		Options{Services: []string{"sts"}, ValidRegion: func(r string) bool { return r == "eu-west-1" }})
	if _, err := picky.Verify(r, []byte("{}")); !errors.Is(err, &Error{Code: "InvalidSignatureException",
		Message: "Credential should be scoped to a valid region, not 'us-east-1'. "}) {
		t.Errorf("got %v", err)
	}
}

// UNSIGNED-PAYLOAD holds for S3 and for presigned GETs without a body, nowhere else.
func TestUnsignedPayload(t *testing.T) {
	now := at("20260101T000000Z")
	creds := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
	for _, tc := range []struct {
		service string
		ok      bool
	}{{"s3", true}, {"ecr", false}} {
		r := newRequest(t, "PUT", "http://127.0.0.1:5050/b/k", []byte("body"))
		r.Header.Set("X-Amz-Content-Sha256", unsignedPayload)
		err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = tc.service == "s3" }).
			SignHTTP(context.Background(), creds, r, unsignedPayload, tc.service, "us-east-1", now)
		if err != nil {
			t.Fatal(err)
		}
		v := New(keys{testKey: {secret: testSecret}}, clock(now), Options{Services: []string{tc.service}})
		if _, err := v.Verify(r, []byte("body")); (err == nil) != tc.ok {
			t.Errorf("%s: %v", tc.service, err)
		}
	}
	v := New(keys{testKey: {secret: testSecret}}, clock(now), Options{Services: []string{"ecr"}})
	link := func(method string) *http.Request {
		u, err := Presign(credsOf(creds), PresignRequest{Method: method, URL: "http://127.0.0.1:5050/d?x=1", Region: "us-east-1",
			Service: "ecr", SignedAt: now, Expires: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		return newRequest(t, method, u, nil)
	}
	if _, err := v.Verify(link("GET"), []byte("smuggled")); err == nil {
		t.Error("a presigned GET verified with a body")
	}
	withBody := link("GET")
	withBody.ContentLength = 5
	if _, err := v.VerifyPresigned(withBody); err == nil {
		t.Error("VerifyPresigned accepted a body")
	}
	if _, err := v.Verify(link("POST"), nil); err != nil {
		t.Error(err)
	}
	if _, err := v.Verify(link("POST"), []byte("x")); err == nil {
		t.Error("a presigned POST verified with another body")
	}
}

func TestPresignedRefusals(t *testing.T) {
	base := "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + testKey + "%2F20260101%2Fus-east-1%2Fecr%2Faws4_request" +
		"&X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=" + strings.Repeat("0", 64)
	for _, tc := range []struct{ name, query, now, text string }{
		{"no signature at all", "x=1", "", "Missing Authentication Token"},
		{"other algorithm", strings.Replace(base, "SHA256", "SHA1", 1), "", "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'. "},
		{"missing parts", "X-Amz-Algorithm=AWS4-HMAC-SHA256", "", "AWS query-string parameters must include 'X-Amz-Credential'. " +
			"AWS query-string parameters must include 'X-Amz-Signature'. AWS query-string parameters must include 'X-Amz-SignedHeaders'. " +
			"AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters."},
		{"twice", base + "&X-Amz-Expires=600", "", "AWS query-string parameter 'X-Amz-Expires' must appear only once. Re-examine the query-string parameters."},
		{"more than a week", strings.Replace(base, "Expires=60", "Expires=604801", 1), "",
			"X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than 604800 seconds"},
		{"negative", strings.Replace(base, "Expires=60", "Expires=-1", 1), "", "X-Amz-Expires must be non-negative"},
		{"no number", strings.Replace(base, "Expires=60", "Expires=1m", 1), "", "X-Amz-Expires should be a number"},
		{"zero is over at once", strings.Replace(base, "Expires=60", "Expires=0", 1), "20260101T000000Z",
			"Signature expired: 20260101T000000Z is now earlier than 20260101T000000Z (20260101T000000Z - 0 min.)"},
		{"no lifetime means 15 minutes", strings.Replace(base, "&X-Amz-Expires=60", "", 1), "20260101T001459Z", mismatch().Message},
		{"no lifetime, 15 minutes later", strings.Replace(base, "&X-Amz-Expires=60", "", 1), "20260101T001500Z",
			"Signature expired: 20260101T000000Z is now earlier than 20260101T000000Z (20260101T001500Z - 15 min.)"},
		{"no lifetime for s3", strings.Replace(strings.Replace(base, "&X-Amz-Expires=60", "", 1), "ecr", "s3", 1), "",
			"AWS query-string parameters must include 'X-Amz-Expires'. Re-examine the query-string parameters."},
		{"expired", base, "20260101T000100Z",
			"Signature expired: 20260101T000000Z is now earlier than 20260101T000000Z (20260101T000100Z - 1 min.)"},
		{"from the future", base, "20251231T230000Z",
			"Signature not yet current: 20260101T000000Z is still later than 20251231T231500Z (20251231T230000Z + 15 min.)"},
		{"bad date", strings.Replace(base, "20260101T000000Z", "yesterday", 1), "",
			"Date must be in ISO-8601 'basic format'. Got 'yesterday'. See http://en.wikipedia.org/wiki/ISO_8601"},
		{"wrong signature", base, "20260101T000010Z", mismatch().Message},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := tc.now
			if now == "" {
				now = "20260101T000000Z"
			}
			_, err := testVerifier(now).VerifyPresigned(newRequest(t, "GET", "http://127.0.0.1:5050/d?"+tc.query, nil))
			var e *Error
			if !errors.As(err, &e) || e.Message != tc.text {
				t.Errorf("got  %v\nwant %s", err, tc.text)
			}
		})
	}
}

// Bounds hold before any work is done.
func TestBounds(t *testing.T) {
	for name, grow := range map[string]func(*http.Request){
		"authorization": func(r *http.Request) {
			r.Header.Set("Authorization", algorithm+" "+strings.Repeat("a=b,", maxAuthorization))
		},
		"signed headers": func(r *http.Request) {
			list := "host"
			for i := range maxSignedHeaders {
				list += fmt.Sprintf(";x%03d", i)
			}
			v := r.Header.Get("Authorization")
			r.Header.Set("Authorization", strings.Replace(v, "SignedHeaders=", "SignedHeaders="+list+";", 1))
		},
		"headers": func(r *http.Request) {
			for i := range maxHeaders {
				r.Header.Set(fmt.Sprintf("X%d", i), "1")
			}
		},
		"header bytes": func(r *http.Request) { r.Header.Set("X-Amz-Target", strings.Repeat("a", maxHeaderBytes)) },
		"query bytes":  func(r *http.Request) { r.URL.RawQuery = strings.Repeat("a", maxQueryBytes+1) },
		"query params": func(r *http.Request) { r.URL.RawQuery = strings.Repeat("a&", maxQueryParams) },
		"path":         func(r *http.Request) { r.URL.Path = "/" + strings.Repeat("a", maxPathBytes) },
		"credential": func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), testKey, strings.Repeat("A", maxCredential), 1))
		},
	} {
		r := signed(t, testKey, testSecret, "us-east-1", "ecr", "20260101T000000Z")
		grow(r)
		_, err := testVerifier("20260101T000000Z").Verify(r, []byte("{}"))
		if !errors.Is(err, &Error{Code: "IncompleteSignatureException"}) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestPresignErrors(t *testing.T) {
	good := PresignRequest{Method: "GET", URL: "http://h/x", Region: "us-east-1", Service: "ecr", SignedAt: at("20260101T000000Z"), Expires: time.Minute}
	creds := Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
	for name, spoil := range map[string]func(*PresignRequest, *Credentials){
		"no host":       func(p *PresignRequest, _ *Credentials) { p.URL = "/x" },
		"bad url":       func(p *PresignRequest, _ *Credentials) { p.URL = "http://h/%zz" },
		"bad query":     func(p *PresignRequest, _ *Credentials) { p.URL = "http://h/?a=%zz" },
		"no key":        func(_ *PresignRequest, c *Credentials) { c.AccessKeyID = "" },
		"no region":     func(p *PresignRequest, _ *Credentials) { p.Region = "" },
		"no lifetime":   func(p *PresignRequest, _ *Credentials) { p.Expires = 0 },
		"eight days":    func(p *PresignRequest, _ *Credentials) { p.Expires = 8 * 24 * time.Hour },
		"half a second": func(p *PresignRequest, _ *Credentials) { p.Expires = 1500 * time.Millisecond },
		"bad header":    func(p *PresignRequest, _ *Credentials) { p.Header = http.Header{"a b": {"1"}} },
	} {
		p, c := good, creds
		spoil(&p, &c)
		if link, err := Presign(c, p); err == nil {
			t.Errorf("%s: made %s", name, link)
		}
	}
	p := good
	p.Header = http.Header{"X-Must": {"be so"}}
	link, err := Presign(creds, p)
	if err != nil {
		t.Fatal(err)
	}
	r := newRequest(t, "GET", link, nil)
	v := testVerifier("20260101T000000Z")
	if _, err := v.VerifyPresigned(r); err == nil {
		t.Error("verified without the header it demands")
	}
	r.Header.Set("X-Must", "be so")
	if _, err := v.VerifyPresigned(r); err != nil {
		t.Error(err)
	}
}

// A rotated secret is noticed at once, and the cache stays bounded.
func TestKeyCache(t *testing.T) {
	store := keys{testKey: {secret: testSecret}}
	v := New(store, clock(at("20260101T000000Z")), Options{Services: []string{"ecr"}, CacheSize: 4})
	old := signed(t, testKey, testSecret, "us-east-1", "ecr", "20260101T000000Z")
	for range 3 {
		if _, err := v.Verify(old, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	store[testKey] = storedKey{secret: "rotated"}
	if _, err := v.Verify(old, []byte("{}")); err == nil {
		t.Error("the old secret still signs")
	}
	if _, err := v.Verify(signed(t, testKey, "rotated", "us-east-1", "ecr", "20260101T000000Z"), []byte("{}")); err != nil {
		t.Error(err)
	}
	for i := range 50 {
		if _, err := v.Verify(signed(t, testKey, "rotated", fmt.Sprintf("r%d", i), "ecr", "20260101T000000Z"), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		if n := v.cache.len(); n > 8 {
			t.Fatalf("%d keys cached with a limit of 4", n)
		}
	}
	// Refused signatures leave no trace.
	n := v.cache.len()
	for i := range 20 {
		if _, err := v.Verify(signed(t, testKey, "wrong", fmt.Sprintf("w%d", i), "ecr", "20260101T000000Z"), []byte("{}")); err == nil {
			t.Fatal("verified")
		}
	}
	if v.cache.len() != n {
		t.Error("a refused signature was cached")
	}
	none := New(store, clock(at("20260101T000000Z")), Options{Services: []string{"ecr"}, CacheSize: -1})
	if _, err := none.Verify(signed(t, testKey, "rotated", "us-east-1", "ecr", "20260101T000000Z"), []byte("{}")); err != nil || none.cache.len() != 0 {
		t.Errorf("without a cache: %v, %d keys", err, none.cache.len())
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	s := Secret{SecretAccessKey: "hush"}
	c := Credentials{AccessKeyID: "A", SecretAccessKey: "hush", SessionToken: "hush"}
	for _, text := range []string{fmt.Sprint(s), fmt.Sprintf("%+v %#v", s, s), s.LogValue().String(), fmt.Sprintf("%v %+v %#v", c, c, c)} {
		if strings.Contains(text, "hush") {
			t.Errorf("printed %s", text)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	r := signed(b, testKey, testSecret, "us-east-1", "ecr", "20260101T000000Z")
	body := []byte("{}")
	for name, size := range map[string]int{"cached": 16, "uncached": -1} {
		b.Run(name, func(b *testing.B) {
			v := New(keys{testKey: {secret: testSecret}}, clock(at("20260101T000000Z")), Options{Services: []string{"ecr"}, CacheSize: size})
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(r, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
