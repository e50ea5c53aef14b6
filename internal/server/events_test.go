package server_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"berth/internal/event"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// Of a whole server: a sink that never answers delays neither the push nor
// another sink, and the secret of a file signs.
func TestEventsOfAServer(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a secret of webhooks\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	asked, end := make(chan struct{}, 100), make(chan struct{})
	hung := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{}; <-end }))
	defer hung.Close()
	defer close(end)
	var taken atomic.Int32
	good := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		want := event.Sign([]byte("a secret of webhooks"), r.Header.Get(event.HeaderTimestamp), body)
		if err != nil || r.Header.Get(event.HeaderSignature) != want || !strings.Contains(string(body), `"image-tag":"v`) {
			t.Errorf("got %s, %v", body, err)
		}
		taken.Add(1)
	}))
	defer good.Close()
	s := servertest.StartWith(t, server.Config{Events: server.Events{Sinks: []string{hung.URL + "/hook", good.URL}, SecretFile: secret}})
	s.CreateRepositories("app")
	img := testkit.RandomImage(t, 1, 10)
	for _, b := range img.Blobs {
		if resp, _ := s.Do("POST", "/v2/app/blobs/uploads/?digest="+b.Descriptor.Digest.String(), bytes.NewReader(b.Bytes)); resp.StatusCode != http.StatusCreated {
			t.Fatal(resp.Status)
		}
	}
	put := func(tag string) {
		t.Helper()
		_, err := s.ECR().PutImage(t.Context(), &ecr.PutImageInput{RepositoryName: aws.String("app"), ImageTag: &tag, ImageManifest: aws.String(string(img.Root.Bytes))})
		if err != nil {
			t.Fatal(err)
		}
	}
	put("v1")
	<-asked // it hangs now
	put("v2")
	for deadline := time.Now().Add(20 * time.Second); taken.Load() < 2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d events arrived beside a sink that hangs", taken.Load())
		}
	}
	if _, body := s.Do("GET", "/metrics", nil); !strings.Contains(string(body), "berth_events_delivered_total 2\n") {
		t.Errorf("the metrics do not count two deliveries")
	}
}
