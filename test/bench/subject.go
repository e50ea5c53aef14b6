package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A subject is a registry to measure.
type subject struct {
	name  string
	start func(ctx context.Context, dir string) (*server, error)
}

// A server is one running registry.
type server struct {
	name    string
	addr    string // host:port
	headers string // of every request: the authorization
	pid     int    // 0: no process of its own
	cmd     *exec.Cmd
	src     *source
	ecr     *ecrClient // nil: speaks the OCI API alone
}

// prepare makes a repository, where the registry wants that.
func (s *server) prepare(ctx context.Context, repository string) error {
	if s.ecr == nil {
		return nil
	}
	return s.ecr.createRepository(ctx, repository)
}

// launch starts a command whose errors go to the caller's stderr, or nowhere.
func launch(ctx context.Context, name string, argv, env []string, stderr io.Writer) (*server, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	return &server{name: name, pid: cmd.Process.Pid, cmd: cmd}, nil
}

func (s *server) stop() error {
	if s.cmd == nil {
		return nil
	}
	// One that has gone by itself is an error of the measurement, which was reported then.
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.cmd.Wait() // a registry that was told to stop may say so in its exit code
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		if err := s.cmd.Process.Kill(); err != nil {
			return err
		}
		<-done
	}
	return nil
}

// startListening starts a program of ours, which says on stderr where it
// listens, and returns how long that took. What else it says goes to stderr.
func startListening(ctx context.Context, name string, argv ...string) (*server, time.Duration, error) {
	read, write := io.Pipe()
	began := time.Now()
	s, err := launch(ctx, name, argv, nil, write)
	if err != nil {
		return nil, 0, err
	}
	found := make(chan string, 1)
	go func() {
		lines := bufio.NewReader(read)
		for {
			line, err := lines.ReadString('\n')
			if at, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on "); ok {
				found <- at
				break
			}
			_, _ = os.Stderr.WriteString(line)
			if err != nil {
				return
			}
		}
		_, _ = io.Copy(os.Stderr, lines)
	}()
	select {
	case at := <-found:
		took := time.Since(began)
		s.addr = strings.TrimPrefix(at, "http://")
		return s, took, nil
	case <-time.After(patience):
		return nil, 0, errors.Join(fmt.Errorf("%s does not say where it listens", name), s.stop())
	case <-ctx.Done():
		return nil, 0, errors.Join(ctx.Err(), s.stop())
	}
}

const (
	// benchSecret is of no value: the server lives as long as the measurement, on loopback.
	benchSecret  = "bench-secret-of-no-value"
	benchAccount = "000000000000"
	benchRegion  = "us-east-1"
)

// berth runs the binary with what it does by itself: authentication and durable writes.
func berth(binary string, src *source) subject {
	return subject{"berth", func(ctx context.Context, dir string) (*server, error) {
		s, _, err := startBerth(ctx, binary, dir, src)
		return s, err
	}}
}

func startBerth(ctx context.Context, binary, dir string, src *source) (*server, time.Duration, error) {
	s, took, err := startListening(ctx, "berth", binary, "serve", "--listen", "127.0.0.1:0", "--data", berthData(dir),
		"--account", benchAccount, "--region", benchRegion,
		"--root-access-key-id", "BENCH", "--root-secret-access-key", benchSecret, "--log-level", "error")
	if err != nil {
		return nil, 0, err
	}
	s.src, s.ecr = src, newECR(s.addr, "BENCH", benchSecret)
	token, err := s.ecr.authorization(ctx)
	if err != nil {
		return nil, 0, errors.Join(err, s.stop())
	}
	s.headers = "Authorization: Basic " + token + "\r\nAccept: " + accept + "\r\n"
	return s, took, nil
}

func berthData(dir string) string { return filepath.Join(dir, "data") }

const accept = "application/vnd.oci.image.manifest.v1+json"

// distribution runs the CNCF registry as it comes, but for its access log.
func distribution(binary string, src *source) subject {
	return subject{"distribution", func(ctx context.Context, dir string) (*server, error) {
		addr, err := freeAddr()
		if err != nil {
			return nil, err
		}
		config := filepath.Join(dir, "config.yml")
		text := fmt.Sprintf("version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\n"+
			"storage:\n  filesystem:\n    rootdirectory: %s\n  delete:\n    enabled: true\nhttp:\n  addr: %s\n",
			filepath.Join(dir, "data"), addr)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			return nil, err
		}
		return startOpen(ctx, "distribution", addr, []string{binary, "serve", config}, src)
	}}
}

// startOpen starts a registry without authentication and waits until it answers.
func startOpen(ctx context.Context, name, addr string, argv []string, src *source) (*server, error) {
	s, err := launch(ctx, name, argv, []string{"OTEL_TRACES_EXPORTER=none"}, nil)
	if err != nil {
		return nil, err
	}
	s.addr, s.headers, s.src = addr, "Accept: "+accept+"\r\n", src
	var last error
	for range 300 {
		w := newWire(addr)
		_, last = w.do(ctx, request{method: "GET", target: "/v2/"})
		if last == nil {
			return s, w.close()
		}
		if err := ctx.Err(); err != nil {
			return nil, errors.Join(err, s.stop())
		}
		time.Sleep(100 * time.Millisecond)
	}
	return nil, errors.Join(fmt.Errorf("%s does not answer at %s: %w", name, addr, last), s.stop())
}

// freeAddr is an address that nobody listens at now.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
