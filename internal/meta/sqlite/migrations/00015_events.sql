-- +goose Up
-- The outbox of events: a row is written in the transaction that it tells of. position is its place in the order of
-- commits, 0 until it was placed; digest is of the image that it is about, or ''; resources and detail are JSON.
CREATE TABLE events (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid       TEXT NOT NULL,
    position   INTEGER NOT NULL,
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    source     TEXT NOT NULL,
    type       TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    at         INTEGER NOT NULL,
    resources  TEXT NOT NULL,
    detail     TEXT NOT NULL
);
CREATE INDEX events_fresh ON events (id) WHERE position = 0;
CREATE UNIQUE INDEX events_by_position ON events (position) WHERE position > 0;

-- What a sink has not got yet. subject is what its order is kept for: the events of one image. dead_at is when it was
-- given up, 0 while it is tried.
CREATE TABLE event_deliveries (
    sink      TEXT NOT NULL,
    position  INTEGER NOT NULL,
    event_id  INTEGER NOT NULL REFERENCES events (id) ON DELETE CASCADE,
    subject   TEXT NOT NULL,
    queued_at INTEGER NOT NULL,
    attempts  INTEGER NOT NULL,
    next_at   INTEGER NOT NULL,
    error     TEXT NOT NULL,
    dead_at   INTEGER NOT NULL,
    PRIMARY KEY (sink, position)
) WITHOUT ROWID;
CREATE INDEX event_deliveries_by_subject ON event_deliveries (sink, subject, position) WHERE dead_at = 0;
CREATE INDEX event_deliveries_by_event ON event_deliveries (event_id);

-- What a sink of findings was told of an image: JSON, compressed by gzip.
CREATE TABLE event_findings (
    sink       TEXT NOT NULL,
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    findings   BLOB NOT NULL,
    PRIMARY KEY (sink, account, region, repository, digest)
) WITHOUT ROWID;

-- +goose Down
DROP TABLE event_findings;
DROP TABLE event_deliveries;
DROP TABLE events;
