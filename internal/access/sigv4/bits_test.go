package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// A signedRequest is one that verifies, taken apart.
type signedRequest struct {
	name, method, url string
	headers           map[string]string
	body              []byte
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

// bySDK is a request that aws-sdk-go-v2 signs.
func bySDK(t *testing.T, key aws.Credentials, now time.Time) signedRequest {
	t.Helper()
	s := signedRequest{name: "aws-sdk-go-v2", method: "POST", url: "http://localhost/", body: []byte(`{"repositoryName":"app"}`), headers: map[string]string{
		"X-Amz-Target": "AmazonEC2ContainerRegistry_V20150921.DescribeImages", "Content-Type": "application/x-amz-json-1.1",
	}}
	r := s.build(t)
	sum := sha256.Sum256(s.body)
	if err := v4.NewSigner().SignHTTP(context.Background(), key, r, hex.EncodeToString(sum[:]), "ecr", "us-east-1", now); err != nil {
		t.Fatal(err)
	}
	for k := range r.Header {
		s.headers[k] = r.Header.Get(k)
	}
	return s
}

// byBotocore are two of the requests that botocore signed, for ECR.
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
		if v.Service == "ecr" && v.Token == "" && v.Method == http.MethodPost && len(out) < 2 {
			out = append(out, signedRequest{"botocore " + v.Name, v.Method, v.URL, v.Headers, body})
		}
	}
	if len(out) == 0 {
		t.Fatal("botocore signed no request for ECR")
	}
	return out, file.AccessKeyID, file.SecretAccessKey, file.Now
}

// TestEveryBitCounts changes every bit of what a signature covers, and of the
// signature itself, in requests that aws-sdk-go-v2 and botocore signed: none of
// the changed ones verifies.
func TestEveryBitCounts(t *testing.T) {
	requests, id, secret, now := byBotocore(t)
	requests = append(requests, bySDK(t, aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}, now))
	v := New(keys{id: {secret: secret}}, clock(now), Options{Services: []string{"ecr"}})
	for _, s := range requests {
		if _, err := v.Verify(s.build(t), s.body); err != nil {
			t.Fatalf("%s as it is: %v", s.name, err)
		}
		signed := strings.Split(between(s.headers["Authorization"], "SignedHeaders=", ","), ";")
		refused := func(part string, i, bit int, changed signedRequest) {
			if r := changed.build(t); r != nil {
				if _, err := v.Verify(r, changed.body); err == nil {
					t.Errorf("%s: %s, byte %d, bit %d: verifies", s.name, part, i, bit)
				}
			}
		}
		flips := func(part string, value []byte, put func(*signedRequest, []byte)) {
			for i := range value {
				for bit := range 8 {
					changed := s
					changed.headers = map[string]string{}
					for k, v := range s.headers {
						changed.headers[k] = v
					}
					b := bytes.Clone(value)
					b[i] ^= 1 << bit
					put(&changed, b)
					refused(part, i, bit, changed)
				}
			}
		}
		flips("the body", s.body, func(c *signedRequest, b []byte) { c.body = b })
		flips("the method", []byte(s.method), func(c *signedRequest, b []byte) { c.method = string(b) })
		covered := 0
		for name, value := range s.headers {
			isSigned := false
			for _, h := range signed {
				isSigned = isSigned || strings.EqualFold(h, name)
			}
			if isSigned || name == "Authorization" {
				covered++
				flips(name, []byte(value), func(c *signedRequest, b []byte) { c.headers[name] = string(b) })
			}
		}
		if covered < 3 {
			t.Errorf("%s: %d headers are covered by the signature: %v", s.name, covered, signed)
		}
		for _, url := range []string{s.url + "x", s.url + "?", s.url + "?a=b", strings.Replace(s.url, "://", "://x", 1)} {
			if strings.HasSuffix(url, "?") {
				continue // an empty query is none
			}
			changed := s
			changed.url = url
			refused(url, 0, 0, changed)
		}
	}
}

func between(s, before, after string) string {
	_, rest, _ := strings.Cut(s, before)
	middle, _, _ := strings.Cut(rest, after)
	return middle
}
