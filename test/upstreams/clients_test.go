package upstreams

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/testkit"
)

// TestClientsOfACachedImage: docker makes the first pull, while the image arrives.
// docker again, podman and containerd pull it without the upstream.
func TestClientsOfACachedImage(t *testing.T) {
	t.Parallel()
	daemon := testkit.Docker(t)
	image := testkit.RandomImage(t, 3, 1<<20)
	dir := t.TempDir()
	fill(t, dir, map[string]testkit.Content{"team/app:v1": image})
	upstream, stop := startDistribution(t, dir, "")
	b := start(t, "quay.io="+upstream.URL)
	b.rule("quay", "quay.io", "")
	ref, digest := b.Host+"/quay/team/app:v1", image.Digest().String()
	user, password := b.Login()

	docker := func(args ...string) testkit.Command {
		return testkit.Command{Path: testkit.Tool(t, "docker"), Args: args}
	}
	env := testkit.DockerEnv(t, daemon)
	run := func(args ...string) string {
		t.Helper()
		c := docker(args...)
		c.Env, c.Timeout = env, 2*time.Minute
		return c.Run(t).Stdout
	}
	run("login", "--username", user, "--password", password, b.Host)
	if out := run("pull", ref); !strings.Contains(out, "Digest: "+digest) {
		t.Errorf("the first pull: %s", out)
	}
	b.holds("quay/team/app", "v1", image)
	for _, blob := range image.Blobs {
		if n := upstream.asked("GET team/app/blobs/" + blob.Descriptor.Digest.String()); n != 1 {
			t.Errorf("%s was fetched %d times", blob.Descriptor.Digest, n)
		}
	}
	stop()
	run("rmi", ref)
	if out := run("pull", ref); !strings.Contains(out, "Digest: "+digest) {
		t.Errorf("the second pull: %s", out)
	}
	t.Run("podman", func(t *testing.T) { pullByPodman(t, ref, user+":"+password, digest) })
	t.Run("containerd", func(t *testing.T) { pullByContainerd(t, ref, user+":"+password, digest) })
}

// shortDir is a directory with a short path, as sockets and podman want it.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "berth-run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func pullByPodman(t *testing.T, ref, login, digest string) {
	dir := shortDir(t)
	global := []string{"--root", filepath.Join(dir, "s"), "--runroot", filepath.Join(dir, "r"), "--storage-driver", "vfs", "--cgroup-manager=cgroupfs", "--events-backend=none"}
	run := func(args ...string) string {
		t.Helper()
		return testkit.Command{Path: testkit.Tool(t, "podman"), Args: append(global, args...), Env: append(os.Environ(), "HOME="+dir), Timeout: 2 * time.Minute}.Run(t).Stdout
	}
	run("pull", "--tls-verify=false", "--creds", login, ref)
	if got := strings.TrimSpace(run("image", "inspect", "--format", "{{.Digest}}", ref)); got != digest {
		t.Errorf("podman has %s, want %s", got, digest)
	}
}

// pullByContainerd runs a containerd of its own, which needs root.
func pullByContainerd(t *testing.T, ref, login, digest string) {
	containerd, ctr := testkit.Tool(t, "containerd"), testkit.Tool(t, "ctr")
	if os.Geteuid() != 0 {
		testkit.Missing(t, "needs root to start a private containerd: run the tests as root to include it")
	}
	dir := shortDir(t)
	config, socket := filepath.Join(dir, "c.toml"), filepath.Join(dir, "sock")
	if err := os.WriteFile(config, []byte("version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), containerd, "--config", config, "--root", filepath.Join(dir, "root"), "--state", filepath.Join(dir, "state"), "--address", socket)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		_ = cmd.Wait() // it was told to end, so its exit status says nothing
	}()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("containerd does not listen")
		}
	}
	run := func(args ...string) string {
		t.Helper()
		return testkit.Command{Path: ctr, Args: append([]string{"--address", socket}, args...), Timeout: 2 * time.Minute}.Run(t).Stdout
	}
	run("images", "pull", "--plain-http", "--user", login, "--snapshotter", "native", ref)
	if out := run("images", "ls", "name=="+ref); !strings.Contains(out, digest) {
		t.Errorf("containerd has %s, want %s", out, digest)
	}
}
