package sqlite

import (
	"database/sql"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/pressly/goose/v3"

	"berth/internal/meta"
)

// An upload that is under way when the server is brought up to date goes on
// from where it was.
func TestSessionsSurviveTheirMove(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "meta.db")
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		t.Fatal(err)
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err == nil {
		_, err = p.UpTo(t.Context(), 3)
	}
	if err == nil {
		_, err = db.Exec(`INSERT INTO repositories (id, account, region, name, created_at, mutability, mutability_filters,
			scan_on_push, encryption, kms_key, policy, lifecycle, lifecycle_evaluated_at)
			VALUES (7, '000000000000', 'us-east-1', 'app', 1, 'MUTABLE', '[]', 0, 'AES256', '', '', '', 0)`)
	}
	if err == nil {
		_, err = db.Exec(`INSERT INTO uploads (id, repository_id, domain, algorithm, size, last_part, state, created_at, updated_at)
			VALUES ('u', 7, 'd', 'sha256', 11, 5, x'0102', 3, 4)`)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	now, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	err = now.View(t.Context(), func(tx *meta.Tx) error {
		u, err := tx.Upload(7, "u")
		if err == nil && (u.Domain != "d" || u.Algorithm != "sha256" || u.Size != 11 || u.LastPart != 5 || string(u.State) != "\x01\x02" ||
			u.CreatedAt.UnixMicro() != 3 || u.UpdatedAt.UnixMicro() != 4) {
			t.Errorf("the session became %+v", u)
		}
		return err
	})
	if err := errors.Join(err, now.Close()); err != nil {
		t.Error(err)
	}
}
