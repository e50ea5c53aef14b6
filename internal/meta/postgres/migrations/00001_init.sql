-- +goose Up
-- Names, tags, keys and digests sort by their bytes (COLLATE "C"), as in
-- SQLite: pages must not depend on the locale of the database.
CREATE TABLE settings (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE access_keys (
    id         TEXT COLLATE "C" PRIMARY KEY,
    account    TEXT NOT NULL,
    principal  TEXT COLLATE "C" NOT NULL,
    user_id    TEXT NOT NULL,
    secret     TEXT NOT NULL,
    active     SMALLINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX access_keys_by_principal ON access_keys (principal, created_at, id);

CREATE TABLE repositories (
    id                     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account                TEXT COLLATE "C" NOT NULL,
    region                 TEXT COLLATE "C" NOT NULL,
    name                   TEXT COLLATE "C" NOT NULL,
    created_at             BIGINT NOT NULL,
    mutability             TEXT NOT NULL,
    mutability_filters     TEXT NOT NULL,
    scan_on_push           SMALLINT NOT NULL,
    encryption             TEXT NOT NULL,
    kms_key                TEXT NOT NULL,
    policy                 TEXT NOT NULL,
    lifecycle              TEXT NOT NULL,
    lifecycle_evaluated_at BIGINT NOT NULL,
    UNIQUE (account, region, name)
);

CREATE TABLE repository_tags (
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    key           TEXT COLLATE "C" NOT NULL,
    value         TEXT NOT NULL,
    PRIMARY KEY (repository_id, key)
);

CREATE TABLE images (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    digest        TEXT COLLATE "C" NOT NULL,
    media_type    TEXT NOT NULL,
    artifact_type TEXT NOT NULL,
    subject       TEXT COLLATE "C" NOT NULL,
    size          BIGINT NOT NULL,
    manifest_size BIGINT NOT NULL,
    pushed_at     BIGINT NOT NULL,
    pulled_at     BIGINT NOT NULL,
    manifest      BYTEA NOT NULL,
    UNIQUE (repository_id, digest)
);
CREATE INDEX images_in_order ON images (repository_id, id);
CREATE INDEX images_by_subject ON images (repository_id, subject, id) WHERE subject <> '';

CREATE TABLE tags (
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    name          TEXT COLLATE "C" NOT NULL,
    image_id      BIGINT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    updated_at    BIGINT NOT NULL,
    PRIMARY KEY (repository_id, name)
);
CREATE INDEX tags_by_image ON tags (image_id, name);

-- What a manifest points at: its config and layers (blobs) or its children (manifests).
CREATE TABLE image_references (
    image_id      BIGINT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    kind          TEXT COLLATE "C" NOT NULL,
    digest        TEXT COLLATE "C" NOT NULL,
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    media_type    TEXT NOT NULL,
    PRIMARY KEY (image_id, kind, digest)
);
CREATE INDEX image_references_by_digest ON image_references (repository_id, digest, kind);

-- Bytes that exist. domain is what may share one copy: an account and its encryption key.
CREATE TABLE blobs (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    domain     TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    size       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    UNIQUE (digest, domain)
);

-- Membership: a repository serves a blob only through its own row.
-- leased_at is the last upload, mount or successful probe.
CREATE TABLE repository_blobs (
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    digest        TEXT COLLATE "C" NOT NULL,
    blob_id       BIGINT NOT NULL REFERENCES blobs (id),
    leased_at     BIGINT NOT NULL,
    PRIMARY KEY (repository_id, digest)
);
CREATE INDEX repository_blobs_by_blob ON repository_blobs (blob_id);

CREATE TABLE uploads (
    id            TEXT COLLATE "C" PRIMARY KEY,
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    algorithm     TEXT NOT NULL,
    size          BIGINT NOT NULL,
    last_part     BIGINT NOT NULL,
    hash_state    BYTEA NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX uploads_by_repository ON uploads (repository_id);

CREATE TABLE cache_rules (
    account             TEXT COLLATE "C" NOT NULL,
    region              TEXT COLLATE "C" NOT NULL,
    prefix              TEXT COLLATE "C" NOT NULL,
    upstream_url        TEXT NOT NULL,
    upstream_registry   TEXT NOT NULL,
    upstream_prefix     TEXT NOT NULL,
    credential_arn      TEXT NOT NULL,
    custom_role_arn     TEXT NOT NULL,
    created_at          BIGINT NOT NULL,
    updated_at          BIGINT NOT NULL,
    PRIMARY KEY (account, region, prefix)
);

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
