package server_test

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pressly/goose/v3"

	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// TestOpensSchema1InPostgres upgrades a PostgreSQL database of schema version 1
// with the rows of the fixture in it.
func TestOpensSchema1InPostgres(t *testing.T) {
	t.Parallel()
	url, data := testkit.Postgres(t), t.TempDir()
	want := unpack(t, "testdata/schema1.tar.gz", data)
	old := filepath.Join(data, "meta.db")
	if err := copySchema1(t, old, url); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(old); err != nil {
		t.Fatal(err)
	}
	cfg := server.Config{Data: data, Database: url, Blobs: "file"}
	s := servertest.StartWith(t, cfg)
	serves(t, s, want)
	s.Stop()
	holdsNothingPlain(t, data)
	isClean(t, cfg)
	// New rows follow those that were there.
	s = servertest.StartWith(t, cfg)
	s.CreateRepositories("new")
	if err := pushTo(s, "new", "v1", testkit.RandomImage(t, 1, 1000), want); err != nil {
		t.Fatal(err)
	}
	serves(t, s, want)
}

// copySchema1 makes the tables of version 1 and copies the rows of a SQLite
// database of the same version, numbers and all.
func copySchema1(t *testing.T, from, url string) (err error) {
	t.Helper()
	src, err := sql.Open("sqlite", from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, src.Close()) }()
	dst, err := sql.Open("pgx", url)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	p, err := goose.NewProvider(goose.DialectPostgres, dst, os.DirFS("../meta/postgres/migrations"))
	if err != nil {
		return err
	}
	if _, err := p.UpTo(t.Context(), 1); err != nil {
		return err
	}
	for _, table := range []string{
		"settings", "access_keys", "repositories", "repository_tags", "images", "tags", "image_references", "blobs",
		"repository_blobs", "uploads", "cache_rules",
	} {
		if err := copyRows(src, dst, table); err != nil {
			return fmt.Errorf("copy %s: %w", table, err)
		}
	}
	for _, table := range []string{"repositories", "images", "blobs"} {
		if _, err := dst.Exec(`SELECT setval(pg_get_serial_sequence('` + table + `', 'id'), (SELECT MAX(id) FROM ` + table + `))`); err != nil {
			return err
		}
	}
	return nil
}

func copyRows(src, dst *sql.DB, table string) (err error) {
	rows, err := src.Query(`SELECT * FROM ` + table)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	var places []string
	for i := range columns {
		places = append(places, fmt.Sprintf("$%d", i+1))
	}
	insert := `INSERT INTO ` + table + ` (` + strings.Join(columns, ", ") + `) OVERRIDING SYSTEM VALUE VALUES (` + strings.Join(places, ", ") + `)`
	for rows.Next() {
		values, dests := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			dests[i] = &values[i]
		}
		if err := rows.Scan(dests...); err != nil {
			return err
		}
		if _, err := dst.Exec(insert, values...); err != nil {
			return err
		}
	}
	return rows.Err()
}
