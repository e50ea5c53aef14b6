package s3

import (
	"context"
	"net/http"
	"os"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/testkit"
)

// TestMain keeps the developer's own AWS configuration out.
func TestMain(m *testing.M) {
	for _, name := range []string{"AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"} {
		if err := os.Setenv(name, os.DevNull); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// open opens a store on a server, with requests sent through a proxy that can be nil.
func open(t testing.TB, server *testkit.S3Server, prefix string, through http.RoundTripper) *Store {
	t.Helper()
	o := Options{
		Bucket: server.Bucket, Prefix: prefix, Endpoint: server.Endpoint, Region: testkit.S3Region, PathStyle: true,
		AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey, backoff: 20 * time.Millisecond,
	}
	if through != nil {
		o.HTTPClient = &http.Client{Transport: through}
	}
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSuite(t *testing.T) {
	server := testkit.S3(t)
	blobtest.Run(t, blobtest.Backend{
		Fresh: func(t *testing.T) func(*testing.T) blob.Store {
			prefix := "suite/" + newMark()
			return func(t *testing.T) blob.Store { return open(t, server, prefix, nil) }
		},
		InPlace: true, Shared: true,
	})
}
