package audit

import (
	"context"
	"errors"
	"fmt"

	"berth/internal/blob"
	"berth/internal/kms"
	"berth/internal/meta"
	"berth/internal/seal"
)

// sessionID is the length of a session's id, with which the ids of its objects begin.
const sessionID = 36

func (c *check) sessions(ctx context.Context, done func(int)) error {
	after := ""
	return pages(ctx, c.DB, func(tx *meta.Tx) ([]meta.Upload, error) { return tx.Uploads(after, manifestPage) }, func(u meta.Upload) error {
		after = u.ID
		c.Uploads++
		gone, err := c.bytesGone(ctx, u)
		if gone {
			c.suspects[u.ID] = u
		}
		return err
	}, done)
}

// bytesGone tells whether the staged bytes of a session cannot be found.
func (a *Auditor) bytesGone(ctx context.Context, u meta.Upload) (bool, error) {
	stage, err := a.uploads.Stage(ctx, u)
	var refused *kms.Error
	switch {
	case errors.Is(err, seal.ErrAltered), errors.Is(err, seal.ErrUnknownKey):
		return true, nil
	case errors.As(err, &refused):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("read the state of the session %s: %w", u.ID, err)
	case stage.State == nil:
		return false, nil
	}
	r, err := a.Blobs.OpenStaged(ctx, stage)
	switch {
	case errors.Is(err, blob.ErrNotFound), errors.Is(err, seal.ErrUnknownKey):
		return true, nil
	case errors.As(err, &refused):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("open the bytes of the session %s: %w", u.ID, err)
	}
	return false, r.Close()
}

// objects looks for bytes that no row knows. What is young may be on its way
// to its row.
func (c *check) objects(ctx context.Context, done func(int)) error {
	lister, ok := c.Auditor.Blobs.(blob.Lister)
	if !ok {
		c.suspects = nil // whether their bytes have their last name by now cannot be told
		return nil
	}
	return lister.List(ctx, func(o blob.Object) error {
		c.Objects++
		if c.Objects%pageSize == 0 {
			done(pageSize)
		}
		if len(o.ID) >= sessionID && !o.Staged {
			delete(c.suspects, o.ID[:sessionID]) // committed; the row is about to follow
		}
		if c.OrphanAge > 0 && o.Modified.After(c.Now().Add(-c.OrphanAge)) {
			return nil
		}
		known, err := c.known(ctx, o)
		if err != nil || known {
			return err
		}
		return c.orphan(ctx, lister, o)
	})
}

// known tells whether a row, an entry of the trash or a session knows an object.
func (a *Auditor) known(ctx context.Context, o blob.Object) (known bool, err error) {
	err = a.DB.View(ctx, func(tx *meta.Tx) (err error) {
		if !o.Staged {
			if known, err = tx.HasLocation(o.ID); err != nil || known {
				return err
			}
		}
		if len(o.ID) < sessionID {
			return nil
		}
		known, err = tx.HasUpload(o.ID[:sessionID])
		return err
	})
	return known, err
}

func (c *check) orphan(ctx context.Context, lister blob.Lister, o blob.Object) error {
	f := Finding{Kind: OrphanedObject, Location: o.Domain + "/" + o.ID,
		Detail: fmt.Sprintf("%d bytes of %s that nothing refers to", o.Size, o.Modified.UTC().Format("2006-01-02 15:04"))}
	if c.Repair {
		if err := lister.Remove(ctx, o); err != nil {
			return err
		}
		f.Settled, f.Action = true, "removed"
	}
	c.add(f)
	return nil
}

// lostUploads reports the sessions whose bytes are neither staged nor committed.
func (c *check) lostUploads(ctx context.Context, done func(int)) error {
	for id, u := range c.suspects {
		var now meta.Upload
		err := c.DB.View(ctx, func(tx *meta.Tx) (err error) {
			now, err = tx.UploadByID(id)
			return err
		})
		if errors.Is(err, meta.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if now.Size != u.Size {
			continue // it went on
		}
		gone, err := c.bytesGone(ctx, now)
		if err != nil {
			return err
		}
		if !gone {
			continue
		}
		f := Finding{Kind: LostUpload, Location: id, Detail: fmt.Sprintf("its %d bytes are not in the store", u.Size)}
		if c.Repair {
			err := c.DB.Update(ctx, func(tx *meta.Tx) error { return tx.EndUpload(now) })
			if errors.Is(err, meta.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			f.Settled, f.Action = true, "ended: the client starts over"
		}
		c.add(f)
		done(1)
	}
	return nil
}
