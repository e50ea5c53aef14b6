-- +goose Up
-- The built-in KMS. A key is known by its ARN. rotation_days is 0 when it is not rotated by itself; tags are a JSON object.
CREATE TABLE kms_keys (
    arn             TEXT PRIMARY KEY,
    account         TEXT NOT NULL,
    region          TEXT NOT NULL,
    key_id          TEXT NOT NULL,
    manager         TEXT NOT NULL,
    description     TEXT NOT NULL,
    key_usage       TEXT NOT NULL,
    key_spec        TEXT NOT NULL,
    state           TEXT NOT NULL,
    deletion_days   INTEGER NOT NULL,
    deletion_at     INTEGER NOT NULL,
    policy          TEXT NOT NULL,
    rotation_days   INTEGER NOT NULL,
    rotation_at     INTEGER NOT NULL,
    tags            TEXT NOT NULL,
    created_at      INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX kms_keys_by_scope ON kms_keys (account, region, arn);
CREATE INDEX kms_keys_by_deletion ON kms_keys (deletion_at) WHERE deletion_at > 0;
CREATE INDEX kms_keys_by_rotation ON kms_keys (rotation_at) WHERE rotation_at > 0;

-- Material of keys, wrapped by the master key. The youngest of a key encrypts, all of them decrypt.
CREATE TABLE kms_key_versions (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    arn        TEXT NOT NULL REFERENCES kms_keys (arn) ON DELETE CASCADE,
    rotation   TEXT NOT NULL,
    wrapped    BLOB NOT NULL,
    created_at INTEGER NOT NULL
);
CREATE INDEX kms_key_versions_by_key ON kms_key_versions (arn, number);

CREATE TABLE kms_aliases (
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    name       TEXT NOT NULL,
    arn        TEXT NOT NULL REFERENCES kms_keys (arn) ON DELETE CASCADE,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (account, region, name)
) WITHOUT ROWID;
CREATE INDEX kms_aliases_by_key ON kms_aliases (arn, name);

-- +goose Down
DROP TABLE kms_aliases;
DROP TABLE kms_key_versions;
DROP TABLE kms_keys;
