package clients

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/testkit"
)

func TestOrasPushesArtifactsAndFindsReferrers(t *testing.T) {
	t.Parallel()
	r := start(t)
	oras := newClient(t, "oras")
	oras.refused([]string{"401"}, "login", "--plain-http", "--username", r.user, "--password", wrongPassword, r.Host)
	oras.run("login", "--plain-http", "--username", r.user, "--password", r.password, r.Host)

	// Any file is an artifact.
	writeFile(t, filepath.Join(oras.dir, "settings.yaml"), "debug: true\n")
	oras.run("push", "--plain-http", "--artifact-type", "application/vnd.example.settings", r.ref("app:settings"), "settings.yaml:application/yaml")
	oras.run("pull", "--plain-http", "--output", filepath.Join(oras.dir, "pulled"), r.ref("app:settings"))
	equal(t, "pulled file", string(readFile(t, filepath.Join(oras.dir, "pulled", "settings.yaml"))), "debug: true")

	// Something said about an image is found from the image, and filtered by its type.
	index := testkit.RandomIndex(t, 1<<10, "amd64", "arm64")
	oras.run("copy", "--to-plain-http", "--from-oci-layout", layout(t, "v1", index)+":v1", r.ref("app:v1"))
	r.holds("app", "v1", index)
	writeFile(t, filepath.Join(oras.dir, "sbom.json"), `{"bom":true}`)
	writeFile(t, filepath.Join(oras.dir, "signature"), "signed")
	oras.run("attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom", "--annotation", "by=test", r.ref("app:v1"), "sbom.json:application/json")
	oras.run("attach", "--plain-http", "--artifact-type", "application/vnd.example.signature", r.ref("app:v1"), "signature:text/plain")
	found := discover(t, oras, r.ref("app:v1"))
	if len(found) != 2 {
		t.Fatalf("referrers = %v, expected two", found)
	}
	found = discover(t, oras, r.ref("app:v1"), "--artifact-type", "application/vnd.example.sbom")
	if len(found) != 1 || found[0].ArtifactType != "application/vnd.example.sbom" || found[0].Annotations["by"] != "test" {
		t.Fatalf("referrers of one type = %v, expected the sbom with its annotation", found)
	}
	oras.run("pull", "--plain-http", "--output", filepath.Join(oras.dir, "back"), r.ref("app@"+found[0].Digest))
	equal(t, "pulled referrer", string(readFile(t, filepath.Join(oras.dir, "back", "sbom.json"))), `{"bom":true}`)

	// An image is copied with all that refers to it.
	oras.run("copy", "--recursive", "--from-plain-http", "--to-plain-http", r.ref("app:v1"), r.ref("copy:v1"))
	r.holds("copy", "v1", index)
	if found := discover(t, oras, r.ref("copy:v1")); len(found) != 2 {
		t.Errorf("referrers of the copy = %v, expected two", found)
	}

	equal(t, "manifest", oras.run("manifest", "fetch", "--plain-http", r.ref("app:v1")), string(index.Root.Bytes))
	equal(t, "tags", oras.run("repo", "tags", "--plain-http", r.ref("app")), "settings\nv1")
	oras.run("manifest", "delete", "--plain-http", "--force", r.ref("app@"+found[0].Digest))
	if found := discover(t, oras, r.ref("app:v1")); len(found) != 1 || found[0].ArtifactType != "application/vnd.example.signature" {
		t.Errorf("referrers after one was deleted = %v, expected the signature", found)
	}

	oras.run("push", "--plain-http", r.ref("frozen:v1"), "signature:text/plain")
	oras.refused(immutable("v1"), "push", "--plain-http", r.ref("frozen:v1"), "sbom.json:application/json")
	oras.refused([]string{"401"}, "manifest", "fetch", "--plain-http", "--username", r.user, "--password", wrongPassword, r.ref("app:v1"))
}

type referrer struct {
	Digest       string            `json:"digest"`
	ArtifactType string            `json:"artifactType"`
	Annotations  map[string]string `json:"annotations"`
}

func discover(t *testing.T, oras *client, ref string, args ...string) []referrer {
	t.Helper()
	text := oras.run(append([]string{"discover", "--plain-http", "--distribution-spec", "v1.1-referrers-api", "--format", "json", ref}, args...)...)
	var out struct{ Referrers, Manifests []referrer }
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&out); err != nil {
		t.Fatalf("oras discover: %v\n%s", err, text)
	}
	return append(out.Referrers, out.Manifests...)
}
