package meta

import "time"

// DueLifecycles lists up to limit repositories with a lifecycle policy that was
// not evaluated since a time, the longest ago first.
func (tx *Tx) DueLifecycles(before time.Time, limit int) ([]Repository, error) {
	return list(tx, scanRepository, `SELECT `+repositoryColumns+` FROM repositories
		WHERE lifecycle <> '' AND lifecycle_evaluated_at < $1 ORDER BY lifecycle_evaluated_at, id LIMIT $2`, micros(before), limit)
}

// LifecycleEvaluated notes when a policy was evaluated. ErrNotFound: the
// repository is gone, or has another policy by now.
func (tx *Tx) LifecycleEvaluated(repositoryID int64, policy string, at time.Time) error {
	return tx.one(`UPDATE repositories SET lifecycle_evaluated_at = $3 WHERE id = $1 AND lifecycle = $2`, repositoryID, policy, micros(at))
}

// A LifecycleRun is what one run of a policy did.
type LifecycleRun struct {
	ID         int64
	StartedAt  time.Time
	FinishedAt time.Time
	Policy     string
	Expired    int
	Archived   int
	Failed     int
	Bytes      int64  // of the images that expired, shared layers counted for each
	Report     string // JSON: what happened to which image
}

// maxLifecycleRuns is how many runs of a repository are remembered.
const maxLifecycleRuns = 20

// AddLifecycleRun keeps the record of a run, and forgets old ones.
func (tx *Tx) AddLifecycleRun(repositoryID int64, r LifecycleRun) error {
	id, err := tx.insert(`INSERT INTO lifecycle_runs (repository_id, started_at, finished_at, policy, expired, archived, failed, bytes, report)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id`, repositoryID, micros(r.StartedAt), micros(r.FinishedAt), r.Policy,
		r.Expired, r.Archived, r.Failed, r.Bytes, r.Report)
	if err != nil {
		return err
	}
	return tx.exec(`DELETE FROM lifecycle_runs WHERE repository_id = $1 AND id NOT IN
		(SELECT id FROM lifecycle_runs WHERE repository_id = $1 AND id <= $2 ORDER BY id DESC LIMIT $3)`, repositoryID, id, maxLifecycleRuns)
}

// LifecycleRuns lists the runs that are remembered of a repository, the last one first.
func (tx *Tx) LifecycleRuns(repositoryID int64) ([]LifecycleRun, error) {
	return list(tx, func(s scanner) (r LifecycleRun, err error) {
		var started, finished int64
		err = s.Scan(&r.ID, &started, &finished, &r.Policy, &r.Expired, &r.Archived, &r.Failed, &r.Bytes, &r.Report)
		r.StartedAt, r.FinishedAt = fromMicros(started), fromMicros(finished)
		return r, err
	}, `SELECT id, started_at, finished_at, policy, expired, archived, failed, bytes, report FROM lifecycle_runs
		WHERE repository_id = $1 ORDER BY id DESC`, repositoryID)
}
