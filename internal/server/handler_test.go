package server

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"berth/internal/iam"
	"berth/internal/meta"
)

func TestMetricLabelsAreBounded(t *testing.T) {
	m := newMetrics(nil)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for i := range 100 {
		m.serve("oci", h, httptest.NewRecorder(), httptest.NewRequest(fmt.Sprintf("M%d", i), fmt.Sprintf("/v2/%d", i), nil))
	}
	if got := requests(m); len(got) != 1 || got[0] != `{door="oci",method="other",status="418"} 100` {
		t.Errorf("100 made-up methods have the series %v", got)
	}
}

// requests are the series of the request counter as operators see them.
func requests(m *metrics) (out []string) {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(w.Body.String()) {
		if series, ok := strings.CutPrefix(line, "berth_requests_total"); ok {
			out = append(out, strings.TrimSpace(series))
		}
	}
	return out
}

// A lockedBuffer is a log that is read while others write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestPanicIsCountedAndEndsOneRequest(t *testing.T) {
	var log lockedBuffer
	s := &Server{log: slog.New(slog.NewTextHandler(&log, nil))}
	m := newMetrics(nil)
	srv := httptest.NewServer(s.recovered(unstalled(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.serve("oci", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/bug" {
				panic("a bug")
			}
			text(w, http.StatusOK, "ok\n")
		}), w, r)
	}), stallTimeout)))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	defer srv.Close()
	if resp, err := http.Get(srv.URL + "/bug"); err == nil {
		t.Errorf("a panic was answered with %d", resp.StatusCode)
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	resp, err := http.Get(srv.URL + "/")
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("the next request: %v", err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(requests(m)); !strings.Contains(got, `{door="oci",method="GET",status="500"} 1`) {
		t.Errorf("the panic is not counted as a failure: %s", got)
	}
	if !strings.Contains(log.String(), "a bug") || !strings.Contains(log.String(), "/bug") {
		t.Errorf("log: %s", log.String())
	}
}

func TestCredentialsFile(t *testing.T) {
	dir := t.TempDir()
	s := &Server{
		cfg: Config{Data: dir, Listen: "127.0.0.1:1"}, root: iam.Credentials{AccessKeyID: "AKIATEST", SecretAccessKey: "geheim"},
		names: naming{home: meta.Scope{Account: "111111111111", Region: "eu-west-1"}, scheme: "http"},
	}
	l, err := listen(Config{Listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s.listener = l
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, CredentialsFile)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.WriteFile(elsewhere, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, before := range map[string]func() error{
		"none":            func() error { return nil },
		"open to all":     func() error { return os.Chmod(path, 0o644) },
		"left by a crash": func() error { return os.WriteFile(path+".new", []byte("half"), 0o666) },
		"a planted link":  func() error { return os.Symlink(elsewhere, path+".new") },
	} {
		if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := before(); err != nil {
			t.Fatal(err)
		}
		if err := s.writeCredentials(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		info, err := os.Lstat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"[default]\n", "aws_access_key_id = AKIATEST\n", "aws_secret_access_key = geheim\n", "region = eu-west-1\n", "endpoint_url = http://127.0.0.1:"} {
			if !strings.Contains(string(got), want) {
				t.Errorf("%s: %q is not in\n%s", name, want, got)
			}
		}
		if _, err := os.Lstat(path + ".new"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the temporary file is left: %v", name, err)
		}
	}
	if got, err := os.ReadFile(elsewhere); err != nil || string(got) != "untouched" {
		t.Errorf("the link was followed: %q, %v", got, err)
	}
}

func TestLockDir(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "data")
	l, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), "in use by another berth") {
		t.Errorf("a second lock: %v", err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	l, err = lockDir(dir)
	if err != nil {
		t.Fatalf("after the release: %v", err)
	}
	if err := l.release(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "lock")
	if _, err := lockDir(file); err == nil || strings.Count(err.Error(), file) != 1 {
		t.Errorf("a file as directory: %v", err)
	}
}

func TestListenSaysWhatIsWrong(t *testing.T) {
	l, err := listen(Config{Listen: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	_, err = listen(Config{Listen: l.Addr().String()}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()) || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("%v", err)
	}
	_, err = listen(Config{Listen: "127.0.0.1:0", TLSCert: "none.pem", TLSKey: "none.key"}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "none.pem") {
		t.Errorf("%v", err)
	}
}
