package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// Whatever the header holds, parsing ends in an authorization that keeps its
// promises or in a refusal.
func FuzzParseHeader(f *testing.F) {
	good := algorithm + " Credential=AKIDEXAMPLE/20260101/us-east-1/ecr/aws4_request, SignedHeaders=host;x-amz-date, Signature=" + strings.Repeat("a", 64)
	for _, seed := range []string{"", "AWS4-HMAC-SHA256", good, strings.ReplaceAll(good, ", ", ","), good + ", Extra=1", "Basic x", good[:60], strings.ToUpper(good)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		a, aerr := parseHeader(value)
		if aerr != nil {
			if aerr.Code == "" || aerr.Message == "" || len(aerr.Message) > 1024 {
				t.Fatalf("refusal %+v", aerr)
			}
			return
		}
		if !isSHA256Hex(a.signature) || a.accessKeyID == "" || !slices.IsSorted(a.signedHeaders) ||
			!slices.Contains(a.signedHeaders, "host") || len(a.signedHeaders) > maxSignedHeaders {
			t.Fatalf("accepted %+v", a)
		}
	})
}

// No bytes that form an HTTP request verify unless they hold the one signed
// request we know, and none of them makes the verifier panic.
func FuzzVerify(f *testing.F) {
	now := at("20260101T000000Z")
	creds := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: testSecret}
	raw := func(sign func(*http.Request)) []byte {
		r, err := http.NewRequest("POST", "http://127.0.0.1:5050/?b=2&a=1", strings.NewReader("{}"))
		if err != nil {
			f.Fatal(err)
		}
		sign(r)
		var buf bytes.Buffer
		if err := r.Write(&buf); err != nil {
			f.Fatal(err)
		}
		return buf.Bytes()
	}
	seed := raw(func(r *http.Request) {
		if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hexSum([]byte("{}")), "ecr", "us-east-1", now); err != nil {
			f.Fatal(err)
		}
	})
	f.Add(seed)
	f.Add(raw(func(*http.Request) {}))
	link, err := Presign(credsOf(creds), PresignRequest{Method: "GET", URL: "http://h/a/b?c=d", Region: "us-east-1", Service: "ecr", SignedAt: now, Expires: time.Minute})
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("GET " + strings.TrimPrefix(link, "http://h") + " HTTP/1.1\r\nHost: h\r\n\r\n"))
	v := New(keys{testKey: {secret: testSecret}}, clock(now), Options{Services: []string{"ecr", "s3"}})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(data)))
		if err != nil {
			return
		}
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<16))
		if err != nil {
			return
		}
		id, err := v.Verify(r, body)
		if (err == nil) == id.Principal.IsZero() {
			t.Fatalf("identity %+v with error %v", id, err)
		}
		if _, err := v.VerifyPresigned(r); err == nil && r.ContentLength != 0 {
			t.Fatal("VerifyPresigned accepted a body")
		}
	})
}

// The canonical forms settle: normalising twice changes nothing.
func FuzzNormalizePath(f *testing.F) {
	for _, seed := range []string{"", "/", "//", "/a/../b/./c//", "..", "/../..", "/.a/..b/"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, p string) {
		once := normalizePath(p)
		if !strings.HasPrefix(once, "/") || strings.Contains(once, "//") {
			t.Fatalf("%q becomes %q", p, once)
		}
		if twice := normalizePath(once); twice != once {
			t.Fatalf("%q becomes %q and then %q", p, once, twice)
		}
	})
}
