-- +goose Up
-- Sessions come and go with every layer pushed, and there are few at a time: what looks through all of them reads the
-- table, which then needs no index beside its key. The state is last, so that nobody reads past it for a number.
CREATE TABLE sessions (
    id            TEXT PRIMARY KEY,
    repository_id INTEGER REFERENCES repositories (id) ON DELETE SET NULL,
    domain        TEXT NOT NULL,
    algorithm     TEXT NOT NULL,
    size          INTEGER NOT NULL,
    last_part     INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    state         BLOB NOT NULL
) WITHOUT ROWID;
INSERT INTO sessions (id, repository_id, domain, algorithm, size, last_part, created_at, updated_at, state)
SELECT id, repository_id, domain, algorithm, size, last_part, created_at, updated_at, state FROM uploads;
DROP TABLE uploads;
ALTER TABLE sessions RENAME TO uploads;

-- +goose Down
CREATE TABLE sessions (
    id            TEXT PRIMARY KEY,
    repository_id INTEGER REFERENCES repositories (id) ON DELETE SET NULL,
    domain        TEXT NOT NULL,
    algorithm     TEXT NOT NULL,
    size          INTEGER NOT NULL,
    last_part     INTEGER NOT NULL,
    state         BLOB NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);
INSERT INTO sessions (id, repository_id, domain, algorithm, size, last_part, created_at, updated_at, state)
SELECT id, repository_id, domain, algorithm, size, last_part, created_at, updated_at, state FROM uploads;
DROP TABLE uploads;
ALTER TABLE sessions RENAME TO uploads;
CREATE INDEX uploads_by_repository ON uploads (repository_id);
CREATE INDEX uploads_by_progress ON uploads (updated_at);
