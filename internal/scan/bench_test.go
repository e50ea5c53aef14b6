package scan

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"berth/internal/meta"
	"berth/internal/meta/postgres"
	"berth/internal/meta/sqlite"
	"berth/internal/scan/vulndb"
	"berth/internal/testkit"
)

const (
	benchImages   = 100_000
	benchPackages = 10 // of each image
)

// fill makes images that are scanned continuously, past the store: pushes would
// take hours. Every thousandth has the package rare, all have common.
func fill(t testing.TB, db *meta.DB, driver, url string) {
	t.Helper()
	repo := &meta.Repository{Scope: meta.Scope{Account: "000000000000", Region: "us-east-1"}, Name: "app", CreatedAt: time.Unix(1, 0)}
	if err := db.Update(t.Context(), func(tx *meta.Tx) error { return tx.InsertRepository(repo) }); err != nil {
		t.Fatal(err)
	}
	raw, err := sql.Open(driver, url)
	if err != nil {
		t.Fatal(err)
	}
	raw.SetMaxOpenConns(1)
	if driver == "sqlite" {
		if _, err := raw.ExecContext(t.Context(), `PRAGMA synchronous = OFF; PRAGMA cache_size = -262144`); err != nil {
			t.Fatal(err)
		}
	}
	numbers := func(n int) string {
		return fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d)`, n)
	}
	for _, statement := range []string{
		fmt.Sprintf(`INSERT INTO images (repository_id, digest, media_type, artifact_type, subject, size, manifest_size, pushed_at, pulled_at, manifest)
			%s SELECT %d, 'sha256:' || i, '', '', '', 0, 0, 0, 0, $1 FROM n`, numbers(benchImages), repo.ID),
		`INSERT INTO image_scans (image_id, scan_type, status, description, reason, requested_at, completed_at)
			SELECT id, 'ENHANCED', 'ACTIVE', '', '', 0, 1 FROM images`,
		fmt.Sprintf(`INSERT INTO image_packages (ecosystem, package, image_id) %s
			SELECT 'Debian', 'package-' || ((images.id * 7 + n.i * 13) %% 2000), images.id FROM images, n ORDER BY 2, 3`, numbers(benchPackages-2)),
		`INSERT INTO image_packages (ecosystem, package, image_id)
			SELECT 'Debian', CASE WHEN id % 1000 = 0 THEN 'rare' ELSE 'ordinary' END, id FROM images ORDER BY 2, 3`,
		`INSERT INTO image_packages (ecosystem, package, image_id) SELECT 'Debian', 'common', id FROM images`,
		`ANALYZE`,
	} {
		var args []any
		if strings.Contains(statement, "$1") {
			args = append(args, []byte{})
		}
		if _, err := raw.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
}

// advise imports advisories about packages of Debian.
func advise(t testing.TB, db *meta.DB, packages ...string) {
	t.Helper()
	state := vulndb.State{Source: "bench"}
	part := vulndb.Part{State: state, Last: true}
	for i, pkg := range packages {
		part.Records = append(part.Records, vulndb.Record{Name: pkg, Text: fmt.Sprintf(
			`{"id":"DEBIAN-CVE-2026-%d","modified":"2026-11-01T00:00:00Z","affected":[{"package":{"ecosystem":"Debian:12","name":%q},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"2"}]}]}]}`, i, pkg)})
	}
	if _, err := (&vulndb.DB{Rows: db, Now: time.Now}).Put(t.Context(), part); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkNewAdvisory finds which of 100,000 images a new set of advisories is
// about, and puts these into the queue.
func BenchmarkNewAdvisory(b *testing.B) {
	engines := map[string]func(b *testing.B) (*meta.DB, string, string){
		"sqlite": func(b *testing.B) (*meta.DB, string, string) {
			path := filepath.Join(b.TempDir(), "meta.db")
			db, err := sqlite.Open(b.Context(), path)
			if err != nil {
				b.Fatal(err)
			}
			return db, "sqlite", path
		},
		"postgres": func(b *testing.B) (*meta.DB, string, string) {
			url := testkit.Postgres(b)
			db, err := postgres.Open(b.Context(), url)
			if err != nil {
				b.Fatal(err)
			}
			return db, "pgx", url
		},
	}
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) {
			db, driver, url := engines[name](b)
			defer func() {
				if err := db.Close(); err != nil {
					b.Error(err)
				}
			}()
			fill(b, db, driver, url)
			s := New(Options{DB: db, Log: slog.New(slog.DiscardHandler)})
			many := make([]string, 50_000)
			for i := range many {
				many[i] = fmt.Sprint("unknown-", i)
			}
			for _, c := range []struct {
				what     string
				packages []string
				hits     int
			}{{"about-nothing", many, 0}, {"about-100", []string{"rare"}, benchImages / 1000}, {"about-all", []string{"common"}, benchImages}} {
				b.Run(c.what, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						b.StopTimer()
						advise(b, db, c.packages...)
						before := waiting(b, db)
						b.StartTimer()
						if err := s.Rematch(b.Context()); err != nil {
							b.Fatal(err)
						}
						b.StopTimer()
						if got := waiting(b, db) - before; got != c.hits {
							b.Fatalf("%d images are scanned again, want %d", got, c.hits)
						}
						reset(b, driver, url)
						b.StartTimer()
					}
				})
			}
		})
	}
}

func waiting(t testing.TB, db *meta.DB) (n int) {
	t.Helper()
	err := db.View(t.Context(), func(tx *meta.Tx) error {
		list, err := tx.PendingScans(2 * benchImages)
		n = len(list)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// reset lets all scans have ended, before the set.
func reset(t testing.TB, driver, url string) {
	t.Helper()
	raw, err := sql.Open(driver, url)
	if err == nil {
		_, err = raw.ExecContext(context.Background(), `UPDATE image_scans SET status = 'ACTIVE' WHERE status = 'PENDING'`)
		err = errors.Join(err, raw.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
