package testkit

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// S3Region is the region that [S3Server] signs for.
const S3Region = "us-east-1"

// S3Server is a running server of the S3 API with one empty bucket.
type S3Server struct {
	Endpoint             string // http://127.0.0.1:port, the same over Stop and Start
	AccessKey, SecretKey string
	Bucket               string

	program, address, root, log string
	cmd                         *exec.Cmd
	ended                       chan struct{} // closed when cmd has ended
}

// S3 starts a server of the S3 API that belongs to this test alone: versitygw (https://github.com/versity/versitygw) on
// a temporary directory, with random keys and one bucket. It is ended with all it stored when the test ends. It skips
// the test when the program is missing or no temporary directory keeps extended attributes, which versitygw needs.
func S3(t testing.TB) *S3Server {
	t.Helper()
	address := fmt.Sprintf("127.0.0.1:%d", FreePort(t))
	s := &S3Server{
		Endpoint: "http://" + address, AccessKey: "ak" + strings.ToLower(rand.Text()[:14]), SecretKey: rand.Text(), Bucket: "bytes",
		program: Tool(t, "versitygw"), address: address, root: attributesDir(t),
	}
	s.log = filepath.Join(t.TempDir(), "versitygw.log")
	// A bucket is a directory of the root.
	if err := os.Mkdir(filepath.Join(s.root, s.Bucket), 0o700); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	t.Cleanup(func() { s.Stop(t) })
	return s
}

// attributesDir makes a temporary directory on a file system with extended attributes: tmpfs has had them only since
// Linux 6.6, and /tmp often is one.
func attributesDir(t testing.TB) string {
	t.Helper()
	for _, parent := range []string{os.TempDir(), "/var/tmp", "."} {
		dir, err := os.MkdirTemp(parent, "berth-s3-")
		if err != nil {
			continue
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Errorf("remove the private S3 server's bytes: %v", err)
			}
		})
		if keepsAttributes(dir) {
			return dir
		}
	}
	Missing(t, "needs a directory with extended attributes for versitygw: set TMPDIR to one on ext4, xfs or btrfs")
	return ""
}

// Start starts the server, again after [S3Server.Stop], and waits until it answers.
func (s *S3Server) Start(t testing.TB) {
	t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), s.program, "--port", s.address, "--quiet", "posix", s.root)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	cmd.Stdout, cmd.Stderr = log, log
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start versitygw: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		// It is ended by a signal, so that its status says nothing.
		_ = cmd.Wait()
	}()
	s.cmd, s.ended = cmd, ended
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		connection, err := net.DialTimeout("tcp", s.address, time.Second)
		if err == nil {
			if err := connection.Close(); err != nil {
				t.Error(err)
			}
			return
		}
		select {
		case <-ended:
		default:
			if time.Now().Before(deadline) {
				continue
			}
		}
		text, _ := os.ReadFile(s.log)
		t.Fatalf("versitygw does not answer on %s: %v\n%s", s.address, err, text)
	}
}

// Stop ends the server at once, as a crash does; its connections are cut. One that is stopped stays so.
func (s *S3Server) Stop(t testing.TB) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	if err := syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		t.Errorf("stop versitygw: %v", err)
	}
	<-s.ended
	s.cmd = nil
}

// Dir is where the server keeps the bucket's objects, as files below it of the names of their keys.
func (s *S3Server) Dir() string { return filepath.Join(s.root, s.Bucket) }
