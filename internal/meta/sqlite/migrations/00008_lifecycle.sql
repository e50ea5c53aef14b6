-- +goose Up
-- The last preview of a lifecycle policy for a repository. id is another one for each preview; status is IN_PROGRESS,
-- COMPLETE or FAILED.
CREATE TABLE lifecycle_previews (
    repository_id INTEGER PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    id            TEXT NOT NULL,
    policy        TEXT NOT NULL,
    status        TEXT NOT NULL,
    started_at    INTEGER NOT NULL,
    expiring      INTEGER NOT NULL,
    transitioning INTEGER NOT NULL
);

-- What a preview says of images, in the order of acting. tags is a JSON array, or '' for none.
CREATE TABLE lifecycle_preview_images (
    repository_id INTEGER NOT NULL REFERENCES lifecycle_previews (repository_id) ON DELETE CASCADE,
    position      INTEGER NOT NULL,
    digest        TEXT NOT NULL,
    tags          TEXT NOT NULL,
    pushed_at     INTEGER NOT NULL,
    action        TEXT NOT NULL,
    rule          INTEGER NOT NULL,
    storage_class TEXT NOT NULL,
    PRIMARY KEY (repository_id, position)
) WITHOUT ROWID;
CREATE INDEX lifecycle_preview_images_by_digest ON lifecycle_preview_images (repository_id, digest);

-- Repositories whose lifecycle policy is to be evaluated, the longest ago first.
CREATE INDEX repositories_by_lifecycle ON repositories (lifecycle_evaluated_at, id) WHERE lifecycle <> '';

-- The last runs in which a policy did something. report is JSON: what happened to which image.
CREATE TABLE lifecycle_runs (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    repository_id INTEGER NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER NOT NULL,
    policy        TEXT NOT NULL,
    expired       INTEGER NOT NULL,
    archived      INTEGER NOT NULL,
    failed        INTEGER NOT NULL,
    bytes         INTEGER NOT NULL,
    report        TEXT NOT NULL
);
CREATE INDEX lifecycle_runs_by_repository ON lifecycle_runs (repository_id, id);

-- +goose Down
DROP TABLE lifecycle_runs;
DROP INDEX repositories_by_lifecycle;
DROP TABLE lifecycle_preview_images;
DROP TABLE lifecycle_previews;
