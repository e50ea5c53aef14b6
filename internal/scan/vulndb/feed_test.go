package vulndb

import (
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/meta/sqlite"
)

func open(t testing.TB) *DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &DB{Rows: db, Now: time.Now}
}

// TestFeeds imports scores in several pieces and the catalogue, in place of those
// before.
func TestFeeds(t *testing.T) {
	db := open(t)
	const many = 2*linesOfEPSS + 1
	write := func(day, score string) string {
		name := filepath.Join(t.TempDir(), "epss_scores-"+day+".csv.gz")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		z := gzip.NewWriter(f)
		_, err = fmt.Fprintf(z, "#model_version:v2025.03.14,score_date:%sT12:00:00Z\ncve,epss,percentile\n", day)
		for i := range many {
			if err == nil {
				_, err = fmt.Fprintf(z, "CVE-2020-%05d,%s,0.5\n", i, score)
			}
		}
		if err := errors.Join(err, z.Close(), f.Close()); err != nil {
			t.Fatal(err)
		}
		return name
	}
	for _, day := range []struct {
		day, score string
		want       float64
	}{{"2026-11-23", "0.25", 0.25}, {"2026-11-24", "0.75", 0.75}} {
		r, err := Import(t.Context(), db, write(day.day, day.score), "tests", nil)
		if err != nil || r.Records != many || len(r.Sets) != 1 || r.Sets[0].Ecosystem != meta.FeedEPSS || r.Sets[0].Records != many || r.Sets[0].UpdatedAt.Format(time.DateOnly) != day.day {
			t.Fatalf("%+v, %v", r, err)
		}
		err = db.Rows.View(t.Context(), func(tx *meta.Tx) error {
			got, listed, err := tx.Exploits([]string{"CVE-2020-00000", fmt.Sprintf("CVE-2020-%05d", many-1), "CVE-2020-99999"})
			if err != nil || listed || len(got) != 2 || got["CVE-2020-00000"].Score != day.want || got["CVE-2020-10000"].Percentile != 0.5 {
				t.Errorf("%s: %v, %v, %v", day.day, got, listed, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Feeds that are none are named and change nothing.
func TestBadFeeds(t *testing.T) {
	db := open(t)
	for name, text := range map[string]string{
		"no-date.csv": "cve,epss,percentile\nCVE-2020-1,0.5,0.5\n",
		"high.csv":    "#score_date:2026-11-24\nCVE-2020-1,1.5,0.5\n",
		"words.csv":   "#score_date:2026-11-24\nCVE-2020-1,high,0.5\n",
		"short.csv":   "#score_date:2026-11-24\nCVE-2020-1,0.5\n",
		"date.json":   `{"catalogVersion":"1","vulnerabilities":[{"cveID":"CVE-2020-1","dateAdded":"today"}]}`,
		"cve.json":    `{"catalogVersion":"1","vulnerabilities":[{"cveID":"GHSA-1","dateAdded":"2026-11-24"}]}`,
	} {
		p := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := Import(t.Context(), db, p, "tests", nil); err == nil || !strings.Contains(err.Error(), name) || r.Skipped != 1 {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	if sets, err := db.Status(t.Context()); err != nil || len(sets) != 0 {
		t.Errorf("known: %v, %v", sets, err)
	}
}

func FuzzFeeds(f *testing.F) {
	f.Add("#score_date:2026-11-24\nCVE-2020-1,0.5,0.5\n")
	f.Add(`{"catalogVersion":"1","vulnerabilities":[{"cveID":"CVE-2020-1","dateAdded":"2026-11-24"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) ([]meta.Exploit, time.Time, error){parseEPSS, parseKEV} {
			list, _, err := parse(text)
			if err != nil && len(list) > 0 {
				t.Errorf("%d entries and %v", len(list), err)
			}
			for _, e := range list {
				if !(e.Score >= 0 && e.Score <= 1) {
					t.Errorf("score %v", e.Score)
				}
			}
		}
	})
}
