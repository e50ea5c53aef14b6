-- +goose Up
CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
);

CREATE TABLE access_keys (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL,
    principal  TEXT NOT NULL,
    user_id    TEXT NOT NULL,
    secret     TEXT NOT NULL,
    active     INTEGER NOT NULL,
    created_at INTEGER NOT NULL
);

CREATE TABLE repositories (
    id                     INTEGER PRIMARY KEY AUTOINCREMENT,
    account                TEXT NOT NULL,
    region                 TEXT NOT NULL,
    name                   TEXT NOT NULL,
    created_at             INTEGER NOT NULL,
    mutability             TEXT NOT NULL,
    mutability_filters     TEXT NOT NULL,
    scan_on_push           INTEGER NOT NULL,
    encryption             TEXT NOT NULL,
    kms_key                TEXT NOT NULL,
    policy                 TEXT NOT NULL,
    lifecycle              TEXT NOT NULL,
    lifecycle_evaluated_at INTEGER NOT NULL,
    UNIQUE (account, region, name)
);

CREATE TABLE repository_tags (
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    key           TEXT NOT NULL,
    value         TEXT NOT NULL,
    PRIMARY KEY (repository_id, key)
) WITHOUT ROWID;

CREATE TABLE images (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    digest        TEXT NOT NULL,
    media_type    TEXT NOT NULL,
    artifact_type TEXT NOT NULL,
    subject       TEXT NOT NULL,
    size          INTEGER NOT NULL,
    manifest_size INTEGER NOT NULL,
    pushed_at     INTEGER NOT NULL,
    pulled_at     INTEGER NOT NULL,
    manifest      BLOB NOT NULL,
    UNIQUE (repository_id, digest)
);
-- Push order within a repository: SQLite ends every index with the row's id.
CREATE INDEX images_by_repository ON images (repository_id);
CREATE INDEX images_by_subject ON images (repository_id, subject, id) WHERE subject <> '';

CREATE TABLE tags (
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    name          TEXT NOT NULL,
    image_id      INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    updated_at    INTEGER NOT NULL,
    PRIMARY KEY (repository_id, name)
) WITHOUT ROWID;
CREATE INDEX tags_by_image ON tags (image_id, name);

-- What a manifest points at: its config and layers (blobs) or its children (manifests).
CREATE TABLE image_references (
    image_id      INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    kind          TEXT NOT NULL,
    digest        TEXT NOT NULL,
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    media_type    TEXT NOT NULL,
    PRIMARY KEY (image_id, kind, digest)
) WITHOUT ROWID;
CREATE INDEX image_references_by_digest ON image_references (repository_id, digest, kind);

-- Bytes that exist. domain is what may share one copy: an account and its encryption key.
CREATE TABLE blobs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    domain     TEXT NOT NULL,
    digest     TEXT NOT NULL,
    size       INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (digest, domain)
);

-- Membership: a repository serves a blob only through its own row.
-- leased_at is the last upload, mount or successful probe.
CREATE TABLE repository_blobs (
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    digest        TEXT NOT NULL,
    blob_id       INTEGER NOT NULL REFERENCES blobs (id),
    leased_at     INTEGER NOT NULL,
    PRIMARY KEY (repository_id, digest)
) WITHOUT ROWID;
CREATE INDEX repository_blobs_by_blob ON repository_blobs (blob_id);

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

CREATE TABLE cache_rules (
    account             TEXT NOT NULL,
    region              TEXT NOT NULL,
    prefix              TEXT NOT NULL,
    upstream_url        TEXT NOT NULL,
    upstream_registry   TEXT NOT NULL,
    upstream_prefix     TEXT NOT NULL,
    credential_arn      TEXT NOT NULL,
    custom_role_arn     TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    updated_at          INTEGER NOT NULL,
    PRIMARY KEY (account, region, prefix)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE cache_rules;
DROP TABLE uploads;
DROP TABLE repository_blobs;
DROP TABLE blobs;
DROP TABLE image_references;
DROP TABLE tags;
DROP TABLE images;
DROP TABLE repository_tags;
DROP TABLE repositories;
DROP TABLE access_keys;
DROP TABLE settings;
