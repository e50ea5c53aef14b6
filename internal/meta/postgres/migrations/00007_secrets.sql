-- +goose Up
-- Secrets of access keys, encrypted. The program seals those that are in the column secret when it starts; from then on
-- that column is empty.
ALTER TABLE access_keys ADD COLUMN sealed BYTEA NOT NULL DEFAULT ''::bytea;

-- +goose Down
ALTER TABLE access_keys DROP COLUMN sealed;
