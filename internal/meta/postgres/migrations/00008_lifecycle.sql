-- +goose Up
-- The last preview of a lifecycle policy for a repository. id is another one for each preview; status is IN_PROGRESS,
-- COMPLETE or FAILED.
CREATE TABLE lifecycle_previews (
    repository_id BIGINT PRIMARY KEY REFERENCES repositories (id) ON DELETE CASCADE,
    id            TEXT COLLATE "C" NOT NULL,
    policy        TEXT COLLATE "C" NOT NULL,
    status        TEXT COLLATE "C" NOT NULL,
    started_at    BIGINT NOT NULL,
    expiring      BIGINT NOT NULL,
    transitioning BIGINT NOT NULL
);

-- What a preview says of images, in the order of acting. tags is a JSON array, or '' for none.
CREATE TABLE lifecycle_preview_images (
    repository_id BIGINT NOT NULL REFERENCES lifecycle_previews (repository_id) ON DELETE CASCADE,
    position      BIGINT NOT NULL,
    digest        TEXT COLLATE "C" NOT NULL,
    tags          TEXT COLLATE "C" NOT NULL,
    pushed_at     BIGINT NOT NULL,
    action        TEXT COLLATE "C" NOT NULL,
    rule          BIGINT NOT NULL,
    storage_class TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (repository_id, position)
);
CREATE INDEX lifecycle_preview_images_by_digest ON lifecycle_preview_images (repository_id, digest);

-- Repositories whose lifecycle policy is to be evaluated, the longest ago first.
CREATE INDEX repositories_by_lifecycle ON repositories (lifecycle_evaluated_at, id) WHERE lifecycle <> '';

-- The last runs in which a policy did something. report is JSON: what happened to which image.
CREATE TABLE lifecycle_runs (
    id            BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    repository_id BIGINT NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    started_at    BIGINT NOT NULL,
    finished_at   BIGINT NOT NULL,
    policy        TEXT NOT NULL,
    expired       BIGINT NOT NULL,
    archived      BIGINT NOT NULL,
    failed        BIGINT NOT NULL,
    bytes         BIGINT NOT NULL,
    report        TEXT NOT NULL
);
CREATE INDEX lifecycle_runs_by_repository ON lifecycle_runs (repository_id, id);

-- +goose Down
DROP TABLE lifecycle_runs;
DROP INDEX repositories_by_lifecycle;
DROP TABLE lifecycle_preview_images;
DROP TABLE lifecycle_previews;
