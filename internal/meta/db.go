package meta

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// ErrNotFound says that the row asked for does not exist.
var ErrNotFound = errors.New("no such row")

// ErrExists says that an insert met a row with the same unique key.
var ErrExists = errors.New("row exists already")

// ErrUnavailable says that the store cannot be reached now, or was closed. The
// same call may succeed later. When it comes from an Update, the changes may
// have been kept in one case: the connection was lost during the commit.
var ErrUnavailable = errors.New("the metadata store is unavailable")

// ErrText says that a text cannot be stored or looked for: it is not UTF-8 or
// has a NUL character in it, which not every database takes.
var ErrText = errors.New("text is not UTF-8 or has a NUL character")

// ErrNoSpace says that the store is full. Nothing of the update was kept.
var ErrNoSpace = errors.New("no space left in the metadata store")

// A Backend is one database engine: it runs functions inside transactions.
type Backend interface {
	// View runs fn, once at most, in a read-only transaction on one consistent
	// snapshot.
	View(ctx context.Context, fn func(Querier) error) error
	// Read runs fn, once at most, which makes a single statement that only reads.
	// It costs less than View.
	Read(ctx context.Context, fn func(Querier) error) error
	// Update runs fn in a write transaction. When it returns nil the changes
	// are committed and durable. When fn fails nothing of it is kept. fn may
	// run more than once, so it must have no effect outside the transaction
	// other than assigning results, and must assign all of them in each run:
	// what it appends to, it resets first.
	Update(ctx context.Context, fn func(Querier) error) error
	// UpdateRelaxed is Update, but for one thing: a power cut soon after may take
	// the changes back, all of them, and so may a crash of a database server. The
	// end of this process does not.
	UpdateRelaxed(ctx context.Context, fn func(Querier) error) error
	// Ping reports whether the database answers.
	Ping(ctx context.Context) error
	// Close waits for running transactions and releases the database.
	Close() error
	// IsUnique reports whether err is a violated uniqueness constraint.
	IsUnique(err error) bool
}

// A Querier runs statements inside one transaction. Implementations may keep
// prepared statements by their text.
type Querier interface {
	Exec(query string, args ...any) (sql.Result, error)
	Query(query string, args ...any) (*sql.Rows, error)
	QueryRow(query string, args ...any) *sql.Row
}

// DB is the metadata store.
type DB struct {
	backend Backend
	keys    atomic.Uint64 // counts changes of what decides: access keys, principals, policies
}

// A Sole backend is used by this process alone: what it read holds until it
// writes itself.
type Sole interface{ Sole() }

// New wraps a database engine whose schema is up to date.
func New(b Backend) *DB { return &DB{backend: b} }

// Wrap puts something around the database engine: a test that fails or stops
// at chosen steps.
func (db *DB) Wrap(wrap func(Backend) Backend) *DB { return &DB{backend: wrap(db.backend)} }

// View runs fn on a consistent, read-only snapshot.
func (db *DB) View(ctx context.Context, fn func(*Tx) error) error {
	return db.backend.View(ctx, func(q Querier) error { return fn(&Tx{q: q, backend: db.backend}) })
}

// Read runs fn, which calls one method of Tx that makes a single statement.
func (db *DB) Read(ctx context.Context, fn func(*Tx) error) error {
	return db.backend.Read(ctx, func(q Querier) error { return fn(&Tx{q: q, backend: db.backend}) })
}

// UpdateRelaxed is Update for changes that a power cut may take back.
func (db *DB) UpdateRelaxed(ctx context.Context, fn func(*Tx) error) error {
	return db.backend.UpdateRelaxed(ctx, func(q Querier) error { return fn(&Tx{q: q, backend: db.backend}) })
}

// Update runs fn in a write transaction; see [Backend] for the guarantees.
func (db *DB) Update(ctx context.Context, fn func(*Tx) error) error {
	keys := false
	err := db.backend.Update(ctx, func(q Querier) error {
		tx := &Tx{q: q, backend: db.backend}
		err := fn(tx)
		keys = tx.keys
		return err
	})
	if keys { // also on an error: the commit may have happened
		db.keys.Add(1)
	}
	return err
}

// KeysVersion changes whenever access keys, principals, repositories or policies do. It is false when other servers
// may change them too, and nobody here knows when.
func (db *DB) KeysVersion() (uint64, bool) {
	_, sole := db.backend.(Sole)
	return db.keys.Load(), sole
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.backend.Ping(ctx) }

// Close waits for running transactions and releases the database.
func (db *DB) Close() error { return db.backend.Close() }

// Tx is one transaction. Its methods are grouped by the table they serve, one
// file each.
type Tx struct {
	q       Querier
	backend Backend
	keys    bool // something that decides was changed
}

// storable finds texts that some database would refuse, so that all do.
func storable(args []any) error {
	for _, a := range args {
		if s, ok := a.(string); ok && (!utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0) {
			return ErrText
		}
	}
	return nil
}

// insert runs an INSERT … RETURNING id and maps a violated key to ErrExists,
// after which the transaction can only be given up.
func (tx *Tx) insert(query string, args ...any) (int64, error) {
	if err := storable(args); err != nil {
		return 0, err
	}
	var id int64
	err := tx.q.QueryRow(query, args...).Scan(&id)
	if err != nil && tx.backend.IsUnique(err) {
		return 0, ErrExists
	}
	return id, err
}

// exec runs a statement that may touch any number of rows.
func (tx *Tx) exec(query string, args ...any) error {
	if err := storable(args); err != nil {
		return err
	}
	_, err := tx.q.Exec(query, args...)
	return err
}

// one runs a statement that must touch a row; none is ErrNotFound.
func (tx *Tx) one(query string, args ...any) error {
	if err := storable(args); err != nil {
		return err
	}
	res, err := tx.q.Exec(query, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

// scanner is what *sql.Row and *sql.Rows have in common.
type scanner interface{ Scan(dest ...any) error }

// get reads one row with scan; none is ErrNotFound.
func get[T any](tx *Tx, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	if err := storable(args); err != nil {
		var zero T
		return zero, err
	}
	v, err := scan(tx.q.QueryRow(query, args...))
	if errors.Is(err, sql.ErrNoRows) {
		var zero T
		return zero, ErrNotFound
	}
	return v, err
}

// list reads all rows of a query with scan.
func list[T any](tx *Tx, scan func(scanner) (T, error), query string, args ...any) (out []T, err error) {
	if err := storable(args); err != nil {
		return nil, err
	}
	rows, err := tx.q.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}

func scanString(s scanner) (string, error) {
	var v string
	return v, s.Scan(&v)
}

func scanBool(s scanner) (bool, error) {
	var v bool
	return v, s.Scan(&v)
}

// micros stores a time; the zero time is 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// fromMicros is the time of a stored number of microseconds; 0 is the zero time.
func fromMicros(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(v).UTC()
}

// placeholders is "$from, …" for n values.
func placeholders(from, n int) string {
	s := ""
	for i := range n {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("$%d", from+i)
	}
	return s
}
