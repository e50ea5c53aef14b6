// Package metatest is the suite that every metadata backend passes.
package metatest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"berth/internal/meta"
)

// Run exercises a backend. open returns a fresh, empty store each time, and
// closes it when the test ends; a second Close must do no harm.
func Run(t *testing.T, open func(t *testing.T) *meta.DB) {
	t.Run("repositories", func(t *testing.T) { repositories(t, open(t)) })
	t.Run("images and tags", func(t *testing.T) { images(t, open(t)) })
	t.Run("membership", func(t *testing.T) { membership(t, open(t)) })
	t.Run("uploads", func(t *testing.T) { uploads(t, open(t)) })
	t.Run("copies and trash", func(t *testing.T) { copies(t, open(t)) })
	t.Run("garbage", func(t *testing.T) { garbage(t, open(t)) })
	t.Run("sessions of a repository that is gone", func(t *testing.T) { orphanedUploads(t, open(t)) })
	t.Run("claims", func(t *testing.T) { claims(t, open(t)) })
	t.Run("data keys", func(t *testing.T) { dataKeys(t, open(t)) })
	t.Run("settings", func(t *testing.T) { settings(t, open(t)) })
	t.Run("settings of registries", func(t *testing.T) { registrySettings(t, open(t)) })
	t.Run("failed update leaves nothing", func(t *testing.T) { rollback(t, open(t)) })
	t.Run("concurrent updates", func(t *testing.T) { concurrent(t, open(t)) })
	t.Run("order", func(t *testing.T) { order(t, open(t)) })
	t.Run("pages of images", func(t *testing.T) { imagePages(t, open(t)) })
	t.Run("access keys and cache rules", func(t *testing.T) { accounts(t, open(t)) })
	t.Run("creation templates", func(t *testing.T) { templates(t, open(t)) })
	t.Run("storage classes", func(t *testing.T) { storageClasses(t, open(t)) })
	t.Run("archiving", func(t *testing.T) { archiving(t, open(t)) })
	t.Run("scans", func(t *testing.T) { scans(t, open(t)) })
	t.Run("the queue of scans", func(t *testing.T) { scanQueue(t, open(t)) })
	t.Run("findings and inventories", func(t *testing.T) { findings(t, open(t)) })
	t.Run("advisories", func(t *testing.T) { advisories(t, open(t)) })
	t.Run("lifecycle runs", func(t *testing.T) { lifecycleRuns(t, open(t)) })
	t.Run("bytes of one image alone", func(t *testing.T) { bytesOnlyOf(t, open(t)) })
	t.Run("what lifecycle policies need", func(t *testing.T) { lifecycleNeeds(t, open(t)) })
	t.Run("the log of events", func(t *testing.T) { eventLog(t, open(t)) })
	t.Run("deliveries of events", func(t *testing.T) { eventDeliveries(t, open(t)) })
	t.Run("reported findings", func(t *testing.T) { reportedFindings(t, open(t)) })
	t.Run("backfills", func(t *testing.T) { backfills(t, open(t)) })
	t.Run("users and roles", func(t *testing.T) { principals(t, open(t)) })
	t.Run("managed policies", func(t *testing.T) { policies(t, open(t)) })
	t.Run("accounts, sessions and identity providers", func(t *testing.T) { identities(t, open(t)) })
	t.Run("cached tags and manifests", func(t *testing.T) { cached(t, open(t)) })
	t.Run("what cache rules counted", func(t *testing.T) { cacheCounts(t, open(t)) })
	t.Run("secrets", func(t *testing.T) { secrets(t, open(t)) })
	t.Run("texts", func(t *testing.T) { texts(t, open(t)) })
	t.Run("no update is lost", func(t *testing.T) { lostUpdates(t, open(t)) })
	t.Run("no write skew", func(t *testing.T) { writeSkew(t, open(t)) })
	t.Run("one of many inserts wins", func(t *testing.T) { uniqueRace(t, open(t)) })
	t.Run("all agree on a setting", func(t *testing.T) { ensureRace(t, open(t)) })
	t.Run("a view is a snapshot", func(t *testing.T) { snapshot(t, open(t)) })
	t.Run("failures stay alone", func(t *testing.T) { failures(t, open(t)) })
	t.Run("close", func(t *testing.T) { closing(t, open(t)) })
}

var home = meta.Scope{Account: "000000000000", Region: "us-east-1"}

func newRepository(name string) *meta.Repository {
	return &meta.Repository{Scope: home, Name: name, CreatedAt: time.Unix(1, 0).UTC(), Mutability: "MUTABLE", Encryption: "AES256"}
}

func update(t *testing.T, db *meta.DB, fn func(tx *meta.Tx) error) {
	t.Helper()
	if err := db.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, db *meta.DB, fn func(tx *meta.Tx) error) {
	t.Helper()
	if err := db.View(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

func repositories(t *testing.T, db *meta.DB) {
	r := newRepository("team/app")
	r.MutabilityFilters = []string{"dev-*", "latest"}
	update(t, db, func(tx *meta.Tx) error { return tx.InsertRepository(r) })
	if err := db.Update(context.Background(), func(tx *meta.Tx) error { return tx.InsertRepository(newRepository("team/app")) }); !errors.Is(err, meta.ErrExists) {
		t.Fatalf("second insert: %v, want ErrExists", err)
	}
	other := newRepository("team/app")
	other.Scope.Region = "eu-west-1"
	update(t, db, func(tx *meta.Tx) error { return tx.InsertRepository(other) })
	view(t, db, func(tx *meta.Tx) error {
		got, err := tx.Repository(home, "team/app")
		if err != nil {
			return err
		}
		if got.ID != r.ID || len(got.MutabilityFilters) != 2 || !got.CreatedAt.Equal(r.CreatedAt) {
			t.Errorf("read back %+v", got)
		}
		if _, err := tx.Repository(home, "nope"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("unknown repository: %v", err)
		}
		list, err := tx.Repositories(home, "", 10)
		if len(list) != 1 {
			t.Errorf("listed %d repositories of the home registry, want 1", len(list))
		}
		return err
	})
	update(t, db, func(tx *meta.Tx) error {
		if err := tx.PutResourceTag(r.ID, meta.ResourceTag{Key: "b", Value: "1"}); err != nil {
			return err
		}
		if err := tx.PutResourceTag(r.ID, meta.ResourceTag{Key: "b", Value: "2"}); err != nil {
			return err
		}
		r.ScanOnPush, r.Policy = true, "{}"
		return tx.SaveRepository(*r)
	})
	view(t, db, func(tx *meta.Tx) error {
		tags, err := tx.ResourceTags(r.ID)
		if len(tags) != 1 || tags[0].Value != "2" {
			t.Errorf("tags %v", tags)
		}
		got, err2 := tx.Repository(home, "team/app")
		if !got.ScanOnPush || got.Policy != "{}" {
			t.Errorf("settings not saved: %+v", got)
		}
		return errors.Join(err, err2)
	})
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteRepository(r.ID) })
	if err := db.Update(context.Background(), func(tx *meta.Tx) error { return tx.DeleteRepository(r.ID) }); !errors.Is(err, meta.ErrNotFound) {
		t.Fatalf("second delete: %v, want ErrNotFound", err)
	}
}

func images(t *testing.T, db *meta.DB) {
	r := newRepository("app")
	m := &meta.StoredManifest{Image: meta.Image{Digest: "sha256:aa", MediaType: "x", Subject: "sha256:00", PushedAt: time.Unix(5, 0).UTC()}, Bytes: []byte("{}")}
	update(t, db, func(tx *meta.Tx) error {
		if err := tx.InsertRepository(r); err != nil {
			return err
		}
		m.RepositoryID = r.ID
		if err := tx.InsertImage(m); err != nil {
			return err
		}
		if err := tx.InsertReference(m.Image, meta.Reference{Kind: meta.RefBlob, Digest: "sha256:bb", MediaType: "layer"}); err != nil {
			return err
		}
		for _, name := range []string{"v2", "v1"} {
			if err := tx.PutTag(r.ID, name, m.ID, time.Unix(6, 0)); err != nil {
				return err
			}
		}
		return tx.RecordPull(m.ID, time.Unix(9, 0))
	})
	update(t, db, func(tx *meta.Tx) error { return tx.RecordPull(m.ID, time.Unix(7, 0)) })
	view(t, db, func(tx *meta.Tx) error {
		got, err := tx.ManifestByTag(r.ID, "v1")
		if err != nil {
			return err
		}
		if string(got.Bytes) != "{}" || !got.PulledAt.Equal(time.Unix(9, 0)) {
			t.Errorf("read back %+v", got)
		}
		tags, err := tx.TagsOf(m.ID)
		if fmt.Sprint(tags) != "[v1 v2]" {
			t.Errorf("tags %v", tags)
		}
		refs, err2 := tx.Referrers(r.ID, "sha256:00", nil, "", 0, 10)
		if len(refs) != 1 {
			t.Errorf("referrers %v", refs)
		}
		typed, err4 := tx.Referrers(r.ID, "sha256:00", []string{"other", m.ArtifactType}, meta.ImageActive, 0, 10)
		others, err5 := tx.Referrers(r.ID, "sha256:00", []string{"other"}, "", 0, 10)
		if len(typed) != 1 || len(others) != 0 {
			t.Errorf("referrers by type %v and %v", typed, others)
		}
		by, err3 := tx.ReferencedBy(r.ID, meta.RefBlob, "sha256:bb", 10)
		if len(by) != 1 || by[0] != "sha256:aa" {
			t.Errorf("referenced by %v", by)
		}
		return errors.Join(err, err2, err3, err4, err5)
	})
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteImage(m.ID) })
	view(t, db, func(tx *meta.Tx) error {
		if _, err := tx.ImageByTag(r.ID, "v1"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a tag outlived its image: %v", err)
		}
		has, err := tx.HasImages(r.ID)
		if has {
			t.Error("HasImages after the last image went")
		}
		return err
	})
}

func membership(t *testing.T, db *meta.DB) {
	a, b := newRepository("a"), newRepository("b")
	update(t, db, func(tx *meta.Tx) error {
		if err := errors.Join(tx.InsertRepository(a), tx.InsertRepository(b)); err != nil {
			return err
		}
		blob, err := tx.EnsureBlob(meta.Blob{Domain: "d", Digest: "sha256:aa", Size: 7, Location: "c1", CreatedAt: time.Unix(1, 0)})
		if err != nil {
			return err
		}
		again, err := tx.EnsureBlob(meta.Blob{Domain: "d", Digest: "sha256:aa", Size: 7, Location: "c2", CreatedAt: time.Unix(2, 0)})
		if err != nil {
			return err
		}
		if again.ID != blob.ID {
			t.Errorf("one digest became blobs %d and %d", blob.ID, again.ID)
		}
		return tx.AddMember(a.ID, blob, time.Unix(3, 0))
	})
	view(t, db, func(tx *meta.Tx) error {
		if _, err := tx.Member(b.ID, "sha256:aa"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("repository b reaches the blob of a: %v", err)
		}
		m, err := tx.Member(a.ID, "sha256:aa")
		if m.Size != 7 {
			t.Errorf("member %+v", m)
		}
		return err
	})
}

func uploads(t *testing.T, db *meta.DB) {
	a, b := newRepository("a"), newRepository("b")
	u := meta.Upload{ID: "u1", Algorithm: "sha256", Domain: "d", State: []byte{1}, CreatedAt: time.Unix(1, 0), UpdatedAt: time.Unix(1, 0)}
	update(t, db, func(tx *meta.Tx) error {
		if err := errors.Join(tx.InsertRepository(a), tx.InsertRepository(b)); err != nil {
			return err
		}
		u.RepositoryID = a.ID
		return tx.InsertUpload(u)
	})
	u.Size, u.State, u.UpdatedAt = 10, []byte{2, 3}, time.Unix(2, 0).UTC()
	update(t, db, func(tx *meta.Tx) error { return tx.SaveUpload(u, 0) })
	stale := u
	stale.Size = 99
	if err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.SaveUpload(stale, 0) }); !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("progress from a size that is not the session's: %v, want ErrNotFound", err)
	}
	view(t, db, func(tx *meta.Tx) error {
		if _, err := tx.Upload(b.ID, "u1"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("repository b sees the session of a: %v", err)
		}
		got, err := tx.Upload(a.ID, "u1")
		if got.Size != 10 || len(got.State) != 2 {
			t.Errorf("session %+v", got)
		}
		stale, err2 := tx.StaleUploads(time.Unix(3, 0), 10)
		if len(stale) != 1 {
			t.Errorf("stale sessions %v", stale)
		}
		return errors.Join(err, err2)
	})
}

// Each registry has its own settings, and each kind of them stands apart.
func registrySettings(t *testing.T, db *meta.DB) {
	here, west := meta.Scope{Account: "111111111111", Region: "us-east-1"}, meta.Scope{Account: "111111111111", Region: "us-west-2"}
	want := func(s meta.Scope, kind meta.SettingKind, value string) {
		t.Helper()
		view(t, db, func(tx *meta.Tx) error {
			got, err := tx.RegistrySetting(s, kind)
			if string(got) != value || (got == nil) != (value == "") {
				t.Errorf("%s of %v is %q, want %q", kind, s, got, value)
			}
			return err
		})
	}
	want(here, "a", "")
	for _, v := range []string{"1", "2"} {
		update(t, db, func(tx *meta.Tx) error {
			return errors.Join(tx.PutRegistrySetting(here, "a", []byte(v)), tx.PutRegistrySetting(here, "b", []byte("b"+v)))
		})
		want(here, "a", v)
	}
	want(here, "b", "b2")
	want(west, "a", "")
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.PutRegistrySetting(here, "a", nil), tx.PutRegistrySetting(west, "b", nil))
	})
	want(here, "a", "")
	want(here, "b", "b2")
}

func settings(t *testing.T, db *meta.DB) {
	for _, v := range []string{"first", "second"} {
		update(t, db, func(tx *meta.Tx) error {
			got, err := tx.EnsureSetting("key", []byte(v))
			if string(got) != "first" {
				t.Errorf("setting is %q, want the first value stored", got)
			}
			return err
		})
	}
}

func rollback(t *testing.T, db *meta.DB) {
	boom := errors.New("boom")
	err := db.Update(context.Background(), func(tx *meta.Tx) error {
		if err := tx.InsertRepository(newRepository("half")); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("got %v", err)
	}
	view(t, db, func(tx *meta.Tx) error {
		if _, err := tx.Repository(home, "half"); !errors.Is(err, meta.ErrNotFound) {
			t.Errorf("a failed update left a row: %v", err)
		}
		return nil
	})
}

// concurrent mixes updates that fail with updates that succeed: each outcome
// is its own, whichever of them share a commit.
func concurrent(t *testing.T, db *meta.DB) {
	const n = 200
	var wg sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		wg.Go(func() {
			errs[i] = db.Update(context.Background(), func(tx *meta.Tx) error {
				if err := tx.InsertRepository(newRepository(fmt.Sprintf("repo-%03d", i))); err != nil {
					return err
				}
				if i%3 == 0 {
					return errors.New("refused")
				}
				return nil
			})
		})
	}
	wg.Wait()
	view(t, db, func(tx *meta.Tx) error {
		for i := range n {
			_, err := tx.Repository(home, fmt.Sprintf("repo-%03d", i))
			if kept, want := err == nil, i%3 != 0; kept != want || (errs[i] == nil) != want {
				t.Errorf("update %d: kept=%v, reported %v", i, kept, errs[i])
			}
		}
		return nil
	})
}
