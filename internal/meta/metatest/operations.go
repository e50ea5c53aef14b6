package metatest

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"berth/internal/meta"
)

// templates: what is put is what is read, one for each prefix of a registry.
func templates(t *testing.T, db *meta.DB) {
	full := meta.CreationTemplate{
		Scope: home, Prefix: "prod", Description: "d", Encryption: "KMS", KMSKey: "arn:aws:kms:us-east-1:000000000000:key/k",
		ResourceTags: []meta.ResourceTag{{Key: "team", Value: "a"}}, Mutability: "IMMUTABLE_WITH_EXCLUSION", MutabilityFilters: []string{"dev-*"},
		Policy: "{}", Lifecycle: "{ }", AppliedFor: []string{"CREATE_ON_PUSH", "REPLICATION"}, CustomRoleARN: "arn:aws:iam::000000000000:role/r",
		CreatedAt: at(1), UpdatedAt: at(2),
	}
	bare := meta.CreationTemplate{Scope: home, Prefix: "ROOT", CreatedAt: at(3), UpdatedAt: at(3)}
	elsewhere := full
	elsewhere.Scope.Region = "eu-west-1"
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.InsertCreationTemplate(full), tx.InsertCreationTemplate(bare), tx.InsertCreationTemplate(elsewhere))
	})
	if err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.InsertCreationTemplate(full) }); !errors.Is(err, meta.ErrExists) {
		t.Errorf("a second template of one prefix: %v, want ErrExists", err)
	}
	view(t, db, func(tx *meta.Tx) error {
		got, err := tx.CreationTemplate(home, "prod")
		if !reflect.DeepEqual(got, full) {
			t.Errorf("read back\n%+v, want\n%+v", got, full)
		}
		list, err2 := tx.CreationTemplates(home, "", 10)
		rest, err3 := tx.CreationTemplates(home, "ROOT", 10)
		if len(list) != 2 || !reflect.DeepEqual(list[0], bare) || len(rest) != 1 || rest[0].Prefix != "prod" {
			t.Errorf("listed %+v, then %+v", list, rest)
		}
		return errors.Join(err, err2, err3)
	})
	full.ResourceTags, full.AppliedFor, full.Policy, full.UpdatedAt = nil, []string{"REPLICATION"}, "", at(9)
	update(t, db, func(tx *meta.Tx) error { return tx.SaveCreationTemplate(full) })
	view(t, db, func(tx *meta.Tx) error {
		got, err := tx.CreationTemplate(home, "prod")
		if !reflect.DeepEqual(got, full) {
			t.Errorf("saved\n%+v, read\n%+v", full, got)
		}
		return err
	})
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteCreationTemplate(home, "prod") })
	err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.DeleteCreationTemplate(home, "prod") })
	err2 := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.SaveCreationTemplate(full) })
	if !errors.Is(err, meta.ErrNotFound) || !errors.Is(err2, meta.ErrNotFound) {
		t.Errorf("what is gone was deleted (%v) or saved (%v)", err, err2)
	}
	view(t, db, func(tx *meta.Tx) error {
		_, err := tx.CreationTemplate(elsewhere.Scope, "prod")
		return err
	})
}

// insertImages adds images with a tag of the same name to a new repository.
func insertImages(t *testing.T, db *meta.DB, repository string, names ...string) []meta.Image {
	t.Helper()
	out := make([]meta.Image, len(names))
	update(t, db, func(tx *meta.Tx) error {
		r := newRepository(repository)
		if err := tx.InsertRepository(r); err != nil {
			return err
		}
		for i, name := range names {
			m := meta.StoredManifest{Image: meta.Image{RepositoryID: r.ID, Digest: "sha256:" + name, PushedAt: at(int64(i + 1))}, Bytes: []byte("{}")}
			if err := errors.Join(tx.InsertImage(&m), tx.PutTag(r.ID, name, m.ID, at(1))); err != nil {
				return err
			}
			out[i] = m.Image
		}
		return nil
	})
	return out
}

// storageClasses: an image is active when it is pushed; listings tell the
// statuses apart, and a layer is archived when all that list it are.
func storageClasses(t *testing.T, db *meta.DB) {
	images := insertImages(t, db, "app", "aa", "bb", "cc")
	archived, activating := images[0], images[1]
	archived.Status, archived.ArchivedAt = meta.ImageArchived, at(10)
	activating.Status, activating.ArchivedAt = meta.ImageActivating, at(11)
	repo := images[0].RepositoryID
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(
			tx.InsertReference(images[0], meta.Reference{Kind: meta.RefBlob, Digest: "sha256:l1"}),
			tx.InsertReference(images[0], meta.Reference{Kind: meta.RefBlob, Digest: "sha256:l2"}),
			tx.InsertReference(images[2], meta.Reference{Kind: meta.RefBlob, Digest: "sha256:l2"}),
			tx.InsertReference(images[2], meta.Reference{Kind: meta.RefChild, Digest: "sha256:aa"}),
			tx.InsertReference(images[2], meta.Reference{Kind: meta.RefChild, Digest: "sha256:bb"}),
			tx.SetStorage(archived), tx.SetStorage(activating),
		)
	})
	view(t, db, func(tx *meta.Tx) error {
		var errs []error
		for status, want := range map[string]string{
			"": "[sha256:aa sha256:bb sha256:cc]", meta.ImageActive: "[sha256:cc]", meta.ImageArchived: "[sha256:aa]", meta.ImageActivating: "[sha256:bb]",
		} {
			list, err := tx.Images(repo, meta.ImageFilter{Status: status}, 0, 10)
			pairs, err2 := tx.ImageTags(repo, meta.ImageFilter{Status: status, Tags: meta.Tagged}, 0, "", 10)
			var got, got2 []string
			for _, i := range list {
				got = append(got, i.Digest)
			}
			for _, p := range pairs {
				got2 = append(got2, p.Digest)
			}
			if fmt.Sprint(got) != want || fmt.Sprint(got2) != want {
				t.Errorf("status %q: images %v, tags %v, want %s", status, got, got2, want)
			}
			errs = append(errs, err, err2)
		}
		tags, err := tx.Tags(repo, "", 10)
		if !slices.Equal(tags, []string{"cc"}) {
			t.Errorf("tags %v", tags)
		}
		_, pulled, err2 := tx.PullImage(home, "app", "aa", "", true)
		if pulled.Status != meta.ImageArchived || !pulled.ArchivedAt.Equal(at(10)) || !pulled.ActivatedAt.IsZero() {
			t.Errorf("pulled %+v", pulled.Image)
		}
		waiting, err3 := tx.Restored(10)
		if len(waiting) != 1 || waiting[0].ID != activating.ID {
			t.Errorf("activating %+v", waiting)
		}
		children, err4 := tx.InactiveChildren(repo, images[2].ID, false)
		both, err7 := tx.InactiveChildren(repo, images[2].ID, true)
		if !slices.Equal(children, []string{"sha256:aa"}) || !slices.Equal(both, []string{"sha256:aa", "sha256:bb"}) {
			t.Errorf("children that are archived: %v, or not active: %v", children, both)
		}
		for digest, want := range map[string]bool{"sha256:l1": true, "sha256:l2": false, "sha256:none": false} {
			got, err := tx.OnlyArchived(repo, digest)
			if got != want {
				t.Errorf("layer %s is archived: %t", digest, got)
			}
			errs = append(errs, err)
		}
		by, err5 := tx.ReferencedByActive(repo, meta.RefChild, "sha256:aa", 10)
		none, err6 := tx.ReferencedByActive(repo, meta.RefBlob, "sha256:l1", 10)
		if !slices.Equal(by, []string{"sha256:cc"}) || len(none) != 0 {
			t.Errorf("listed by active images: %v, %v", by, none)
		}
		return errors.Join(append(errs, err, err2, err3, err4, err5, err6, err7)...)
	})
	err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.SetStorage(meta.Image{ID: 1 << 40}) })
	if !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("the storage class of an image that is not there: %v", err)
	}
}

// scans: one for each image and type, the oldest that waits first, none
// without its image.
func scans(t *testing.T, db *meta.DB) {
	images := insertImages(t, db, "app", "aa", "bb")
	a := meta.Scan{ImageID: images[0].ID, Type: "BASIC", Status: meta.ScanPending, Description: "d", Reason: "MANUAL", RequestedAt: at(5)}
	b := meta.Scan{ImageID: images[1].ID, Type: "BASIC", Status: meta.ScanPending, RequestedAt: at(4)}
	enhanced := a
	enhanced.Type, enhanced.Status = "ENHANCED", "ACTIVE"
	update(t, db, func(tx *meta.Tx) error { return errors.Join(tx.PutScan(a), tx.PutScan(b), tx.PutScan(enhanced)) })
	view(t, db, func(tx *meta.Tx) error {
		repo, err3 := tx.RepositoryByID(images[0].RepositoryID)
		if _, err := tx.RepositoryByID(1 << 40); repo.Name != "app" || !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("the repository of a scan is %+v; one that is not there: %v", repo, err)
		}
		waiting, err := tx.PendingScans(10)
		if !reflect.DeepEqual(waiting, []meta.Scan{b, a}) {
			t.Errorf("pending %+v", waiting)
		}
		got, err2 := tx.Scan(images[0].ID, "ENHANCED")
		if !reflect.DeepEqual(got, enhanced) {
			t.Errorf("read %+v", got)
		}
		if _, err := tx.Scan(images[1].ID, "ENHANCED"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a scan that is not there: %v", err)
		}
		return errors.Join(err, err2, err3)
	})
	a.Status, a.RequestedAt = "COMPLETE", at(9)
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.PutScan(a), tx.DeleteImage(images[1].ID))
	})
	view(t, db, func(tx *meta.Tx) error {
		got, err := tx.Scan(images[0].ID, "BASIC")
		waiting, err2 := tx.PendingScans(10)
		if !reflect.DeepEqual(got, a) || len(waiting) != 0 {
			t.Errorf("read %+v, pending %+v", got, waiting)
		}
		return errors.Join(err, err2)
	})
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteScans(images[0].ID) })
	view(t, db, func(tx *meta.Tx) error {
		for _, kind := range []string{"BASIC", "ENHANCED"} {
			if _, err := tx.Scan(images[0].ID, kind); !errors.Is(err, meta.ErrNotFound) {
				t.Errorf("a scan that was deleted: %v", err)
			}
		}
		return nil
	})
}

// backfills: the newest first, in pages; those that ended go after a while.
func backfills(t *testing.T, db *meta.DB) {
	to := meta.Scope{Account: "111122223333", Region: "eu-west-1"}
	row := func(id string, started, ended int64) meta.Backfill {
		b := meta.Backfill{ID: id, Scope: home, Destination: to, Status: meta.BackfillPreparing, Total: 3, Completed: 2, Failed: 1, StartedAt: at(started)}
		if ended != 0 {
			b.EndedAt, b.Status, b.FailureCode = at(ended), "FAILED", "code"
		}
		return b
	}
	a, b, c := row("a", 1, 0), row("b", 2, 7), row("c", 2, 9)
	other := row("d", 3, 0)
	other.Scope.Region = "eu-west-2"
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.PutBackfill(a), tx.PutBackfill(b), tx.PutBackfill(c), tx.PutBackfill(other))
	})
	view(t, db, func(tx *meta.Tx) error {
		var got []meta.Backfill
		var after meta.Backfill
		for {
			page, err := tx.Backfills(home, after, 2)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			got, after = append(got, page...), page[len(page)-1]
		}
		if !slices.Equal(got, []meta.Backfill{b, c, a}) {
			t.Errorf("listed %+v", got)
		}
		running, err := tx.RunningBackfills(home)
		if !slices.Equal(running, []meta.Backfill{a}) {
			t.Errorf("running %+v", running)
		}
		if _, err := tx.Backfill(home, "d"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a backfill of another registry: %v", err)
		}
		return err
	})
	a.Status, a.EndedAt = meta.BackfillStopped, at(20)
	update(t, db, func(tx *meta.Tx) error { return errors.Join(tx.PutBackfill(a), tx.DeleteBackfills(home, at(9))) })
	view(t, db, func(tx *meta.Tx) error {
		list, err := tx.Backfills(home, meta.Backfill{}, 10)
		if !slices.Equal(list, []meta.Backfill{c, a}) {
			t.Errorf("left %+v", list)
		}
		return err
	})
}
