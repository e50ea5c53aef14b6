-- +goose Up
-- Copies have names of their own: location is the id of the copy in the blob store, and one that takes its place has
-- another. data_key is what sealed it, 0 when the store does not seal itself. verified_at is when all of its bytes were
-- last read and found right. Blobs from before have their old files, unsealed, until the server seals them.
ALTER TABLE blobs ADD COLUMN location TEXT NOT NULL DEFAULT '';
ALTER TABLE blobs ADD COLUMN data_key INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN verified_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;
UPDATE blobs SET location = 'plain-' || id;
CREATE UNIQUE INDEX blobs_by_location ON blobs (location);
CREATE INDEX blobs_by_verified ON blobs (verified_at, id);
CREATE INDEX blobs_by_data_key ON blobs (data_key, id);

-- Bytes that no row above names any more. They are deleted some time after that.
CREATE TABLE trash (
    location TEXT PRIMARY KEY,
    domain   TEXT NOT NULL,
    data_key INTEGER NOT NULL,
    size     INTEGER NOT NULL,
    since    INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX trash_by_since ON trash (since);

-- Sessions of before cannot go on: they had no state of the blob store. repository_id is NULL when the repository is
-- gone; then the session is over, and its bytes go with the next sweep.
DROP TABLE uploads;
CREATE TABLE uploads (
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
CREATE INDEX uploads_by_repository ON uploads (repository_id);
CREATE INDEX uploads_by_progress ON uploads (updated_at);

-- Keys that seal blobs and manifests, wrapped by the master key or by a KMS key. The youngest of a domain seals,
-- the others only open what they have sealed.
CREATE TABLE data_keys (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    domain     TEXT NOT NULL,
    kms_key    TEXT NOT NULL,
    wrapped    BLOB NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX data_keys_by_domain ON data_keys (domain, id);

-- Work that one server does at a time.
CREATE TABLE claims (
    name       TEXT PRIMARY KEY,
    holder     TEXT NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

-- +goose Down
DROP TABLE claims;
DROP TABLE data_keys;
DROP TABLE uploads;
CREATE TABLE uploads (
    id            TEXT PRIMARY KEY,
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    algorithm     TEXT NOT NULL,
    size          INTEGER NOT NULL,
    last_part     INTEGER NOT NULL,
    hash_state    BLOB NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
);
CREATE INDEX uploads_by_repository ON uploads (repository_id);
DROP TABLE trash;
DROP INDEX blobs_by_data_key;
DROP INDEX blobs_by_verified;
DROP INDEX blobs_by_location;
ALTER TABLE blobs DROP COLUMN damaged;
ALTER TABLE blobs DROP COLUMN verified_at;
ALTER TABLE blobs DROP COLUMN data_key;
ALTER TABLE blobs DROP COLUMN location;
