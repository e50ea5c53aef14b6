package registry

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"berth/internal/meta"
)

// Times of previews. AWS does not publish its own.
const (
	previewLifetime = 24 * time.Hour   // after it a preview is EXPIRED: its answer may be wrong by now
	previewPatience = 10 * time.Minute // after it one that is not complete was cut off, and has FAILED
	previewBatch    = 500              // images that one transaction writes
)

// StartPreview evaluates a lifecycle policy without acting: that of the
// repository when the text is empty. It reads the images in one read-only
// snapshot and keeps what it found, which [Registry.Preview] shows; the preview
// is complete when this returns. One at a time may be computed for a repository.
//
// Source: API_StartLifecyclePolicyPreview. The answer is that of a preview that
// has just begun, as ECR gives it.
func (r *Registry) StartPreview(ctx context.Context, s meta.Scope, name, text string) (p meta.LifecyclePreview, err error) {
	if text != "" {
		if _, err := parseLifecycle(text); err != nil {
			return p, err
		}
	}
	var plan lifecyclePlan
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		now := r.now()
		if err := previewIsFree(tx, repo, now); err != nil {
			return err
		}
		repo.Lifecycle = cmp.Or(text, repo.Lifecycle)
		policy, err := findLifecycle(repo)
		if err != nil {
			return err
		}
		p = meta.LifecyclePreview{RepositoryID: repo.ID, ID: uuid.NewString(), Policy: repo.Lifecycle, Status: meta.PreviewInProgress, StartedAt: now}
		plan, err = planLifecycle(tx, repo.ID, policy, now)
		return err
	})
	if err != nil {
		return p, err
	}
	begun := p
	for _, a := range plan.acts {
		if a.Action == ActExpire {
			p.Expiring++
		} else {
			p.Transitioning++
		}
	}
	return begun, r.keepPreview(ctx, s, name, p, plan.acts)
}

// previewIsFree refuses while another preview of the repository is computed.
func previewIsFree(tx *meta.Tx, repo meta.Repository, now time.Time) error {
	before, err := tx.LifecyclePreview(repo.ID)
	if errors.Is(err, meta.ErrNotFound) || err == nil && previewStatus(before, now) != meta.PreviewInProgress {
		return nil
	}
	if err != nil {
		return err
	}
	return refuse(LifecyclePreviewInProgress,
		"The previous lifecycle policy preview of the repository with name '%s' in the registry with id '%s' has not completed. Wait and try again.", repo.Name, repo.Scope.Account)
}

// keepPreview writes a preview with its images in place of the one before: in one
// transaction, so that a server that is killed leaves none that waits for nothing.
// Only what is too large for that comes in pieces, and is in progress meanwhile.
func (r *Registry) keepPreview(ctx context.Context, s meta.Scope, name string, p meta.LifecyclePreview, acts []meta.LifecycleAct) error {
	first := acts[:min(len(acts), previewBatch)]
	status := meta.PreviewComplete
	if len(first) < len(acts) {
		status = meta.PreviewInProgress
	}
	err := r.update(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		if repo.ID != p.RepositoryID { // deleted and made anew meanwhile
			return repositoryNotFound(s, name)
		}
		if err := previewIsFree(tx, repo, r.now()); err != nil {
			return err
		}
		p.Status = status
		if err := tx.PutLifecyclePreview(p); err != nil {
			return err
		}
		return addPreviewImages(tx, p.RepositoryID, 0, first)
	})
	if err != nil || status == meta.PreviewComplete {
		return err
	}
	if err := r.keepRest(ctx, p, acts); err != nil {
		p.Status = meta.PreviewFailed
		return errors.Join(err, r.updatePreview(context.WithoutCancel(ctx), p, func(tx *meta.Tx) error { return tx.PutLifecyclePreview(p) }))
	}
	return nil
}

// keepRest writes what follows the first batch, and that the preview is complete.
func (r *Registry) keepRest(ctx context.Context, p meta.LifecyclePreview, acts []meta.LifecycleAct) error {
	for at := previewBatch; at < len(acts); at += previewBatch {
		page := acts[at:min(len(acts), at+previewBatch)]
		err := r.updatePreview(ctx, p, func(tx *meta.Tx) error { return addPreviewImages(tx, p.RepositoryID, at, page) })
		if err != nil {
			return err
		}
	}
	p.Status = meta.PreviewComplete
	return r.updatePreview(ctx, p, func(tx *meta.Tx) error { return tx.PutLifecyclePreview(p) })
}

// addPreviewImages writes images behind a position.
func addPreviewImages(tx *meta.Tx, repositoryID int64, after int, acts []meta.LifecycleAct) error {
	for i, a := range acts {
		if err := tx.AddPreviewImage(repositoryID, after+i+1, a); err != nil {
			return err
		}
	}
	return nil
}

// updatePreview writes to a preview as long as no other took its place.
func (r *Registry) updatePreview(ctx context.Context, p meta.LifecyclePreview, fn func(*meta.Tx) error) error {
	return r.db.Update(ctx, func(tx *meta.Tx) error {
		now, err := tx.LifecyclePreview(p.RepositoryID)
		if err == nil && now.ID != p.ID {
			err = meta.ErrNotFound
		}
		if err != nil {
			return err
		}
		return fn(tx)
	})
}

// previewStatus is the status of a preview at a moment.
func previewStatus(p meta.LifecyclePreview, now time.Time) string {
	age := now.Sub(p.StartedAt)
	switch {
	case p.Status == meta.PreviewInProgress && age > previewPatience:
		return meta.PreviewFailed
	case p.Status == meta.PreviewComplete && age > previewLifetime:
		return meta.PreviewExpired
	}
	return p.Status
}

// A PreviewQuestion says what of a preview to show.
type PreviewQuestion struct {
	Images    []ImageRef // only these; none are all
	TagStatus string     // of the TagStatus constants; empty is ANY
	Cursor    string     // empty: from the start
	Limit     int
}

// Preview shows the last preview of a repository and up to a limit of its images
// in the order of acting: those that expire or go to the archive. Images that
// the preview does not act on are left out, also when the question names them.
// What a preview says does not change while images come and go. Only one that is
// complete has images.
//
// Source: API_GetLifecyclePolicyPreview.
func (r *Registry) Preview(ctx context.Context, s meta.Scope, name string, q PreviewQuestion) (p meta.LifecyclePreview, out []meta.LifecycleAct, next string, err error) {
	filter := ImageFilter{TagStatus: q.TagStatus}.rows("").Tags
	err = r.view(ctx, s, name, func(tx *meta.Tx, repo meta.Repository) error {
		if p, err = tx.LifecyclePreview(repo.ID); errors.Is(err, meta.ErrNotFound) {
			return refuse(LifecyclePreviewNotFound, "Lifecycle policy preview does not exist for the repository with name '%s' in the registry with id '%s'", name, s.Account)
		}
		if err != nil {
			return err
		}
		c, err := r.openPreviewCursor(p, q.Cursor)
		if err != nil {
			return err
		}
		if p.Status = previewStatus(p, r.now()); p.Status != meta.PreviewComplete {
			return nil
		}
		if len(q.Images) > 0 {
			out, err = previewOf(tx, repo, q.Images, filter)
			return err
		}
		page, err := tx.PreviewImages(repo.ID, filter, c.Position, q.Limit+1)
		if err != nil {
			return err
		}
		if len(page) > q.Limit {
			page = page[:q.Limit]
			if next, err = r.sealCursor("preview", previewCursor{p.ID, page[q.Limit-1].Position}); err != nil {
				return err
			}
		}
		for _, i := range page {
			out = append(out, i.LifecycleAct)
		}
		return nil
	})
	return p, out, next, err
}

// A previewCursor is a place in one preview.
type previewCursor struct {
	Preview  string
	Position int
}

func (r *Registry) openPreviewCursor(p meta.LifecyclePreview, cursor string) (c previewCursor, err error) {
	if cursor == "" {
		return c, nil
	}
	if err := r.openCursor("preview", cursor, &c); err != nil {
		return c, err
	}
	if c.Preview != p.ID {
		return c, invalid("NextToken", "Invalid next token provided")
	}
	return c, nil
}

// previewOf shows what a preview says of images. A tag stands for the image that
// has it now, and had it in the preview.
func previewOf(tx *meta.Tx, repo meta.Repository, refs []ImageRef, filter meta.TagFilter) (out []meta.LifecycleAct, err error) {
	seen := map[string]bool{}
	for _, ref := range refs {
		if f := checkRef(ref); f != nil {
			return nil, refuse(InvalidParameter, "%s", f.Reason)
		}
		d := ref.Digest
		if ref.Tag != "" {
			img, err := findImage(tx, repo, ref)
			if errors.Is(err, meta.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			d = img.Digest
		}
		act, err := tx.PreviewImage(repo.ID, d)
		if errors.Is(err, meta.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		hidden := filter == meta.Tagged && len(act.Tags) == 0 || filter == meta.Untagged && len(act.Tags) > 0
		if seen[d] || hidden || ref.Tag != "" && !slices.Contains(act.Tags, ref.Tag) {
			continue
		}
		seen[d] = true
		out = append(out, act.LifecycleAct)
	}
	return out, nil
}
