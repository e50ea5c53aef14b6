package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/opencontainers/go-digest"

	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// TestTwoServersOverOnePostgreSQL checks what servers share through the
// database: keys, passwords, repositories, manifests and upload sessions.
func TestTwoServersOverOnePostgreSQL(t *testing.T) {
	url := testkit.Postgres(t)
	a := servertest.StartWith(t, server.Config{Database: url})
	b := servertest.StartWith(t, server.Config{Database: url, MasterKey: filepath.Join(a.Data, server.MasterKeyFile)})
	if a.Root != b.Root {
		t.Fatalf("the servers have different root keys: %s and %s", a.Root, b.Root)
	}
	a.CreateRepositories("app")
	out, err := b.ECR().DescribeRepositories(context.Background(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"app"}})
	if err != nil || len(out.Repositories) != 1 {
		t.Fatalf("a repository made on one server, seen from the other: %v", err)
	}

	// A password from one opens the other.
	user, password := a.Login()
	req, err := http.NewRequest(http.MethodGet, b.Endpoint+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	if status, _ := send(t, req); status != http.StatusOK {
		t.Errorf("a password of the other server: status %d", status)
	}

	// An upload session of one is known to the other.
	resp, _ := a.Do(http.MethodPost, "/v2/app/blobs/uploads/", nil)
	if resp.StatusCode != http.StatusAccepted {
		t.Fatalf("start an upload: %s", resp.Status)
	}
	location := resp.Header.Get("Location")
	path := location[strings.Index(location, "/v2/"):]
	if resp, body := b.Do(http.MethodGet, path, nil); resp.StatusCode != http.StatusNoContent {
		t.Errorf("an upload session of the other server: %s %s", resp.Status, body)
	}

	// A manifest put on one, about a blob pushed to the other, is read from both.
	config := []byte("{}")
	if resp, body := a.Do(http.MethodPost, "/v2/app/blobs/uploads/?digest="+digest.FromBytes(config).String(), bytes.NewReader(config)); resp.StatusCode != http.StatusCreated {
		t.Fatalf("push a blob: %s %s", resp.Status, body)
	}
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[]}`, digest.FromBytes(config))
	if resp, body := b.Do(http.MethodPut, "/v2/app/manifests/v1", strings.NewReader(manifest), "Content-Type", "application/vnd.oci.image.manifest.v1+json"); resp.StatusCode != http.StatusCreated {
		t.Fatalf("put a manifest: %s %s", resp.Status, body)
	}
	for _, s := range []*servertest.Server{a, b} {
		if resp, body := s.Do(http.MethodGet, "/v2/app/manifests/v1", nil); resp.StatusCode != http.StatusOK || string(body) != manifest {
			t.Errorf("get the manifest: %s %s", resp.Status, body)
		}
	}
}

// TestDatabaseGoesAndComesBack takes PostgreSQL away in two ways: every door
// answers 503 with Retry-After within seconds, and all is well when it is back.
func TestDatabaseGoesAndComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		leave, comeBack func(*testing.T, *testkit.PostgresCluster)
	}{
		"crashed": {
			func(t *testing.T, p *testkit.PostgresCluster) { p.Stop(t, "immediate") },
			func(t *testing.T, p *testkit.PostgresCluster) { p.Start(t) },
		},
		"frozen": {
			func(t *testing.T, p *testkit.PostgresCluster) { p.Freeze(t) },
			func(t *testing.T, p *testkit.PostgresCluster) { p.Thaw(t) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			cluster := testkit.StartPostgres(t)
			s := servertest.StartWith(t, server.Config{Database: cluster.Database(t)})
			s.CreateRepositories("app")
			user, password := s.Login()
			c.leave(t, cluster)
			t.Cleanup(func() { // before the server ends, which would wait for it
				if t.Failed() {
					c.comeBack(t, cluster)
				}
			})

			started := time.Now()
			_, err := s.ECR().DescribeRepositories(context.Background(), &ecr.DescribeRepositoriesInput{})
			var refused *awshttp.ResponseError
			if !errors.As(err, &refused) || refused.HTTPStatusCode() != http.StatusServiceUnavailable ||
				refused.Response.Header.Get("Retry-After") != "1" || !strings.Contains(err.Error(), "ServiceUnavailable") {
				t.Errorf("ECR API: %v, want a 503 with Retry-After", err)
			}
			pull, err := http.NewRequest(http.MethodGet, s.Endpoint+"/v2/app/manifests/v1", nil)
			if err != nil {
				t.Fatal(err)
			}
			pull.SetBasicAuth(user, password)
			if status, retry := send(t, pull); status != http.StatusServiceUnavailable || retry != "1" {
				t.Errorf("Distribution API: status %d, Retry-After %q", status, retry)
			}
			ready, err := http.NewRequest(http.MethodGet, s.Endpoint+"/readyz", nil)
			if err != nil {
				t.Fatal(err)
			}
			if status, _ := send(t, ready); status != http.StatusServiceUnavailable {
				t.Errorf("readyz: status %d", status)
			}
			if d := time.Since(started); d > 15*time.Second {
				t.Errorf("three requests took %v", d)
			}

			c.comeBack(t, cluster)
			for deadline := time.Now().Add(15 * time.Second); ; {
				status, _ := send(t, pull)
				if status == http.StatusNotFound {
					break
				}
				if status != http.StatusServiceUnavailable || time.Now().After(deadline) {
					t.Fatalf("status %d after the database came back", status)
				}
				time.Sleep(50 * time.Millisecond)
			}
			out, err := s.ECR().DescribeRepositories(context.Background(), &ecr.DescribeRepositoriesInput{RepositoryNames: []string{"app"}})
			if err != nil || len(out.Repositories) != 1 || aws.ToString(out.Repositories[0].RepositoryName) != "app" {
				t.Errorf("after the database came back: %v", err)
			}
		})
	}
}

// send gives status and Retry-After of a request's answer.
func send(t *testing.T, req *http.Request) (status int, retryAfter string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Retry-After")
}

// TestPasswordOfTheDatabaseStaysSecret: a URL that is mistyped or cannot be
// reached is not repeated in the error.
func TestPasswordOfTheDatabaseStaysSecret(t *testing.T) {
	const secret = "hunter2-S3cret"
	for _, setting := range []string{"postgre://ann:" + secret + "@db/x", secret, "postgres://ann:" + secret + "@127.0.0.1:1/x", "postgres://ann:" + secret + "@127.0.0.1:x/x"} {
		cfg := server.Config{Listen: "127.0.0.1:0", Data: t.TempDir(), Database: setting, Blobs: "file"}
		s, err := server.New(context.Background(), cfg, nil)
		if err == nil {
			t.Fatalf("started with %q: %v", setting, s.Close())
		}
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error of %q holds the password: %v", setting, err)
		}
	}
}
