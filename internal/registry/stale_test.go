package registry_test

import (
	"strings"
	"testing"
	"time"

	"berth/internal/registry"
)

// A scan says when it knew only old advisories: one that is continuous as of
// now, another one as of when it ended.
func TestStaleAdvisoriesAreSaid(t *testing.T) {
	for _, c := range []struct {
		config registry.ScanConfig
		status string
		later  bool // it is said a week after a scan that knew all
	}{
		{registry.ScanConfig{}, "COMPLETE", false},
		{registry.ScanConfig{Type: registry.ScanEnhanced, Rules: []registry.ScanRule{{Frequency: registry.ScanContinuously, Filters: []string{"*"}}}}, "ACTIVE", true},
	} {
		b := newBench(t)
		b.create("app")
		b.config(c.config)
		if _, err := b.SetScanOnPush(t.Context(), scope, "app", true); err != nil && c.status == "COMPLETE" {
			t.Fatal(err)
		}
		said := func() bool {
			t.Helper()
			v, err := b.Scan(t.Context(), scope, "app", byTag("v1"), "", 10)
			if err != nil || !strings.HasPrefix(v.Description, "Done.") {
				t.Fatalf("%q, %v", v.Description, err)
			}
			return strings.HasSuffix(v.Description, " Its advisories are stale: the newest is of "+v.SourceUpdatedAt.UTC().Format(time.DateOnly)+".")
		}
		scan := func(age time.Duration) {
			t.Helper()
			job, ok, err := b.ClaimScan(t.Context(), time.Minute)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			err = b.FinishScan(t.Context(), job, registry.ScanOutcome{Status: c.status, Description: "Done.", SourceUpdatedAt: b.clock().Add(-age)})
			if err != nil {
				t.Fatal(err)
			}
		}
		img := b.push("app", "v1", b.image())
		scan(registry.AdvisoriesStaleAfter - time.Second)
		if said() {
			t.Errorf("%s: fresh advisories are called stale", c.status)
		}
		b.advance(time.Second)
		if said() != c.later {
			t.Errorf("%s: said a week later: %v", c.status, said())
		}
		if _, _, err := b.DeleteImages(t.Context(), scope, "app", []registry.ImageRef{byDigest(img)}); err != nil {
			t.Fatal(err)
		}
		b.push("app", "v1", b.image())
		scan(registry.AdvisoriesStaleAfter)
		if !said() {
			t.Errorf("%s: stale advisories are not called so", c.status)
		}
	}
}
