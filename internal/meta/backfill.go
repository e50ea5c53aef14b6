package meta

import "time"

// A Backfill is a replication of the images that a registry has already to one
// destination. One whose Status is BackfillPreparing waits for the replicator.
type Backfill struct {
	ID          string
	Scope       Scope // the source
	Destination Scope
	Status      string // ReplicationBackfillStatus of the ECR API
	FailureCode string
	Total       int64 // replications: pairs of image and tag
	Completed   int64
	Failed      int64
	StartedAt   time.Time
	EndedAt     time.Time // zero while it goes on
}

// Statuses of backfills that matter here.
const (
	BackfillPreparing = "PREPARING"
	BackfillStopped   = "STOPPED"
)

const backfillColumns = `id, account, region, destination_account, destination_region, status, failure_code, total_count,
	completed_count, failed_count, started_at, ended_at`

func scanBackfill(s scanner) (Backfill, error) {
	var (
		b              Backfill
		started, ended int64
	)
	err := s.Scan(&b.ID, &b.Scope.Account, &b.Scope.Region, &b.Destination.Account, &b.Destination.Region, &b.Status, &b.FailureCode,
		&b.Total, &b.Completed, &b.Failed, &started, &ended)
	b.StartedAt, b.EndedAt = fromMicros(started), fromMicros(ended)
	return b, err
}

// PutBackfill adds a backfill or replaces it.
func (tx *Tx) PutBackfill(b Backfill) error {
	return tx.exec(`INSERT INTO replication_backfills (`+backfillColumns+`) VALUES (`+placeholders(1, 12)+`)
		ON CONFLICT (id) DO UPDATE SET status = excluded.status, failure_code = excluded.failure_code,
		total_count = excluded.total_count, completed_count = excluded.completed_count, failed_count = excluded.failed_count,
		ended_at = excluded.ended_at`,
		b.ID, b.Scope.Account, b.Scope.Region, b.Destination.Account, b.Destination.Region, b.Status, b.FailureCode,
		b.Total, b.Completed, b.Failed, micros(b.StartedAt), micros(b.EndedAt))
}

// Backfill finds a backfill of a registry.
func (tx *Tx) Backfill(s Scope, id string) (Backfill, error) {
	return get(tx, scanBackfill, `SELECT `+backfillColumns+` FROM replication_backfills
		WHERE account = $1 AND region = $2 AND id = $3`, s.Account, s.Region, id)
}

// Backfills lists up to limit backfills of a registry, the newest first,
// starting after the one given; the zero one starts at the front.
func (tx *Tx) Backfills(s Scope, after Backfill, limit int) ([]Backfill, error) {
	where, args := "", []any{s.Account, s.Region, limit}
	if after.ID != "" {
		where = ` AND (started_at < $4 OR started_at = $4 AND id > $5)`
		args = append(args, micros(after.StartedAt), after.ID)
	}
	return list(tx, scanBackfill, `SELECT `+backfillColumns+` FROM replication_backfills
		WHERE account = $1 AND region = $2`+where+` ORDER BY started_at DESC, id LIMIT $3`, args...)
}

// RunningBackfills lists the backfills of a registry that have not ended.
func (tx *Tx) RunningBackfills(s Scope) ([]Backfill, error) {
	return list(tx, scanBackfill, `SELECT `+backfillColumns+` FROM replication_backfills
		WHERE account = $1 AND region = $2 AND ended_at = 0 ORDER BY started_at, id`, s.Account, s.Region)
}

// DeleteBackfills removes the backfills of a registry that ended before a time.
func (tx *Tx) DeleteBackfills(s Scope, before time.Time) error {
	return tx.exec(`DELETE FROM replication_backfills WHERE account = $1 AND region = $2 AND ended_at <> 0 AND ended_at < $3`,
		s.Account, s.Region, micros(before))
}
