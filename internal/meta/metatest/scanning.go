package metatest

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"berth/internal/meta"
)

// scanQueue: a scan is claimed by one, the oldest first; one whose time is over
// is claimed again, and one that was postponed not before its time.
func scanQueue(t *testing.T, db *meta.DB) {
	images := insertImages(t, db, "app", "aa", "bb")
	old := meta.Scan{ImageID: images[0].ID, Type: "BASIC", Status: meta.ScanPending, RequestedAt: at(1)}
	young := meta.Scan{ImageID: images[1].ID, Type: "BASIC", Status: meta.ScanPending, RequestedAt: at(2)}
	update(t, db, func(tx *meta.Tx) error { return errors.Join(tx.PutScan(young), tx.PutScan(old)) })
	claim := func(now, until time.Time) (got meta.Scan, err error) {
		err = db.Update(t.Context(), func(tx *meta.Tx) error {
			got, err = tx.ClaimScan(now, until)
			return err
		})
		return got, err
	}
	for i, want := range []meta.Scan{old, young} {
		want.Status, want.Attempts, want.ClaimedUntil = meta.ScanInProgress, 1, at(20)
		if got, err := claim(at(10), at(20)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("claim %d is %+v, %v", i, got, err)
		}
	}
	if got, err := claim(at(19), at(29)); !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("claimed %+v, %v, of what others are at", got, err)
	}
	if got, err := claim(at(20), at(30)); err != nil || got.ImageID != old.ImageID || got.Attempts != 2 {
		t.Errorf("claimed %+v, %v, after its time", got, err)
	}
	update(t, db, func(tx *meta.Tx) error { return tx.ReleaseScans() })
	young.Status, young.ClaimedUntil, young.Counts = meta.ScanPending, at(40), map[string]int32{"HIGH": 3}
	young.CompletedAt, young.SourceUpdatedAt = at(3), at(4)
	update(t, db, func(tx *meta.Tx) error { return tx.PutScan(young) })
	if got, err := claim(at(21), at(30)); err != nil || got.ImageID != old.ImageID || got.Attempts != 3 {
		t.Errorf("claimed %+v, %v, of what was released", got, err)
	}
	if got, err := claim(at(22), at(30)); !errors.Is(err, meta.ErrNotFound) {
		t.Errorf("claimed %+v, %v, which was postponed", got, err)
	}
	view(t, db, func(tx *meta.Tx) error {
		got, err := tx.Scan(young.ImageID, "BASIC")
		if !reflect.DeepEqual(got, young) {
			t.Errorf("read %+v, want %+v", got, young)
		}
		return err
	})
}

// findings: kept for each type of scanning, and gone with the scans or the image.
func findings(t *testing.T, db *meta.DB) {
	images := insertImages(t, db, "app", "aa", "bb")
	a, b := images[0].ID, images[1].ID
	npm := meta.PackageKey{Ecosystem: "npm", Package: "lodash"}
	update(t, db, func(tx *meta.Tx) error {
		return errors.Join(tx.PutFindings(a, "BASIC", []byte("one")), tx.PutFindings(a, "BASIC", []byte("two")), tx.PutFindings(b, "ENHANCED", []byte("b")),
			tx.PutInventory(a, []byte("i"), []meta.PackageKey{npm, npm}, at(1)), tx.PutInventory(a, []byte("ii"), []meta.PackageKey{npm}, at(2)),
			tx.PutInventory(b, []byte("b"), nil, at(1)))
	})
	read := func() string {
		var out [4][]byte
		view(t, db, func(tx *meta.Tx) error {
			out[0], _ = tx.Findings(a, "BASIC") // a missing row is empty here
			out[1], _ = tx.Findings(b, "ENHANCED")
			out[2], _ = tx.Inventory(a)
			out[3], _ = tx.Inventory(b)
			return nil
		})
		return fmt.Sprintf("%s", out)
	}
	if got := read(); got != "[two b ii b]" {
		t.Errorf("read %s", got)
	}
	update(t, db, func(tx *meta.Tx) error { return errors.Join(tx.DeleteScans(a), tx.DeleteImage(b)) })
	if got := read(); got != "[  ii ]" {
		t.Errorf("read %s after the scans of one image and the other image are gone", got)
	}
}

// advisories: a set replaces the one before at once, and finds the images that
// were scanned before and have a package that it is about.
func advisories(t *testing.T, db *meta.DB) {
	images := insertImages(t, db, "app", "aa", "bb", "cc")
	lodash := meta.PackageKey{Ecosystem: "npm", Package: "lodash"}
	load := func(body string, active bool, loaded int64) meta.AdvisorySet {
		set := meta.AdvisorySet{Ecosystem: "npm", Source: "s", LoadedAt: at(loaded), UpdatedAt: at(loaded - 1), Records: 1, State: meta.AdvisoriesActive}
		update(t, db, func(tx *meta.Tx) (err error) {
			if set.ID, err = tx.InsertAdvisorySet(set); err != nil {
				return err
			}
			return errors.Join(tx.PutAdvisory(set.ID, "lodash", "A", []byte("x")), tx.PutAdvisory(set.ID, "lodash", "A", []byte(body)), tx.PutAdvisory(set.ID, "left-pad", "B", []byte(body)))
		})
		if active {
			update(t, db, func(tx *meta.Tx) error { return tx.ActivateAdvisorySet(set) })
		}
		return set
	}
	known := func() (out string) {
		view(t, db, func(tx *meta.Tx) error {
			bodies, err := tx.Advisories(lodash)
			out = fmt.Sprintf("%s", bodies)
			return err
		})
		return out
	}
	load("one", true, 10)
	load("unfinished", false, 11)
	if got := known(); got != "[one]" {
		t.Errorf("known %s", got)
	}
	two := load("two", true, 20)
	if got := known(); got != "[two]" {
		t.Errorf("known %s after the second set", got)
	}
	for i, scan := range []meta.Scan{
		{Type: "ENHANCED", Status: "ACTIVE", CompletedAt: at(15)}, {Type: "ENHANCED", Status: "ACTIVE", CompletedAt: at(25)}, {Type: "BASIC", Status: "COMPLETE", CompletedAt: at(15)},
	} {
		scan.ImageID, scan.RequestedAt = images[i].ID, at(1)
		update(t, db, func(tx *meta.Tx) error {
			return errors.Join(tx.PutScan(scan), tx.PutInventory(scan.ImageID, []byte("i"), []meta.PackageKey{lodash}, at(1)))
		})
	}
	view(t, db, func(tx *meta.Tx) error {
		sets, err := tx.AdvisorySets(meta.AdvisoriesActive)
		if len(sets) != 1 || sets[0] != two {
			t.Errorf("active sets %+v, want %+v", sets, two)
		}
		stale, err2 := tx.StaleImages(two, "lodash", "ENHANCED", "ACTIVE", 0, 10)
		if len(stale) != 1 || stale[0] != images[0].ID {
			t.Errorf("images to be scanned again: %v", stale)
		}
		installed, err3 := tx.InstalledPackages(two, "", 10)
		beyond, err4 := tx.InstalledPackages(two, "lodash", 10)
		if fmt.Sprint(installed, beyond) != "[lodash] []" {
			t.Errorf("packages of the set in images: %v, and after: %v", installed, beyond)
		}
		return errors.Join(err, err2, err3, err4)
	})
	exploits(t, db)
	update(t, db, func(tx *meta.Tx) error {
		return tx.RequeueScans([]int64{images[0].ID}, "ENHANCED", "ACTIVE", two.LoadedAt)
	})
	steps := 0
	for more := true; more; steps++ {
		update(t, db, func(tx *meta.Tx) (err error) {
			more, err = tx.DropAdvisories(at(12), 2)
			return err
		})
	}
	view(t, db, func(tx *meta.Tx) error {
		loading, err := tx.AdvisorySets(meta.AdvisoriesLoading)
		waiting, err2 := tx.PendingScans(10)
		if len(loading) != 0 || len(waiting) != 1 || steps != 5 || known() != "[two]" {
			t.Errorf("%d unfinished sets stay, %d scans wait, after %d steps", len(loading), len(waiting), steps)
		}
		return errors.Join(err, err2)
	})
}

// exploits: both feeds are joined by the name of the CVE.
func exploits(t *testing.T, db *meta.DB) {
	t.Helper()
	ask := func(names ...string) (got string) {
		view(t, db, func(tx *meta.Tx) error {
			known, listed, err := tx.Exploits(names)
			got = fmt.Sprint(known, listed)
			return err
		})
		return got
	}
	if got := ask("CVE-1"); got != "map[] false" {
		t.Errorf("exploits before a feed: %s", got)
	}
	for feed, bodies := range map[string]map[string]string{
		meta.FeedEPSS: {"CVE-1": `{"cve":"CVE-1","score":0.5,"percentile":0.9}`, "CVE-2": `{"cve":"CVE-2","score":0.25,"percentile":0.75}`},
		meta.FeedKEV:  {"CVE-1": `{"cve":"CVE-1","exploited":"2026-11-03"}`, "CVE-3": `{"cve":"CVE-3","exploited":"2026-11-04"}`},
	} {
		update(t, db, func(tx *meta.Tx) error {
			id, err := tx.InsertAdvisorySet(meta.AdvisorySet{Ecosystem: feed, LoadedAt: at(30)})
			for cve, body := range bodies {
				err = errors.Join(err, tx.PutAdvisory(id, cve, feed, []byte(body)))
			}
			return errors.Join(err, tx.ActivateAdvisorySet(meta.AdvisorySet{ID: id, Ecosystem: feed, LoadedAt: at(30)}))
		})
	}
	if got, want := ask("CVE-1", "CVE-3", "CVE-4"), "map[CVE-1:{CVE-1 0.5 0.9 2026-11-03} CVE-3:{CVE-3 0 0 2026-11-04}] true"; got != want {
		t.Errorf("exploits: %s, want %s", got, want)
	}
	if got := ask(); got != "map[] false" {
		t.Errorf("exploits of nothing: %s", got)
	}
}
