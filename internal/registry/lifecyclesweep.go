package registry

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"berth/internal/lifecycle"
	"berth/internal/meta"
)

// lifecycleClaim is the claim of the server that runs lifecycle policies, and
// how long it may be silent before another takes over.
const (
	lifecycleClaim    = "lifecycle"
	lifecycleClaimFor = 5 * time.Minute
)

// sweepPage is how many repositories a sweep looks at in one transaction.
const sweepPage = 200

// errClaimed says that another server has the claim.
var errClaimed = errors.New("another server does that")

// SweepLifecycles applies the lifecycle policies of all repositories that were
// not evaluated for an interval. Of a repository where nothing can be due it
// reads no image, only indexes. One of many servers does that at a time, and says
// with each transaction that it still does; a repository whose policy cannot be
// applied does not keep others from theirs.
func (r *Registry) SweepLifecycles(ctx context.Context, interval time.Duration) error {
	w := &sweep{Registry: r, holder: uuid.NewString(), before: r.now().Add(-interval), failed: map[int64]bool{}}
	defer func() {
		err := r.db.Update(context.WithoutCancel(ctx), func(tx *meta.Tx) error { return tx.Release(lifecycleClaim, w.holder) })
		if err != nil {
			r.log.Error("give back the claim on lifecycle policies", "err", err)
		}
	}()
	for {
		due, err := w.due(ctx)
		if err == nil && len(due) > 0 {
			due, err = w.skipIdle(ctx, due)
		}
		for _, repo := range due {
			if err == nil {
				err = w.run(ctx, repo)
			}
		}
		if errors.Is(err, errClaimed) || ctx.Err() != nil {
			return nil
		}
		if err != nil || w.done {
			return err
		}
	}
}

// A sweep is one round over all repositories.
type sweep struct {
	*Registry
	holder string         // of the claim
	before time.Time      // what was evaluated since is not due
	failed map[int64]bool // repositories
	done   bool           // nothing more is due
}

// claim says that this server sweeps.
func (w *sweep) claim(tx *meta.Tx) error {
	now := w.now()
	mine, err := tx.Claim(lifecycleClaim, w.holder, now, now.Add(lifecycleClaimFor))
	if err == nil && !mine {
		err = errClaimed
	}
	return err
}

// due lists some repositories to look at.
func (w *sweep) due(ctx context.Context) (due []meta.Repository, err error) {
	err = w.db.Update(ctx, func(tx *meta.Tx) error {
		if err := w.claim(tx); err != nil {
			return err
		}
		due, err = tx.DueLifecycles(w.before, len(w.failed)+sweepPage)
		return err
	})
	due = slices.DeleteFunc(due, func(repo meta.Repository) bool { return w.failed[repo.ID] })
	w.done = len(due) == 0
	return due, err
}

// skipIdle notes as evaluated where nothing can be due, and gives the rest.
func (w *sweep) skipIdle(ctx context.Context, due []meta.Repository) (busy []meta.Repository, err error) {
	at := w.now()
	var idle []meta.Repository
	err = w.db.View(ctx, func(tx *meta.Tx) error {
		busy, idle = nil, nil
		for _, repo := range due {
			rests, err := nothingDue(tx, repo, at)
			switch {
			case err != nil:
				return err
			case rests:
				idle = append(idle, repo)
			default:
				busy = append(busy, repo)
			}
		}
		return nil
	})
	if err != nil || len(idle) == 0 {
		return busy, err
	}
	return busy, w.db.Update(ctx, func(tx *meta.Tx) error {
		if err := w.claim(tx); err != nil {
			return err
		}
		for _, repo := range idle {
			if err := tx.LifecycleEvaluated(repo.ID, repo.Lifecycle, at); err != nil && !errors.Is(err, meta.ErrNotFound) {
				return err
			}
		}
		return nil
	})
}

// nothingDue tells from indexes that a policy acts on nothing. A policy that
// cannot be read is left to the run, which says so.
func nothingDue(tx *meta.Tx, repo meta.Repository, now time.Time) (bool, error) {
	policy, err := findLifecycle(repo)
	if err != nil {
		return false, nil
	}
	filters := map[lifecycle.TagStatus]meta.TagFilter{lifecycle.Tagged: meta.Tagged, lifecycle.Untagged: meta.Untagged, lifecycle.Any: meta.AnyTag}
	for _, need := range policy.Needs(now) {
		var met bool
		if need.PushedBefore.IsZero() {
			met, err = tx.MoreImagesThan(repo.ID, filters[need.Tags], need.MoreThan)
		} else {
			met, err = tx.AnyPushedBefore(repo.ID, filters[need.Tags], need.PushedBefore)
		}
		if met || err != nil {
			return false, err
		}
	}
	return true, nil
}

// run applies the policy of one repository.
func (w *sweep) run(ctx context.Context, repo meta.Repository) error {
	run, err := w.runLifecycle(ctx, repo.Scope, repo.Name, w.claim)
	switch {
	case ctx.Err() != nil, errors.Is(err, errClaimed):
		return err
	case Is(err, LifecyclePolicyNotFound), Is(err, RepositoryNotFound):
	case err != nil:
		w.failed[repo.ID] = true
		w.log.Error("apply a lifecycle policy", "repository", repo.Name, "account", repo.Scope.Account, "region", repo.Scope.Region, "err", err)
	case run.Expired+run.Archived+run.Failed > 0:
		w.log.Info("applied a lifecycle policy", "repository", repo.Name, "account", repo.Scope.Account, "region", repo.Scope.Region,
			"expired", run.Expired, "archived", run.Archived, "failed", run.Failed, "freed", run.Freed)
	}
	return nil
}
