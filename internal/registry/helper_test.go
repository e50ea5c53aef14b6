package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/access/token"
	"berth/internal/blob/file"
	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/registry"
	"berth/internal/seal/sealtest"
	"berth/internal/testkit"
)

var scope = meta.Scope{Account: "123456789012", Region: "us-east-1"}

// A bench is a registry on stores of its own.
type bench struct {
	*registry.Registry
	t     testing.TB
	dir   string
	db    *meta.DB
	blobs *file.Store
	keys  *local.KMS

	small int // up to how many bytes a blob lies in its row

	mu  sync.Mutex
	now time.Time
}

// newBench makes one whose bytes all lie in the blob store.
func newBench(t testing.TB) *bench { return openBench(t, t.TempDir(), -1) }

func openBench(t testing.TB, dir string, small int) *bench {
	t.Helper()
	b := &bench{t: t, dir: dir, small: small, now: time.Unix(1_700_000_000, 0)}
	var err error
	if b.db, err = sqlite.Open(context.Background(), filepath.Join(dir, "meta.db")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.db.Close(); err != nil {
			t.Error(err)
		}
	})
	b.Registry = b.over(b.db)
	return b
}

// over makes a registry on a database with the bench's blobs.
func (b *bench) over(db *meta.DB) *registry.Registry {
	t := b.t
	t.Helper()
	ring, keys := sealtest.New(t, db, b.dir, b.clock)
	blobs, err := file.Open(file.System{}, b.dir, ring)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.New(bytes.Repeat([]byte{7}, token.KeySize), b.clock)
	if err != nil {
		t.Fatal(err)
	}
	b.blobs, b.keys = blobs, keys
	return registry.New(registry.Options{
		DB: db, Blobs: blobs, Seal: ring, KMS: keys, Cursors: tokens, Log: slog.New(slog.DiscardHandler), Now: b.clock, MaxSmall: b.small,
		Host: func(meta.Scope) string { return "registry.test" },
	})
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (b *bench) advance(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = b.now.Add(d)
}

func (b *bench) create(names ...string) {
	b.t.Helper()
	for _, n := range names {
		b.createAs(n, registry.Mutability{})
	}
}

func (b *bench) createAs(name string, m registry.Mutability) {
	b.t.Helper()
	if _, err := b.CreateRepository(context.Background(), scope, registry.NewRepository{Name: name, Mutability: m}); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) putBlob(repo string, data []byte) digest.Digest {
	b.t.Helper()
	d := digest.FromBytes(data)
	if _, err := b.PutBlob(context.Background(), scope, repo, d, bytes.NewReader(data)); err != nil {
		b.t.Fatal(err)
	}
	return d
}

// putBlobs stores everything that a content needs but its root.
func (b *bench) putBlobs(repo string, c testkit.Content) {
	b.t.Helper()
	for blob, isManifest := range c.All() {
		switch {
		case blob.Descriptor.Digest == c.Digest():
		case isManifest:
			if _, err := b.putManifest(repo, blob, ""); err != nil && !registry.Is(err, registry.ImageAlreadyExists) {
				b.t.Fatal(err)
			}
		default:
			b.putBlob(repo, blob.Bytes)
		}
	}
}

func (b *bench) putManifest(repo string, m testkit.Blob, tag string) (registry.Pushed, error) {
	p := registry.Push{MediaType: m.Descriptor.MediaType, Body: m.Bytes}
	if tag != "" {
		p.Tags = []string{tag}
	}
	return b.PutImage(context.Background(), scope, repo, p)
}

// tag pushes the root of a content that is already whole.
func (b *bench) tag(repo, tag string, c testkit.Content) error {
	_, err := b.putManifest(repo, c.Root, tag)
	return err
}

// push stores a whole content under a tag, or by digest.
func (b *bench) push(repo, tag string, c testkit.Content) testkit.Content {
	b.t.Helper()
	b.putBlobs(repo, c)
	if err := b.tag(repo, tag, c); err != nil {
		b.t.Fatal(err)
	}
	return c
}

func (b *bench) image() testkit.Content { return testkit.RandomImage(b.t, 1, 64) }

func byTag(tag string) registry.ImageRef { return registry.ImageRef{Tag: tag} }

func byDigest(c testkit.Content) registry.ImageRef {
	return registry.ImageRef{Digest: c.Digest().String()}
}

// digestOf is what a tag names; empty when there is no such tag.
func (b *bench) digestOf(repo, tag string) string {
	b.t.Helper()
	m, err := b.Manifest(context.Background(), scope, repo, byTag(tag))
	if registry.Is(err, registry.ImageNotFound) {
		return ""
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return m.Digest
}

// images gives every image with its tags, in push order, as digest=tag,tag.
func (b *bench) images(repo string) []string {
	b.t.Helper()
	list, next, err := b.DescribeImages(context.Background(), scope, repo, nil, registry.ImageFilter{}, "", 1000)
	if err != nil || next != "" {
		b.t.Fatalf("next %q: %v", next, err)
	}
	out := []string{}
	for _, img := range list {
		out = append(out, img.Digest+"="+strings.Join(img.Tags, ","))
	}
	return out
}

func entry(c testkit.Content, tags ...string) string {
	return c.Digest().String() + "=" + strings.Join(tags, ",")
}

func (b *bench) wantImages(repo string, want ...string) {
	b.t.Helper()
	got := b.images(repo)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.t.Errorf("images of %s:\n%s\nwant\n%s", repo, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// wantRefusal fails unless err is a refusal with that reason and, when given, that text.
func wantRefusal(t testing.TB, err error, code registry.Code, message string) {
	t.Helper()
	var e *registry.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("got %v, want %s", err, (&registry.Error{Code: code}).Form().Exception)
		return
	}
	if message != "" && e.Message != message {
		t.Errorf("message\n%s\nwant\n%s", e.Message, message)
	}
}

// blobPath is where the bytes of a blob are.
func (b *bench) blobPath(d digest.Digest) string {
	b.t.Helper()
	var row meta.Blob
	err := b.db.View(context.Background(), func(tx *meta.Tx) (err error) {
		row, err = tx.Blob(scope.Account, d.String())
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return filepath.Join(b.dir, "blobs", row.Domain, row.Location[:2], row.Location)
}

func (b *bench) readBlob(repo string, d digest.Digest) ([]byte, error) {
	f, err := b.OpenBlob(context.Background(), scope, repo, d)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(f.Reader)
	return data, errors.Join(err, f.Reader.Close())
}

// crashCopy is the data directory as a power cut right now would leave it:
// nothing closed, nothing flushed.
func (b *bench) crashCopy() string {
	b.t.Helper()
	to := filepath.Join(b.t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(b.dir)); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(to, sealtest.MasterKey), 0o600); err != nil { // CopyFS gives modes of its own
		b.t.Fatal(err)
	}
	return to
}

func failure(ref registry.ImageRef, code string) string { return fmt.Sprintf("%s %s", code, ref) }

func failures(list []registry.Failure) []string {
	out := []string{}
	for _, f := range list {
		out = append(out, failure(f.Ref, f.Code))
	}
	return out
}
