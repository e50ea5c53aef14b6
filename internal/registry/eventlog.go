package registry

import (
	"context"
	"slices"

	"berth/internal/meta"
)

// eventCursor is a place among the events of a registry.
type eventCursor struct {
	Scope meta.Scope
	After int64
	Sink  string
}

func (r *Registry) openEventCursor(listing string, s meta.Scope, token string) (c eventCursor, err error) {
	if err := r.openCursor(listing, token, &c); err != nil {
		return c, err
	}
	if c.Scope != s {
		return c, invalid("NextToken", "Invalid next token provided")
	}
	return c, nil
}

// Events lists up to limit events of a registry after a token of an earlier
// call, in the order in which they were committed; without one, the newest. There
// is always a token to go on from, also when nothing is left: then the same call
// finds later what happened meanwhile. ECR has no such operation.
func (r *Registry) Events(ctx context.Context, s meta.Scope, token string, limit int) (list []meta.Event, next string, err error) {
	c := eventCursor{Scope: s}
	if token != "" {
		if c, err = r.openEventCursor("events", s, token); err != nil {
			return nil, "", err
		}
	}
	err = r.db.View(ctx, func(tx *meta.Tx) (err error) {
		if token != "" {
			list, err = tx.Events(s, c.After, limit)
			return err
		}
		if c.After, err = tx.LastEvent(); err == nil {
			list, err = tx.LatestEvents(s, limit)
			slices.Reverse(list)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	if len(list) > 0 {
		c.After = list[len(list)-1].Position
	}
	next, err = r.sealCursor("events", c)
	return list, next, err
}

// DeadEvents lists up to limit events of a registry that were given up for a
// sink, with the sink and why; token and next are of pages, next empty on the last.
func (r *Registry) DeadEvents(ctx context.Context, s meta.Scope, token string, limit int) (list []meta.Delivery, next string, err error) {
	c := eventCursor{Scope: s}
	if token != "" {
		if c, err = r.openEventCursor("dead-events", s, token); err != nil {
			return nil, "", err
		}
	}
	err = r.db.Read(ctx, func(tx *meta.Tx) (err error) {
		list, err = tx.DeadDeliveries(s, c.Sink, c.After, limit+1)
		return err
	})
	if err != nil || len(list) <= limit {
		return list, "", err
	}
	list = list[:limit]
	c.Sink, c.After = list[limit-1].Sink, list[limit-1].Position
	next, err = r.sealCursor("dead-events", c)
	return list, next, err
}

// RetryDeadEvents queues all dead events of a registry again, and counts them.
func (r *Registry) RetryDeadEvents(ctx context.Context, s meta.Scope) (n int64, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) (err error) {
		n, err = tx.RetryDeadDeliveries(s, r.now())
		return err
	})
	return n, err
}
