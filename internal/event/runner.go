package event

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/meta"
)

// When an event is given up for a sink.
const (
	MaxTries = 20             // which take about two hours
	MaxAge   = 24 * time.Hour // as EventBridge does ("Retrying event delivery")
)

// DefaultRetention is how long events are kept after they happened.
const DefaultRetention = 7 * 24 * time.Hour

// A Sink takes events. Its methods are called by one goroutine at a time.
type Sink interface {
	// Name tells sinks apart, in the database too. It has no secret in it.
	Name() string
	// Batch is how many events one call of Deliver may get.
	Batch() int
	// Deliver hands over events, no two of them of one subject, and returns what
	// went wrong with each: nil is taken, a [RefusedError] is about that event
	// alone, anything else is about the sink.
	Deliver(ctx context.Context, events []meta.Event) []error
}

// A RefusedError says that a sink works and does not take this event.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the sink refused the event: " + e.Reason }

// Options are what a runner is made of. All fields but Pace are required.
type Options struct {
	DB        *meta.DB
	Sinks     []Sink
	Retention time.Duration // how long events are kept
	Holder    string        // names this server in claims
	Log       *slog.Logger
	Now       func() time.Time
	// Pace is the time between two looks into the outbox; zero is half a second.
	Pace time.Duration
}

// Runner delivers events.
type Runner struct {
	Options
	count Counts
}

// Counts are what a runner did since it was made.
type Counts struct {
	Delivered atomic.Uint64 // events that a sink took
	Failed    atomic.Uint64 // tries that failed
	Dead      atomic.Uint64 // events that were given up for a sink
	Lost      atomic.Uint64 // events that were deleted before a sink took them
}

// New makes a runner.
func New(o Options) *Runner {
	if o.Pace == 0 {
		o.Pace = 500 * time.Millisecond
	}
	return &Runner{Options: o}
}

// Counts are what the runner did.
func (r *Runner) Counts() *Counts { return &r.count }

const (
	placeBatch   = 200
	deleteBatch  = 500
	cleanEvery   = 10 * time.Minute
	claimFor     = 2 * time.Minute
	deliverFor   = time.Minute // of one batch; less than a claim, so that no other server delivers meanwhile
	placeClaim   = "events"
	deliverClaim = "events to "
)

// Run delivers until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { r.repeat(ctx, r.Pace, "place events", r.place) })
	all.Go(func() { r.repeat(ctx, cleanEvery, "clean the outbox of events", r.Clean) })
	for _, s := range r.Sinks {
		d := &deliverer{Runner: r, sink: s}
		all.Go(func() { r.repeat(ctx, r.Pace, "deliver events", d.round) })
	}
	all.Wait()
}

// repeat calls fn now and after each pause, until ctx ends.
func (r *Runner) repeat(ctx context.Context, pause time.Duration, what string, fn func(context.Context) error) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if err := fn(ctx); err != nil && ctx.Err() == nil {
			r.Log.Error(what, "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// place gives new events their places and queues them for the sinks. What it
// does is done again when a power cut takes it back.
func (r *Runner) place(ctx context.Context) error {
	names := make([]string, 0, len(r.Sinks))
	for _, s := range r.Sinks {
		names = append(names, s.Name())
	}
	for ctx.Err() == nil {
		fresh := false
		err := r.DB.Read(ctx, func(tx *meta.Tx) (err error) { // which writes nothing, as it mostly has to
			fresh, err = tx.HasFreshEvents()
			return err
		})
		if err != nil || !fresh {
			return err
		}
		placed := 0
		err = r.DB.UpdateRelaxed(ctx, func(tx *meta.Tx) error {
			placed = 0
			now := r.Now()
			mine, err := tx.Claim(placeClaim, r.Holder, now, now.Add(claimFor))
			if err != nil || !mine {
				return err
			}
			placed, err = tx.PlaceEvents(names, now, placeBatch)
			return err
		})
		if err != nil || placed == 0 {
			return err
		}
	}
	return nil
}

// Clean gives up what is too old and deletes events whose time is over. Run does
// it every ten minutes.
func (r *Runner) Clean(ctx context.Context) error {
	for ctx.Err() == nil {
		var deleted, lost, buried int64
		err := r.DB.Update(ctx, func(tx *meta.Tx) (err error) {
			now := r.Now()
			if buried, err = tx.BuryDeliveries(now.Add(-MaxAge), now); err == nil {
				deleted, lost, err = tx.DeleteEvents(now.Add(-r.Retention), deleteBatch)
			}
			return err
		})
		if err != nil {
			return err
		}
		if buried > 0 {
			r.count.Dead.Add(uint64(buried))
			r.Log.Warn("events were not delivered within a day and are given up: see berth events dead", "count", buried)
		}
		if lost > 0 {
			r.count.Lost.Add(uint64(lost))
			r.Log.Warn("events were deleted before a sink took them, since they are older than --event-retention", "count", lost)
		}
		if deleted < deleteBatch {
			break
		}
	}
	return nil
}

// A deliverer hands events to one sink.
type deliverer struct {
	*Runner
	sink  Sink
	fails int       // tries in a row that failed because of the sink
	until time.Time // when the next one is due
}

// backoff is the time until the next try: 1 s, 2 s, 4 s … 10 min, half of which
// is by chance, so that many do not come at once.
func backoff(failed int) time.Duration {
	d := 10 * time.Minute
	if failed < 10 {
		d = min(d, time.Second<<max(failed-1, 0))
	}
	return d/2 + rand.N(d/2+1)
}

// round delivers what is due now.
func (d *deliverer) round(ctx context.Context) error {
	now := d.Now()
	if now.Before(d.until) {
		return nil
	}
	due := false
	err := d.DB.Read(ctx, func(tx *meta.Tx) (err error) {
		due, err = tx.HasDueDeliveries(d.sink.Name(), now)
		return err
	})
	if err != nil || !due {
		return err
	}
	defer func() {
		err := d.DB.UpdateRelaxed(context.WithoutCancel(ctx), func(tx *meta.Tx) error { return tx.Release(deliverClaim+d.sink.Name(), d.Holder) })
		if err != nil {
			d.Log.Error("give back the claim on deliveries", "sink", d.sink.Name(), "err", err)
		}
	}()
	for ctx.Err() == nil {
		more, err := d.batch(ctx)
		if err != nil || !more {
			return err
		}
	}
	return nil
}

// batch delivers some events. more is false when there is nothing else to do now.
func (d *deliverer) batch(ctx context.Context) (more bool, err error) {
	var list []meta.Delivery
	limit := d.sink.Batch()
	if d.fails > 0 { // one is enough to find out whether it works again
		limit = 1
	}
	err = d.DB.UpdateRelaxed(ctx, func(tx *meta.Tx) error {
		list = nil
		now := d.Now()
		mine, err := tx.Claim(deliverClaim+d.sink.Name(), d.Holder, now, now.Add(claimFor))
		if err != nil || !mine {
			return err
		}
		list, err = tx.DueDeliveries(d.sink.Name(), now, limit)
		return err
	})
	if err != nil || len(list) == 0 {
		return false, err
	}
	events := make([]meta.Event, len(list))
	for i, one := range list {
		events[i] = one.Event
	}
	within, cancel := context.WithTimeout(ctx, deliverFor)
	results := d.sink.Deliver(within, events)
	cancel()
	if ctx.Err() != nil { // what it says may be about the end of this server
		return false, d.settle(ctx, list, results, false)
	}
	if !d.works(results) {
		return false, d.settle(ctx, list, results, true)
	}
	if err := d.settle(ctx, list, results, true); err != nil {
		return false, err
	}
	return true, d.recovered(ctx)
}

// works finds out from a batch whether the sink works; when not, it is left alone
// for a while.
func (d *deliverer) works(results []error) bool {
	var refused *RefusedError
	for _, err := range results {
		if err != nil && !errors.As(err, &refused) {
			d.fails++
			d.until = d.Now().Add(backoff(d.fails))
			if d.fails == 1 {
				d.Log.Warn("a sink of events does not work; it is tried again, later each time", "sink", d.sink.Name(), "err", err)
			}
			return false
		}
	}
	return true
}

// recovered makes everything due that waits, when the sink did not work before.
func (d *deliverer) recovered(ctx context.Context) error {
	if d.fails == 0 {
		return nil
	}
	d.fails = 0
	d.Log.Info("a sink of events works again", "sink", d.sink.Name())
	return d.DB.UpdateRelaxed(ctx, func(tx *meta.Tx) error { return tx.HurryDeliveries(d.sink.Name()) })
}

// settle writes down what came of a batch. What failed counts only where the
// sink had its time.
func (d *deliverer) settle(ctx context.Context, list []meta.Delivery, results []error, counts bool) error {
	dead := 0
	err := d.DB.UpdateRelaxed(context.WithoutCancel(ctx), func(tx *meta.Tx) error {
		dead = 0
		for i, one := range list {
			var err error
			switch {
			case results[i] == nil:
				err = tx.Delivered(one.Sink, one.Position)
			case counts:
				now, failed := d.Now(), one.Attempts+1
				var died time.Time
				if failed >= MaxTries {
					died = now
					dead++
				}
				err = tx.PostponeDelivery(one.Sink, one.Position, now.Add(backoff(failed)), clip(results[i].Error()), died)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	d.tell(list, results, counts, dead)
	return nil
}

// tell counts what came of a batch.
func (d *deliverer) tell(list []meta.Delivery, results []error, counts bool, dead int) {
	for i, err := range results {
		var refused *RefusedError
		switch {
		case err == nil:
			d.count.Delivered.Add(1)
		case counts:
			d.count.Failed.Add(1)
			if errors.As(err, &refused) && list[i].Attempts == 0 {
				d.Log.Warn("a sink does not take an event", "sink", d.sink.Name(), "event", list[i].UUID, "type", list[i].Type, "err", err)
			}
		}
	}
	if dead > 0 {
		d.count.Dead.Add(uint64(dead))
		d.Log.Warn("events are given up after many tries: see berth events dead", "sink", d.sink.Name(), "count", dead)
	}
}

// clip bounds what is kept of an error, as UTF-8 without NUL characters.
func clip(s string) string {
	out := make([]rune, 0, 300)
	for _, r := range s {
		if r == 0 || len(out) == 300 {
			break
		}
		out = append(out, r)
	}
	return string(out)
}
