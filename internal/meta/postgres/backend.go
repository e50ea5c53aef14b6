package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"berth/internal/meta"
)

const (
	acquireTimeout = 3 * time.Second // to get a connection
	maxTransaction = time.Minute     // for the longest, the removal of a large repository
	beginAttempts  = 3               // connections tried: idle ones may be dead after a restart
	updateAttempts = 20              // runs of one update
	sharedAttempts = 2               // of them among other updates of this server
	updateBudget   = 10 * time.Second
	firstBackoff   = time.Millisecond
	maxBackoff     = 100 * time.Millisecond
)

// backend implements [meta.Backend]. Statements are prepared and kept by their
// text on each connection; pgx does that.
type backend struct {
	db     *sql.DB
	config *pgx.ConnConfig
	where  string
	// turns lets some updates run at once, which leaves connections for views,
	// and one that met others too often alone: it takes all the turns. Those
	// who wait are served in order, so each gets through.
	turns   *semaphore.Weighted
	writers int64
	probes  singleflight.Group

	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup // transactions; added to under mu while not closed
}

// enter counts a transaction in; Close waits for leave.
func (b *backend) enter() (leave func(), err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, b.unavailable(errClosed)
	}
	b.running.Add(1)
	return b.running.Done, nil
}

// View runs fn once at most.
func (b *backend) View(ctx context.Context, fn func(meta.Querier) error) error {
	leave, err := b.enter()
	if err != nil {
		return err
	}
	defer leave()
	err = b.transact(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, fn)
	var again *againError
	if errors.As(err, &again) && conflicts(err) {
		return b.unavailable(errContended) // only on a hot standby
	}
	if again != nil {
		return again.err
	}
	return err
}

// Read is a View; a statement needs no other snapshot than its own.
func (b *backend) Read(ctx context.Context, fn func(meta.Querier) error) error {
	return b.View(ctx, fn)
}

// UpdateRelaxed does not wait for the log to reach the disk (PostgreSQL manual,
// "Asynchronous Commit").
func (b *backend) UpdateRelaxed(ctx context.Context, fn func(meta.Querier) error) error {
	return b.Update(ctx, func(q meta.Querier) error {
		if _, err := q.Exec("SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
		return fn(q)
	})
}

func (b *backend) Update(ctx context.Context, fn func(meta.Querier) error) error {
	leave, err := b.enter()
	if err != nil {
		return err
	}
	defer leave()
	started := time.Now()
	for attempt := 1; ; attempt++ {
		err := b.attempt(ctx, attempt > sharedAttempts, fn)
		var again *againError
		if !errors.As(err, &again) {
			return err
		}
		if attempt == updateAttempts || time.Since(started) > updateBudget {
			if conflicts(again.err) {
				return b.unavailable(fmt.Errorf("%w (%d attempts): %w", errContended, attempt, again.err))
			}
			return again.err
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

// attempt runs an update once, among others or alone.
func (b *backend) attempt(ctx context.Context, alone bool, fn func(meta.Querier) error) error {
	turns := int64(1)
	if alone {
		turns = b.writers
	}
	wait, cancel := context.WithTimeout(ctx, updateBudget)
	defer cancel()
	if err := b.turns.Acquire(wait, turns); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return b.unavailable(errCrowded)
	}
	defer b.turns.Release(turns)
	return b.transact(ctx, &sql.TxOptions{Isolation: sql.LevelSerializable}, fn)
}

// pause waits before the n-th repetition: twice as long each time, within
// bounds, and half of it by chance, so that servers that met do not meet again.
func pause(ctx context.Context, n int) error {
	d := min(maxBackoff, firstBackoff<<min(n, 10))
	t := time.NewTimer(d/2 + rand.N(d/2+1))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A transaction runs on one connection. It is the [meta.Querier] of its function.
type transaction struct {
	ctx  context.Context // ends when the database is given up, not with the request
	done context.CancelFunc
	conn *sql.Conn
	tx   *sql.Tx
}

func (t *transaction) Exec(query string, args ...any) (sql.Result, error) {
	return t.tx.ExecContext(t.ctx, query, args...)
}

func (t *transaction) Query(query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(t.ctx, query, args...)
}

func (t *transaction) QueryRow(query string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(t.ctx, query, args...)
}

// ended is why the transaction was given up, or nil.
func (t *transaction) ended() error { return context.Cause(t.ctx) }

// close gives the connection back. A transaction that is still open is rolled
// back; the connection is dropped when that fails, which ends it as well.
func (t *transaction) close() {
	if t.tx != nil {
		_ = t.tx.Rollback()
	}
	_ = t.conn.Close()
	t.done()
}

// transact runs fn in one transaction. Once it has begun it runs to its end
// whether or not ctx goes on: to cut a statement off costs the connection.
func (b *backend) transact(ctx context.Context, opts *sql.TxOptions, fn func(meta.Querier) error) error {
	t, err := b.begin(ctx, opts)
	if err != nil {
		return err
	}
	defer t.close()
	if err := guard(fn, t); err != nil {
		return b.judge(t, err, false)
	}
	if err := t.tx.Commit(); err != nil {
		return b.judge(t, err, !opts.ReadOnly)
	}
	return nil
}

// begin finds a connection that works and begins a transaction on it.
func (b *backend) begin(ctx context.Context, opts *sql.TxOptions) (*transaction, error) {
	for attempt := 1; ; attempt++ {
		c, err := b.acquire(ctx)
		if err != nil {
			return nil, err
		}
		t := &transaction{conn: c}
		t.ctx, t.done = b.watched(ctx)
		if t.tx, err = c.BeginTx(t.ctx, opts); err == nil {
			return t, nil
		}
		err = b.judge(t, err, false)
		t.close()
		var again *againError
		if !errors.As(err, &again) {
			return nil, err
		}
		if attempt == beginAttempts {
			return nil, again.err
		}
	}
}

func (b *backend) acquire(ctx context.Context) (*sql.Conn, error) {
	wait, cancel := context.WithTimeoutCause(ctx, acquireTimeout, errBusy)
	defer cancel()
	c, err := b.db.Conn(wait)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		return nil, b.unavailable(errBusy)
	default:
		return nil, b.unavailable(err)
	}
}

// guard turns a panic of fn into an error, as every backend does.
func guard(fn func(meta.Querier) error, q meta.Querier) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("metadata transaction panicked: %v", p)
		}
	}()
	return fn(q)
}

func (b *backend) Ping(ctx context.Context) error {
	return b.View(ctx, func(q meta.Querier) error {
		var one int
		return q.QueryRow("SELECT 1").Scan(&one)
	})
}

func (b *backend) Close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.running.Wait()
	return b.db.Close()
}
