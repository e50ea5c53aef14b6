package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/meta"
	"berth/internal/meta/sqlite"
)

// Where Berth's own image is, and how what is filled in is laid out.
const (
	seedRepository   = "bench/seed"
	imagesPerFilling = 1000 // images of one repository, and of one transaction
)

// homeScope is the registry that [startBerth] serves.
func homeScope() meta.Scope { return meta.Scope{Account: benchAccount, Region: benchRegion} }

// fillImages writes images straight into the database of a stopped server:
// pushing a million would take hours. Each is a row of its own with a tag and
// with references to the blobs of the one image that was pushed, which every
// repository gets as members; so the database is what pushes would have made
// of it, but for the manifests, which nobody is going to pull: they are not
// sealed. It returns the name of the last repository.
func fillImages(ctx context.Context, path string, images int) (last string, err error) {
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var (
		seed    meta.Repository
		pattern meta.StoredManifest
		blobs   []meta.Blob
	)
	err = db.View(ctx, func(tx *meta.Tx) (err error) {
		if seed, err = tx.Repository(homeScope(), seedRepository); err != nil {
			return fmt.Errorf("find %s: %w", seedRepository, err)
		}
		if pattern, err = tx.ManifestByTag(seed.ID, "v0"); err != nil {
			return err
		}
		blobs, err = tx.Blobs(0, 10)
		return err
	})
	if err != nil {
		return "", err
	}
	plain, err := plainManifest(blobs)
	if err != nil {
		return "", err
	}
	for first := 0; first < images; first += imagesPerFilling {
		last = fmt.Sprintf("bench/filled-%05d", first/imagesPerFilling)
		n := min(imagesPerFilling, images-first)
		if err := db.Update(ctx, func(tx *meta.Tx) error {
			return fillRepository(tx, seed, last, pattern, plain, blobs, first, n)
		}); err != nil {
			return "", err
		}
	}
	return last, nil
}

// plainManifest names the blobs of the image that was pushed.
func plainManifest(blobs []meta.Blob) ([]byte, error) {
	m := ocispec.Manifest{Versioned: ocispecs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	for _, b := range blobs {
		m.Layers = append(m.Layers, describe(ocispec.MediaTypeImageLayerGzip, blob{digest: digest.Digest(b.Digest), size: b.Size}))
	}
	return json.Marshal(m)
}

func fillRepository(tx *meta.Tx, seed meta.Repository, name string, pattern meta.StoredManifest, plain []byte, blobs []meta.Blob,
	first, n int,
) error {
	now := time.Now()
	r := seed
	r.Name, r.CreatedAt = name, now
	if err := tx.InsertRepository(&r); err != nil {
		return err
	}
	for _, b := range blobs {
		if err := tx.AddMember(r.ID, b, now); err != nil {
			return err
		}
	}
	for i := range n {
		text := distinct(plain, first+i)
		m := pattern
		m.RepositoryID, m.Digest, m.Bytes, m.ManifestSize, m.PushedAt = r.ID, text.digest.String(), text.end, text.size, now
		if err := tx.InsertImage(&m); err != nil {
			return err
		}
		if err := tx.PutTag(r.ID, tagName(i), m.ID, now); err != nil {
			return err
		}
		for _, b := range blobs {
			ref := meta.Reference{Kind: meta.RefBlob, Digest: b.Digest, MediaType: ocispec.MediaTypeImageLayerGzip}
			if err := tx.InsertReference(m.Image, ref); err != nil {
				return err
			}
		}
	}
	return nil
}
