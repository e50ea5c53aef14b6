package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// A conn is one database connection with the statements prepared on it:
// parsing SQL anew would cost more than most of these queries. It runs one
// transaction at a time and is its [meta.Querier]. The statements are few (the
// texts in package meta), so they are kept for good.
type conn struct {
	c     *sql.Conn
	stmts map[string]*sql.Stmt
}

func newConn(ctx context.Context, db *sql.DB) (*conn, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &conn{c: c, stmts: map[string]*sql.Stmt{}}, nil
}

func (c *conn) prepare(query string) (*sql.Stmt, error) {
	if s, ok := c.stmts[query]; ok {
		return s, nil
	}
	// Statements outlive the request that first needs them, and a transaction
	// runs to its end: no request context reaches the connection.
	s, err := c.c.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, fmt.Errorf("prepare %q: %w", query, err)
	}
	c.stmts[query] = s
	return s, nil
}

func (c *conn) Exec(query string, args ...any) (sql.Result, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.Exec(args...)
}

func (c *conn) Query(query string, args ...any) (*sql.Rows, error) {
	s, err := c.prepare(query)
	if err != nil {
		return nil, err
	}
	return s.Query(args...)
}

func (c *conn) QueryRow(query string, args ...any) *sql.Row {
	s, err := c.prepare(query)
	if err != nil {
		return c.c.QueryRowContext(context.Background(), query, args...) // reports the same error when scanned
	}
	return s.QueryRow(args...)
}

// run executes a statement without arguments or interest in its result.
func (c *conn) run(query string) error {
	_, err := c.Exec(query)
	return err
}

// now executes a statement that acts while it is prepared, as some pragmas do.
func (c *conn) now(query string) error {
	_, err := c.c.ExecContext(context.Background(), query)
	return err
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.c.Close())...)
}
