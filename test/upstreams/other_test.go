package upstreams

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/testkit"
)

// zotVariable names a program of zot, which no package manager of Go or Debian has: what every registry must do is
// tried with it too where somebody built it.
const zotVariable = "BERTH_TEST_ZOT"

// TestUpstreamsWithoutLogin: what any registry offers comes through the cache, an index with its images and what refers
// to it, and stays when the registry is gone.
func TestUpstreamsWithoutLogin(t *testing.T) {
	t.Parallel()
	upstreams := map[string]func(t *testing.T) (*distribution, func()){
		"distribution": func(t *testing.T) (*distribution, func()) { return startDistribution(t, t.TempDir(), "") },
	}
	if path := os.Getenv(zotVariable); path != "" {
		upstreams["zot"] = func(t *testing.T) (*distribution, func()) { return startZot(t, path) }
	}
	for name, launch := range upstreams {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			upstream, stop := launch(t)
			image := testkit.RandomIndex(t, 100<<10, "amd64", "arm64")
			signature := testkit.Artifact(t, "application/vnd.example.signature", []byte("signed"), &image)
			upstream.push(t, "team/app:v1", image)
			upstream.push(t, "team/app:signature", signature)

			b := start(t, "quay.io="+upstream.URL)
			b.rule("other", "quay.io", "")
			b.crane()("pull", "--format=oci", b.Host+"/other/team/app:v1", filepath.Join(t.TempDir(), "out")).Run(t)
			b.holds("other/team/app", "v1", image)
			for blob, manifest := range image.All() {
				if n := upstream.asked("GET team/app/blobs/" + blob.Descriptor.Digest.String()); n > 1 || n == 0 && !manifest {
					t.Errorf("%s was fetched %d times", blob.Descriptor.Digest, n)
				}
			}
			b.refers("other/team/app", image, signature) // distribution has no API for that: its tag of the fallback says so
			stop()
			b.crane()("validate", "--remote", b.Host+"/other/team/app:v1").Run(t)
		})
	}
}

// refers expects one referrer of a subject.
func (b *berth) refers(repository string, subject, referrer testkit.Content) {
	b.t.Helper()
	resp, body := b.Do(http.MethodGet, "/v2/"+repository+"/referrers/"+subject.Digest().String(), nil)
	var index v1.Index
	if err := json.Unmarshal(body, &index); err != nil || resp.StatusCode != http.StatusOK || len(index.Manifests) != 1 || index.Manifests[0].Digest != referrer.Digest() {
		b.t.Errorf("referrers: %s %s, want %s", resp.Status, body, referrer.Digest())
	}
}

// startZot runs zot on a directory of its own.
func startZot(t testing.TB, path string) (*distribution, func()) {
	t.Helper()
	port := testkit.FreePort(t)
	config := filepath.Join(t.TempDir(), "config.json")
	text, err := json.Marshal(map[string]any{
		"storage": map[string]any{"rootDirectory": t.TempDir()}, "log": map[string]any{"level": "error"},
		"http": map[string]any{"address": "127.0.0.1", "port": fmt.Sprint(port)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return startUpstream(t, fmt.Sprintf("127.0.0.1:%d", port), path, "serve", config)
}
