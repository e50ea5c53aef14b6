package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/collect"
	"berth/internal/meta"
	"berth/internal/server"
	uploads "berth/internal/upload"
)

func digestOf(b []byte) string { return digest.FromBytes(b).String() }

// An audit is what bytes and rows look like from below.
type audit struct {
	copies  int      // named by blobs
	small   int      // blobs that lie in their rows
	trash   int      // named by rows that wait for deletion
	garbage int      // memberships that no image needs, and blobs of no repository
	stray   []string // objects that no row names
}

// look opens the stores beside the running server and compares bytes and rows:
// each blob's row must have bytes of its digest.
func look(ctx context.Context, data string, read bool) (a audit, err error) {
	return lookAt(ctx, storesIn(data, ""), read)
}

// storesIn are the stores of a data directory, and possibly one for archived images.
func storesIn(data, archive string) server.Config {
	return server.Config{Data: data, Database: "sqlite", Blobs: "file", ArchiveBlobs: archive}
}

func lookAt(ctx context.Context, cfg server.Config, read bool) (a audit, err error) {
	s, err := server.OpenStorage(ctx, cfg)
	if err != nil {
		return a, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	// Listed first: what comes later has rows that are seen below, or none.
	var objects []blob.Object
	err = s.Blobs.(blob.Lister).List(ctx, func(o blob.Object) error {
		objects = append(objects, o)
		return nil
	})
	if err != nil {
		return a, err
	}
	var blobs []meta.OwnedBlob
	var rows []meta.Blob
	err = s.DB.View(ctx, func(tx *meta.Tx) error {
		members, err := tx.Memberships(0, "", 1<<20)
		if err != nil {
			return err
		}
		if blobs, err = tx.OwnedBlobs(0, 1<<20); err != nil {
			return err
		}
		trash, err := tx.OldTrash(time.Now().Add(time.Hour), 1<<20)
		if err != nil {
			return err
		}
		if rows, err = tx.Blobs(0, 1<<20); err != nil {
			return err
		}
		a.trash = len(trash)
		for _, b := range rows {
			if uploads.IsSmall(b) {
				a.small++
			} else {
				a.copies++
			}
		}
		a.garbage, err = count(members, blobs)
		if err != nil {
			return err
		}
		a.stray, err = strays(tx, objects)
		return err
	})
	if err != nil || !read {
		return a, err
	}
	for _, b := range rows {
		if err := readBack(ctx, s, b); err != nil {
			return a, err
		}
	}
	return a, nil
}

// count finds what collection has to do, and memberships of blobs that are not there.
func count(members []meta.Membership, blobs []meta.OwnedBlob) (garbage int, err error) {
	known := map[int64]bool{}
	for _, b := range blobs {
		known[b.ID] = true
		if !b.Owned {
			garbage++
		}
		if b.Damaged {
			return 0, fmt.Errorf("blob %s is marked as damaged", b.Digest)
		}
	}
	for _, m := range members {
		if !known[m.BlobID] {
			return 0, fmt.Errorf("a repository has the blob %s, of which there is no row", m.Digest)
		}
		if !m.Referenced {
			garbage++
		}
	}
	return garbage, nil
}

func strays(tx *meta.Tx, objects []blob.Object) (out []string, err error) {
	for _, o := range objects {
		id := o.ID
		known := false
		if o.Staged {
			known, err = tx.HasUpload(id[:strings.LastIndexByte(id, '-')])
		} else {
			known, err = tx.HasLocation(id)
		}
		if err != nil {
			return nil, err
		}
		if !known {
			out = append(out, o.Domain+"/"+id)
		}
	}
	return out, nil
}

// readBack reads the bytes of a row.
func readBack(ctx context.Context, s *server.Storage, b meta.Blob) (err error) {
	var f blob.Reader
	if uploads.IsSmall(b) {
		f, err = uploads.OpenSmall(ctx, s.Ring, b)
	} else {
		f, err = s.Blobs.Open(ctx, uploads.CopyOf(b))
	}
	if err != nil {
		return fmt.Errorf("the row of blob %s leads to no bytes: %w", b.Digest, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	got, err := digest.Digest(b.Digest).Algorithm().FromReader(io.Reader(f))
	if err == nil && got.String() != b.Digest {
		err = fmt.Errorf("the bytes of blob %s have the digest %s", b.Digest, got)
	}
	return err
}

// outlive lets the claim of a collector that was killed run out at once.
func outlive(ctx context.Context, data string) (err error) {
	s, err := server.OpenStorage(ctx, storesIn(data, ""))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	const name, holder = "collect", "test"
	return s.DB.Update(ctx, func(tx *meta.Tx) error {
		later := time.Now().Add(time.Hour)
		if mine, err := tx.Claim(name, holder, later, later); err != nil || !mine {
			return errors.Join(err, fmt.Errorf("the claim of a dead collector was taken over: %t", mine))
		}
		return tx.Release(name, holder)
	})
}

// collectAll deletes what nothing refers to.
func collectAll(ctx context.Context, s *server.Storage) error {
	_, err := collect.New(collect.Options{
		DB: s.DB, Blobs: s.Blobs, Log: slog.New(slog.DiscardHandler), Now: time.Now, Lease: time.Nanosecond, Grace: time.Nanosecond,
	}).Collect(ctx)
	return err
}
