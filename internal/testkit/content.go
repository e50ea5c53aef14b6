package testkit

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/json"
	"iter"
	"runtime"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's image manifest version 2, schema 2, which docker push still sends.
const (
	DockerManifestType = "application/vnd.docker.distribution.manifest.v2+json"
	DockerConfigType   = "application/vnd.docker.container.image.v1+json"
	DockerLayerType    = "application/vnd.docker.image.rootfs.diff.tar.gzip"
)

// Blob is content with the descriptor that names it; the descriptor's digest and size are those of the bytes.
type Blob struct {
	Descriptor v1.Descriptor
	Bytes      []byte
}

// NewBlob describes bytes with their SHA-256 digest.
func NewBlob(mediaType string, data []byte) Blob {
	return Blob{Bytes: data, Descriptor: v1.Descriptor{
		MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data)),
	}}
}

// Content is a manifest or an index with everything it refers to.
type Content struct {
	Root     Blob      // the manifest or index itself
	Blobs    []Blob    // of a manifest: its configuration, then its layers in order
	Children []Content // of an index: what it lists, in order
}

// Digest returns the digest of the manifest or index.
func (c Content) Digest() digest.Digest { return c.Root.Descriptor.Digest }

// All yields every manifest, index and blob, each after what it refers to: the order in which a registry accepts them.
// The second value tells manifests and indexes (true) from blobs (false).
func (c Content) All() iter.Seq2[Blob, bool] {
	return func(yield func(Blob, bool) bool) { c.walk(yield) }
}

func (c Content) walk(yield func(Blob, bool) bool) bool {
	for _, child := range c.Children {
		if !child.walk(yield) {
			return false
		}
	}
	for _, blob := range c.Blobs {
		if !yield(blob, false) {
			return false
		}
	}
	return yield(c.Root, true)
}

// RandomImage builds an OCI image for this machine's platform with the given number of gzip layers. Each layer is a
// tar archive with one file of size random bytes, so that no two images share a layer and every client can unpack it.
func RandomImage(t testing.TB, layers, size int) Content {
	t.Helper()
	return image(t, v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, layers, size,
		v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, v1.MediaTypeImageLayerGzip)
}

// RandomDockerImage is [RandomImage] in Docker's schema 2 media types.
func RandomDockerImage(t testing.TB, layers, size int) Content {
	t.Helper()
	return image(t, v1.Platform{OS: "linux", Architecture: runtime.GOARCH}, layers, size,
		DockerManifestType, DockerConfigType, DockerLayerType)
}

// RandomIndex builds an OCI index with one random image of one layer for each linux architecture, for example "amd64"
// and "arm64".
func RandomIndex(t testing.TB, size int, architectures ...string) Content {
	t.Helper()
	children := make([]Content, 0, len(architectures))
	for _, architecture := range architectures {
		platform := v1.Platform{OS: "linux", Architecture: architecture}
		child := image(t, platform, 1, size,
			v1.MediaTypeImageManifest, v1.MediaTypeImageConfig, v1.MediaTypeImageLayerGzip)
		child.Root.Descriptor.Platform = &platform
		children = append(children, child)
	}
	return Index(t, children...)
}

// Index builds an OCI index that lists children in order. Indexes nest.
func Index(t testing.TB, children ...Content) Content {
	t.Helper()
	index := v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{},
	}
	for _, child := range children {
		index.Manifests = append(index.Manifests, child.Root.Descriptor)
	}
	return Content{Root: NewBlob(v1.MediaTypeImageIndex, encode(t, index)), Children: children}
}

// Artifact builds an OCI artifact of the given type: an image manifest with the empty configuration and one layer that
// holds payload (image-spec v1.1, "Guidelines for Artifact Usage"). With a subject that is not nil it refers to that
// manifest or index; the subject itself is not part of the content, so push it apart, or leave it out on purpose.
func Artifact(t testing.TB, artifactType string, payload []byte, subject *Content) Content {
	t.Helper()
	config := NewBlob(v1.MediaTypeEmptyJSON, []byte("{}"))
	layer := NewBlob("application/octet-stream", payload)
	manifest := v1.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    v1.MediaTypeImageManifest,
		ArtifactType: artifactType,
		Config:       config.Descriptor,
		Layers:       []v1.Descriptor{layer.Descriptor},
	}
	if subject != nil {
		descriptor := subject.Root.Descriptor
		descriptor.Platform = nil
		manifest.Subject = &descriptor
	}
	root := NewBlob(v1.MediaTypeImageManifest, encode(t, manifest))
	root.Descriptor.ArtifactType = artifactType
	return Content{Root: root, Blobs: []Blob{config, layer}}
}

func image(t testing.TB, platform v1.Platform, layers, size int, manifestType, configType, layerType string) Content {
	t.Helper()
	config := v1.Image{Platform: platform, RootFS: v1.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	manifest := v1.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: manifestType,
		Layers:    []v1.Descriptor{},
	}
	blobs := make([]Blob, 1, layers+1) // the first place is the configuration's
	for range layers {
		archive := randomArchive(t, size)
		layer := NewBlob(layerType, compress(t, archive))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(archive))
		manifest.Layers = append(manifest.Layers, layer.Descriptor)
		blobs = append(blobs, layer)
	}
	blobs[0] = NewBlob(configType, encode(t, config))
	manifest.Config = blobs[0].Descriptor
	return Content{Root: NewBlob(manifestType, encode(t, manifest)), Blobs: blobs}
}

// randomArchive returns a tar archive with one file of random bytes under a random name.
func randomArchive(t testing.TB, size int) []byte {
	t.Helper()
	data := make([]byte, size)
	// crypto/rand.Read never fails: it ends the program when the system has no randomness.
	_, _ = rand.Read(data)
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	header := &tar.Header{Name: "data-" + rand.Text(), Mode: 0o644, Size: int64(size), Typeflag: tar.TypeReg}
	must(t, archive.WriteHeader(header))
	_, err := archive.Write(data)
	must(t, err)
	must(t, archive.Close())
	return out.Bytes()
}

func compress(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	// Random bytes do not shrink, so do not spend time on trying.
	writer, err := gzip.NewWriterLevel(&out, gzip.NoCompression)
	must(t, err)
	_, err = writer.Write(data)
	must(t, err)
	must(t, writer.Close())
	return out.Bytes()
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	data, err := json.Marshal(value)
	must(t, err)
	return data
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("build test content: %v", err)
	}
}
