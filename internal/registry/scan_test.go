package registry_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

// scans is the queue: digest, type and reason of what waits.
func (b *bench) scans() (out []string) {
	b.t.Helper()
	err := b.db.View(b.t.Context(), func(tx *meta.Tx) error {
		list, err := tx.PendingScans(100)
		for _, s := range list {
			out = append(out, fmt.Sprint(s.ImageID, " ", s.Type, " ", s.Reason))
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

func (b *bench) queued(c testkit.Content, kind, reason string) string {
	b.t.Helper()
	return fmt.Sprint(b.detail("app", c).ID, " ", kind, " ", reason)
}

func (b *bench) config(c registry.ScanConfig) {
	b.t.Helper()
	if _, err := b.SetScanConfig(b.t.Context(), scope, c); err != nil {
		b.t.Fatal(err)
	}
}

const quotaText = "The scan quota per image has been exceeded. Wait and try again."

// A scan that was asked for waits for a scanner, and is in progress for clients.
func TestScanByHand(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.create("app")
	img := b.push("app", "v1", b.image())
	_, err := b.Scan(ctx, scope, "app", byTag("v1"), "", 10)
	wantRefusal(t, err, registry.ScanNotFound, "Image scan does not exist for the image with '{imageDigest:'null', imageTag:'v1'}' in the repository with name 'app' in the registry with id '123456789012'")
	if d := b.detail("app", img); d.Scan != nil {
		t.Errorf("described with the scan %+v", d.Scan)
	}
	started, err := b.StartScan(ctx, scope, "app", byTag("v1"))
	if err != nil || started.Status != "IN_PROGRESS" || started.Reason != registry.ScanReasonManual || started.Description != "" || !started.RequestedAt.Equal(b.clock()) {
		t.Errorf("started %+v, %v", started, err)
	}
	view, err := b.Scan(ctx, scope, "app", byDigest(img), "", 10)
	found, digest := view.Scan, view.Image.Digest
	if err != nil || digest != img.Digest().String() || found.Status != "IN_PROGRESS" || found.Description != started.Description {
		t.Errorf("found %+v of %s, %v", found, digest, err)
	}
	if d := b.detail("app", img); d.Scan == nil || !reflect.DeepEqual(*d.Scan, found) {
		t.Errorf("described with the scan %+v", d.Scan)
	}
	if got := b.scans(); fmt.Sprint(got) != fmt.Sprint([]string{b.queued(img, "BASIC", "MANUAL")}) {
		t.Errorf("queue %v", got)
	}
	b.advance(24*time.Hour - time.Second)
	_, err = b.StartScan(ctx, scope, "app", byTag("v1"))
	wantRefusal(t, err, registry.LimitExceeded, quotaText)
	b.advance(time.Second)
	if again, err := b.StartScan(ctx, scope, "app", byTag("v1")); err != nil || !again.RequestedAt.Equal(b.clock()) {
		t.Errorf("a day later: %+v, %v", again, err)
	}
}

func TestScanIsRefused(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.create("app")
	img := b.push("app", "v1", b.image())
	index := b.push("app", "multi", testkit.RandomIndex(t, 64, "amd64"))
	sbom := b.push("app", "", testkit.Artifact(t, "application/vnd.test.sbom", []byte("sbom"), &img))
	b.push("app", "docker", testkit.RandomDockerImage(t, 1, 64))
	b.push("app", "cold", b.image())
	b.class("app", byTag("cold"), registry.StorageArchive)
	for _, tc := range []struct {
		repo string
		ref  registry.ImageRef
		code registry.Code
	}{
		{"none", byTag("v1"), registry.RepositoryNotFound}, {"app", byTag("none"), registry.ImageNotFound}, {"app", registry.ImageRef{}, registry.InvalidParameter},
		{"app", byDigest(index), registry.UnsupportedImageType}, {"app", byDigest(sbom), registry.UnsupportedImageType}, {"app", byTag("cold"), registry.ImageArchived},
	} {
		_, err := b.StartScan(ctx, scope, tc.repo, tc.ref)
		wantRefusal(t, err, tc.code, "")
	}
	if _, err := b.StartScan(ctx, scope, "app", byTag("docker")); err != nil {
		t.Errorf("an image of docker: %v", err)
	}
	b.config(registry.ScanConfig{Type: registry.ScanEnhanced})
	_, err := b.StartScan(ctx, scope, "app", byTag("v1"))
	wantRefusal(t, err, registry.FeatureDisabled, "This feature is disabled")
	_, err = b.SetScanOnPush(ctx, scope, "app", true)
	wantRefusal(t, err, registry.FeatureDisabled, "This feature is disabled")
	_, err = b.Scan(ctx, scope, "app", byTag("docker"), "", 10) // of basic scanning, and hidden
	wantRefusal(t, err, registry.ScanNotFound, "")
	b.config(registry.ScanConfig{})
	if _, err := b.Scan(ctx, scope, "app", byTag("docker"), "", 10); err != nil {
		t.Errorf("back to basic scanning: %v", err)
	}
	if repo, err := b.SetScanOnPush(ctx, scope, "app", true); err != nil || !repo.ScanOnPush {
		t.Errorf("back to basic scanning: %+v, %v", repo, err)
	}
}

// What is pushed to a repository that is scanned goes into the queue once;
// restored images do again.
func TestScanOnPush(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	b.create("app")
	b.push("app", "before", b.image())
	if _, err := b.SetScanOnPush(ctx, scope, "app", true); err != nil {
		t.Fatal(err)
	}
	img := b.push("app", "v1", b.image())
	b.push("app", "multi", testkit.Index(t, img))
	b.push("app", "", testkit.Artifact(t, "application/vnd.test.sbom", []byte("sbom"), &img))
	want := fmt.Sprint([]string{b.queued(img, "BASIC", "ON_PUSH")})
	if got := fmt.Sprint(b.scans()); got != want {
		t.Errorf("queue %s, want %s", got, want)
	}
	_, err := b.StartScan(ctx, scope, "app", byTag("v1"))
	wantRefusal(t, err, registry.LimitExceeded, quotaText)
	pushed := b.clock()
	b.advance(time.Hour)
	if err := errors.Join(b.tag("app", "v2", img), b.tag("app", "v3", img)); err != nil { // the same image
		t.Fatal(err)
	}
	if scan, err := b.Scan(ctx, scope, "app", byTag("v3"), "", 10); err != nil || !scan.RequestedAt.Equal(pushed) {
		t.Errorf("a new tag asked for a scan: %+v, %v", scan, err)
	}
	b.class("app", byTag("multi"), registry.StorageArchive)
	b.class("app", byTag("v1"), registry.StorageArchive)
	b.class("app", byTag("v1"), registry.StorageStandard)
	b.finish()
	if scan, err := b.Scan(ctx, scope, "app", byTag("v1"), "", 10); err != nil || !scan.RequestedAt.Equal(b.clock()) {
		t.Errorf("a restored image: %+v, %v", scan, err)
	}
	if _, err := b.SetScanOnPush(ctx, scope, "app", false); err != nil {
		t.Fatal(err)
	}
	b.class("app", byTag("v1"), registry.StorageArchive)
	b.class("app", byTag("v1"), registry.StorageStandard)
	b.finish()
	_, err = b.Scan(ctx, scope, "app", byTag("v1"), "", 10) // what was found before archiving is gone
	wantRefusal(t, err, registry.ScanNotFound, "")

	b.config(registry.ScanConfig{Type: registry.ScanEnhanced, Rules: []registry.ScanRule{{Frequency: registry.ScanContinuously, Filters: []string{"ap*"}}}})
	enhanced := b.push("app", "v9", b.image())
	if got, want := fmt.Sprint(b.scans()), fmt.Sprint([]string{b.queued(enhanced, "ENHANCED", "ON_PUSH")}); got != want {
		t.Errorf("queue %s, want %s", got, want)
	}
	if _, err := b.DeleteRepository(ctx, scope, "app", true); err != nil || len(b.scans()) != 0 {
		t.Errorf("queue %v of a repository that is gone, %v", b.scans(), err)
	}
}

// Advisories that come while a scan goes on put it back into the queue, with what
// it found to be installed.
func TestScanMeetsNewAdvisories(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "v1", b.image())
	if _, err := b.StartScan(t.Context(), scope, "app", byTag("v1")); err != nil {
		t.Fatal(err)
	}
	var sets []int64
	for round := range 2 {
		job, ok, err := b.ClaimScan(t.Context(), time.Minute)
		if err != nil || !ok {
			t.Fatal(round, ok, err)
		}
		o := registry.ScanOutcome{Status: "COMPLETE", Description: "Done.", AdvisorySets: append([]int64{}, sets...), Inventory: []string{"openssl"}}
		if round == 0 {
			err := b.db.Update(t.Context(), func(tx *meta.Tx) error {
				id, err := tx.InsertAdvisorySet(meta.AdvisorySet{Ecosystem: "Debian", LoadedAt: b.clock(), UpdatedAt: b.clock()})
				if err != nil {
					return err
				}
				sets = []int64{id}
				return tx.ActivateAdvisorySet(meta.AdvisorySet{ID: id, Ecosystem: "Debian", LoadedAt: b.clock(), UpdatedAt: b.clock()})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := b.FinishScan(t.Context(), job, o); err != nil {
			t.Fatal(err)
		}
		var known []string
		if ok, err := b.KnownInventory(t.Context(), job.Image.ID, &known); !ok || err != nil || len(known) != 1 {
			t.Errorf("round %d: what is installed is %v, %v", round, known, err)
		}
		if d := b.detail("app", img); d.Scan == nil || (d.Scan.Status == "COMPLETE") != (round == 1) {
			t.Errorf("round %d: the scan is %+v", round, d.Scan)
		}
	}
}
