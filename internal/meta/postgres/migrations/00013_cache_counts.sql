-- +goose Up
-- What was done by each cache rule since it was made, and what its upstream said last of the pulls that it still answers:
-- limit_at is when, 0 for never, and limit_window its seconds.
CREATE TABLE cache_counts (
    account         TEXT COLLATE "C" NOT NULL,
    region          TEXT COLLATE "C" NOT NULL,
    prefix          TEXT COLLATE "C" NOT NULL,
    hits            BIGINT NOT NULL,
    misses          BIGINT NOT NULL,
    requests        BIGINT NOT NULL,
    fetched         BIGINT NOT NULL,
    fetched_bytes   BIGINT NOT NULL,
    served          BIGINT NOT NULL,
    served_bytes    BIGINT NOT NULL,
    failures        BIGINT NOT NULL,
    limit_pulls     BIGINT NOT NULL,
    limit_remaining BIGINT NOT NULL,
    limit_window    BIGINT NOT NULL,
    limit_at        BIGINT NOT NULL,
    PRIMARY KEY (account, region, prefix),
    FOREIGN KEY (account, region, prefix) REFERENCES cache_rules (account, region, prefix) ON DELETE CASCADE
);

-- +goose Down
DROP TABLE cache_counts;
