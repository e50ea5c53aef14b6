package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"pgregory.net/rapid"
)

var oracleTime = at("20260102T030405Z")

// oracleRequest is a random request, not yet signed. Paths hold no empty or dot
// segments, because the SDK signs those as they are while AWS normalises them;
// query names are plain, because the SDK sorts before encoding and AWS after.
func oracleRequest(t *rapid.T) (*http.Request, []byte) {
	text := rapid.StringOfN(rapid.RuneFrom([]rune("aZ09 -._~!$&'()*+,;=:@/%?#[]é漢\"<>|")), 0, 12, -1)
	method := rapid.SampledFrom([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}).Draw(t, "method")
	segments := rapid.SliceOfN(rapid.StringMatching(`[a-zA-Z0-9 %+=&~;:@é]{1,8}`), 0, 4).Draw(t, "path")
	u := &url.URL{Scheme: "http", Host: rapid.SampledFrom([]string{"127.0.0.1:5050", "ecr.example.com"}).Draw(t, "host"),
		Path: "/" + strings.Join(segments, "/")}
	query := url.Values{}
	for _, name := range rapid.SliceOfNDistinct(rapid.StringMatching(`[a-zA-Z0-9_-]{1,8}`), 0, 4, rapid.ID).Draw(t, "query names") {
		query.Set(name, text.Draw(t, "query value"))
	}
	u.RawQuery = query.Encode()
	var body []byte
	if method != "GET" && method != "HEAD" {
		body = rapid.SliceOfN(rapid.Byte(), 0, 64).Draw(t, "body")
	}
	r, err := http.NewRequestWithContext(context.Background(), method, u.String(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	value := rapid.StringMatching(`[!-~]([ -~]{0,14}[!-~])?`)
	for i := range rapid.IntRange(0, 3).Draw(t, "headers") {
		name := rapid.SampledFrom([]string{"X-Custom", "X-Amz-Target", "Content-Type", "X-Amz-Meta-A", "Accept"}).Draw(t, fmt.Sprint("header ", i))
		r.Header.Add(name, value.Draw(t, "header value"))
	}
	return r, body
}

func hexSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func oracleCreds(t *rapid.T) aws.Credentials {
	token := rapid.SampledFrom([]string{"", "session/token+with=="}).Draw(t, "token")
	return aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret, SessionToken: token}
}

func oracleVerifier(c aws.Credentials, skew time.Duration) *Verifier {
	store := keys{testKey: {secret: testSecret, token: c.SessionToken}}
	return New(store, clock(oracleTime.Add(skew)), Options{Services: []string{"ecr", "sts"}})
}

// What the AWS SDK signs verifies; what changed afterwards by one bit does not.
func TestOracleHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, body := oracleRequest(t)
		creds := oracleCreds(t)
		service := rapid.SampledFrom([]string{"ecr", "sts"}).Draw(t, "service")
		region := rapid.SampledFrom([]string{"us-east-1", "ap-southeast-1"}).Draw(t, "region")
		if rapid.Bool().Draw(t, "content sha256") {
			r.Header.Set("X-Amz-Content-Sha256", hexSum(body))
		}
		if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hexSum(body), service, region, oracleTime); err != nil {
			t.Fatal(err)
		}
		got, body := overWire(t, r)
		skew := time.Duration(rapid.IntRange(-900, 900).Draw(t, "skew")) * time.Second
		v := oracleVerifier(creds, skew)
		id, err := v.Verify(got, body)
		if err != nil {
			t.Fatalf("signed by the SDK, refused: %v", err)
		}
		if id.Service != service || id.Region != region || !id.SignedAt.Equal(oracleTime) || id.Principal.AccessKeyID != testKey {
			t.Fatalf("identity %+v", id)
		}
		// Hops in between may add headers of their own.
		got.Header.Add("X-Forwarded-For", "10.0.0.1")
		got.Header.Add("X-Amzn-Trace-Id", "Root=1")
		if _, err := v.Verify(got, body); err != nil {
			t.Fatalf("a header added on the way broke the signature: %v", err)
		}
		mutated, mutatedBody, what := mutate(t, got, body)
		if what == "" {
			return
		}
		if _, err := v.Verify(mutated, mutatedBody); err == nil {
			t.Fatalf("verified after a change of %s", what)
		}
	})
}

func TestOraclePresigned(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, _ := oracleRequest(t)
		r.Method = rapid.SampledFrom([]string{"GET", "HEAD"}).Draw(t, "presigned method")
		r.Body, r.ContentLength = http.NoBody, 0
		r.Header = http.Header{}
		creds := oracleCreds(t)
		seconds := rapid.IntRange(1, int(MaxPresign/time.Second)).Draw(t, "expires")
		q := r.URL.Query()
		q.Set("X-Amz-Expires", fmt.Sprint(seconds))
		r.URL.RawQuery = q.Encode()
		payload := rapid.SampledFrom([]string{emptyPayload, unsignedPayload}).Draw(t, "payload")
		link, _, err := v4.NewSigner().PresignHTTP(context.Background(), creds, r, payload, "ecr", "us-east-1", oracleTime)
		if err != nil {
			t.Fatal(err)
		}
		fetch, err := http.NewRequest(r.Method, link, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := overWire(t, fetch)
		age := time.Duration(rapid.IntRange(-900, seconds-1).Draw(t, "age")) * time.Second
		if _, err := oracleVerifier(creds, age).VerifyPresigned(got); err != nil {
			t.Fatalf("presigned by the SDK, refused: %v", err)
		}
		if _, err := oracleVerifier(creds, time.Duration(seconds)*time.Second).VerifyPresigned(got); err == nil {
			t.Fatal("verified after its end")
		}
		mutated, body, what := mutate(t, got, nil)
		if what == "" || what == "body" {
			return
		}
		if _, err := oracleVerifier(creds, age).Verify(mutated, body); err == nil {
			t.Fatalf("verified after a change of %s", what)
		}
	})
}

// Our own links are the SDK's, and verify.
func TestOraclePresign(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, _ := oracleRequest(t)
		r.Method, r.Body, r.ContentLength = "GET", http.NoBody, 0
		r.Header = http.Header{}
		creds := oracleCreds(t)
		seconds := rapid.IntRange(1, int(MaxPresign/time.Second)).Draw(t, "expires")
		ours, err := Presign(credsOf(creds), PresignRequest{Method: "GET", URL: r.URL.String(), Region: "us-east-1",
			Service: "ecr", SignedAt: oracleTime, Expires: time.Duration(seconds) * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		q := r.URL.Query()
		q.Set("X-Amz-Expires", fmt.Sprint(seconds))
		r.URL.RawQuery = q.Encode()
		theirs, _, err := v4.NewSigner().PresignHTTP(context.Background(), creds, r, unsignedPayload, "ecr", "us-east-1", oracleTime)
		if err != nil {
			t.Fatal(err)
		}
		a, errA := url.Parse(ours)
		b, errB := url.Parse(theirs)
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.Query().Encode() != b.Query().Encode() || a.EscapedPath() != b.EscapedPath() {
			t.Fatalf("ours   %s\ntheirs %s", ours, theirs)
		}
		fetch, err := http.NewRequest("GET", ours, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, _ := overWire(t, fetch)
		if _, err := oracleVerifier(creds, 0).VerifyPresigned(got); err != nil {
			t.Fatalf("presigned by us, refused: %v", err)
		}
	})
}

func credsOf(c aws.Credentials) Credentials {
	return Credentials{AccessKeyID: c.AccessKeyID, SecretAccessKey: c.SecretAccessKey, SessionToken: c.SessionToken}
}

// mutate flips one bit of one signed part. It returns "" when the flip makes no
// request, or one that means the same (the canonical form is what is signed).
func mutate(t *rapid.T, r *http.Request, body []byte) (*http.Request, []byte, string) {
	m := r.Clone(context.Background())
	flip := func(s string) string {
		b := []byte(s)
		i := rapid.IntRange(0, len(b)*8-1).Draw(t, "bit")
		b[i/8] ^= 1 << (i % 8)
		return string(b)
	}
	switch what := rapid.SampledFrom([]string{"method", "path", "query", "host", "header", "body", "authorization"}).Draw(t, "part"); what {
	case "method":
		m.Method = flip(m.Method)
		return m, body, what
	case "host":
		m.Host = flip(m.Host)
		return m, body, what
	case "path":
		u, err := url.ParseRequestURI(flip(m.URL.EscapedPath()))
		if err != nil || normalizePath(u.EscapedPath()) == normalizePath(m.URL.EscapedPath()) {
			return nil, nil, ""
		}
		m.URL.Path, m.URL.RawPath = u.Path, u.RawPath
		return m, body, what
	case "query":
		if m.URL.RawQuery == "" {
			return nil, nil, ""
		}
		before, _ := splitQuery(m.URL.RawQuery)
		m.URL.RawQuery = flip(m.URL.RawQuery)
		after, aerr := splitQuery(m.URL.RawQuery)
		if aerr == nil && string(appendQuery(nil, before)) == string(appendQuery(nil, after)) && signatureParam(before) == signatureParam(after) {
			return nil, nil, ""
		}
		return m, body, what
	case "header":
		a, aerr := parseHeader(m.Header.Get("Authorization"))
		if aerr != nil {
			return nil, nil, "" // presigned: only the host is signed
		}
		names := slices.DeleteFunc(slices.Clone(a.signedHeaders), func(name string) bool { return name == "host" })
		if len(names) == 0 {
			return nil, nil, ""
		}
		name := rapid.SampledFrom(names).Draw(t, "name")
		old := m.Header.Get(name)
		if old == "" {
			return nil, nil, ""
		}
		values := m.Header.Values(name)
		values[0] = flip(old)
		if string(appendFolded(nil, old)) == string(appendFolded(nil, values[0])) {
			return nil, nil, ""
		}
		return m, body, what + " " + name
	case "body":
		if len(body) == 0 {
			return m, []byte{0}, what
		}
		return m, []byte(flip(string(body))), what
	default:
		value := m.Header.Get("Authorization")
		if value == "" {
			return nil, nil, ""
		}
		changed := flip(value)
		// A comma may become another separator, and an unknown parameter is ignored.
		before, _ := parseHeader(value)
		after, aerr := parseHeader(changed)
		if aerr == nil && fmt.Sprint(*before) == fmt.Sprint(*after) {
			return nil, nil, ""
		}
		m.Header.Set("Authorization", changed)
		return m, body, what
	}
}

func signatureParam(params []param) string {
	for _, p := range params {
		if p.name == qSignature {
			return p.value
		}
	}
	return ""
}
