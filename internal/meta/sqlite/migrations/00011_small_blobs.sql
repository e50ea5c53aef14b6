-- +goose Up
-- The bytes of a small blob lie in its row, sealed as manifests are. Empty: they are in the blob store.
ALTER TABLE blobs ADD COLUMN sealed BLOB NOT NULL DEFAULT X'';

-- +goose Down
ALTER TABLE blobs DROP COLUMN sealed;
