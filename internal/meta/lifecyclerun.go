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

// AnyPushedBefore reports whether a repository has an image of a filter that was
// pushed before a time. It reads indexes only.
func (tx *Tx) AnyPushedBefore(repositoryID int64, f TagFilter, before time.Time) (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM images i WHERE i.repository_id = $1 AND i.pushed_at < $2`+f.where()+`)`,
		repositoryID, micros(before))
}

// MoreImagesThan reports whether a repository has more images of a filter than a
// number. It reads indexes only, and no more of them than it has to.
func (tx *Tx) MoreImagesThan(repositoryID int64, f TagFilter, n int) (bool, error) {
	return get(tx, scanBool, `SELECT EXISTS (SELECT 1 FROM images i WHERE i.repository_id = $1`+f.where()+` LIMIT 1 OFFSET $2)`,
		repositoryID, n)
}

// A LifecycleRun is what one run of a policy did so far.
type LifecycleRun struct {
	ID         int64
	StartedAt  time.Time
	FinishedAt time.Time // zero: it goes on, or was cut off
	Policy     string
	Expired    int
	Archived   int
	Failed     int
	Bytes      int64  // of the images that expired, shared layers counted for each
	Freed      int64  // of them, those that no image needs any more: collection gives them back
	Report     string // JSON: what happened to which image
}

// maxLifecycleRuns is how many runs of a repository are remembered.
const maxLifecycleRuns = 20

// AddLifecycleRun begins the record of a run and sets its ID, and forgets old ones.
func (tx *Tx) AddLifecycleRun(repositoryID int64, r *LifecycleRun) (err error) {
	r.ID, err = tx.insert(`INSERT INTO lifecycle_runs (repository_id, started_at, finished_at, policy, expired, archived, failed, bytes, freed, report)
		VALUES (`+placeholders(1, 10)+`) RETURNING id`, repositoryID, micros(r.StartedAt), micros(r.FinishedAt), r.Policy,
		r.Expired, r.Archived, r.Failed, r.Bytes, r.Freed, r.Report)
	if err != nil {
		return err
	}
	return tx.exec(`DELETE FROM lifecycle_runs WHERE repository_id = $1 AND id NOT IN
		(SELECT id FROM lifecycle_runs WHERE repository_id = $1 AND id <= $2 ORDER BY id DESC LIMIT $3)`, repositoryID, r.ID, maxLifecycleRuns)
}

// SaveLifecycleRun writes how far a run is by now; an empty report leaves the one
// before. A record that is gone, with its repository or because others came
// after it, is no error.
func (tx *Tx) SaveLifecycleRun(r LifecycleRun) error {
	return tx.exec(`UPDATE lifecycle_runs SET finished_at = $2, expired = $3, archived = $4, failed = $5, bytes = $6, freed = $7,
		report = COALESCE(NULLIF($8, ''), report) WHERE id = $1`,
		r.ID, micros(r.FinishedAt), r.Expired, r.Archived, r.Failed, r.Bytes, r.Freed, r.Report)
}

// LifecycleRuns lists the runs that are remembered of a repository, the last one first.
func (tx *Tx) LifecycleRuns(repositoryID int64) ([]LifecycleRun, error) {
	return list(tx, func(s scanner) (r LifecycleRun, err error) {
		var started, finished int64
		err = s.Scan(&r.ID, &started, &finished, &r.Policy, &r.Expired, &r.Archived, &r.Failed, &r.Bytes, &r.Freed, &r.Report)
		r.StartedAt, r.FinishedAt = fromMicros(started), fromMicros(finished)
		return r, err
	}, `SELECT id, started_at, finished_at, policy, expired, archived, failed, bytes, freed, report FROM lifecycle_runs
		WHERE repository_id = $1 ORDER BY id DESC`, repositoryID)
}

// BytesOnlyOf adds up the blobs that an image lists and no other image does, in
// no repository that shares copies with this one: what its end gives back.
func (tx *Tx) BytesOnlyOf(imageID int64) (int64, error) {
	return get(tx, func(s scanner) (n int64, err error) { return n, s.Scan(&n) }, `SELECT CAST(COALESCE(SUM(b.size), 0) AS BIGINT) FROM image_references r
		JOIN repository_blobs m ON m.repository_id = r.repository_id AND m.digest = r.digest JOIN blobs b ON b.id = m.blob_id
		WHERE r.image_id = $1 AND r.kind = 'blob' AND NOT EXISTS (
			SELECT 1 FROM repository_blobs o JOIN image_references u ON u.repository_id = o.repository_id AND u.digest = o.digest AND u.kind = 'blob'
			WHERE o.blob_id = m.blob_id AND u.image_id <> $1)`, imageID)
}
