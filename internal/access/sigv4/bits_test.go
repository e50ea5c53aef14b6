package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// A signedRequest is one that verifies, taken apart.
type signedRequest struct {
	name, service, token string
	method, url          string
	headers              map[string]string
	body                 []byte
}

func (s signedRequest) build(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequest(s.method, s.url, bytes.NewReader(s.body))
	if err != nil {
		return nil // no request at all any more
	}
	r.Host = strings.TrimSuffix(r.URL.Host, ":80")
	for k, v := range s.headers {
		if strings.EqualFold(k, "Host") {
			r.Host = v
		} else if !strings.EqualFold(k, "Content-Length") {
			r.Header.Set(k, v)
		}
	}
	return r
}

// bySDK are requests that aws-sdk-go-v2 signs: one of the ECR API, one with a path, a query and a session, and one whose
// signature is in its URL.
func bySDK(t *testing.T, key aws.Credentials, now time.Time) (out []signedRequest) {
	t.Helper()
	call := signedRequest{name: "aws-sdk-go-v2", service: "ecr", method: "POST", url: "http://localhost/", body: []byte(`{"repositoryName":"app"}`), headers: map[string]string{
		"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.DescribeImages", "Content-Type": "application/x-amz-json-1.1",
	}}
	long := signedRequest{name: "aws-sdk-go-v2 path and query", service: "ecr", token: "token+with=signs", method: "PUT",
		url: "https://localhost/v2/team/app/tags%20x?last=v1.0&n=10&x=%2F", body: []byte("body"), headers: map[string]string{"X-Custom": "a b"}}
	for _, s := range []signedRequest{call, long} {
		r := s.build(t)
		key.SessionToken = s.token
		sum := sha256.Sum256(s.body)
		if err := v4.NewSigner().SignHTTP(context.Background(), key, r, hex.EncodeToString(sum[:]), s.service, "us-east-1", now); err != nil {
			t.Fatal(err)
		}
		for k := range r.Header {
			s.headers[k] = r.Header.Get(k)
		}
		out = append(out, s)
	}
	link := signedRequest{name: "aws-sdk-go-v2 pre-signed", service: "ecr", token: "token+with=signs", method: "GET", url: "https://localhost/a/b?n=10&X-Amz-Expires=60"}
	key.SessionToken = link.token
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), key, link.build(t), emptyPayload, "ecr", "us-east-1", now)
	if err != nil {
		t.Fatal(err)
	}
	link.url = signed
	return append(out, link)
}

// byBotocore are the requests that botocore signed.
func byBotocore(t *testing.T) (out []signedRequest, id, secret string, now time.Time) {
	t.Helper()
	data, err := os.ReadFile("testdata/botocore.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Now             time.Time `json:"now"`
		AccessKeyID     string    `json:"access_key_id"`
		SecretAccessKey string    `json:"secret_access_key"`
		Vectors         []struct {
			Name, Method, URL, Body, Token, Region, Service string
			Headers                                         map[string]string
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file.Vectors {
		body, err := base64.StdEncoding.DecodeString(v.Body)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, signedRequest{"botocore " + v.Name, v.Service, v.Token, v.Method, v.URL, v.Headers, body})
	}
	if len(out) == 0 {
		t.Fatal("botocore signed no request")
	}
	return out, file.AccessKeyID, file.SecretAccessKey, file.Now
}

// flips calls put with a copy of a text for each bit of it, in which that bit is changed.
func flips(text string, put func(changed string)) {
	for i := range len(text) {
		for bit := range 8 {
			b := []byte(text)
			b[i] ^= 1 << bit
			put(string(b))
		}
	}
}

// sameURL tells whether a change is none: other ways to write one path and one query, as the standard library reads
// them. Services but S3 resolve dots in paths.
func sameURL(a, b *url.URL, service string) bool {
	plain := func(u *url.URL) string {
		if service == "s3" {
			return u.Path
		}
		p := path.Clean("/" + u.Path)
		if p != "/" && strings.HasSuffix(u.Path, "/") {
			p += "/"
		}
		return p
	}
	x, xerr := url.ParseQuery(a.RawQuery)
	y, yerr := url.ParseQuery(b.RawQuery)
	for _, values := range []url.Values{x, y} {
		for _, v := range values {
			slices.Sort(v)
		}
	}
	return xerr == nil && yerr == nil && plain(a) == plain(b) && x.Encode() == y.Encode()
}

// TestEveryBitCounts changes every bit of the method, the host, the path, the query, the signed headers, the body and
// the signature of requests that aws-sdk-go-v2 and botocore signed: none of the changed ones verifies.
func TestEveryBitCounts(t *testing.T) {
	requests, id, secret, now := byBotocore(t)
	requests = append(requests, bySDK(t, aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, now)...)
	tried := map[string]int{}
	for _, s := range requests {
		v := New(keys{id: {secret: secret, token: s.token}}, clock(now), Options{Services: []string{s.service}})
		original := s.build(t)
		if _, err := v.Verify(original, s.body); err != nil {
			t.Fatalf("%s as it is: %v", s.name, err)
		}
		refused := func(part, value string, r *http.Request, body []byte) {
			if r == nil {
				return
			}
			tried[part]++
			if _, err := v.Verify(r, body); err == nil {
				t.Errorf("%s: verifies with the %s %q", s.name, part, value)
			}
		}
		flips(string(s.body), func(b string) { refused("body", b, s.build(t), []byte(b)) })
		flips(s.method, func(m string) {
			r := s.build(t)
			r.Method = m
			refused("method", m, r, s.body)
		})
		flips(original.Host, func(h string) {
			r := s.build(t)
			r.Host = h
			refused("host", h, r, s.body)
		})
		flips(original.URL.RequestURI(), func(target string) {
			u, err := url.ParseRequestURI(target)
			if err != nil || !strings.HasPrefix(target, "/") || sameURL(original.URL, u, s.service) {
				return // no request, or the same
			}
			r := s.build(t)
			r.URL.Path, r.URL.RawPath, r.URL.RawQuery = u.Path, u.RawPath, u.RawQuery
			part := "path"
			if u.RawQuery != original.URL.RawQuery {
				part = "query"
			}
			refused(part, target, r, s.body)
		})
		signed := strings.Split(between(s.headers["Authorization"], "SignedHeaders=", ","), ";")
		if signed[0] == "" {
			signed = strings.Split(original.URL.Query().Get("X-Amz-SignedHeaders"), ";")
		}
		for name, value := range s.headers {
			if strings.EqualFold(name, "Content-Length") || name != "Authorization" && !slices.Contains(signed, strings.ToLower(name)) {
				continue
			}
			flips(value, func(changed string) {
				r := s.build(t)
				r.Header.Set(name, changed)
				refused("header "+name, changed, r, s.body)
			})
		}
	}
	for _, part := range []string{"body", "method", "host", "path", "query", "header Authorization", "header X-Amz-Date", "header X-Amz-Target", "header X-Amz-Security-Token"} {
		if tried[part] == 0 {
			t.Errorf("no bit of a %s was changed", part)
		}
	}
	t.Log(tried)
}

func between(s, before, after string) string {
	_, rest, _ := strings.Cut(s, before)
	middle, _, _ := strings.Cut(rest, after)
	return middle
}
