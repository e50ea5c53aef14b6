package testkit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// WriteLayout writes content as an OCI image layout (image-spec v1.1, "OCI Image Layout Specification") into dir, which
// may not hold one yet, under the given tag. Clients push it from there:
//
//	skopeo copy oci:DIR:TAG docker://HOST/REPOSITORY:TAG
//	crane push DIR HOST/REPOSITORY:TAG
//	oras copy --from-oci-layout DIR:TAG HOST/REPOSITORY:TAG
func WriteLayout(t testing.TB, dir, tag string, content Content) {
	t.Helper()
	write := func(name string, data []byte) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, data, 0o644))
	}
	if _, err := os.Stat(filepath.Join(dir, v1.ImageIndexFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("write an OCI layout: %s holds one already (or cannot be read: %v)", dir, err)
	}
	for blob := range content.All() {
		d := blob.Descriptor.Digest
		write(v1.ImageBlobsDir+"/"+d.Algorithm().String()+"/"+d.Encoded(), blob.Bytes)
	}
	root := content.Root.Descriptor
	root.Annotations = map[string]string{v1.AnnotationRefName: tag}
	write(v1.ImageIndexFile, encode(t, v1.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: v1.MediaTypeImageIndex,
		Manifests: []v1.Descriptor{root},
	}))
	write(v1.ImageLayoutFile, encode(t, v1.ImageLayout{Version: v1.ImageLayoutVersion}))
}
