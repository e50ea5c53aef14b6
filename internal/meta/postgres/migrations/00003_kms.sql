-- +goose Up
-- The built-in KMS. A key is known by its ARN. rotation_days is 0 when it is not rotated by itself; tags are a JSON object.
CREATE TABLE kms_keys (
    arn             TEXT COLLATE "C" PRIMARY KEY,
    account         TEXT COLLATE "C" NOT NULL,
    region          TEXT COLLATE "C" NOT NULL,
    key_id          TEXT COLLATE "C" NOT NULL,
    manager         TEXT NOT NULL,
    description     TEXT NOT NULL,
    key_usage       TEXT NOT NULL,
    key_spec        TEXT NOT NULL,
    state           TEXT NOT NULL,
    deletion_days   BIGINT NOT NULL,
    deletion_at     BIGINT NOT NULL,
    policy          TEXT NOT NULL,
    rotation_days   BIGINT NOT NULL,
    rotation_at     BIGINT NOT NULL,
    tags            TEXT NOT NULL,
    created_at      BIGINT NOT NULL
);
CREATE INDEX kms_keys_by_scope ON kms_keys (account, region, arn);
CREATE INDEX kms_keys_by_deletion ON kms_keys (deletion_at) WHERE deletion_at > 0;
CREATE INDEX kms_keys_by_rotation ON kms_keys (rotation_at) WHERE rotation_at > 0;

-- Material of keys, wrapped by the master key. The youngest of a key encrypts, all of them decrypt.
CREATE TABLE kms_key_versions (
    number     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         TEXT COLLATE "C" NOT NULL UNIQUE,
    arn        TEXT COLLATE "C" NOT NULL REFERENCES kms_keys (arn) ON DELETE CASCADE,
    rotation   TEXT NOT NULL,
    wrapped    BYTEA NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX kms_key_versions_by_key ON kms_key_versions (arn, number);

CREATE TABLE kms_aliases (
    account    TEXT COLLATE "C" NOT NULL,
    region     TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    arn        TEXT COLLATE "C" NOT NULL REFERENCES kms_keys (arn) ON DELETE CASCADE,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (account, region, name)
);
CREATE INDEX kms_aliases_by_key ON kms_aliases (arn, name);

-- +goose Down
DROP TABLE kms_aliases;
DROP TABLE kms_key_versions;
DROP TABLE kms_keys;
