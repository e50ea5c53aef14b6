// Package servertest starts real servers for tests: in this process, on a
// loopback port of their own, with a data directory that goes with the test.
package servertest

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"berth/internal/iam"
	"berth/internal/server"
)

// Region is the home region of test servers.
const Region = "us-east-1"

// Server is a running server.
type Server struct {
	Endpoint string // http://127.0.0.1:port
	Host     string // 127.0.0.1:port
	Region   string
	Account  string
	Data     string
	Root     iam.Credentials

	t    testing.TB
	stop func() error
}

// Start runs a server on a fresh data directory until the test ends.
func Start(t testing.TB) *Server { return StartIn(t, t.TempDir()) }

// StartIn runs a server on a data directory until the test ends or Stop.
func StartIn(t testing.TB, data string) *Server {
	t.Helper()
	return StartWith(t, server.Config{Data: data})
}

// StartWith runs a server until the test ends or Stop. It listens on a port of
// its own whatever the configuration says; of what else that leaves empty, the
// data directory is a fresh one and the region is [Region].
func StartWith(t testing.TB, cfg server.Config) *Server {
	t.Helper()
	cfg.Listen = "127.0.0.1:0"
	cfg.Blobs = cmp.Or(cfg.Blobs, server.FileBlobs)
	cfg.Database = cmp.Or(cfg.Database, "sqlite")
	cfg.Data = cmp.Or(cfg.Data, t.TempDir())
	cfg.Region = cmp.Or(cfg.Region, Region)
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, cfg, slog.New(slog.NewTextHandler(&testLog{t}, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	out := &Server{
		Endpoint: s.Endpoint(), Host: strings.TrimPrefix(s.Endpoint(), "http://"), Region: cfg.Region,
		Account: cmp.Or(cfg.Account, "000000000000"), Data: cfg.Data, Root: s.Root(), t: t,
	}
	stopped := false
	out.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(out.Stop)
	return out
}

// Stop ends the server as SIGTERM does.
func (s *Server) Stop() {
	s.t.Helper()
	if err := s.stop(); err != nil {
		s.t.Errorf("stop the server: %v", err)
	}
}

// testLog shows the server's log with the test that caused it.
type testLog struct{ t testing.TB }

func (l *testLog) Write(p []byte) (int, error) {
	l.t.Logf("server: %s", strings.TrimSpace(string(p)))
	return len(p), nil
}

// Env is the environment with which AWS tools reach the server.
func (s *Server) Env() []string {
	return []string{
		"AWS_ENDPOINT_URL=" + s.Endpoint, "AWS_REGION=" + s.Region, "AWS_DEFAULT_REGION=" + s.Region,
		"AWS_ACCESS_KEY_ID=" + s.Root.AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + s.Root.SecretAccessKey,
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// ECR is AWS's own client for the server, signing as the root user.
func (s *Server) ECR() *ecr.Client {
	return ecr.New(ecr.Options{
		BaseEndpoint: aws.String(s.Endpoint), Region: s.Region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(s.Root.AccessKeyID, s.Root.SecretAccessKey, ""),
	})
}

// CreateRepositories makes repositories with default settings.
func (s *Server) CreateRepositories(names ...string) {
	s.t.Helper()
	for _, n := range names {
		if _, err := s.ECR().CreateRepository(context.Background(), &ecr.CreateRepositoryInput{RepositoryName: aws.String(n)}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// Login is a user name and password for the registry, good for 12 hours.
func (s *Server) Login() (user, password string) {
	s.t.Helper()
	out, err := s.ECR().GetAuthorizationToken(context.Background(), &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		s.t.Fatal(err)
	}
	r := http.Request{Header: http.Header{"Authorization": {"Basic " + *out.AuthorizationData[0].AuthorizationToken}}}
	user, password, ok := r.BasicAuth()
	if !ok {
		s.t.Fatal("the authorization token is not that of Basic authentication")
	}
	return user, password
}

// Do sends one request of the Distribution API with a login, and returns the
// answer with its whole body. Headers come in pairs.
func (s *Server) Do(method, path string, body io.Reader, headers ...string) (*http.Response, []byte) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.Endpoint+path, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.SetBasicAuth(s.Login())
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	return resp, b
}

// AccessKey makes an access key for a user.
func (s *Server) AccessKey(user string) (id, secret string) {
	s.t.Helper()
	var out struct {
		ID     string `xml:"CreateAccessKeyResult>AccessKey>AccessKeyId"`
		Secret string `xml:"CreateAccessKeyResult>AccessKey>SecretAccessKey"`
	}
	if err := xml.Unmarshal([]byte(s.IAM("CreateAccessKey", "UserName", user)), &out); err != nil {
		s.t.Fatal(err)
	}
	return out.ID, out.Secret
}

// IAM calls an action of the IAM or STS API as the root user and returns the
// body of the answer, which must be a 200. Members come in pairs.
func (s *Server) IAM(action string, members ...string) string {
	s.t.Helper()
	service := "iam"
	if strings.HasPrefix(action, "sts:") {
		service, action = "sts", action[4:]
	}
	form := url.Values{"Action": {action}}
	for i := 0; i+1 < len(members); i += 2 {
		form.Set(members[i], members[i+1])
	}
	return s.signed(service, form.Encode(), "Content-Type", "application/x-www-form-urlencoded")
}

// Secrets calls an operation of the Secrets Manager API as the root user, with a
// body of JSON, and returns that of the answer, which must be a 200.
func (s *Server) Secrets(operation, body string) string {
	s.t.Helper()
	return s.signed("secretsmanager", body, "Content-Type", "application/x-amz-json-1.1", "X-Amz-Target", "secretsmanager."+operation)
}

// Secret makes a secret with a value.
func (s *Server) Secret(name, value string) {
	s.t.Helper()
	body, err := json.Marshal(map[string]string{"Name": name, "SecretString": value, "ClientRequestToken": rand.Text() + "-token"})
	if err != nil {
		s.t.Fatal(err)
	}
	s.Secrets("CreateSecret", string(body))
}

// signed sends a request that the root user signed, with headers in pairs.
func (s *Server) signed(service, body string, headers ...string) string {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodPost, s.Endpoint+"/", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	key := aws.Credentials{AccessKeyID: s.Root.AccessKeyID, SecretAccessKey: s.Root.SecretAccessKey}
	sum := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(context.Background(), key, req, hex.EncodeToString(sum[:]), service, s.Region, time.Now()); err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %s: %s (%v)", service, body, resp.Status, b, err)
	}
	return string(b)
}
