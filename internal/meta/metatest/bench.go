package metatest

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/meta"
)

// Benchmark measures the two ends of a registry's work on an empty store: the
// read behind a manifest request, and small writes from many clients at once,
// both to rows of their own and to one row that all want.
func Benchmark(b *testing.B, db *meta.DB) {
	r := newRepository("app")
	err := db.Update(context.Background(), func(tx *meta.Tx) error {
		if err := tx.InsertRepository(r); err != nil {
			return err
		}
		m := &meta.StoredManifest{Image: meta.Image{RepositoryID: r.ID, Digest: "sha256:aa", PushedAt: time.Unix(1, 0)}, Bytes: make([]byte, 1200)}
		if err := tx.InsertImage(m); err != nil {
			return err
		}
		return tx.PutTag(r.ID, "latest", m.ID, time.Unix(1, 0))
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("ManifestByTag", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				err := db.View(context.Background(), func(tx *meta.Tx) error {
					if _, err := tx.Repository(home, "app"); err != nil {
						return err
					}
					_, err := tx.ManifestByTag(r.ID, "latest")
					return err
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	})
	var n atomic.Int64
	for name, key := range map[string]func() string{
		"Update":       func() string { return strconv.FormatInt(n.Add(1)%1000, 10) },
		"UpdateOneRow": func() string { return "k" },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					err := db.Update(context.Background(), func(tx *meta.Tx) error {
						return tx.PutResourceTag(r.ID, meta.ResourceTag{Key: key(), Value: "v"})
					})
					if err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	b.Run("PushImage", func(b *testing.B) { benchmarkPush(b, db) })
}

// benchmarkPush does what a push of a manifest with ten layers does to the
// store, from many clients at once, each to a repository of its own.
func benchmarkPush(b *testing.B, db *meta.DB) {
	var clients, images atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		r := newRepository("push-" + strconv.FormatInt(clients.Add(1), 10) + "-" + strconv.FormatInt(time.Now().UnixNano(), 36))
		if err := db.Update(context.Background(), func(tx *meta.Tx) error { return tx.InsertRepository(r) }); err != nil {
			b.Error(err)
			return
		}
		for pb.Next() {
			digest := "sha256:" + strconv.FormatInt(images.Add(1), 16)
			if err := db.Update(context.Background(), func(tx *meta.Tx) error { return push(tx, r, digest) }); err != nil {
				b.Error(err)
			}
		}
	})
}

func push(tx *meta.Tx, r *meta.Repository, digest string) error {
	for _, find := range []func() error{
		func() error { _, err := tx.Repository(home, r.Name); return err },
		func() error { _, err := tx.ImageByDigest(r.ID, digest); return err },
		func() error { _, err := tx.ImageByTag(r.ID, "latest"); return err },
	} {
		if err := find(); err != nil && !errors.Is(err, meta.ErrNotFound) {
			return err
		}
	}
	m := &meta.StoredManifest{Image: meta.Image{RepositoryID: r.ID, Digest: digest, PushedAt: time.Unix(1, 0)}, Bytes: make([]byte, 1200)}
	if err := tx.InsertImage(m); err != nil {
		return err
	}
	for i := range 10 {
		layer := digest + strconv.Itoa(i)
		blob, err := tx.EnsureBlob(meta.Blob{Domain: "d", Digest: layer, Size: 1, Location: layer})
		if err == nil {
			err = tx.AddMember(r.ID, blob, time.Unix(1, 0))
		}
		if err == nil {
			err = tx.InsertReference(m.Image, meta.Reference{Kind: meta.RefBlob, Digest: layer})
		}
		if err != nil {
			return err
		}
	}
	if err := tx.PutTag(r.ID, "latest", m.ID, time.Unix(1, 0)); err != nil {
		return err
	}
	return tx.InsertEvent(eventOf(digest, 1))
}
