-- +goose Up
-- The bytes of a small blob lie in its row, sealed as manifests are. Empty: they are in the blob store.
ALTER TABLE blobs ADD COLUMN sealed BYTEA NOT NULL DEFAULT '';
-- What is sealed does not compress.
ALTER TABLE blobs ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- +goose Down
ALTER TABLE blobs DROP COLUMN sealed;
