package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"berth/internal/meta"
)

// runBatch bounds the images that one transaction of a run acts on, so that
// pushes never wait long.
const runBatch = 100

// maxReported bounds the images that the record of a run lists; it counts them all.
const maxReported = 1000

// A LifecycleEvent is what a run did with one image.
type LifecycleEvent struct {
	Digest string   `json:"digest"`
	Tags   []string `json:"tags,omitempty"`
	Rule   int      `json:"rule"` // its priority
	Action string   `json:"action"`
	// Failure is why nothing was done, in the words of BatchDeleteImage.
	Failure string `json:"failure,omitempty"`
}

// RunLifecycle applies the lifecycle policy of a repository now, and keeps a
// record of what it did. It acts in small transactions, each of which looks again
// whether the policy still stands and the image is still what was judged: one
// that was pushed again, tagged, restored or pulled meanwhile waits for the next
// run. A run that is cut off leaves nothing half done and a record of what it
// did, and the next one goes on. LifecyclePolicyNotFound: the repository has none.
func (r *Registry) RunLifecycle(ctx context.Context, s meta.Scope, name string) (meta.LifecycleRun, error) {
	return r.runLifecycle(ctx, s, name, func(*meta.Tx) error { return nil })
}

// runLifecycle is RunLifecycle with something that each of its transactions does first.
func (r *Registry) runLifecycle(ctx context.Context, s meta.Scope, name string, first func(*meta.Tx) error) (meta.LifecycleRun, error) {
	run := &lifecycleRun{Registry: r, first: first, done: tally{run: meta.LifecycleRun{StartedAt: r.now(), Report: "[]"}}}
	var plan lifecyclePlan
	err := r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		run.repositoryID, run.done.run.Policy = repo.ID, repo.Lifecycle
		policy, err := findLifecycle(repo)
		if err == nil {
			plan, err = planLifecycle(tx, repo.ID, policy, run.done.run.StartedAt)
		}
		return err
	})
	if err != nil {
		return meta.LifecycleRun{}, err
	}
	run.kept = plan.kept
	for _, a := range plan.hindered {
		run.done.note(outcome{act: a, failure: "ImageReferencedByManifestList"})
	}
	for _, batch := range plan.batches(runBatch) {
		if err := run.batch(ctx, batch); err != nil {
			return run.done.run, fmt.Errorf("apply the lifecycle policy of repository %s: %w", name, err)
		}
	}
	return run.finish(ctx)
}

// lifecycleRun is one run.
type lifecycleRun struct {
	*Registry
	first        func(*meta.Tx) error // what each transaction does first
	done         tally
	repositoryID int64
	kept         map[int][]meta.LifecycleAct // of the plan
	over         bool                        // the policy is not the repository's any more
}

// A tally is what a run did, as its record has it.
type tally struct {
	run    meta.LifecycleRun
	events []LifecycleEvent
	saved  int // how many of the events the record has
}

// note counts what happened to an image.
func (t *tally) note(o outcome) {
	switch {
	case o.failure != "":
		t.run.Failed++
	case o.act.Action == ActExpire:
		t.run.Expired++
		t.run.Bytes += o.size
		t.run.Freed += o.freed
	default:
		t.run.Archived++
	}
	if len(t.events) < maxReported {
		t.events = append(t.events, LifecycleEvent{Digest: o.act.Digest, Tags: o.act.Tags, Rule: o.act.Rule, Action: o.act.Action, Failure: o.failure})
	}
}

// save writes the record, of a run that did something.
func (t *tally) save(tx *meta.Tx, repositoryID int64) error {
	if t.run.Expired+t.run.Archived+t.run.Failed == 0 {
		return nil
	}
	report := "" // as it was
	if t.run.ID == 0 || len(t.events) > t.saved {
		text, err := json.Marshal(t.events)
		if err != nil {
			return err
		}
		report, t.run.Report, t.saved = string(text), string(text), len(t.events)
	}
	if t.run.ID == 0 {
		return tx.AddLifecycleRun(repositoryID, &t.run)
	}
	record := t.run
	record.Report = report
	return tx.SaveLifecycleRun(record)
}

// An outcome is what became of one act.
type outcome struct {
	act     meta.LifecycleAct
	size    int64
	freed   int64 // of the size, what no other image needs
	failure string
}

// batch acts on some images in one transaction, and writes what it did in the same.
func (l *lifecycleRun) batch(ctx context.Context, acts []meta.LifecycleAct) error {
	if l.over || ctx.Err() != nil {
		return ctx.Err()
	}
	var done tally
	err := l.db.Update(ctx, func(tx *meta.Tx) error {
		done, l.over = l.done, false
		if err := l.first(tx); err != nil {
			return err
		}
		repo, err := tx.RepositoryByID(l.repositoryID)
		if errors.Is(err, meta.ErrNotFound) || err == nil && repo.Lifecycle != done.run.Policy {
			l.over = true
			return nil
		}
		if err != nil {
			return err
		}
		shrunk := map[int]bool{} // rules that keep fewer images than they did, by their priorities
		for _, a := range acts {
			if _, known := shrunk[a.Rule]; !known {
				if shrunk[a.Rule], err = l.shrunk(tx, repo, a.Rule); err != nil {
					return err
				}
			}
			if shrunk[a.Rule] {
				continue
			}
			o := outcome{act: a}
			acted, err := l.act(tx, repo, &o)
			if err != nil {
				return err
			}
			if acted || o.failure != "" {
				done.note(o)
			}
		}
		return done.save(tx, l.repositoryID)
	})
	if err != nil {
		return err
	}
	l.done = done
	return nil
}

// shrunk tells whether an image that a rule keeps by its count was deleted, or
// changed so that the rule may not see it any more: then it may have to keep what
// it selected, and the next run sees to it.
func (l *lifecycleRun) shrunk(tx *meta.Tx, repo meta.Repository, rule int) (bool, error) {
	for _, k := range l.kept[rule] {
		img, err := tx.ImageByDigest(repo.ID, k.Digest)
		if errors.Is(err, meta.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		tags, err := tx.TagsOf(img.ID)
		if err != nil {
			return false, err
		}
		if img.Status != meta.ImageActive || !slices.Equal(tags, k.Tags) {
			return true, nil
		}
	}
	return false, nil
}

// act does to one image what its rule says, if it is as it was judged.
func (l *lifecycleRun) act(tx *meta.Tx, repo meta.Repository, o *outcome) (acted bool, err error) {
	img, err := tx.ImageByDigest(repo.ID, o.act.Digest)
	if errors.Is(err, meta.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	o.size = img.Size
	tags, err := tx.TagsOf(img.ID)
	if err != nil || !slices.Equal(tags, o.act.Tags) || l.changed(img, o.act) {
		return false, err
	}
	if stays, err := subjectStays(tx, img, o.act.Action); err != nil || stays {
		return false, err
	}
	if o.act.Action == ActTransition {
		var refused *Error
		err := l.archive(tx, repo, &img)
		if errors.As(err, &refused) {
			o.failure = refused.Message
			return false, nil
		}
		return err == nil, err
	}
	if o.freed, err = tx.BytesOnlyOf(img.ID); err != nil {
		return false, err
	}
	_, held, err := deleteRef(tx, repo, ImageRef{Digest: img.Digest}, l.now())
	if err == nil && held != nil {
		o.failure = held.Code
	}
	return err == nil && held == nil, err
}

// subjectStays tells whether an image that follows its subject must stay, because
// the subject did not go after all.
func subjectStays(tx *meta.Tx, img meta.Image, action string) (bool, error) {
	if img.Subject == "" {
		return false, nil
	}
	subject, err := tx.ImageByDigest(img.RepositoryID, img.Subject)
	if errors.Is(err, meta.ErrNotFound) {
		return false, nil
	}
	return err == nil && (action == ActExpire || subject.Status != meta.ImageArchived), err
}

// changed tells whether an image was pushed, pulled, archived or restored since
// it was judged.
func (l *lifecycleRun) changed(img meta.Image, a meta.LifecycleAct) bool {
	status := meta.ImageActive
	if a.StorageClass == StorageArchive {
		status = meta.ImageArchived
	}
	return img.Status != status || !img.PushedAt.Equal(a.PushedAt) ||
		!img.PulledAt.Before(l.done.run.StartedAt) || img.ActivatedAt.After(l.done.run.StartedAt) || img.ArchivedAt.After(l.done.run.StartedAt)
}

// finish ends the record, and keeps the time of the evaluation. A run that did
// nothing leaves no record but that.
func (l *lifecycleRun) finish(ctx context.Context) (meta.LifecycleRun, error) {
	var done tally
	err := l.db.Update(ctx, func(tx *meta.Tx) error {
		done = l.done
		done.run.FinishedAt = l.now()
		if _, err := tx.RepositoryByID(l.repositoryID); errors.Is(err, meta.ErrNotFound) {
			return nil // with its records
		} else if err != nil {
			return err
		}
		err := tx.LifecycleEvaluated(l.repositoryID, done.run.Policy, done.run.StartedAt)
		if err != nil && !errors.Is(err, meta.ErrNotFound) { // it has another policy
			return err
		}
		if err := done.again(tx, l.repositoryID); err != nil {
			return err
		}
		return done.save(tx, l.repositoryID)
	})
	return done.run, err
}

// again takes over the last record when that was of the same images that cannot
// go: they are hindered for as long as an index lists them, and would push what
// runs really did out of the records.
func (t *tally) again(tx *meta.Tx, repositoryID int64) error {
	if t.run.ID != 0 || t.run.Failed == 0 || t.run.Expired+t.run.Archived > 0 {
		return nil
	}
	runs, err := tx.LifecycleRuns(repositoryID)
	if err != nil || len(runs) == 0 {
		return err
	}
	report, err := json.Marshal(t.events)
	if last := runs[0]; last.Policy == t.run.Policy && last.Failed == t.run.Failed && last.Report == string(report) {
		t.run.ID, t.run.StartedAt, t.run.Report, t.saved = last.ID, last.StartedAt, last.Report, len(t.events)
	}
	return err
}

// LifecycleRuns lists the last runs in which the policy of a repository did
// something, the newest first.
func (r *Registry) LifecycleRuns(ctx context.Context, s meta.Scope, name string) (runs []meta.LifecycleRun, err error) {
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		runs, err = tx.LifecycleRuns(repo.ID)
		return err
	})
	return runs, err
}
