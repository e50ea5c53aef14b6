package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dockerStart bounds the start of the daemon; two seconds is usual, a busy machine needs more.
const dockerStart = 60 * time.Second

// Docker starts a docker daemon that belongs to this test alone and returns its address for DOCKER_HOST. The daemon
// listens on a unix socket, touches no network and no firewall rule, treats 127.0.0.0/8 as plain HTTP registries, and
// is ended with all it stored when the test ends. It needs root and dockerd, and skips the test without them.
func Docker(t testing.TB) (host string) {
	t.Helper()
	return DockerWith(t, DockerOptions{})
}

// DockerOptions are what a daemon has besides.
type DockerOptions struct {
	// Certs is a directory that the daemon sees as /etc/docker/certs.d, where it looks for the authorities of registries;
	// empty: the machine's own. It wants Linux and unshare.
	Certs string
	// Env are variables that the daemon has besides those of the test.
	Env []string
}

// DockerWith is [Docker] with options.
func DockerWith(t testing.TB, o DockerOptions) (host string) {
	t.Helper()
	dockerd := []string{Tool(t, "dockerd")}
	docker := Tool(t, "docker")
	if os.Geteuid() != 0 {
		Missing(t, "needs root to start a private dockerd: run the tests as root to include it")
	}
	if o.Certs != "" {
		// The directory is mounted in a namespace of the daemon's own, which ends with it.
		dockerd = append([]string{Tool(t, "unshare"), "--mount", "sh", "-c",
			`mkdir -p /etc/docker && mount -t tmpfs tmpfs /etc/docker && mkdir /etc/docker/certs.d && mount --bind "$0" /etc/docker/certs.d && exec "$@"`, o.Certs}, dockerd...)
	}
	var err error
	// overlay2 is what users have; it does not work on top of another overlay, where vfs does.
	for _, driver := range []string{"overlay2", "vfs"} {
		if host, err = startDocker(t, dockerd, o.Env, docker, driver); err == nil {
			return host
		}
		t.Logf("dockerd with the %s driver did not start: %v", driver, err)
	}
	t.Fatalf("start a private dockerd: %v", err)
	return ""
}

// DockerEnv returns a whole environment for docker commands against host (see [Docker]), with a client configuration
// directory of its own, so that logins stay in the test. Builds use the classic builder, which the daemon has built in.
func DockerEnv(t testing.TB, host string) []string {
	t.Helper()
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "DOCKER_") })
	return append(env, "DOCKER_HOST="+host, "DOCKER_CONFIG="+t.TempDir(), "DOCKER_BUILDKIT=0")
}

func startDocker(t testing.TB, dockerd, env []string, docker, driver string) (string, error) {
	t.Helper()
	// Not t.TempDir: a unix socket's path must be shorter than 108 bytes, and test names are long.
	dir, err := os.MkdirTemp("", "berth-docker-")
	if err != nil {
		return "", err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	host := "unix://" + filepath.Join(dir, "sock")
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}\n"), 0o600); err != nil {
		return "", errors.Join(err, log.Close(), os.RemoveAll(dir))
	}
	cmd := exec.Command(dockerd[0], append(dockerd[1:],
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
		"--pidfile", filepath.Join(dir, "pid"), "--host", host, "--config-file", config,
		"--iptables=false", "--ip6tables=false", "--bridge=none",
		"--storage-driver", driver, "--insecure-registry", "127.0.0.0/8")...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", errors.Join(err, log.Close(), os.RemoveAll(dir))
	}
	ended := &exit{done: make(chan struct{})}
	go func() {
		defer close(ended.done)
		ended.err = cmd.Wait()
	}()
	stop := func() error {
		return errors.Join(stopDocker(cmd.Process.Pid, ended), log.Close(), unmountBelow(dir), os.RemoveAll(dir))
	}
	if err := awaitDocker(t.Context(), docker, host, ended); err != nil {
		text, readErr := os.ReadFile(log.Name())
		return "", errors.Join(err, errors.New(lastLines(string(text), 5)), readErr, stop())
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop the private dockerd: %v", err)
		}
	})
	return host, nil
}

// exit is the end of a process: err may be read once done is closed.
type exit struct {
	done chan struct{}
	err  error
}

// awaitDocker returns when the daemon answers, has ended, or is not up in time.
func awaitDocker(ctx context.Context, docker, host string, ended *exit) error {
	ctx, cancel := context.WithTimeout(ctx, dockerStart)
	defer cancel()
	for {
		result, err := Command{Path: docker, Args: []string{"--host", host, "version"}}.Try(ctx)
		if err == nil && result.ExitCode == 0 {
			return nil
		}
		select {
		case <-ended.done:
			return fmt.Errorf("dockerd ended by itself: %w", ended.err)
		case <-ctx.Done():
			return fmt.Errorf("dockerd did not answer within %s", dockerStart)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stopDocker asks the daemon to end, which ends its containerd too, and kills the process group when it does not.
func stopDocker(pid int, ended *exit) error {
	// The process may be gone already.
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	select {
	case <-ended.done:
		return nil
	case <-time.After(20 * time.Second):
	}
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	<-ended.done
	return errors.New("dockerd ignored SIGTERM for 20 s and was killed")
}

// unmountBelow detaches what a daemon left mounted below dir, innermost first; a mount would keep dir from being removed.
func unmountBelow(dir string) error {
	table, err := os.ReadFile("/proc/self/mounts")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var points []string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			points = append(points, fields[1])
		}
	}
	slices.Reverse(points)
	var failed []error
	for _, point := range points {
		if out, err := exec.Command("umount", "--lazy", point).CombinedOutput(); err != nil {
			failed = append(failed, fmt.Errorf("umount %s: %w: %s", point, err, out))
		}
	}
	return errors.Join(failed...)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
