package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"berth/internal/meta"
)

// ErrBusy says that somebody else does the same work now.
var ErrBusy = errors.New("another process does this now")

// Names of claims, besides collect.BackupClaim.
const (
	scrubClaim = "scrub"
	sealClaim  = "seal-old"
	keysClaim  = "rotate-keys"
)

// claimFor is how long who has a claim may be silent before another takes over.
const claimFor = 2 * time.Minute

// underClaim runs fn while it has a claim. The context of fn ends when the
// claim is lost. ErrBusy: somebody else has it.
func (a *Auditor) underClaim(ctx context.Context, name string, fn func(context.Context) error) (err error) {
	holder := cmp.Or(a.Holder, uuid.NewString())
	take := func(ctx context.Context) error {
		now := a.Now()
		mine := false
		err := a.DB.Update(ctx, func(tx *meta.Tx) (err error) {
			mine, err = tx.Claim(name, holder, now, now.Add(claimFor))
			return err
		})
		if err == nil && !mine {
			return fmt.Errorf("%w (%s): wait for it to end", ErrBusy, name)
		}
		return err
	}
	if err := take(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	renewed := make(chan struct{})
	go func() {
		defer close(renewed)
		tick := time.NewTicker(claimFor / 6)
		defer tick.Stop()
		held := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			err := take(ctx)
			if err == nil {
				held = time.Now()
			} else if errors.Is(err, ErrBusy) || time.Since(held) > claimFor*3/4 {
				cancel(err)
				return
			}
		}
	}()
	err = fn(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
		err = errors.Join(err, cause)
	}
	cancel(nil)
	<-renewed
	rerr := a.DB.Update(context.WithoutCancel(ctx), func(tx *meta.Tx) error { return tx.Release(name, holder) })
	return errors.Join(err, rerr)
}
