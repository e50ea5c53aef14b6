package metatest

import (
	"errors"
	"testing"
	"time"

	"berth/internal/meta"
)

func at(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

func blobRow(digest, location string, created int64) meta.Blob {
	return meta.Blob{Domain: "d", Digest: digest, Size: 7, Location: location, DataKey: 3, CreatedAt: at(created), VerifiedAt: at(created)}
}

// copies: of two copies of one digest the first is kept, unless it is damaged;
// the other goes to the trash, and what a row names never comes out of it.
func copies(t *testing.T, db *meta.DB) {
	ensure := func(b meta.Blob) (got meta.Blob) {
		update(t, db, func(tx *meta.Tx) (err error) {
			got, err = tx.EnsureBlob(b)
			return err
		})
		return got
	}
	trash := func(before int64) (locations []string) {
		view(t, db, func(tx *meta.Tx) error {
			list, err := tx.OldTrash(at(before), 10)
			for _, it := range list {
				locations = append(locations, it.Location)
			}
			return err
		})
		return locations
	}
	first := ensure(blobRow("sha256:aa", "c1", 1))
	if again := ensure(blobRow("sha256:aa", "c2", 2)); again.ID != first.ID || again.Location != "c1" {
		t.Errorf("a second copy took the place of a whole one: %+v", again)
	}
	if got := trash(3); len(got) != 1 || got[0] != "c2" {
		t.Errorf("trash %v, want the copy that was not used", got)
	}
	if got := trash(2); len(got) != 0 {
		t.Errorf("trash younger than asked for: %v", got)
	}
	update(t, db, func(tx *meta.Tx) error { return tx.MarkVerified(first, at(5), true) })
	repaired := ensure(blobRow("sha256:aa", "c3", 6))
	if repaired.ID != first.ID || repaired.Location != "c3" || repaired.Damaged {
		t.Errorf("a push did not repair a damaged blob: %+v", repaired)
	}
	if got := trash(10); len(got) != 2 {
		t.Errorf("trash %v, want the damaged copy too", got)
	}
	err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.ReplaceBlob(first, blobRow("sha256:aa", "c4", 7)) })
	if !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("replacing a copy that is not there any more: %v, want ErrNotFound", err)
	}
	update(t, db, func(tx *meta.Tx) error { return errors.Join(tx.DeleteTrash("c1"), tx.DeleteTrash("c2")) })
	if got := trash(10); len(got) != 0 {
		t.Errorf("trash %v after it was emptied", got)
	}
	view(t, db, func(tx *meta.Tx) error {
		has, err := tx.HasLocation("c3")
		gone, err2 := tx.HasLocation("c1")
		if !has || gone {
			t.Errorf("known copies: c3 %t, c1 %t", has, gone)
		}
		old, err3 := tx.LeastVerified(at(100), 10)
		if len(old) != 1 || old[0].Location != "c3" {
			t.Errorf("least verified %+v", old)
		}
		return errors.Join(err, err2, err3)
	})
}

// garbage: a membership ends only when nothing needs it and its lease is over,
// a blob dies only when no repository has it.
func garbage(t *testing.T, db *meta.DB) {
	a, b := newRepository("a"), newRepository("b")
	img := &meta.StoredManifest{Image: meta.Image{Digest: "sha256:m1", MediaType: "x", PushedAt: at(1)}, Bytes: []byte("{}")}
	var used, unused, leased meta.Blob
	update(t, db, func(tx *meta.Tx) (err error) {
		if err := errors.Join(tx.InsertRepository(a), tx.InsertRepository(b)); err != nil {
			return err
		}
		img.RepositoryID = a.ID
		if err := tx.InsertImage(img); err != nil {
			return err
		}
		for _, it := range []struct {
			row   *meta.Blob
			name  string
			lease int64
		}{{&used, "used", 1}, {&unused, "unused", 1}, {&leased, "leased", 50}} {
			if *it.row, err = tx.EnsureBlob(blobRow("sha256:"+it.name, it.name, 1)); err != nil {
				return err
			}
			if err := tx.AddMember(a.ID, *it.row, at(it.lease)); err != nil {
				return err
			}
		}
		return tx.InsertReference(img.Image, meta.Reference{Kind: meta.RefBlob, Digest: "sha256:used"})
	})
	view(t, db, func(tx *meta.Tx) error {
		page, err := tx.Memberships(0, "", 10)
		if len(page) != 3 || page[0].Digest != "sha256:leased" || page[0].Referenced || !page[2].Referenced {
			t.Errorf("memberships %+v", page)
		}
		rest, err2 := tx.Memberships(page[0].RepositoryID, page[0].Digest, 10)
		if len(rest) != 2 {
			t.Errorf("second page %+v", rest)
		}
		return errors.Join(err, err2)
	})
	for name, want := range map[string]error{"used": meta.ErrNotFound, "leased": meta.ErrNotFound, "unused": nil} {
		err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.RemoveUnused(a.ID, "sha256:"+name, at(10)) })
		if !errors.Is(err, want) {
			t.Errorf("ending the membership of %s: %v, want %v", name, err, want)
		}
	}
	for _, it := range []struct {
		row  meta.Blob
		want error
	}{{used, meta.ErrNotFound}, {leased, meta.ErrNotFound}, {unused, nil}} {
		err := db.Update(t.Context(), func(tx *meta.Tx) error { _, err := tx.DropBlob(it.row.ID, at(20)); return err })
		if !errors.Is(err, it.want) {
			t.Errorf("dropping %s: %v, want %v", it.row.Digest, err, it.want)
		}
	}
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteRepository(a.ID) })
	view(t, db, func(tx *meta.Tx) error {
		page, err := tx.OwnedBlobs(0, 10)
		if len(page) != 2 || page[0].Owned || page[1].Owned {
			t.Errorf("blobs of a repository that is gone: %+v", page)
		}
		list, err2 := tx.OldTrash(at(30), 10)
		if len(list) != 1 || list[0].Location != "unused" || list[0].DataKey != 3 {
			t.Errorf("trash %+v", list)
		}
		return errors.Join(err, err2)
	})
}

// orphanedUploads: a session outlives its repository only to be cleaned up.
func orphanedUploads(t *testing.T, db *meta.DB) {
	r := newRepository("a")
	update(t, db, func(tx *meta.Tx) error {
		if err := tx.InsertRepository(r); err != nil {
			return err
		}
		return tx.InsertUpload(meta.Upload{ID: "u1", RepositoryID: r.ID, Domain: "d", Algorithm: "sha256", State: []byte{1}, CreatedAt: at(1), UpdatedAt: at(100)})
	})
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteRepository(r.ID) })
	view(t, db, func(tx *meta.Tx) error {
		list, err := tx.StaleUploads(at(50), 10)
		if len(list) != 1 || list[0].RepositoryID != 0 || list[0].Domain != "d" {
			t.Errorf("sessions to end: %+v", list)
		}
		has, err2 := tx.HasUpload("u1")
		none, err3 := tx.HasUpload("u2")
		if !has || none {
			t.Errorf("HasUpload: %t, %t", has, none)
		}
		return errors.Join(err, err2, err3)
	})
}

// claims: one holder at a time, until the claim runs out or is given back.
func claims(t *testing.T, db *meta.DB) {
	claim := func(holder string, now, until int64) (got bool) {
		update(t, db, func(tx *meta.Tx) (err error) {
			got, err = tx.Claim("work", holder, at(now), at(until))
			return err
		})
		return got
	}
	for _, it := range []struct {
		holder     string
		now, until int64
		want       bool
	}{{"a", 1, 10, true}, {"b", 5, 20, false}, {"a", 6, 12, true}, {"b", 11, 20, false}, {"b", 12, 20, true}, {"a", 13, 30, false}} {
		if got := claim(it.holder, it.now, it.until); got != it.want {
			t.Errorf("claim of %s at %d: %t, want %t", it.holder, it.now, got, it.want)
		}
	}
	update(t, db, func(tx *meta.Tx) error { return errors.Join(tx.Release("work", "a"), tx.Release("work", "b")) })
	view(t, db, func(tx *meta.Tx) error {
		taken, err := tx.Claimed("work", at(14))
		if taken {
			t.Error("a claim that was given back still holds")
		}
		return err
	})
	if !claim("a", 14, 20) {
		t.Error("a claim that was given back cannot be taken")
	}
}

func dataKeys(t *testing.T, db *meta.DB) {
	first, second := meta.DataKey{Domain: "d", Wrapped: []byte{1}, CreatedAt: at(1)}, meta.DataKey{Domain: "d", KMSKey: "arn", Wrapped: []byte{2}, CreatedAt: at(2)}
	update(t, db, func(tx *meta.Tx) error { return errors.Join(tx.InsertDataKey(&first), tx.InsertDataKey(&second)) })
	update(t, db, func(tx *meta.Tx) error { return tx.RewrapDataKey(first.ID, []byte{9}) })
	view(t, db, func(tx *meta.Tx) error {
		current, err := tx.CurrentDataKey("d")
		if current.ID != second.ID || current.KMSKey != "arn" {
			t.Errorf("current key %+v", current)
		}
		got, err2 := tx.DataKey(first.ID)
		if len(got.Wrapped) != 1 || got.Wrapped[0] != 9 {
			t.Errorf("rewrapped key %+v", got)
		}
		all, err3 := tx.DataKeys(0, 10)
		rest, err4 := tx.DataKeys(first.ID, 10)
		if len(all) != 2 || len(rest) != 1 {
			t.Errorf("keys %v, after the first %v", all, rest)
		}
		if _, err := tx.CurrentDataKey("other"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("key of a domain that has none: %v", err)
		}
		return errors.Join(err, err2, err3, err4)
	})
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteDataKey(first.ID) })
}
