package audit_test

import (
	"bytes"
	"context"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/access/token"
	"berth/internal/audit"
	"berth/internal/blob"
	"berth/internal/blob/file"
	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/registry"
	"berth/internal/seal"
	"berth/internal/seal/sealtest"
)

var scope = meta.Scope{Account: "123456789012", Region: "us-east-1"}

// A bench is a registry on stores of its own, and what looks after them.
type bench struct {
	*registry.Registry
	*audit.Auditor
	t     testing.TB
	dir   string
	db    *meta.DB
	ring  *seal.Ring
	kms   *local.KMS
	blobs blob.Store
}

func newBench(t testing.TB) *bench {
	t.Helper()
	dir := t.TempDir()
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	b := &bench{t: t, dir: dir, db: db}
	b.ring, b.kms = sealtest.New(t, db, dir, time.Now)
	blobs, err := file.Open(file.System{}, dir, b.ring)
	if err != nil {
		t.Fatal(err)
	}
	b.blobs = blobs
	b.rewire(blobs)
	return b
}

// rewire makes the registry and the auditor over another blob store.
func (b *bench) rewire(blobs blob.Store) {
	t, db := b.t, b.db
	t.Helper()
	tokens, err := token.New(bytes.Repeat([]byte{7}, token.KeySize), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b.Registry = registry.New(registry.Options{
		DB: db, Blobs: blobs, Seal: b.ring, KMS: b.kms, Cursors: tokens, Log: log, Now: time.Now,
		MaxSmall: 4, // configurations lie in their rows, layers in the store
		Host:     func(meta.Scope) string { return "registry.test" },
	})
	b.Auditor = audit.New(audit.Stores{DB: db, Blobs: blobs, Ring: b.ring, Log: log, Now: time.Now})
}

// image pushes an image with one layer and gives the layer's digest.
func (b *bench) image(repository, tag, layer string) digest.Digest {
	b.t.Helper()
	ctx := context.Background()
	if _, err := b.Repository(ctx, scope, repository); err != nil {
		if _, err := b.CreateRepository(ctx, scope, registry.NewRepository{Name: repository}); err != nil {
			b.t.Fatal(err)
		}
	}
	config, d := "{}", digest.FromString(layer)
	for _, text := range []string{config, layer} {
		if _, err := b.PutBlob(ctx, scope, repository, digest.FromString(text), strings.NewReader(text)); err != nil {
			b.t.Fatal(err)
		}
	}
	body := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` +
		digest.FromString(config).String() + `","size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"` +
		d.String() + `","size":` + strconv.Itoa(len(layer)) + `}]}`
	if _, err := b.PutImage(ctx, scope, repository, registry.Push{Body: []byte(body), Tags: []string{tag}}); err != nil {
		b.t.Fatal(err)
	}
	return d
}

// blob is the row of a digest.
func (b *bench) blob(d digest.Digest) (row meta.Blob) {
	b.t.Helper()
	b.view(func(tx *meta.Tx) (err error) {
		row, err = tx.Blob(scope.Account, d.String())
		return err
	})
	return row
}

func (b *bench) view(fn func(*meta.Tx) error) {
	b.t.Helper()
	if err := b.db.View(context.Background(), fn); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) update(fn func(*meta.Tx) error) {
	b.t.Helper()
	if err := b.db.Update(context.Background(), fn); err != nil {
		b.t.Fatal(err)
	}
}

// file is where a copy lies.
func (b *bench) file(id string) (path string) {
	b.t.Helper()
	err := filepath.WalkDir(filepath.Join(b.dir, "blobs"), func(p string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), id) {
			path = p
		}
		return err
	})
	if err != nil || path == "" {
		b.t.Fatalf("no file of %s: %v", id, err)
	}
	return path
}

func (b *bench) check(o audit.Options) audit.Report {
	b.t.Helper()
	r, err := b.Auditor.Check(context.Background(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return r
}

func age(t testing.TB, path string, d time.Duration) {
	t.Helper()
	then := time.Now().Add(-d)
	if err := os.Chtimes(path, then, then); err != nil {
		t.Fatal(err)
	}
}
