package server

import (
	"context"
	"errors"
	"path/filepath"

	"berth/internal/meta"
	"berth/internal/meta/postgres"
	"berth/internal/meta/sqlite"
)

// errDatabase does not quote the setting: it may be a mistyped URL with a
// password in it.
var errDatabase = errors.New("the database is neither sqlite nor a PostgreSQL URL such as postgres://user@host:5432/name: see --database")

func knownDatabase(setting string) bool {
	return setting == "sqlite" || postgres.IsURL(setting)
}

// openDatabase opens the metadata store that the configuration names.
func openDatabase(ctx context.Context, cfg Config) (*meta.DB, error) {
	if postgres.IsURL(cfg.Database) {
		return postgres.Open(ctx, cfg.Database)
	}
	return sqlite.Open(ctx, filepath.Join(cfg.Data, "meta.db"))
}
