-- +goose Up
-- Where the bytes of blobs lie that only archived images list. packed is how many bytes the copy has, before it is sealed,
-- when it is compressed with zstd; 0: it is as it was pushed. cold: it lies in the second store. incompressible: it was
-- measured that compressing it saves too little.
ALTER TABLE blobs ADD COLUMN packed BIGINT NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN cold BIGINT NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN incompressible BIGINT NOT NULL DEFAULT 0;
ALTER TABLE trash ADD COLUMN cold BIGINT NOT NULL DEFAULT 0;
CREATE INDEX blobs_moved ON blobs (id) WHERE packed > 0 OR cold > 0;
CREATE INDEX images_archived ON images (id) WHERE status = 'ARCHIVED';

-- +goose Down
DROP INDEX images_archived;
DROP INDEX blobs_moved;
ALTER TABLE trash DROP COLUMN cold;
ALTER TABLE blobs DROP COLUMN incompressible;
ALTER TABLE blobs DROP COLUMN cold;
ALTER TABLE blobs DROP COLUMN packed;
