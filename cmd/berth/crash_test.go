package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/opencontainers/go-digest"

	"berth/internal/testkit"
)

// A crasher runs one registry again and again on the same data directory.
type crasher struct {
	t         *testing.T
	bin, data string
	more      []string // flags
	p         *process
}

func newCrasher(t *testing.T, bin string) *crasher {
	return &crasher{t: t, bin: bin, data: filepath.Join(t.TempDir(), "data")}
}

// start runs the registry and returns a login to it.
func (c *crasher) start() *remote {
	c.t.Helper()
	p, err := launch(c.bin, c.t.TempDir(), plainEnvironment(), append([]string{"serve", "--data", c.data, "--listen", "127.0.0.1:0"}, c.more...))
	if err != nil {
		c.t.Fatal(err)
	}
	c.p = p
	c.t.Cleanup(func() {
		if err := p.kill(); err != nil {
			c.t.Error(err)
		}
	})
	if _, err := p.await("listening on "); err != nil {
		c.t.Fatal(err)
	}
	r, err := connect(c.t.Context(), c.data)
	if err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *crasher) end(s syscall.Signal) {
	c.t.Helper()
	if _, err := c.p.signal(s, patience); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crasher) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *crasher) createRepository(r *remote) {
	c.t.Helper()
	_, err := r.ecr.CreateRepository(c.t.Context(), &ecr.CreateRepositoryInput{RepositoryName: aws.String("app")})
	c.must(err)
}

// TestUploadsResume ends the real program in the middle of uploads.
func TestUploadsResume(t *testing.T) {
	t.Parallel()
	bin := buildBinary(t)
	t.Run("terminate between chunks", func(t *testing.T) { resumeUpload(t, bin, syscall.SIGTERM) })
	t.Run("kill between chunks", func(t *testing.T) { resumeUpload(t, bin, syscall.SIGKILL) })
	t.Run("kill within a chunk", func(t *testing.T) { killWithinChunk(t, bin) })
}

// TestInvariant01_AcknowledgedSurvivesKill: what the real program answered with
// 201 is there, byte for byte, when it is killed right after.
func TestInvariant01_AcknowledgedSurvivesKill(t *testing.T) {
	t.Parallel()
	c := newCrasher(t, buildBinary(t))
	r := c.start()
	c.createRepository(r)
	images := []testkit.Content{testkit.RandomImage(t, 2, 1<<20), testkit.RandomIndex(t, 100<<10, "amd64", "arm64"), testkit.RandomImage(t, 1, 10)}
	for i, image := range images {
		c.must(r.push(t.Context(), "app", fmt.Sprintf("v%d", i), image))
		c.end(syscall.SIGKILL)
		r = c.start()
		for j, before := range images[:i+1] {
			c.must(r.holds(t.Context(), "app", fmt.Sprintf("v%d", j), before))
		}
	}
}

// resumeUpload: an upload goes on where the last answer left it.
func resumeUpload(t *testing.T, bin string, s syscall.Signal) {
	t.Parallel()
	c := newCrasher(t, bin)
	r := c.start()
	c.createRepository(r)
	data := randomBytes(3<<20 + 17)
	half := len(data) / 2

	header, _, err := r.do(t.Context(), http.StatusAccepted, http.MethodPost, "/v2/app/blobs/uploads/", nil)
	c.must(err)
	session := header.Get("Location")
	_, _, err = r.do(t.Context(), http.StatusAccepted, http.MethodPatch, session, bytes.NewReader(data[:half]),
		"Content-Range", fmt.Sprintf("0-%d", half-1), "Content-Type", "application/octet-stream")
	c.must(err)
	c.end(s)

	r = c.start()
	if got := received(c, r, session); got != half {
		t.Fatalf("after the restart the upload has %d bytes, 202 was answered for %d", got, half)
	}
	finish(c, r, session, data, half)
}

// killWithinChunk: of a chunk without an answer any part may be there, and the
// upload goes on after it.
func killWithinChunk(t *testing.T, bin string) {
	t.Parallel()
	c := newCrasher(t, bin)
	r := c.start()
	c.createRepository(r)
	data := randomBytes(8 << 20)

	header, _, err := r.do(t.Context(), http.StatusAccepted, http.MethodPost, "/v2/app/blobs/uploads/", nil)
	c.must(err)
	session := header.Get("Location")
	reader, writer := io.Pipe()
	broken := make(chan error, 1)
	go func() {
		_, _, err := r.do(t.Context(), http.StatusAccepted, http.MethodPatch, session, reader, "Content-Type", "application/octet-stream")
		broken <- err
	}()
	_, err = writer.Write(data[:len(data)/2])
	c.must(err)
	c.end(syscall.SIGKILL)
	c.must(writer.CloseWithError(io.ErrUnexpectedEOF))
	if err := <-broken; err == nil {
		t.Fatal("a chunk that never ended was accepted")
	}

	r = c.start()
	got := received(c, r, session)
	if got > len(data)/2 {
		t.Fatalf("the upload has %d bytes, only %d were sent", got, len(data)/2)
	}
	finish(c, r, session, data, got)
}

// received is how many bytes the registry says it has of an upload.
func received(c *crasher, r *remote, session string) int {
	c.t.Helper()
	header, _, err := r.do(c.t.Context(), http.StatusNoContent, http.MethodGet, session, nil)
	c.must(err)
	var last int
	if _, err := fmt.Sscanf(header.Get("Range"), "0-%d", &last); err != nil {
		c.t.Fatalf("range %q of the upload: %v", header.Get("Range"), err)
	}
	if last == 0 {
		return 0 // "0-0" is what an empty upload says too; none here has one byte
	}
	return last + 1
}

// finish sends the rest of an upload and reads the blob back.
func finish(c *crasher, r *remote, session string, data []byte, from int) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), time.Minute)
	defer cancel()
	d := digest.FromBytes(data).String()
	_, _, err := r.do(ctx, http.StatusAccepted, http.MethodPatch, session, bytes.NewReader(data[from:]),
		"Content-Range", fmt.Sprintf("%d-%d", from, len(data)-1), "Content-Type", "application/octet-stream")
	c.must(err)
	header, _, err := r.do(ctx, http.StatusCreated, http.MethodPut, session+"?digest="+d, nil)
	c.must(err)
	if got := header.Get("Docker-Content-Digest"); got != d {
		c.t.Errorf("digest = %s, expected %s", got, d)
	}
	_, got, err := r.do(ctx, http.StatusOK, http.MethodGet, "/v2/app/blobs/"+d, nil)
	c.must(err)
	if !bytes.Equal(got, data) {
		c.t.Error("the blob read back differs from what was uploaded")
	}
	if log := c.p.stderr.String(); strings.Contains(log, "level=ERROR") {
		c.t.Errorf("the registry logged a fault:\n%s", log)
	}
}

func randomBytes(n int) []byte {
	data := make([]byte, n)
	_, _ = rand.Read(data) // never fails: it ends the program when the system has no randomness
	return data
}
