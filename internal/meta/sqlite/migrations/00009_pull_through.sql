-- +goose Up
-- Tags that were fetched from an upstream: the digest that the cache gave the tag here, '' when it did not yet; the one
-- that the upstream has and whose blobs are still on their way, or ''; and when the upstream was asked last.
CREATE TABLE cached_tags (
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    tag           TEXT NOT NULL,
    digest        TEXT NOT NULL,
    arriving      TEXT NOT NULL,
    checked_at    INTEGER NOT NULL,
    PRIMARY KEY (repository_id, tag)
) WITHOUT ROWID;

-- Manifests of an upstream whose blobs are still on their way. They are served, and become images when all is here.
CREATE TABLE cached_manifests (
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    digest        TEXT NOT NULL,
    media_type    TEXT NOT NULL,
    size          INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    manifest      BLOB NOT NULL,
    PRIMARY KEY (repository_id, digest)
);

-- Secrets of the Secrets Manager API. deleted_at is when one was deleted and delete_at when it will be gone, 0 for never;
-- tags are a JSON object.
CREATE TABLE secrets (
    arn         TEXT PRIMARY KEY,
    account     TEXT NOT NULL,
    region      TEXT NOT NULL,
    name        TEXT NOT NULL,
    description TEXT NOT NULL,
    kms_key     TEXT NOT NULL,
    tags        TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    changed_at  INTEGER NOT NULL,
    accessed_at INTEGER NOT NULL,
    deleted_at  INTEGER NOT NULL,
    delete_at   INTEGER NOT NULL,
    UNIQUE (account, region, name)
) WITHOUT ROWID;

-- Values of secrets, each sealed under a key of its own, which the master key or the secret's KMS key wraps. stages is a
-- JSON array.
CREATE TABLE secret_versions (
    arn         TEXT NOT NULL REFERENCES secrets (arn) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    stages      TEXT NOT NULL,
    kms_key     TEXT NOT NULL,
    wrapped     BLOB NOT NULL,
    value       BLOB NOT NULL,
    created_at  INTEGER NOT NULL,
    accessed_at INTEGER NOT NULL,
    PRIMARY KEY (arn, id)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE secret_versions;
DROP TABLE secrets;
DROP TABLE cached_manifests;
DROP TABLE cached_tags;
