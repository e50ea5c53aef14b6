package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

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
// run. A run that is cut off leaves nothing half done, and the next one goes on.
// LifecyclePolicyNotFound: the repository has none.
func (r *Registry) RunLifecycle(ctx context.Context, s meta.Scope, name string) (meta.LifecycleRun, error) {
	run := &lifecycleRun{Registry: r, meta: meta.LifecycleRun{StartedAt: r.now()}}
	var plan lifecyclePlan
	err := r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		run.repositoryID, run.meta.Policy = repo.ID, repo.Lifecycle
		policy, err := findLifecycle(repo)
		if err == nil {
			plan, err = planLifecycle(tx, repo.ID, policy, run.meta.StartedAt)
		}
		return err
	})
	if err != nil {
		return meta.LifecycleRun{}, err
	}
	run.kept = plan.kept
	for _, a := range plan.hindered {
		run.note(a, 0, "ImageReferencedByManifestList")
	}
	for _, batch := range plan.batches(runBatch) {
		if err := run.batch(ctx, batch); err != nil {
			return run.meta, fmt.Errorf("apply the lifecycle policy of repository %s: %w", name, err)
		}
	}
	return run.finish(ctx)
}

// lifecycleRun is one run.
type lifecycleRun struct {
	*Registry
	meta         meta.LifecycleRun
	repositoryID int64
	events       []LifecycleEvent
	kept         map[int][]meta.LifecycleAct // of the plan
	over         bool                        // the policy is not the repository's any more
}

// note counts what happened to an image of a size.
func (l *lifecycleRun) note(a meta.LifecycleAct, size int64, failure string) {
	switch {
	case failure != "":
		l.meta.Failed++
	case a.Action == ActExpire:
		l.meta.Expired++
		l.meta.Bytes += size
	default:
		l.meta.Archived++
	}
	if len(l.events) < maxReported {
		l.events = append(l.events, LifecycleEvent{Digest: a.Digest, Tags: a.Tags, Rule: a.Rule, Action: a.Action, Failure: failure})
	}
}

// An outcome is what became of one act.
type outcome struct {
	act     meta.LifecycleAct
	size    int64
	failure string
}

// batch acts on some images in one transaction.
func (l *lifecycleRun) batch(ctx context.Context, acts []meta.LifecycleAct) error {
	if l.over || ctx.Err() != nil {
		return ctx.Err()
	}
	var outcomes []outcome
	err := l.db.Update(ctx, func(tx *meta.Tx) error {
		outcomes, l.over = nil, false
		repo, err := tx.RepositoryByID(l.repositoryID)
		if errors.Is(err, meta.ErrNotFound) || err == nil && repo.Lifecycle != l.meta.Policy {
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
				outcomes = append(outcomes, o)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		l.note(o.act, o.size, o.failure)
	}
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
	_, held, err := deleteRef(tx, repo, ImageRef{Digest: img.Digest})
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
		!img.PulledAt.Before(l.meta.StartedAt) || img.ActivatedAt.After(l.meta.StartedAt) || img.ArchivedAt.After(l.meta.StartedAt)
}

// finish keeps the record, and the time of the evaluation. A run that did nothing
// leaves no record but that.
func (l *lifecycleRun) finish(ctx context.Context) (meta.LifecycleRun, error) {
	l.meta.FinishedAt = l.now()
	report, err := json.Marshal(l.events)
	if err != nil {
		return l.meta, err
	}
	l.meta.Report = string(report)
	err = l.db.Update(ctx, func(tx *meta.Tx) error {
		err := tx.LifecycleEvaluated(l.repositoryID, l.meta.Policy, l.meta.StartedAt)
		if errors.Is(err, meta.ErrNotFound) { // gone, or it has another policy
			return nil
		}
		if err != nil || l.meta.Expired+l.meta.Archived+l.meta.Failed == 0 {
			return err
		}
		return tx.AddLifecycleRun(l.repositoryID, l.meta)
	})
	return l.meta, err
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

// lifecycleClaim is the claim of the server that runs lifecycle policies, and
// how long it may be silent before another takes over.
const (
	lifecycleClaim    = "lifecycle"
	lifecycleClaimFor = 5 * time.Minute
)

// SweepLifecycles applies the lifecycle policies of all repositories that were
// not evaluated for an interval. One of many servers does that at a time; a
// repository whose policy cannot be applied does not keep others from theirs.
func (r *Registry) SweepLifecycles(ctx context.Context, interval time.Duration) error {
	holder := uuid.NewString()
	begun := r.now()
	defer func() {
		err := r.db.Update(context.WithoutCancel(ctx), func(tx *meta.Tx) error { return tx.Release(lifecycleClaim, holder) })
		if err != nil {
			r.log.Error("give back the claim on lifecycle policies", "err", err)
		}
	}()
	tried := map[int64]bool{}
	for {
		var due []meta.Repository
		mine := false
		err := r.db.Update(ctx, func(tx *meta.Tx) (err error) {
			now := r.now()
			if mine, err = tx.Claim(lifecycleClaim, holder, now, now.Add(lifecycleClaimFor)); err != nil || !mine {
				return err
			}
			due, err = tx.DueLifecycles(begun.Add(-interval), len(tried)+1)
			return err
		})
		if err != nil || !mine {
			return err
		}
		due = slices.DeleteFunc(due, func(repo meta.Repository) bool { return tried[repo.ID] })
		if len(due) == 0 {
			return nil
		}
		for _, repo := range due {
			run, err := r.RunLifecycle(ctx, repo.Scope, repo.Name)
			switch {
			case ctx.Err() != nil:
				return nil
			case Is(err, LifecyclePolicyNotFound), Is(err, RepositoryNotFound):
			case err != nil:
				tried[repo.ID] = true
				r.log.Error("apply a lifecycle policy", "repository", repo.Name, "account", repo.Scope.Account, "region", repo.Scope.Region, "err", err)
			case run.Expired+run.Archived+run.Failed > 0:
				r.log.Info("applied a lifecycle policy", "repository", repo.Name, "account", repo.Scope.Account, "region", repo.Scope.Region,
					"expired", run.Expired, "archived", run.Archived, "failed", run.Failed)
			}
		}
	}
}
