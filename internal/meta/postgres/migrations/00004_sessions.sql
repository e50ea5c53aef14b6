-- +goose Up
-- Sessions come and go with every layer pushed, and there are few at a time: what looks through all of them reads the
-- table. Without an index on what changes, progress is kept in place (PostgreSQL, "Heap-Only Tuples").
DROP INDEX uploads_by_repository;
DROP INDEX uploads_by_progress;

-- +goose Down
CREATE INDEX uploads_by_repository ON uploads (repository_id);
CREATE INDEX uploads_by_progress ON uploads (updated_at);
