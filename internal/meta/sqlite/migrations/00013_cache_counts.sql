-- +goose Up
-- What was done by each cache rule since it was made, and what its upstream said last of the pulls that it still answers:
-- limit_at is when, 0 for never, and limit_window its seconds.
CREATE TABLE cache_counts (
    account         TEXT NOT NULL,
    region          TEXT NOT NULL,
    prefix          TEXT NOT NULL,
    hits            INTEGER NOT NULL,
    misses          INTEGER NOT NULL,
    requests        INTEGER NOT NULL,
    fetched         INTEGER NOT NULL,
    fetched_bytes   INTEGER NOT NULL,
    served          INTEGER NOT NULL,
    served_bytes    INTEGER NOT NULL,
    failures        INTEGER NOT NULL,
    limit_pulls     INTEGER NOT NULL,
    limit_remaining INTEGER NOT NULL,
    limit_window    INTEGER NOT NULL,
    limit_at        INTEGER NOT NULL,
    PRIMARY KEY (account, region, prefix),
    FOREIGN KEY (account, region, prefix) REFERENCES cache_rules (account, region, prefix) ON DELETE CASCADE
) WITHOUT ROWID;

-- +goose Down
DROP TABLE cache_counts;
