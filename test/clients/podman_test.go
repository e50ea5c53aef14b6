package clients

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// storage keeps podman and buildah off the machine's own images. The vfs
// driver works on every file system.
func storage(c *client) []string {
	c.t.Helper()
	// Not below t.TempDir: podman wants its run directory's path to have at most 50 characters.
	run, err := os.MkdirTemp("", "berth-run-")
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := os.RemoveAll(run); err != nil {
			c.t.Error(err)
		}
	})
	return []string{"--root", filepath.Join(c.dir, "storage"), "--runroot", run, "--storage-driver", "vfs"}
}

func TestPodmanBuildsPushesAndPulls(t *testing.T) {
	t.Parallel()
	r := start(t)
	podman := newClient(t, "podman")
	podman.global = append(storage(podman), "--cgroup-manager=cgroupfs", "--events-backend=none")
	podman.refused([]string{"invalid username/password"}, "login", "--tls-verify=false", "--username", r.user, "--password", wrongPassword, r.Host)
	podman.refused([]string{"unauthorized"}, "pull", "--tls-verify=false", r.ref("app:latest"))
	podman.run("login", "--tls-verify=false", "--username", r.user, "--password", r.password, r.Host)

	podman.build("first")
	pushRoundTrip(t, r, podman)
	podman.run("push", "--tls-verify=false", "first", r.ref("made/by/podman:v1"))
	r.digestOf("made/by/podman", "v1")

	podman.run("push", "--tls-verify=false", "first", r.ref("frozen:v1"))
	podman.build("second")
	podman.refused(immutable("v1"), "push", "--tls-verify=false", "second", r.ref("frozen:v1"))
	podman.run("logout", r.Host)
	podman.refused([]string{"unauthorized"}, "push", "--tls-verify=false", "second", r.ref("app:v2"))
}

func TestBuildahCommitsPushesAndPulls(t *testing.T) {
	t.Parallel()
	r := start(t)
	buildah := newClient(t, "buildah", "BUILDAH_ISOLATION=chroot")
	buildah.global = storage(buildah)
	buildah.refused([]string{"invalid username/password"}, "login", "--tls-verify=false", "--username", r.user, "--password", wrongPassword, r.Host)
	buildah.run("login", "--tls-verify=false", "--username", r.user, "--password", r.password, r.Host)

	container := strings.TrimSpace(buildah.run("from", "scratch"))
	buildah.run("copy", container, writeFile(t, filepath.Join(buildah.dir, "content"), "first"), "/content")
	buildah.run("commit", container, "first")
	pushRoundTrip(t, r, buildah)

	buildah.run("push", "--tls-verify=false", "first", "docker://"+r.ref("frozen:v1"))
	buildah.run("config", "--label", "second=1", container)
	buildah.run("commit", container, "second")
	buildah.refused(immutable("v1"), "push", "--tls-verify=false", "second", "docker://"+r.ref("frozen:v1"))
}

// pushRoundTrip pushes the image "first", forgets it and pulls it again.
func pushRoundTrip(t *testing.T, r *registry, c *client) {
	t.Helper()
	digestFile := filepath.Join(c.dir, "digest")
	id := c.run("inspect", "--type", "image", "--format", idFormat(c), "first")
	c.run("push", "--tls-verify=false", "--digestfile", digestFile, "first", "docker://"+r.ref("app:latest"))
	equal(t, "digest pushed", string(readFile(t, digestFile)), r.digestOf("app", "latest"))
	c.run("rmi", "--force", "first")
	c.run("pull", "--tls-verify=false", r.ref("app:latest"))
	equal(t, "image id after the pull", c.run("inspect", "--type", "image", "--format", idFormat(c), r.ref("app:latest")), id)
	c.run("tag", r.ref("app:latest"), "first")
}

// idFormat is where the two programs keep the id of an image.
func idFormat(c *client) string {
	if filepath.Base(c.path) == "buildah" {
		return "{{.FromImageID}}"
	}
	return "{{.Id}}"
}
