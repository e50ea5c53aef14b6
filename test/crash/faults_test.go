package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"syscall"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/blob/file"
	"berth/internal/blob/file/faultfs"
	"berth/internal/meta"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
	"berth/test/wire"
)

// A breaker fails one step.
type breaker struct {
	mu   sync.Mutex
	step string
	left int // occurrences until the one that fails; 0: none fails
	err  error
	hit  bool
}

func (b *breaker) set(step string, n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.step, b.left, b.err, b.hit = step, n, err, false
}

func (b *breaker) fail(step string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if step != b.step || b.left == 0 {
		return nil
	}
	if b.left--; b.left > 0 {
		return nil
	}
	b.hit = true
	return b.err
}

func (b *breaker) wasHit() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hit
}

// breakerDB fails write transactions: before they begin, when everything is
// written, or after they were kept.
type breakerDB struct {
	meta.Backend
	b *breaker
}

const kept = "kept" // after the commit

func (d breakerDB) Update(ctx context.Context, fn func(meta.Querier) error) error {
	if err := d.b.fail(begin); err != nil {
		return err
	}
	err := d.Backend.Update(ctx, func(q meta.Querier) error {
		if err := fn(q); err != nil {
			return err
		}
		return d.b.fail(commit)
	})
	if err == nil {
		err = d.b.fail(kept)
	}
	return err
}

// A faulty is a running server whose stores can be broken.
type faulty struct {
	*wire.Client
	t     *testing.T
	ctx   context.Context
	disk  *breaker
	rows  *breaker
	count int
	// stolen counts faults that met a transaction of the server's own.
	stolen int
}

func startFaulty(t *testing.T) *faulty {
	f := &faulty{t: t, ctx: t.Context(), disk: &breaker{}, rows: &breaker{}}
	srv := servertest.StartWith(t, server.Config{
		GC:           server.GC{Interval: -1},
		FileSystem:   faultfs.FS{FS: file.System{}, Fault: func(op faultfs.Op, _ string) error { return f.disk.fail(string(op)) }},
		WrapDatabase: func(b meta.Backend) meta.Backend { return breakerDB{b, f.rows} },
	})
	var err error
	if f.Client, err = wire.Dial(t.Context(), srv.Endpoint, srv.Region, srv.Root.AccessKeyID, srv.Root.SecretAccessKey); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// A door is one way to push an image.
type door struct {
	name string
	push func(ctx context.Context, c *client, image testkit.Content) error
}

func doors() []door {
	layers := func(ctx context.Context, image testkit.Content, put func(context.Context, testkit.Blob) error) error {
		for _, b := range image.Blobs {
			if err := put(ctx, b); err != nil {
				return err
			}
		}
		return nil
	}
	return []door{
		{"one request", func(ctx context.Context, c *client, image testkit.Content) error {
			return c.pushWhole(ctx, "v1", image)
		}},
		{"chunks", func(ctx context.Context, c *client, image testkit.Content) error {
			if err := layers(ctx, image, c.putChunks); err != nil {
				return err
			}
			return c.put(ctx, "v1", image)
		}},
		{"ECR API", func(ctx context.Context, c *client, image testkit.Content) error {
			err := layers(ctx, image, func(ctx context.Context, b testkit.Blob) error {
				err := c.putParts(ctx, b)
				var there *types.LayerAlreadyExistsException
				if errors.As(err, &there) {
					return nil
				}
				return err
			})
			if err != nil {
				return err
			}
			return c.putECR(ctx, "v1", image)
		}},
	}
}

// fresh is a client with a repository of its own.
func (f *faulty) fresh() *client {
	f.t.Helper()
	f.count++
	c := &client{Client: f.Client, repository: fmt.Sprintf("fault/%d", f.count)}
	if err := c.create(f.ctx); err != nil {
		f.t.Fatal(err)
	}
	return c
}

// answer gives the status and what the client is told to do.
func answer(err error) (status int, code, retryAfter string) {
	var oci *wire.StatusError
	var aws *awshttp.ResponseError
	switch {
	case errors.As(err, &oci):
		return oci.Status, string(oci.Body), oci.Header.Get("Retry-After")
	case errors.As(err, &aws):
		return aws.HTTPStatusCode(), aws.Error(), aws.Response.Header.Get("Retry-After")
	}
	return 0, "", ""
}

// try pushes through a door while one step fails. It reports whether the step
// was reached; if so, the push must have been refused with the status wanted,
// and nothing of the image may be seen.
func (f *faulty) try(t *testing.T, d door, b *breaker, step string, n int, cause error, status int) bool {
	t.Helper()
	c := f.fresh()
	image := testkit.RandomImage(t, 1, layerSize)
	b.set(step, n, cause)
	err := d.push(f.ctx, c, image)
	hit := b.wasHit()
	b.set("", 0, nil)
	what := fmt.Sprintf("%s, %s %d fails with %v", d.name, step, n, cause)
	switch got, _, retry := answer(err); {
	case !hit && err != nil:
		t.Fatalf("%s: the fault did not come, and the push failed: %v", what, err)
	case !hit:
		return false
	case err == nil && b == f.rows && f.stolen < 10:
		f.stolen++ // the server noted pulls just then, which no request waits for
		return f.try(t, d, b, step, n, cause, status)
	case err == nil:
		t.Errorf("%s: the push succeeded", what)
	case got != status:
		t.Errorf("%s: status %d, want %d: %v", what, got, status, err)
	case (status == http.StatusServiceUnavailable) != (retry != ""):
		t.Errorf("%s: status %d with Retry-After %q", what, status, retry)
	}
	if step == string(faultfs.Sync) {
		c.upload = nil // bytes that were not synced are given up, and the session with them
	}
	if step != kept {
		// Refused, so it is as it was before; the session stays where it was.
		if err := c.check(f.ctx); err != nil {
			t.Errorf("%s: afterwards: %v", what, err)
		}
	} else if seen, err := c.observe(f.ctx); err != nil {
		t.Errorf("%s: afterwards: %v", what, err)
	} else if after := c.now.clone(); seen != after.String() {
		after.images[image.Digest().String()], after.tags["v1"] = image, image.Digest().String()
		if seen != after.String() {
			t.Errorf("%s: the repository is half changed: %s", what, seen)
		}
	}
	c.upload = nil
	if err := d.push(f.ctx, c, image); err != nil && !isThere(err) {
		t.Errorf("%s: the next push: %v", what, err)
	}
	if err := f.Pull(f.ctx, c.repository, "v1", image); err != nil {
		t.Errorf("%s: after the next push: %v", what, err)
	}
	return true
}

// isThere reports whether the image was kept although its push was refused.
func isThere(err error) bool {
	var there *types.ImageAlreadyExistsException
	return errors.As(err, &there)
}

// zot#3963, zot imagestore.go:1035: every step of a push that fails is heard of.
func TestDiskFaultsAreRefused(t *testing.T) {
	t.Parallel()
	faults := []struct {
		err    error
		status int
	}{
		{syscall.ENOSPC, http.StatusInsufficientStorage},
		{syscall.EDQUOT, http.StatusInsufficientStorage},
		{syscall.EIO, http.StatusInternalServerError},
		{io.ErrShortWrite, http.StatusInternalServerError},
	}
	steps := []faultfs.Op{faultfs.Create, faultfs.Mkdir, faultfs.Write, faultfs.Truncate, faultfs.Sync, faultfs.Rename, faultfs.SyncDir, faultfs.Seek}
	f := startFaulty(t)
	for _, d := range doors() {
		for _, step := range steps {
			reached := 0
			for i, fault := range faults {
				if fault.err == io.ErrShortWrite && step != faultfs.Write {
					continue
				}
				most := 8 // occurrences of the step
				if fault.err == syscall.EDQUOT {
					most = 1 // it takes the same way as ENOSPC
				}
				for n := 1; n <= most && f.try(t, d, f.disk, string(step), n, fault.err, fault.status); n++ {
					if i == 0 {
						reached++
					}
				}
			}
			// Directories are made once, by whichever push is the first.
			if reached == 0 && step != faultfs.Mkdir {
				t.Errorf("%s never comes to %s", d.name, step)
			}
		}
	}
}

// TestDatabaseFaultsAreRefused does the same to the transactions of a push. One
// that fails after it was kept may be seen, but only whole.
func TestDatabaseFaultsAreRefused(t *testing.T) {
	t.Parallel()
	f := startFaulty(t)
	for _, fault := range []struct {
		err    error
		status int
	}{
		{meta.ErrNoSpace, http.StatusInsufficientStorage},
		{meta.ErrUnavailable, http.StatusServiceUnavailable},
		{errors.New("disk I/O error"), http.StatusInternalServerError},
	} {
		for _, d := range doors() {
			for _, step := range []string{begin, commit, kept} {
				most := 100
				if fault.status == http.StatusInternalServerError {
					most = 2 // an error without a name of its own takes the same way as the others
				}
				n := 1
				for n <= most && f.try(t, d, f.rows, step, n, fault.err, fault.status) {
					n++
				}
				if n < 3 {
					t.Errorf("%s has only %d transactions", d.name, n-1)
				}
			}
		}
	}
}
