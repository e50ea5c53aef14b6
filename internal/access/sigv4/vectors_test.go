package sigv4

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// Requests signed by botocore, frozen by testdata/vectors.py.
func TestBotocoreVectors(t *testing.T) {
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
	if len(file.Vectors) < 16 {
		t.Fatalf("only %d vectors", len(file.Vectors))
	}
	for _, vec := range file.Vectors {
		t.Run(vec.Name, func(t *testing.T) {
			body, err := base64.StdEncoding.DecodeString(vec.Body)
			if err != nil {
				t.Fatal(err)
			}
			build := func() *http.Request {
				r := newRequest(t, vec.Method, vec.URL, body)
				r.Host = strings.TrimSuffix(r.URL.Host, ":80")
				for k, v := range vec.Headers {
					if k != "Content-Length" {
						r.Header.Set(k, v)
					}
				}
				return r
			}
			store := keys{file.AccessKeyID: {secret: file.SecretAccessKey, token: vec.Token}}
			v := New(store, clock(file.Now), Options{Services: []string{vec.Service}})
			r, got := overWire(t, build())
			id, err := v.Verify(r, got)
			if err != nil {
				t.Fatal(err)
			}
			if id.Region != vec.Region || id.Service != vec.Service || !id.SignedAt.Equal(file.Now) || !id.Principal.IsRoot() {
				t.Errorf("identity %+v", id)
			}
			bad := New(keys{file.AccessKeyID: {secret: "other", token: vec.Token}}, clock(file.Now), Options{Services: []string{vec.Service}})
			if _, err := bad.Verify(r, got); err == nil {
				t.Error("verified under another secret")
			}
		})
	}
}

// The published SigV4 test suite (AWS General Reference), the IAM ListUsers
// example of the signing guide and the two examples of the S3 API Reference.
func TestPublishedVectors(t *testing.T) {
	const (
		suiteScope = testKey + "/20150830/us-east-1/service/aws4_request"
		s3Key      = "AKIAIOSFODNN7EXAMPLE"
		s3Secret   = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	)
	store := keys{testKey: {secret: testSecret}, s3Key: {secret: s3Secret}}
	type header = [2]string
	for _, tc := range []struct {
		name, method, target, body string
		headers                    []header
		signed, signature          string
	}{
		{"get-vanilla", "GET", "/", "", nil, "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-relative", "GET", "/example/..", "", nil, "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slash", "GET", "//", "", nil, "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-slash-dot-slash", "GET", "/./", "", nil, "host;x-amz-date",
			"5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "", nil, "host;x-amz-date",
			"07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		{"get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", "", nil, "host;x-amz-date",
			"b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-vanilla-query-unreserved", "GET",
			"/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
			"", nil, "host;x-amz-date", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
		{"get-header-value-trim", "GET", "/", "", []header{{"My-Header1", " value1"}, {"My-Header2", ` "a   b   c"`}},
			"host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"post-vanilla", "POST", "/", "", nil, "host;x-amz-date",
			"5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-header-key-sort", "POST", "/", "", []header{{"My-Header1", "value1"}}, "host;my-header1;x-amz-date",
			"c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		{"post-x-www-form-urlencoded", "POST", "/", "Param1=value1", []header{{"Content-Type", "application/x-www-form-urlencoded"}},
			"content-type;host;x-amz-date", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRequest(t, tc.method, "https://example.amazonaws.com"+tc.target, []byte(tc.body))
			for _, h := range tc.headers {
				r.Header.Add(h[0], h[1])
			}
			r.Header.Set("X-Amz-Date", "20150830T123600Z")
			r.Header.Set("Authorization", algorithm+" Credential="+suiteScope+", SignedHeaders="+tc.signed+", Signature="+tc.signature)
			v := New(store, clock(at("20150830T123600Z")), Options{Services: []string{"service"}})
			if _, err := v.Verify(r, []byte(tc.body)); err != nil {
				t.Error(err)
			}
		})
	}

	t.Run("iam list users", func(t *testing.T) {
		r := newRequest(t, "GET", "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08", nil)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		r.Header.Set("X-Amz-Date", "20150830T123600Z")
		r.Header.Set("Authorization", algorithm+" Credential="+testKey+"/20150830/us-east-1/iam/aws4_request, "+
			"SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7")
		if _, err := New(store, clock(at("20150830T123600Z")), Options{Services: []string{"iam"}}).Verify(r, nil); err != nil {
			t.Error(err)
		}
	})
	s3 := New(store, clock(at("20130524T001000Z")), Options{Services: []string{"s3"}})
	t.Run("s3 get object", func(t *testing.T) {
		r := newRequest(t, "GET", "https://examplebucket.s3.amazonaws.com/test.txt", nil)
		r.Header.Set("Range", "bytes=0-9")
		r.Header.Set("X-Amz-Content-Sha256", emptyPayload)
		r.Header.Set("X-Amz-Date", "20130524T000000Z")
		r.Header.Set("Authorization", algorithm+" Credential="+s3Key+"/20130524/us-east-1/s3/aws4_request,"+
			"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
		if _, err := s3.Verify(r, nil); err != nil {
			t.Error(err)
		}
	})
	const presigned = "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" +
		s3Key + "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host" +
		"&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
	t.Run("s3 presigned", func(t *testing.T) {
		if _, err := s3.VerifyPresigned(newRequest(t, "GET", presigned, nil)); err != nil {
			t.Error(err)
		}
	})
	t.Run("presign makes the same link", func(t *testing.T) {
		got, err := Presign(Credentials{AccessKeyID: s3Key, SecretAccessKey: s3Secret}, PresignRequest{
			Method: "GET", URL: "https://examplebucket.s3.amazonaws.com/test.txt", Region: "us-east-1", Service: "s3",
			SignedAt: at("20130524T000000Z"), Expires: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if got != presigned {
			t.Errorf("got  %s\nwant %s", got, presigned)
		}
	})
}
