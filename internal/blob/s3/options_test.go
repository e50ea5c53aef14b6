package s3

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"berth/internal/blob"
	"berth/internal/testkit"
)

func TestParseURL(t *testing.T) {
	for raw, want := range map[string]Options{
		"s3://bytes":               {Bucket: "bytes"},
		"s3://bytes/":              {Bucket: "bytes"},
		"s3://bytes/a/b.c/":        {Bucket: "bytes", Prefix: "a/b.c"},
		"s3://bytes?region=eu-1":   {Bucket: "bytes", Region: "eu-1"},
		"s3://by.tes/a?sse=AES256": {Bucket: "by.tes", Prefix: "a", SSE: "AES256"},
		"s3://bytes/a?endpoint=http://127.0.0.1:9000&region=x&path-style=true&sse=aws:kms&sse-kms-key-id=arn:aws:kms:eu-1:1:key/k": {
			Bucket: "bytes", Prefix: "a", Endpoint: "http://127.0.0.1:9000", Region: "x", PathStyle: true,
			SSE: "aws:kms", KMSKeyID: "arn:aws:kms:eu-1:1:key/k",
		},
	} {
		if got, err := ParseURL(raw); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", raw, got, err)
		}
	}
	for raw, want := range map[string]string{
		"":                                       "s3://",
		"https://bytes":                          "s3://",
		"s3://":                                  "name of an S3 bucket",
		"s3://a":                                 "name of an S3 bucket",
		"s3:///a":                                "name of an S3 bucket",
		"s3://bytes/a//b":                        "prefix",
		"s3://bytes/../b":                        "prefix",
		"s3://bytes//a":                          "prefix",
		"s3://bytes/a b":                         "prefix",
		"s3://bytes/" + strings.Repeat("x", 600): "prefix",
		"s3://key:hidden@bytes":                  "no user",
		"s3://bytes#hidden":                      "fragment",
		"s3://bytes/%2e%2e":                      "escapes",
		"s3://bytes?sse=rot13":                   `sse "rot13"`,
		"s3://bytes?sse-kms-key-id=k":            "needs the encryption",
		"s3://bytes?sse=aws:kms&sse-kms-key-id=a%0db": "KMS key",
		"s3://bytes?region=A":                         "region",
		"s3://bytes?region=a&region=b":                "2 times",
		"s3://bytes?path-style=perhaps":               "neither true nor false",
		"s3://bytes?acl=public":                       `no parameter "acl"`,
		"s3://bytes?endpoint=ftp://x":                 "endpoint",
		"s3://bytes?endpoint=http://":                 "endpoint",
		"s3://bytes?endpoint=http://x/y":              "endpoint",
		"s3://bytes?endpoint=http://k:hidden%40x":     "endpoint",
		"s3://bytes?a=%zz":                            "malformed",
	} {
		_, err := ParseURL(raw)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("s3://bytes/a?endpoint=http://127.0.0.1:9000&region=x&path-style=true&sse=aws:kms&sse-kms-key-id=k")
	f.Add("s3://key:secret@bytes/%2e#x")
	f.Fuzz(func(t *testing.T, raw string) {
		o, err := ParseURL(raw)
		if err != nil {
			return
		}
		if err := o.validate(); err != nil {
			t.Errorf("%q is taken and not valid: %v", raw, err)
		}
		if key := o.Bucket + "/" + o.Prefix; strings.Contains(key, "..") && dotted(o.Prefix) || strings.ContainsAny(key, "?#%\\ \x00") {
			t.Errorf("%q gives the key %q", raw, key)
		}
	})
}

// TestOpenSaysWhatToDo: a store that cannot be had names what is wrong and tells no secret.
func TestOpenSaysWhatToDo(t *testing.T) {
	server := testkit.S3(t)
	good := open(t, server, "", nil).options
	for _, c := range []struct {
		name, want string
		change     func(*Options)
	}{
		{"no bucket", "does not exist", func(o *Options) { o.Bucket = "elsewhere" }},
		{"wrong key", "check the access key", func(o *Options) { o.SecretAccessKey = "wrong-secret" }},
		{"half a key", "give both or neither", func(o *Options) { o.SecretAccessKey = "" }},
		{"no server", "check the endpoint", func(o *Options) { o.Endpoint = "http://127.0.0.1:1" }},
		{"bad prefix", "prefix", func(o *Options) { o.Prefix = "../x" }},
		{"other region", "add region=eu-9", func(o *Options) {
			p := &proxy{answer: func(_ string, _ int, r *http.Request) (*http.Response, error) {
				response := respond(r, http.StatusMovedPermanently, "")
				response.Header.Set("X-Amz-Bucket-Region", "eu-9")
				return response, nil
			}}
			o.HTTPClient = &http.Client{Transport: p}
		}},
	} {
		o := good
		c.change(&o)
		_, err := Open(context.Background(), o)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), server.SecretKey) || strings.Contains(err.Error(), "wrong-secret") {
			t.Errorf("%s: %v", c.name, err)
		}
		if errors.Is(err, blob.ErrUnavailable) != (c.name == "no server") {
			t.Errorf("%s: the kind of %v", c.name, err)
		}
	}
}
