-- +goose Up
-- Tags that were fetched from an upstream: the digest that the cache gave the tag here, '' when it did not yet; the one
-- that the upstream has and whose blobs are still on their way, or ''; and when the upstream was asked last.
CREATE TABLE cached_tags (
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    tag           TEXT COLLATE "C" NOT NULL,
    digest        TEXT COLLATE "C" NOT NULL,
    arriving      TEXT COLLATE "C" NOT NULL,
    checked_at    BIGINT NOT NULL,
    PRIMARY KEY (repository_id, tag)
);

-- Manifests of an upstream whose blobs are still on their way. They are served, and become images when all is here.
CREATE TABLE cached_manifests (
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    digest        TEXT COLLATE "C" NOT NULL,
    media_type    TEXT NOT NULL,
    size          BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    manifest      BYTEA NOT NULL,
    PRIMARY KEY (repository_id, digest)
);

-- Secrets of the Secrets Manager API. deleted_at is when one was deleted and delete_at when it will be gone, 0 for never;
-- tags are a JSON object.
CREATE TABLE secrets (
    arn         TEXT COLLATE "C" PRIMARY KEY,
    account     TEXT COLLATE "C" NOT NULL,
    region      TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    description TEXT NOT NULL,
    kms_key     TEXT NOT NULL,
    tags        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    changed_at  BIGINT NOT NULL,
    accessed_at BIGINT NOT NULL,
    deleted_at  BIGINT NOT NULL,
    delete_at   BIGINT NOT NULL,
    UNIQUE (account, region, name)
);

-- Values of secrets, each sealed under a key of its own, which the master key or the secret's KMS key wraps. stages is a
-- JSON array.
CREATE TABLE secret_versions (
    arn         TEXT COLLATE "C" NOT NULL REFERENCES secrets (arn) ON DELETE CASCADE,
    id          TEXT COLLATE "C" NOT NULL,
    stages      TEXT NOT NULL,
    kms_key     TEXT NOT NULL,
    wrapped     BYTEA NOT NULL,
    value       BYTEA NOT NULL,
    created_at  BIGINT NOT NULL,
    accessed_at BIGINT NOT NULL,
    PRIMARY KEY (arn, id)
);

-- +goose Down
DROP TABLE secret_versions;
DROP TABLE secrets;
DROP TABLE cached_manifests;
DROP TABLE cached_tags;
