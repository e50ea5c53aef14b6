package clients

import (
	"archive/tar"
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/testkit"
)

func TestCranePushesCopiesAndAppends(t *testing.T) {
	t.Parallel()
	r := start(t)
	crane := newClient(t, "crane")
	crane.run("auth", "login", r.Host, "--username", r.user, "--password", r.password)

	image := testkit.RandomImage(t, 3, 1<<10)
	crane.run("push", layout(t, "v1", image), r.ref("app:v1"))
	r.holds("app", "v1", image)
	index := testkit.RandomIndex(t, 1<<10, "amd64", "arm64")
	crane.run("push", layout(t, "multi", index), r.ref("app:multi"))
	r.holds("app", "multi", index)
	old := testkit.RandomDockerImage(t, 2, 1<<10) // Docker's own media types
	crane.run("push", layout(t, "old", old), r.ref("app:old"))
	r.holds("app", "old", old)

	equal(t, "crane digest", crane.run("digest", r.ref("app:v1")), image.Digest().String())
	equal(t, "crane manifest", crane.run("manifest", r.ref("app:v1")), string(image.Root.Bytes))
	equal(t, "crane blob", crane.run("blob", r.ref("app@"+image.Blobs[1].Descriptor.Digest.String())), string(image.Blobs[1].Bytes))
	equal(t, "crane ls", crane.run("ls", r.ref("app")), "multi\nold\nv1")
	equal(t, "crane catalog", crane.run("catalog", r.Host), "app\ncopy\nfrozen")

	// Within a registry, copies mount the layers instead of moving them.
	crane.run("copy", r.ref("app:multi"), r.ref("copy:multi"))
	r.holds("copy", "multi", index)
	crane.run("tag", r.ref("copy:multi"), "again")
	r.holds("copy", "again", index)
	back := filepath.Join(crane.dir, "back")
	crane.run("pull", "--format=oci", r.ref("copy:multi"), back)
	sameLayout(t, back, index)

	// A new layer on top of an image in another repository: its layers are mounted too.
	crane.run("append", "--base", r.ref("app:v1"), "--new_layer", writeFile(t, filepath.Join(crane.dir, "layer.tar"), archive(t, "hello", "world")), "--new_tag", r.ref("copy:v2"))
	if text := crane.run("export", r.ref("copy:v2"), "-"); !strings.Contains(text, "world") {
		t.Error("the appended file is not in the image")
	}
	crane.run("validate", "--remote", r.ref("copy:v2"))

	crane.run("push", layout(t, "v1", image), r.ref("frozen:v1"))
	crane.refused(immutable("v1"), "copy", r.ref("copy:v2"), r.ref("frozen:v1"))
	r.holds("frozen", "v1", image)
	crane.run("delete", r.ref("app@"+image.Digest().String()))
	r.lacks("app", "v1")

	crane.run("auth", "login", r.Host, "--username", r.user, "--password", wrongPassword)
	crane.refused([]string{"401 Unauthorized"}, "digest", r.ref("app:multi"))
	crane.refused([]string{"401 Unauthorized"}, "push", layout(t, "v3", image), r.ref("app:v3"))
}

// archive is a tar archive with one file.
func archive(t *testing.T, name, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
