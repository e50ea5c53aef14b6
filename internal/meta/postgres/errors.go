package postgres

import (
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"berth/internal/meta"
)

// SQLSTATEs (PostgreSQL manual, appendix A).
const (
	uniqueViolation      = "23505"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
)

// notNow are the SQLSTATEs of a server that cannot do now what it could at
// another time.
func notNow() []string {
	return []string{
		"25006", // read_only_sql_transaction: after a failover, a connection to what is a replica now
		"53100", // disk_full
		"53200", // out_of_memory
		"53300", // too_many_connections
		"55P03", // lock_not_available: lock_timeout
		"57014", // query_canceled: statement_timeout
		"57P01", // admin_shutdown
		"57P02", // crash_shutdown
		"57P03", // cannot_connect_now: starting or stopping
	}
}

func sqlState(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// conflicts reports whether a transaction met another one and may succeed when
// it is run again.
func conflicts(err error) bool {
	state := sqlState(err)
	return state == serializationFailure || state == deadlockDetected
}

func (b *backend) IsUnique(err error) bool { return sqlState(err) == uniqueViolation }

// unavailable is a [meta.ErrUnavailable] that names the database. Only the
// text of the cause goes on: pgx's own errors carry the configuration with the
// password in it.
func (b *backend) unavailable(cause error) error {
	text := strings.Join(strings.Fields(cause.Error()), " ")
	return fmt.Errorf("%w: PostgreSQL at %s: %s", meta.ErrUnavailable, b.where, text)
}

// An againError is a failed attempt after which the same transaction may be
// run again: nothing of it was kept.
type againError struct{ err error }

func (e *againError) Error() string { return e.err.Error() }

// Unwrap gives the reason.
func (e *againError) Unwrap() error { return e.err }

var (
	errUnknownOutcome = errors.New("the connection was lost while the change was committed, so whether it was is not known")
	errSilent         = errors.New("the server stopped answering")
	errTooLong        = fmt.Errorf("a transaction took longer than %v", maxTransaction)
	errBusy           = fmt.Errorf("no connection could be had within %v", acquireTimeout)
	errCrowded        = fmt.Errorf("the change could not begin within %v, so many are waiting", updateBudget)
	errContended      = errors.New("the change met too many others at the same time")
	errClosed         = errors.New("it was closed")
)

// lost reports whether a connection is of no use any more.
func lost(c *sql.Conn) bool {
	closed := true
	err := c.Raw(func(driver any) error {
		if conn, ok := driver.(*stdlib.Conn); ok {
			closed = conn.Conn().IsClosed()
		}
		return nil
	})
	return err != nil || closed
}

// judge says what a failed transaction means. It looks at the connection, so
// it comes before the rollback.
func (b *backend) judge(t *transaction, err error, committing bool) error {
	gone := t.ended()
	switch {
	case gone == nil && conflicts(err):
		return &againError{err}
	case gone != nil || lost(t.conn):
		if gone != nil {
			err = gone
		}
		if committing {
			return b.unavailable(fmt.Errorf("%w: %w", errUnknownOutcome, err))
		}
		if gone != nil {
			return b.unavailable(err) // waited long enough
		}
		return &againError{b.unavailable(err)}
	case slices.Contains(notNow(), sqlState(err)):
		return b.unavailable(err)
	}
	return err
}
