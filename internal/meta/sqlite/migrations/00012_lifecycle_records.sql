-- +goose Up
-- What a run gave back: the bytes of blobs that no image needs any more. finished_at is 0 while a run goes on, and stays 0
-- when it was cut off.
ALTER TABLE lifecycle_runs ADD COLUMN freed INTEGER NOT NULL DEFAULT 0;

-- Whether a repository has images that are old enough for a rule.
CREATE INDEX images_by_push ON images (repository_id, pushed_at);

-- +goose Down
DROP INDEX images_by_push;
ALTER TABLE lifecycle_runs DROP COLUMN freed;
