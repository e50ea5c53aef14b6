package crash

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver
)

// older makes a data directory of the first schema, with one repository in it,
// whose next server has to bring it up to date. (Blobs of that time have no
// sealed copies; they are not part of this.)
func older(t *testing.T, data, repository string) {
	t.Helper()
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "meta.db")+"?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, os.DirFS(filepath.Join("..", "..", "internal", "meta", "sqlite", "migrations")))
	if err == nil {
		_, err = p.UpTo(t.Context(), 1)
	}
	if err == nil {
		_, err = db.Exec(`INSERT INTO repositories (account, region, name, created_at, mutability, mutability_filters,
			scan_on_push, encryption, kms_key, policy, lifecycle, lifecycle_evaluated_at)
			VALUES ('000000000000', 'us-east-1', ?, 1, 'MUTABLE', '[]', 0, 'AES256', '', '', '', 0)`, repository)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(fmt.Errorf("make a database of the first schema: %w", err))
	}
}
