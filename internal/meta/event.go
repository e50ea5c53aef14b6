package meta

import (
	"time"
)

// An Event is something that happened to an image or a registry, in the outbox.
type Event struct {
	ID         int64
	UUID       string // the same in every delivery
	Position   int64  // place in the order of commits, from 1; 0 until it was placed
	Scope      Scope
	Source     string // "aws.ecr"
	Type       string // "ECR Image Action"
	Repository string // that it is about; empty for none
	Digest     string // of the image that it is about; empty for none
	At         time.Time
	Resources  string // JSON array
	Detail     string // JSON object
}

// Subject is what the order of events is kept for: those of one image, or those
// of a registry that are about no image.
func (e Event) Subject() string {
	return e.Scope.Account + "/" + e.Scope.Region + "/" + e.Repository + "@" + e.Digest
}

const eventColumns = `e.id, e.uuid, e.position, e.account, e.region, e.source, e.type, e.repository, e.digest, e.at, e.resources, e.detail`

func eventFields(e *Event, at *int64) []any {
	return []any{&e.ID, &e.UUID, &e.Position, &e.Scope.Account, &e.Scope.Region, &e.Source, &e.Type, &e.Repository, &e.Digest, at, &e.Resources, &e.Detail}
}

func scanEvent(s scanner) (e Event, err error) {
	var at int64
	err = s.Scan(eventFields(&e, &at)...)
	e.At = fromMicros(at)
	return e, err
}

// InsertEvent adds an event to the outbox.
func (tx *Tx) InsertEvent(e Event) error {
	return tx.exec(`INSERT INTO events (uuid, position, account, region, source, type, repository, digest, at, resources, detail)
		VALUES ($1, 0, $2, $3, $4, $5, $6, $7, $8, $9, $10)`,
		e.UUID, e.Scope.Account, e.Scope.Region, e.Source, e.Type, e.Repository, e.Digest, micros(e.At), e.Resources, e.Detail)
}

// HasFreshEvents tells whether an event was not placed yet.
func (tx *Tx) HasFreshEvents() (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM events WHERE position = 0)`)
}

// PlaceEvents gives up to limit events that were committed their places, in the
// order in which they were written, and queues each for the sinks. It returns how
// many there were.
//
// Places are given by one server at a time, so that who reads on from a place
// misses nothing: ids are given before a commit, and may appear out of order.
func (tx *Tx) PlaceEvents(sinks []string, now time.Time, limit int) (int, error) {
	fresh, err := list(tx, scanEvent, `SELECT `+eventColumns+` FROM events e WHERE e.position = 0 ORDER BY e.id LIMIT $1`, limit)
	if err != nil || len(fresh) == 0 {
		return 0, err
	}
	last, err := tx.LastEvent()
	if err != nil {
		return 0, err
	}
	for i, e := range fresh {
		position := last + int64(i) + 1
		if err := tx.exec(`UPDATE events SET position = $2 WHERE id = $1`, e.ID, position); err != nil {
			return 0, err
		}
		for _, sink := range sinks {
			err := tx.exec(`INSERT INTO event_deliveries (sink, position, event_id, subject, queued_at, attempts, next_at, error, dead_at)
				VALUES ($1, $2, $3, $4, $5, 0, 0, '', 0)`, sink, position, e.ID, e.Subject(), micros(now))
			if err != nil {
				return 0, err
			}
		}
	}
	return len(fresh), nil
}

// LastEvent is the highest place that an event has; 0 for none.
func (tx *Tx) LastEvent() (int64, error) {
	return get(tx, scanID, `SELECT COALESCE(MAX(position), 0) FROM events WHERE position > 0`)
}

// Events lists up to limit events of a registry after a place.
func (tx *Tx) Events(s Scope, after int64, limit int) ([]Event, error) {
	return list(tx, scanEvent, `SELECT `+eventColumns+` FROM events e
		WHERE e.position > $1 AND e.position > 0 AND e.account = $2 AND e.region = $3 ORDER BY e.position LIMIT $4`, after, s.Account, s.Region, limit)
}

// LatestEvents lists the newest limit events of a registry, the newest first.
func (tx *Tx) LatestEvents(s Scope, limit int) ([]Event, error) {
	return list(tx, scanEvent, `SELECT `+eventColumns+` FROM events e
		WHERE e.position > 0 AND e.account = $1 AND e.region = $2 ORDER BY e.position DESC LIMIT $3`, s.Account, s.Region, limit)
}

// A Delivery is an event on its way to a sink.
type Delivery struct {
	Event
	Sink     string
	Attempts int       // that failed
	Error    string    // of the last one
	DeadAt   time.Time // when it was given up; zero while it is tried
}

const deliveryColumns = eventColumns + `, d.sink, d.attempts, d.error, d.dead_at`

func scanDelivery(s scanner) (d Delivery, err error) {
	var at, dead int64
	err = s.Scan(append(eventFields(&d.Event, &at), &d.Sink, &d.Attempts, &d.Error, &dead)...)
	d.At, d.DeadAt = fromMicros(at), fromMicros(dead)
	return d, err
}

// isDue is the condition on deliveries d that are to be tried at $2 to the sink
// $1: of each subject only the first.
const isDue = `d.sink = $1 AND d.dead_at = 0 AND d.next_at <= $2 AND NOT EXISTS (SELECT 1 FROM event_deliveries o
	WHERE o.sink = d.sink AND o.subject = d.subject AND o.position < d.position AND o.dead_at = 0)`

// HasDueDeliveries tells whether something is to be delivered to a sink.
func (tx *Tx) HasDueDeliveries(sink string, now time.Time) (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM event_deliveries d WHERE `+isDue+`)`, sink, micros(now))
}

// DueDeliveries lists up to limit events that are to be delivered to a sink, the
// oldest first, and of each subject only one.
func (tx *Tx) DueDeliveries(sink string, now time.Time, limit int) ([]Delivery, error) {
	return list(tx, scanDelivery, `SELECT `+deliveryColumns+` FROM event_deliveries d JOIN events e ON e.id = d.event_id
		WHERE `+isDue+` ORDER BY d.position LIMIT $3`, sink, micros(now), limit)
}

// Delivered takes an event out of the queue of a sink.
func (tx *Tx) Delivered(sink string, position int64) error {
	return tx.exec(`DELETE FROM event_deliveries WHERE sink = $1 AND position = $2`, sink, position)
}

// PostponeDelivery notes a try that failed: the next one is at a time, unless
// dead is when it was given up.
func (tx *Tx) PostponeDelivery(sink string, position int64, next time.Time, failure string, dead time.Time) error {
	return tx.exec(`UPDATE event_deliveries SET attempts = attempts + 1, next_at = $3, error = $4, dead_at = $5
		WHERE sink = $1 AND position = $2`, sink, position, micros(next), failure, micros(dead))
}

// HurryDeliveries makes everything due that waits for its next try to a sink.
func (tx *Tx) HurryDeliveries(sink string) error {
	return tx.exec(`UPDATE event_deliveries SET next_at = 0 WHERE sink = $1 AND dead_at = 0 AND next_at > 0`, sink)
}

// BuryDeliveries gives up what was queued before a time.
func (tx *Tx) BuryDeliveries(before, now time.Time) (int64, error) {
	return tx.count(`UPDATE event_deliveries SET dead_at = $2 WHERE dead_at = 0 AND queued_at < $1`, micros(before), micros(now))
}

// DeadDeliveries lists up to limit deliveries of events of a registry that were
// given up, by sink and place, after one of them.
func (tx *Tx) DeadDeliveries(s Scope, afterSink string, after int64, limit int) ([]Delivery, error) {
	return list(tx, scanDelivery, `SELECT `+deliveryColumns+` FROM event_deliveries d JOIN events e ON e.id = d.event_id
		WHERE (d.sink, d.position) > ($1, $2) AND d.dead_at > 0 AND e.account = $3 AND e.region = $4
		ORDER BY d.sink, d.position LIMIT $5`, afterSink, after, s.Account, s.Region, limit)
}

// RetryDeadDeliveries queues again what was given up of the events of a registry.
func (tx *Tx) RetryDeadDeliveries(s Scope, now time.Time) (int64, error) {
	return tx.count(`UPDATE event_deliveries SET dead_at = 0, attempts = 0, next_at = 0, queued_at = $3
		WHERE dead_at > 0 AND event_id IN (SELECT id FROM events WHERE account = $1 AND region = $2)`, s.Account, s.Region, micros(now))
}

// DeleteEvents deletes those of the oldest limit events that are of before a
// time. lost counts the deliveries that went with them. The last event stays,
// since places are counted on from it.
func (tx *Tx) DeleteEvents(before time.Time, limit int) (deleted, lost int64, err error) {
	oldest, err := list(tx, scanEvent, `SELECT `+eventColumns+` FROM events e
		WHERE e.position > 0 AND e.position < (SELECT MAX(position) FROM events WHERE position > 0) ORDER BY e.position LIMIT $1`, limit)
	if err != nil {
		return 0, 0, err
	}
	for _, e := range oldest {
		if !e.At.Before(before) {
			break
		}
		n, err := tx.count(`DELETE FROM event_deliveries WHERE event_id = $1`, e.ID)
		if err == nil {
			err = tx.one(`DELETE FROM events WHERE id = $1`, e.ID)
		}
		if err != nil {
			return 0, 0, err
		}
		deleted, lost = deleted+1, lost+n
	}
	return deleted, lost, nil
}

// count runs a statement and counts the rows that it touched.
func (tx *Tx) count(query string, args ...any) (int64, error) {
	if err := storable(args); err != nil {
		return 0, err
	}
	res, err := tx.q.Exec(query, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// ReportedFindings reads what a sink was told of an image; nil for nothing.
func (tx *Tx) ReportedFindings(sink string, e Event) ([]byte, error) {
	found, err := list(tx, scanBytes, `SELECT findings FROM event_findings
		WHERE sink = $1 AND account = $2 AND region = $3 AND repository = $4 AND digest = $5`,
		sink, e.Scope.Account, e.Scope.Region, e.Repository, e.Digest)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0], nil
}

// PutReportedFindings keeps what a sink was told of an image; nil for nothing.
func (tx *Tx) PutReportedFindings(sink string, e Event, findings []byte) error {
	if findings == nil {
		return tx.exec(`DELETE FROM event_findings WHERE sink = $1 AND account = $2 AND region = $3 AND repository = $4 AND digest = $5`,
			sink, e.Scope.Account, e.Scope.Region, e.Repository, e.Digest)
	}
	return tx.exec(`INSERT INTO event_findings (sink, account, region, repository, digest, findings) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (sink, account, region, repository, digest) DO UPDATE SET findings = excluded.findings`,
		sink, e.Scope.Account, e.Scope.Region, e.Repository, e.Digest, findings)
}
