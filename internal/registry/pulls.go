package registry

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"berth/internal/access"
	"berth/internal/meta"
)

// A pull is who pulled which image, from which registry.
type pull struct {
	scope meta.Scope
	by    string // ARN of the user, or of the role of a session
	image int64
}

// A pullLog gathers pulls until they are written down together.
type pullLog struct {
	mu   sync.Mutex
	seen map[pull]time.Time
}

func newPullLog() *pullLog { return &pullLog{seen: map[pull]time.Time{}} }

func (p *pullLog) note(at time.Time, one pull) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen[one] = at
}

// take empties the log.
func (p *pullLog) take() map[pull]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == 0 {
		return nil
	}
	taken := p.seen
	p.seen = make(map[pull]time.Time, len(taken))
	return taken
}

// giveBack returns pulls that could not be written down.
func (p *pullLog) giveBack(pulled map[pull]time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for one, at := range pulled {
		if _, later := p.seen[one]; !later {
			p.seen[one] = at
		}
	}
}

// RecordPull notes that a principal pulled an image of a registry now. It is
// written down within seconds, not at once: a pull never waits for the
// database. Whether the principal is excluded is decided then.
func (r *Registry) RecordPull(s meta.Scope, by access.Principal, imageID int64) {
	arn := by.ARN
	if by.Role != "" {
		arn = by.Role
	}
	r.pulls.note(r.now(), pull{s, arn, imageID})
}

func (r *Registry) flushPulls(ctx context.Context) {
	pulled := r.pulls.take()
	if len(pulled) == 0 {
		return
	}
	err := r.db.Update(ctx, func(tx *meta.Tx) error {
		last, err := countedPulls(tx, pulled)
		if err != nil {
			return err
		}
		// In one order, so that two servers do not wait for each other.
		ids := make([]int64, 0, len(last))
		for id := range last {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		for _, id := range ids {
			if err := tx.RecordPull(id, last[id]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.log.Error("record pulls", "count", len(pulled), "err", err)
		r.pulls.giveBack(pulled)
	}
}

// countedPulls gives each image the time of its last pull by somebody who is
// not excluded.
func countedPulls(tx *meta.Tx, pulled map[pull]time.Time) (map[int64]time.Time, error) {
	last, excluded := map[int64]time.Time{}, map[meta.Scope][]Exclusion{}
	for one, at := range pulled {
		list, known := excluded[one.scope]
		if !known {
			var err error
			if list, _, err = readSetting[[]Exclusion](tx, one.scope, exclusionsKind); err != nil {
				return nil, err
			}
			excluded[one.scope] = list
		}
		if _, out := findExclusion(list, one.by); !out && at.After(last[one.image]) {
			last[one.image] = at
		}
	}
	return last, nil
}

// An Exclusion is a user or a role whose pulls do not count as the last pull of
// an image (ECR User Guide, "Pull time update exclusions").
type Exclusion struct {
	ARN       string    `json:"arn"`
	CreatedAt time.Time `json:"createdAt"`
}

const exclusionsKind meta.SettingKind = "pull-time-exclusions"

// maxExclusions is a limit of ECR (API_RegisterPullTimeUpdateExclusion).
const maxExclusions = 100

// findExclusion finds a principal in a list in order of ARNs, or its place.
func findExclusion(list []Exclusion, arn string) (int, bool) {
	return slices.BinarySearchFunc(list, arn, func(e Exclusion, arn string) int { return strings.Compare(e.ARN, arn) })
}

// AddExclusion excludes a principal: its pulls of images of the registry leave
// the time of the last pull as it is. It begins with pulls not yet written
// down, which are those of the last seconds. Whether there is such a principal
// is not looked up.
func (r *Registry) AddExclusion(ctx context.Context, s meta.Scope, arn string) (e Exclusion, err error) {
	e = Exclusion{ARN: arn, CreatedAt: r.now().UTC()}
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		list, _, err := readSetting[[]Exclusion](tx, s, exclusionsKind)
		if err != nil {
			return err
		}
		i, found := findExclusion(list, arn)
		switch {
		case found:
			return refuse(ExclusionAlreadyExists, "The pull time update exclusion for the principal '%s' already exists in the registry with id '%s'", arn, s.Account)
		case len(list) >= maxExclusions:
			return refuse(LimitExceeded, "The registry with id '%s' has the maximum of %d pull time update exclusions", s.Account, maxExclusions)
		}
		return putSetting(tx, s, exclusionsKind, slices.Insert(list, i, e))
	})
	return e, err
}

// RemoveExclusion lets the pulls of a principal count again.
func (r *Registry) RemoveExclusion(ctx context.Context, s meta.Scope, arn string) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		list, _, err := readSetting[[]Exclusion](tx, s, exclusionsKind)
		if err != nil {
			return err
		}
		i, found := findExclusion(list, arn)
		if !found {
			return refuse(ExclusionNotFound, "The pull time update exclusion for the principal '%s' does not exist in the registry with id '%s'", arn, s.Account)
		}
		return putSetting(tx, s, exclusionsKind, slices.Delete(list, i, i+1))
	})
}

// Exclusions lists up to limit excluded principals in order of their ARNs,
// after the cursor. next is empty on the last page.
func (r *Registry) Exclusions(ctx context.Context, s meta.Scope, cursor string, limit int) (list []Exclusion, next string, err error) {
	const listing = "pull-time-exclusions"
	after, err := r.openNameCursor(listing, s, cursor)
	if err != nil {
		return nil, "", err
	}
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		list, _, err = readSetting[[]Exclusion](tx, s, exclusionsKind)
		return err
	})
	if err != nil {
		return nil, "", err
	}
	i, found := findExclusion(list, after)
	if found {
		i++
	}
	list = list[i:]
	if len(list) > limit {
		list = list[:limit]
		next, err = r.sealNameCursor(listing, s, list[limit-1].ARN)
	}
	return list, next, err
}
