-- +goose Up
-- The outbox of events: a row is written in the transaction that it tells of. position is its place in the order of
-- commits, 0 until it was placed; digest is of the image that it is about, or ''; resources and detail are JSON.
CREATE TABLE events (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uuid       TEXT COLLATE "C" NOT NULL,
    position   BIGINT NOT NULL,
    account    TEXT COLLATE "C" NOT NULL,
    region     TEXT COLLATE "C" NOT NULL,
    source     TEXT COLLATE "C" NOT NULL,
    type       TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    at         BIGINT NOT NULL,
    resources  TEXT NOT NULL,
    detail     TEXT NOT NULL
);
CREATE INDEX events_fresh ON events (id) WHERE position = 0;
CREATE UNIQUE INDEX events_by_position ON events (position) WHERE position > 0;

-- What a sink has not got yet. subject is what its order is kept for: the events of one image. dead_at is when it was
-- given up, 0 while it is tried.
CREATE TABLE event_deliveries (
    sink      TEXT COLLATE "C" NOT NULL,
    position  BIGINT NOT NULL,
    event_id  BIGINT NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    subject   TEXT COLLATE "C" NOT NULL,
    queued_at BIGINT NOT NULL,
    attempts  BIGINT NOT NULL,
    next_at   BIGINT NOT NULL,
    error     TEXT NOT NULL,
    dead_at   BIGINT NOT NULL,
    PRIMARY KEY (sink, position)
);
CREATE INDEX event_deliveries_by_subject ON event_deliveries (sink, subject, position) WHERE dead_at = 0;
CREATE INDEX event_deliveries_by_event ON event_deliveries (event_id);

-- What a sink of findings was told of an image: JSON, compressed by gzip.
CREATE TABLE event_findings (
    sink       TEXT COLLATE "C" NOT NULL,
    account    TEXT COLLATE "C" NOT NULL,
    region     TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    findings   BYTEA NOT NULL,
    PRIMARY KEY (sink, account, region, repository, digest)
);

-- +goose Down
DROP TABLE event_findings;
DROP TABLE event_deliveries;
DROP TABLE events;
