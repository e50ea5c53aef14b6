-- +goose Up
-- Settings for repositories that are created because they are needed. encryption is '' when none was given;
-- resource_tags, mutability_filters and applied_for are JSON arrays, or '' for none.
CREATE TABLE creation_templates (
    account            TEXT COLLATE "C" NOT NULL,
    region             TEXT COLLATE "C" NOT NULL,
    prefix             TEXT COLLATE "C" NOT NULL,
    description        TEXT NOT NULL,
    encryption         TEXT NOT NULL,
    kms_key            TEXT NOT NULL,
    resource_tags      TEXT NOT NULL,
    mutability         TEXT NOT NULL,
    mutability_filters TEXT NOT NULL,
    policy             TEXT NOT NULL,
    lifecycle          TEXT NOT NULL,
    applied_for        TEXT NOT NULL,
    custom_role_arn    TEXT NOT NULL,
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL,
    PRIMARY KEY (account, region, prefix)
);

-- Storage classes. status is ACTIVE, ARCHIVED or ACTIVATING; archived_at and activated_at are the last times that an
-- image was archived and that it was back, 0 for never.
ALTER TABLE images ADD COLUMN status TEXT COLLATE "C" NOT NULL DEFAULT 'ACTIVE';
ALTER TABLE images ADD COLUMN archived_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE images ADD COLUMN activated_at BIGINT NOT NULL DEFAULT 0;
CREATE INDEX images_activating ON images (id) WHERE status = 'ACTIVATING';

-- The last scan of an image by each type of scanning, and the queue of what waits for a scanner (status PENDING).
-- reason is why it was asked for.
CREATE TABLE image_scans (
    image_id     BIGINT NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    scan_type    TEXT COLLATE "C" NOT NULL,
    status       TEXT COLLATE "C" NOT NULL,
    description  TEXT NOT NULL,
    reason       TEXT NOT NULL,
    requested_at BIGINT NOT NULL,
    PRIMARY KEY (image_id, scan_type)
);
CREATE INDEX image_scans_by_status ON image_scans (status, requested_at, image_id);

-- Replications of what is in a registry already, and the queue of those that wait (status PREPARING).
CREATE TABLE replication_backfills (
    id                  TEXT COLLATE "C" PRIMARY KEY,
    account             TEXT COLLATE "C" NOT NULL,
    region              TEXT COLLATE "C" NOT NULL,
    destination_account TEXT COLLATE "C" NOT NULL,
    destination_region  TEXT COLLATE "C" NOT NULL,
    status              TEXT COLLATE "C" NOT NULL,
    failure_code        TEXT NOT NULL,
    total_count         BIGINT NOT NULL,
    completed_count     BIGINT NOT NULL,
    failed_count        BIGINT NOT NULL,
    started_at          BIGINT NOT NULL,
    ended_at            BIGINT NOT NULL
);
CREATE INDEX replication_backfills_by_registry ON replication_backfills (account, region, started_at, id);

-- +goose Down
DROP TABLE replication_backfills;
DROP TABLE image_scans;
DROP INDEX images_activating;
ALTER TABLE images DROP COLUMN activated_at;
ALTER TABLE images DROP COLUMN archived_at;
ALTER TABLE images DROP COLUMN status;
DROP TABLE creation_templates;
