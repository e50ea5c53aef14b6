package main

import (
	"archive/zip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/internal/testkit"
)

// TestServerUpdatesAdvisories lets a server fetch an archive again and again: it
// is sent once, and afterwards only asked for.
func TestServerUpdatesAdvisories(t *testing.T) {
	t.Parallel()
	var sent, unchanged atomic.Int32
	archive := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/npm/all.zip" {
			http.NotFound(w, r)
			return
		}
		if r.Header.Get("If-None-Match") == `"one"` {
			unchanged.Add(1)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		sent.Add(1)
		w.Header().Set("ETag", `"one"`)
		z := zip.NewWriter(w)
		f, err := z.Create("GHSA-jf85-cpcp-j695.json")
		if err == nil {
			var text []byte
			if text, err = os.ReadFile("../../internal/scan/testdata/advisories/GHSA-jf85-cpcp-j695.json"); err == nil {
				_, err = f.Write(text)
			}
		}
		if err != nil || z.Close() != nil {
			t.Error("the archive could not be sent", err)
		}
	}))
	defer archive.Close()
	bin, data := buildBinary(t), filepath.Join(t.TempDir(), "data")
	p, err := launch(bin, t.TempDir(), os.Environ(), []string{"serve", "--listen", "127.0.0.1:0", "--data", data,
		"--vulndb-update", "1s", "--vulndb-url", archive.URL, "--vulndb-ecosystems", "npm"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.kill() }()
	if _, err := p.await(`listening on (\S+)`); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); unchanged.Load() < 2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the archive was sent %d times and asked for %d times", sent.Load(), unchanged.Load())
		}
	}
	if sent.Load() != 1 {
		t.Errorf("the archive was sent %d times", sent.Load())
	}
	if out := testkit.Run(t, bin, "vulndb", "status", "--data", data); !strings.HasPrefix(out, "npm: 1 advisories") {
		t.Errorf("status: %s", out)
	}
	if code, err := p.signal(syscall.SIGINT, patience); code != 0 || err != nil {
		t.Errorf("ended with %d: %v", code, err)
	}
}
