package audit

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"berth/internal/kms"
	"berth/internal/meta"
)

// ScrubOptions say how hard a scrubber works. Zero fields take the defaults.
type ScrubOptions struct {
	Every    time.Duration // every blob is read once in this time; default 30 days
	Rate     int64         // bytes read in a second; default 20 MiB
	Interval time.Duration // between two looks for what is due; default 10 minutes
	Sweep    time.Duration // bytes without rows are removed once in this time; default a day
	Orphans  time.Duration // how old they must be; default [OrphanAge]
}

func (o ScrubOptions) withDefaults() ScrubOptions {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&o.Every, 30*24*time.Hour)
	set(&o.Interval, 10*time.Minute)
	set(&o.Sweep, 24*time.Hour)
	set(&o.Orphans, OrphanAge)
	if o.Rate == 0 {
		o.Rate = 20 << 20
	}
	return o
}

// A Scrubber reads everything again from time to time.
type Scrubber struct {
	*Auditor
	opt ScrubOptions

	// What it did since it was made, for metrics.
	Blobs    atomic.Int64 // read whole
	Bytes    atomic.Int64
	Damaged  atomic.Int64 // blobs found wrong
	Orphans  atomic.Int64 // objects removed
	Failures atomic.Int64 // rounds that an error ended
}

// NewScrubber makes a scrubber.
func (a *Auditor) NewScrubber(o ScrubOptions) *Scrubber {
	return &Scrubber{Auditor: a, opt: o.withDefaults()}
}

// Run works until ctx ends, for the first time after an interval. Of several servers one works at a time.
func (s *Scrubber) Run(ctx context.Context) {
	tick := time.NewTicker(s.opt.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		err := s.Round(ctx)
		if err != nil && !errors.Is(err, ErrBusy) && ctx.Err() == nil {
			s.Failures.Add(1)
			s.Log.Error("scrub the blobs", "err", err)
		}
	}
}

// Round does what is due now. ErrBusy: another server does.
func (s *Scrubber) Round(ctx context.Context) error {
	return s.underClaim(ctx, scrubClaim, func(ctx context.Context) error {
		return errors.Join(s.readDue(ctx), s.sweep(ctx))
	})
}

const scrubPage = 20

// readDue reads the blobs whose turn it is, the longest unread first. Those
// that cannot be read now keep their place and are passed over.
func (s *Scrubber) readDue(ctx context.Context) error {
	before := s.Now().Add(-s.opt.Every)
	pace := &pacer{rate: s.opt.Rate, since: time.Now()}
	passed := map[int64]bool{}
	for {
		var due []meta.Blob
		err := s.DB.View(ctx, func(tx *meta.Tx) (err error) {
			due, err = tx.LeastVerified(before, scrubPage+len(passed))
			return err
		})
		if err != nil {
			return err
		}
		fresh := 0
		for _, b := range due {
			if passed[b.ID] {
				continue
			}
			fresh++
			read, err := s.scrub(ctx, b, pace)
			if err != nil {
				return err
			}
			if !read {
				passed[b.ID] = true
			}
		}
		if fresh == 0 {
			return nil
		}
	}
}

// scrub reads one blob and notes the result; false: it could not be looked at.
func (s *Scrubber) scrub(ctx context.Context, b meta.Blob, pace *pacer) (read bool, err error) {
	err = s.read(ctx, b, true, func(r io.Reader) io.Reader { return &paced{ctx, r, pace} })
	var refused *kms.Error
	switch {
	case err == nil:
		s.Blobs.Add(1)
		s.Bytes.Add(b.Size)
		return true, s.mark(ctx, b, false)
	case ctx.Err() != nil:
		return false, ctx.Err()
	case errors.As(err, &refused):
		return false, nil
	case !isWrong(err):
		s.Failures.Add(1)
		s.Log.Error("read a blob to verify it", "digest", b.Digest, "location", b.Location, "err", err)
		return false, nil
	}
	same, serr := s.same(ctx, b)
	if serr != nil || !same {
		return true, serr
	}
	if !b.Damaged {
		s.Damaged.Add(1)
		s.Log.Error("a blob is damaged; its next push repairs it", "digest", b.Digest, "location", b.Location, "err", err)
	}
	return true, s.mark(ctx, b, true)
}

// sweep removes what is left over, once in its time whichever server does it:
// its claim is not given back.
func (s *Scrubber) sweep(ctx context.Context) error {
	now, due := s.Now(), false
	err := s.DB.Update(ctx, func(tx *meta.Tx) (err error) {
		due, err = tx.Claim("sweep", uuid.NewString(), now, now.Add(s.opt.Sweep))
		return err
	})
	if err != nil || !due {
		return err
	}
	r, err := s.Sweep(ctx, s.opt.Orphans)
	s.Orphans.Add(int64(r.Settled))
	if r.Settled > 0 {
		s.Log.Info("removed bytes and sessions that were left over", "count", r.Settled)
	}
	if err != nil {
		return err
	}
	_, _, err = s.DropOldKeys(ctx, Settle)
	return err
}

// Sweep removes bytes that nothing refers to and that are older than age, and
// ends sessions whose bytes are gone.
func (a *Auditor) Sweep(ctx context.Context, age time.Duration) (Report, error) {
	c := &check{Auditor: a, Options: Options{Repair: true, OrphanAge: age}, suspects: map[string]meta.Upload{}}
	for _, step := range []func(context.Context, func(int)) error{c.sessions, c.objects, c.lostUploads} {
		if err := step(ctx, func(int) {}); err != nil {
			return c.Report, err
		}
	}
	return c.Report, nil
}

// A pacer keeps an average rate.
type pacer struct {
	rate  int64
	since time.Time
	bytes int64
}

// paced reads no faster than its pacer allows.
type paced struct {
	ctx context.Context
	r   io.Reader
	*pacer
}

func (p *paced) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.bytes += int64(n)
	ahead := time.Duration(float64(p.bytes)/float64(p.rate)*float64(time.Second)) - time.Since(p.since)
	if ahead > 0 {
		t := time.NewTimer(ahead)
		defer t.Stop()
		select {
		case <-t.C:
		case <-p.ctx.Done():
			return n, p.ctx.Err()
		}
	}
	return n, err
}
