package metatest

import (
	"errors"
	"fmt"
	"testing"

	"berth/internal/meta"
)

// archiving: a blob may be moved when only archived images list it, in all
// repositories that have it, and nobody leased it since; what was moved comes
// back for whoever is restored.
func archiving(t *testing.T, db *meta.DB) {
	images := insertImages(t, db, "app", "aa", "bb")
	other := insertImages(t, db, "other", "cc")
	old, still := images[0], images[1]
	old.Status, old.ArchivedAt = meta.ImageArchived, at(10)
	var only, both, elsewhere meta.Blob
	update(t, db, func(tx *meta.Tx) (err error) {
		add := func(digest, location string, holders ...meta.Image) meta.Blob {
			b, eerr := tx.EnsureBlob(blobRow(digest, location, 1))
			err = errors.Join(err, eerr)
			for _, i := range holders {
				err = errors.Join(err, tx.AddMember(i.RepositoryID, b, at(20)), tx.InsertReference(i, meta.Reference{Kind: meta.RefBlob, Digest: digest}))
			}
			return b
		}
		only = add("sha256:l1", "only", old)
		both = add("sha256:l2", "both", old, still)
		elsewhere = add("sha256:l3", "elsewhere", old, other[0])
		return errors.Join(err, tx.SetStorage(old))
	})
	locations := func(list []meta.Blob) (out []string) {
		for _, b := range list {
			out = append(out, b.Location)
		}
		return out
	}
	candidates := func(leasedFrom int64, second bool, want string) {
		t.Helper()
		view(t, db, func(tx *meta.Tx) error {
			ids, err := tx.ArchivedImages(0, 10)
			list, err2 := tx.BlobsToArchive(old.ID, at(leasedFrom), second)
			if len(ids) != 1 || ids[0] != old.ID || fmt.Sprint(locations(list)) != want {
				t.Errorf("archived images %v, blobs to move %v, want %s", ids, locations(list), want)
			}
			return errors.Join(err, err2)
		})
	}
	candidates(20, false, "[]") // leased
	candidates(21, false, "[only]")
	update(t, db, func(tx *meta.Tx) error { return tx.MarkIncompressible(only) })
	candidates(21, false, "[]")
	candidates(21, true, "[only]")

	packed := only
	packed.Location, packed.Packed, packed.CreatedAt = "packed", 3, at(30)
	for what, refused := range map[string]func(tx *meta.Tx) error{
		"leased":                func(tx *meta.Tx) error { return tx.ArchiveBlob(only, packed, at(20)) },
		"of an active image":    func(tx *meta.Tx) error { return tx.ArchiveBlob(both, packed, at(21)) },
		"of another repository": func(tx *meta.Tx) error { return tx.ArchiveBlob(elsewhere, packed, at(21)) },
		"that has another copy": func(tx *meta.Tx) error { return tx.ArchiveBlob(meta.Blob{ID: only.ID, Location: "x"}, packed, at(21)) },
		"that is not there":     func(tx *meta.Tx) error { return tx.ArchiveBlob(meta.Blob{ID: 1 << 40, Location: "x"}, packed, at(21)) },
	} {
		if err := db.Update(t.Context(), refused); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a blob %s was moved: %v", what, err)
		}
	}
	update(t, db, func(tx *meta.Tx) error { return tx.ArchiveBlob(only, packed, at(21)) })
	candidates(21, true, "[packed]") // to the second store
	cold := packed
	cold.Location, cold.Cold, cold.CreatedAt = "cold", true, at(31)
	update(t, db, func(tx *meta.Tx) error { return tx.ArchiveBlob(packed, cold, at(21)) })
	candidates(21, true, "[]")
	moved(t, db, cold, old)
}

// moved: a blob in the second store, compressed, of the one image that it is of.
func moved(t *testing.T, db *meta.DB, cold meta.Blob, image meta.Image) {
	totals := func(wantPacked, wantCold meta.MovedTotal) {
		t.Helper()
		view(t, db, func(tx *meta.Tx) error {
			packed, cold, err := tx.MovedTotals()
			has, err2 := tx.HasColdBlobs()
			if packed != wantPacked || cold != wantCold || !has {
				t.Errorf("compressed %+v, in the second store %+v, some there: %t", packed, cold, has)
			}
			return errors.Join(err, err2)
		})
	}
	totals(meta.MovedTotal{}, meta.MovedTotal{Blobs: 1, Bytes: 7, Stored: 3})
	view(t, db, func(tx *meta.Tx) error {
		list, err := tx.ColdBlobs(5)
		if len(list) != 1 || list[0].Location != "cold" {
			t.Errorf("in the second store: %+v", list)
		}
		return err
	})
	back := func(want bool) {
		t.Helper()
		view(t, db, func(tx *meta.Tx) error {
			list, err := tx.AllMovedBlobs(0, 10)
			if len(list) != 1 || list[0].Wanted != want || list[0].Location != "cold" || !list[0].Cold || list[0].Packed != 3 || !list[0].Incompressible {
				t.Errorf("moved: %+v, want one that is wanted: %t", list, want)
			}
			return err
		})
	}
	update(t, db, func(tx *meta.Tx) error { return tx.AddMember(image.RepositoryID, cold, at(20)) })
	view(t, db, func(tx *meta.Tx) error {
		_, pulled, err := tx.PullBlob(home, "app", cold.Digest)
		if pulled.Location != "cold" || pulled.Packed != 3 || !pulled.Cold {
			t.Errorf("a pull finds %+v", pulled)
		}
		return err
	})
	back(false)
	image.Status = meta.ImageActivating
	update(t, db, func(tx *meta.Tx) error { return tx.SetStorage(image) })
	back(true)
	restored := func(want int) {
		t.Helper()
		view(t, db, func(tx *meta.Tx) error {
			ids, err := tx.AwaitedImages(0, 10)
			blobs, err2 := tx.MovedBlobs(image.ID)
			done, err3 := tx.Restored(10)
			if len(ids) != 1-want || len(blobs) != 1-want || len(done) != want {
				t.Errorf("restoring %v, away %v, ready %v", ids, blobs, done)
			}
			return errors.Join(err, err2, err3)
		})
	}
	restored(0)
	update(t, db, func(tx *meta.Tx) error { return tx.MarkVerified(cold, at(40), true) })
	restored(1) // nothing that is damaged can come back
	update(t, db, func(tx *meta.Tx) error { return tx.MarkVerified(cold, at(40), false) })
	restored(0)

	// A push of the bytes brings them back; what was moved goes to the trash as it lies.
	update(t, db, func(tx *meta.Tx) error {
		b, err := tx.EnsureBlob(blobRow(cold.Digest, "pushed", 50))
		if b.ID != cold.ID || b.Location != "pushed" || b.Moved() {
			t.Errorf("a push found %+v", b)
		}
		return err
	})
	restored(1)
	view(t, db, func(tx *meta.Tx) error {
		list, err := tx.OldTrash(at(100), 10)
		if len(list) != 3 || list[0].Cold || list[0].Size != 7 || list[1].Cold || list[1].Size != 3 || !list[2].Cold || list[2].Size != 3 {
			t.Errorf("trash %+v", list)
		}
		return err
	})
	totals(meta.MovedTotal{}, meta.MovedTotal{})
	index := insertImages(t, db, "indexes", "index", "child")
	update(t, db, func(tx *meta.Tx) error {
		var errs []error
		for _, i := range index {
			i.Status = meta.ImageActivating
			errs = append(errs, tx.SetStorage(i))
		}
		return errors.Join(append(errs, tx.InsertReference(index[0], meta.Reference{Kind: meta.RefChild, Digest: index[1].Digest}))...)
	})
	view(t, db, func(tx *meta.Tx) error {
		done, err := tx.Restored(10)
		if len(done) != 2 || done[1].ID != index[1].ID {
			t.Errorf("ready %+v, want the child and not its index", done)
		}
		return err
	})
}
