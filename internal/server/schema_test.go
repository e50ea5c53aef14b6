package server_test

import (
	"database/sql"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/meta"
	"berth/internal/meta/postgres"
	"berth/internal/meta/sqlite"
	"berth/internal/testkit"
)

// notBackedUp are the tables that a backup leaves out (meta.Tables).
var notBackedUp = []string{"uploads", "trash", "claims", "iam_sessions", "cached_manifests", "cache_counts", "lifecycle_previews", "lifecycle_preview_images", "advisories", "advisory_sets", "events", "event_deliveries",
	"goose_db_version", "sqlite_sequence"}

// TestBackupHasEveryColumn: whoever adds a table or a column decides whether
// backups carry it.
func TestBackupHasEveryColumn(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "meta.db")
		db, err := sqlite.Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		compareSchema(t, "sqlite", path, `SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c WHERE m.type = 'table'`)
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		url := testkit.Postgres(t)
		db, err := postgres.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		compareSchema(t, "pgx", url, `SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'`)
	})
}

func compareSchema(t *testing.T, driver, source, query string) {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var version int
	if err := db.QueryRow(`SELECT MAX(version_id) FROM goose_db_version`).Scan(&version); err != nil || version != meta.SchemaVersion {
		t.Errorf("the migrations lead to version %d, meta.SchemaVersion is %d: %v", version, meta.SchemaVersion, err)
	}
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	var have, want []string
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(notBackedUp, table) {
			have = append(have, table+"."+column)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	for _, table := range meta.Tables(meta.SchemaVersion) {
		for _, c := range table.Columns {
			name, _, _ := strings.Cut(c, " ")
			want = append(want, table.Name+"."+name)
		}
	}
	slices.Sort(have)
	slices.Sort(want)
	if !slices.Equal(have, want) {
		t.Errorf("the schema has\n%q\nbackups carry\n%q", have, want)
	}
}

// Backups of versions before tables were added are read without them.
func TestBackupsOfEarlierVersions(t *testing.T) {
	now := meta.Tables(meta.SchemaVersion)
	for version, want := range map[int]int{2: 0, 3: 14, 4: 14, 5: 21, 6: 24, 7: 24, 8: 25, 9: 28, 10: 31, 11: 31, 12: 31, 13: 31, 14: 31, 15: 32, meta.SchemaVersion + 1: 0} {
		got := meta.Tables(version)
		if len(got) != want {
			t.Errorf("version %d has %d tables, want %d", version, len(got), want)
		}
		for i, table := range got {
			if table.Name != now[i].Name {
				t.Errorf("version %d: table %d is %s, want %s", version, i, table.Name, now[i].Name)
			}
		}
	}
}
