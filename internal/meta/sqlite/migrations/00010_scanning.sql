-- +goose Up
-- Scans: when one ended, as of which advisories it found what it found (source_updated_at), how much of each severity
-- (counts, a JSON object), how often it was tried, and until when a server works on it (IN_PROGRESS, claimed_until).
ALTER TABLE image_scans ADD COLUMN completed_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE image_scans ADD COLUMN source_updated_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE image_scans ADD COLUMN counts TEXT NOT NULL DEFAULT '';
ALTER TABLE image_scans ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE image_scans ADD COLUMN claimed_until INTEGER NOT NULL DEFAULT 0;

-- What a scan found: a JSON array, compressed by gzip.
CREATE TABLE image_scan_findings (
    image_id  INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    scan_type TEXT NOT NULL,
    findings  BLOB NOT NULL,
    PRIMARY KEY (image_id, scan_type)
) WITHOUT ROWID;

-- What is installed in an image: a JSON document, compressed by gzip; and which packages that are, so that a new
-- advisory finds the images that it may be about. ecosystem is without the release.
CREATE TABLE image_inventories (
    image_id  INTEGER PRIMARY KEY REFERENCES images (id) ON DELETE CASCADE,
    inventory BLOB NOT NULL,
    read_at   INTEGER NOT NULL
);
CREATE TABLE image_packages (
    ecosystem TEXT NOT NULL,
    package   TEXT NOT NULL,
    image_id  INTEGER NOT NULL REFERENCES images (id) ON DELETE CASCADE,
    PRIMARY KEY (ecosystem, package, image_id)
) WITHOUT ROWID;
CREATE INDEX image_packages_by_image ON image_packages (image_id);

-- Advisories. A set is those of one ecosystem at one time: LOADING while it is written, then ACTIVE in place of the one
-- before, which is deleted. body is the JSON of an OSV record as far as it is about the package.
CREATE TABLE advisory_sets (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    ecosystem  TEXT NOT NULL,
    state      TEXT NOT NULL,
    source     TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    loaded_at  INTEGER NOT NULL,
    records    INTEGER NOT NULL
);
CREATE UNIQUE INDEX advisory_sets_active ON advisory_sets (ecosystem) WHERE state = 'ACTIVE';
CREATE TABLE advisories (
    set_id  INTEGER NOT NULL REFERENCES advisory_sets (id) ON DELETE CASCADE,
    package TEXT NOT NULL,
    id      TEXT NOT NULL,
    body    BLOB NOT NULL,
    PRIMARY KEY (set_id, package, id)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE advisories;
DROP TABLE advisory_sets;
DROP TABLE image_packages;
DROP TABLE image_inventories;
DROP TABLE image_scan_findings;
ALTER TABLE image_scans DROP COLUMN claimed_until;
ALTER TABLE image_scans DROP COLUMN attempts;
ALTER TABLE image_scans DROP COLUMN counts;
ALTER TABLE image_scans DROP COLUMN source_updated_at;
ALTER TABLE image_scans DROP COLUMN completed_at;
