package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"go.uber.org/goleak"

	"berth/internal/iam"
	"berth/internal/server"
	"berth/internal/server/servertest"
)

func config(data string) server.Config {
	return server.Config{Listen: "127.0.0.1:0", Data: data, Database: "sqlite", Blobs: "file"}
}

// A syncBuffer is a log that is read while the server writes.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestInvariant12_FirstStartGeneratesKeys(t *testing.T) {
	seen := map[iam.Credentials]bool{}
	for range 3 {
		data := t.TempDir()
		s := servertest.StartIn(t, data)
		if !strings.HasPrefix(s.Root.AccessKeyID, "AKIA") || len(s.Root.AccessKeyID) != 20 || len(s.Root.SecretAccessKey) != 40 || seen[s.Root] {
			t.Errorf("key %q, secret of %d characters", s.Root.AccessKeyID, len(s.Root.SecretAccessKey))
		}
		seen[s.Root] = true
		_, first := s.Login()
		s.Stop()
		again := servertest.StartIn(t, data) // a restart keeps the key, and passwords made before
		if again.Root != s.Root {
			t.Error("a restart changed the key")
		}
		req, err := http.NewRequest("GET", again.Endpoint+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("AWS", first)
		resp, err := http.DefaultClient.Do(req)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("the password of before: %v", err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

// CVE-2025-48374: what lets somebody in is in no log, whatever is asked and
// however it fails.
func TestInvariant12_LogHoldsNoSecret(t *testing.T) {
	var log syncBuffer
	ctx, cancel := context.WithCancel(context.Background())
	cfg := config(t.TempDir())
	s, err := server.New(ctx, cfg, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	secret := s.Root().SecretAccessKey
	client := &servertest.Server{Endpoint: s.Endpoint(), Region: s.Region(), Root: s.Root()}
	out, err := client.ECR().GetAuthorizationToken(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	token := *out.AuthorizationData[0].AuthorizationToken
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	password := strings.TrimPrefix(string(raw), "AWS:")
	if err := os.RemoveAll(filepath.Join(cfg.Data, "blobs")); err != nil { // faults are logged most
		t.Fatal(err)
	}
	for _, target := range []string{"/v2/", "/readyz", "/v2/app/blobs/uploads/", "/?X-Amz-Credential=" + s.Root().AccessKeyID} {
		for _, method := range []string{"GET", "POST", "BREW"} {
			req, err := http.NewRequest(method, s.Endpoint()+target, strings.NewReader(secret))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Basic "+token)
			req.Header.Set("X-Amz-Security-Token", secret)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if err := resp.Body.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for what, text := range map[string]string{"the secret key": secret, "the password": password, "the token": token} {
		if strings.Contains(log.String(), text) {
			t.Errorf("%s is in the log", what)
		}
	}
	if !strings.Contains(log.String(), "not ready") {
		t.Errorf("the log says nothing at all: %q", log.String())
	}
}

func TestOperatorEndpoints(t *testing.T) {
	s := servertest.Start(t)
	for path, want := range map[string]int{
		"/healthz": 200, "/readyz": 200, "/metrics": 200, "/v2": 401, "/v2/": 401, "/": 404, "/v1/": 404, "/healthz/": 404,
		"/.berth/credentials": 404, "/../credentials": 404, "/v2/..": 401, "//v2/": 404, "/console": 404,
	} {
		if got, body := get(t, s.Endpoint+path); got != want || strings.Contains(body, s.Root.SecretAccessKey) {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if _, body := get(t, s.Endpoint+"/metrics"); !strings.Contains(body, `berth_requests_total{door="oci",method="GET",status="401"}`) {
		t.Error("the refused requests are not counted")
	}
	if err := os.RemoveAll(filepath.Join(s.Data, "blobs")); err != nil {
		t.Fatal(err)
	}
	if got, body := get(t, s.Endpoint+"/readyz"); got != 503 || strings.Contains(body, s.Data) {
		t.Errorf("without its blob directory: %d %s", got, body)
	}
	if got, _ := get(t, s.Endpoint+"/healthz"); got != 200 {
		t.Errorf("alive: %d", got)
	}
}

func TestHeadersAreLimited(t *testing.T) {
	s := servertest.Start(t)
	req, err := http.NewRequest("GET", s.Endpoint+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Large", strings.Repeat("x", 128<<10))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	// A registry password is long; it must pass.
	s.CreateRepositories("app")
	if resp, _ := s.Do("GET", "/v2/app/tags/list", nil); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestSecondServerIsKeptOut(t *testing.T) {
	s := servertest.Start(t)
	_, err := server.New(context.Background(), config(s.Data), slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "in use by another berth") {
		t.Errorf("%v", err)
	}
}

func TestFailedStartLeavesNothingOpen(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	cfg := config(data)
	cfg.Listen = l.Addr().String()
	if _, err := server.New(context.Background(), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "cannot listen on") {
		t.Errorf("%v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Root = iam.Credentials{AccessKeyID: "AKIAX"} // without its secret: fails late
	if _, err := server.New(context.Background(), cfg, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "both its id and its secret") {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(filepath.Join(data, "meta.db"), []byte("this is not a database, and long enough to be read as one"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Root = iam.Credentials{}
	if _, err := server.New(context.Background(), cfg, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a broken database was opened")
	}
	if err := os.RemoveAll(filepath.Join(data, "meta.db")); err != nil {
		t.Fatal(err)
	}
	s, err := server.New(context.Background(), cfg, slog.New(slog.DiscardHandler)) // port, lock and file are free
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestStopLeavesNoGoroutine(t *testing.T) {
	http.DefaultClient.CloseIdleConnections()
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	s := servertest.Start(t)
	s.CreateRepositories("app")
	d := digest.FromString("x")
	if resp, body := s.Do("POST", "/v2/app/blobs/uploads/?digest="+d.String(), strings.NewReader("x")); resp.StatusCode != 201 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	s.Stop()
	http.DefaultClient.CloseIdleConnections()
}

// SIGTERM in the middle of a push: the request that runs is finished.
func TestStopFinishesRunningRequests(t *testing.T) {
	s := servertest.Start(t)
	s.CreateRepositories("app")
	user, password := s.Login()
	body, feed := io.Pipe()
	first := strings.Repeat("first ", 50_000) // enough for a file of its own
	d := digest.FromString(first + "second")
	req, err := http.NewRequest("POST", s.Endpoint+"/v2/app/blobs/uploads/?digest="+d.String(), body)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	status := make(chan int, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		status <- resp.StatusCode
	}()
	if _, err := feed.Write([]byte(first)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { // the handler has begun to store
		list, err := filepath.Glob(filepath.Join(s.Data, "blobs", "*", "*", "*.part"))
		return err == nil && len(list) == 1
	})
	stopped := make(chan struct{})
	go func() { s.Stop(); close(stopped) }()
	waitFor(t, func() bool { // no new connection is taken any more
		c, err := net.Dial("tcp", s.Host)
		if err == nil {
			_ = c.Close() // it was only a probe
		}
		return err != nil
	})
	if _, err := feed.Write([]byte("second")); err != nil {
		t.Fatal(err)
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if got := <-status; got != 201 {
		t.Errorf("status %d", got)
	}
	<-stopped
	again := servertest.StartIn(t, s.Data)
	if resp, got := again.Do("GET", "/v2/app/blobs/"+d.String(), nil); resp.StatusCode != 200 || string(got) != first+"second" {
		t.Errorf("after the restart: %d, %d bytes", resp.StatusCode, len(got))
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

func TestHomeStaysWithItsDirectory(t *testing.T) {
	data := t.TempDir()
	regionOf := func(change func(*server.Config)) string {
		t.Helper()
		cfg := config(data)
		change(&cfg)
		s, err := server.New(context.Background(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		return s.Region()
	}
	for i, tc := range []struct {
		change func(*server.Config)
		want   string
	}{
		{func(c *server.Config) { c.FirstRegion = "eu-west-1" }, "eu-west-1"},
		{func(c *server.Config) { c.FirstRegion = "us-west-2" }, "eu-west-1"},
		{func(c *server.Config) { c.Region = "ap-south-1" }, "ap-south-1"},
		{func(*server.Config) {}, "eu-west-1"},
	} {
		if got := regionOf(tc.change); got != tc.want {
			t.Errorf("start %d: region %s, want %s", i, got, tc.want)
		}
	}
}

func TestTLSRefusesPlainHTTPAndOldVersions(t *testing.T) {
	cert, key := selfSigned(t)
	cfg := config(t.TempDir())
	cfg.TLSCert, cfg.TLSKey = cert, key
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	host, ok := strings.CutPrefix(s.Endpoint(), "https://")
	if !ok {
		t.Fatalf("endpoint %s", s.Endpoint())
	}
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		c, err := tls.Dial("tcp", host, &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
		if (err == nil) != want {
			t.Errorf("version %x: %v", version, err)
		}
		if err == nil {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if resp, err := http.Get("http://" + host + "/v2/"); err == nil {
		if resp.StatusCode == 200 || resp.StatusCode == 401 {
			t.Errorf("plain HTTP was answered: %d", resp.StatusCode)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
}

func ExampleConfig_Validate() {
	err := server.Config{Listen: "0.0.0.0:5050", Data: "data", Database: "sqlite", Blobs: "file"}.Validate()
	fmt.Println(err)
	// Output: listening on 0.0.0.0:5050 without TLS would send passwords in the clear: give --tls-cert and --tls-key, or --insecure if something else protects the connection
}
