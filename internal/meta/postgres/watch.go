package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	patience     = 2 * time.Second // with a transaction before asking whether the server is still there
	probeTimeout = 2 * time.Second
)

// watched is the context of one transaction. It does not end with the request,
// but when the transaction is done, takes longer than maxTransaction, or when
// the server stopped answering: a frozen server cannot be told from a long
// statement on the connection itself, so another one is tried.
func (b *backend) watched(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	started := time.Now()
	timer := time.AfterFunc(patience, func() {
		for time.Since(started) < maxTransaction {
			if err := b.probe(); err != nil {
				cancel(fmt.Errorf("%w: %w", errSilent, err))
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(patience):
			}
		}
		cancel(errTooLong)
	})
	return ctx, func() {
		timer.Stop()
		cancel(nil)
	}
}

// probe asks the server for a new connection; all that ask at the same time
// share one answer. A refusal is an answer too.
func (b *backend) probe() error {
	_, err, _ := b.probes.Do("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
		defer cancel()
		c, err := pgx.ConnectConfig(ctx, b.config.Copy())
		var refused *pgconn.PgError
		switch {
		case errors.As(err, &refused):
			return nil, nil
		case err != nil:
			return nil, err
		}
		return nil, c.Close(ctx)
	})
	return err
}
