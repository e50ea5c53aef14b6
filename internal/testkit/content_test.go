package testkit

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// check proves that every descriptor matches its bytes, that all things come after what they refer to, and that a
// manifest's layers unpack to the archives that its configuration names.
func check(t *testing.T, content Content) {
	t.Helper()
	seen := map[digest.Digest]bool{}
	for blob, isManifest := range content.All() {
		d := blob.Descriptor
		if d.Digest != digest.FromBytes(blob.Bytes) || d.Size != int64(len(blob.Bytes)) {
			t.Errorf("descriptor %+v does not match its %d bytes", d, len(blob.Bytes))
		}
		if isManifest {
			var refers struct {
				MediaType string
				Config    *v1.Descriptor
				Layers    []v1.Descriptor
				Manifests []v1.Descriptor
			}
			if err := json.Unmarshal(blob.Bytes, &refers); err != nil {
				t.Fatal(err)
			}
			if refers.MediaType != d.MediaType {
				t.Errorf("mediaType %q in the body, %q in the descriptor", refers.MediaType, d.MediaType)
			}
			needs := append(refers.Layers, refers.Manifests...)
			if refers.Config != nil {
				needs = append(needs, *refers.Config)
			}
			for _, need := range needs {
				if !seen[need.Digest] {
					t.Errorf("%s comes before %s, to which it refers", d.Digest, need.Digest)
				}
			}
		}
		seen[d.Digest] = true
	}
}

func TestRandomImageUnpacksToItsDiffIDs(t *testing.T) {
	for name, build := range map[string]func(testing.TB, int, int) Content{
		"oci": RandomImage, "docker": RandomDockerImage,
	} {
		t.Run(name, func(t *testing.T) {
			content := build(t, 3, 1000)
			check(t, content)
			var config v1.Image
			if err := json.Unmarshal(content.Blobs[0].Bytes, &config); err != nil {
				t.Fatal(err)
			}
			if len(content.Blobs) != 4 || len(config.RootFS.DiffIDs) != 3 {
				t.Fatalf("%d blobs, %d diff ids, want 4 and 3", len(content.Blobs), len(config.RootFS.DiffIDs))
			}
			for i, layer := range content.Blobs[1:] {
				reader, err := gzip.NewReader(bytes.NewReader(layer.Bytes))
				if err != nil {
					t.Fatal(err)
				}
				archive, err := io.ReadAll(reader)
				if err != nil {
					t.Fatal(err)
				}
				if got := digest.FromBytes(archive); got != config.RootFS.DiffIDs[i] {
					t.Errorf("layer %d unpacks to %s, its diff id is %s", i, got, config.RootFS.DiffIDs[i])
				}
				header, err := tar.NewReader(bytes.NewReader(archive)).Next()
				if err != nil || header.Size != 1000 {
					t.Errorf("layer %d: file %+v, %v", i, header, err)
				}
			}
			if build(t, 3, 1000).Digest() == content.Digest() {
				t.Error("two random images are equal")
			}
		})
	}
}

func TestIndexAndArtifact(t *testing.T) {
	index := RandomIndex(t, 10, "amd64", "arm64")
	nested := Index(t, index, RandomImage(t, 1, 10))
	check(t, nested)
	var got v1.Index
	if err := json.Unmarshal(index.Root.Bytes, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Manifests) != 2 || got.Manifests[1].Platform.Architecture != "arm64" {
		t.Errorf("index lists %+v", got.Manifests)
	}
	check(t, Index(t))

	artifact := Artifact(t, "application/vnd.example.sbom", []byte("payload"), &index.Children[0])
	check(t, artifact)
	var manifest v1.Manifest
	if err := json.Unmarshal(artifact.Root.Bytes, &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Subject == nil || manifest.Subject.Digest != index.Children[0].Digest() ||
		manifest.ArtifactType != "application/vnd.example.sbom" || manifest.Subject.Platform != nil {
		t.Errorf("artifact = %s", artifact.Root.Bytes)
	}
	if alone := Artifact(t, "application/vnd.example", nil, nil); bytes.Contains(alone.Root.Bytes, []byte("subject")) {
		t.Errorf("an artifact without a subject has one: %s", alone.Root.Bytes)
	}
}

// TestLayoutIsReadByRealClients lets two independent clients read a layout back: they refuse wrong digests and sizes.
func TestLayoutIsReadByRealClients(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	index := RandomIndex(t, 2000, "amd64", "arm64")
	WriteLayout(t, dir, "v1", index)
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil {
		t.Error(err)
	}
	if v := judge(t, func(t testing.TB) { WriteLayout(t, dir, "v2", index) }); !v.failed {
		t.Error("a second layout in one directory did not fail")
	}
	t.Run("skopeo", func(t *testing.T) {
		out := Run(t, Tool(t, "skopeo"), "inspect", "--raw", "oci:"+dir+":v1")
		if out != string(index.Root.Bytes) {
			t.Errorf("skopeo reads %s", out)
		}
		Run(t, Tool(t, "skopeo"), "--insecure-policy", "copy", "--all", "oci:"+dir+":v1", "dir:"+t.TempDir())
	})
	t.Run("oras", func(t *testing.T) {
		out := Run(t, Tool(t, "oras"), "manifest", "fetch", "--oci-layout", dir+":v1", "--descriptor")
		if !strings.Contains(out, index.Digest().String()) {
			t.Errorf("oras reads %s", out)
		}
	})
}

// TestDockerRunsAlone starts the private daemon, builds an image from nothing and sees it listed.
func TestDockerRunsAlone(t *testing.T) {
	docker := Tool(t, "docker")
	host := Docker(t)
	env := DockerEnv(t, host)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY Dockerfile /\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	Command{Path: docker, Args: []string{"build", "-t", "127.0.0.1:1/app:v1", dir}, Env: env}.Run(t)
	out := Command{Path: docker, Args: []string{"images", "--format", "{{.Repository}}:{{.Tag}}"}, Env: env}.Run(t).Stdout
	if strings.TrimSpace(out) != "127.0.0.1:1/app:v1" {
		t.Errorf("images = %q", out)
	}
}
