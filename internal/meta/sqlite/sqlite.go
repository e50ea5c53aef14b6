// Package sqlite keeps the metadata in one SQLite database file.
//
// It guarantees what [meta.Backend] asks for: write-ahead log with
// synchronous=FULL, so a commit that was answered survives a power cut (but for
// relaxed updates). There is exactly one writer. Updates that wait for it are committed together
// (group commit): each runs behind its own savepoint, so one that fails takes
// nothing of the others with it, and all share one fsync.
package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"runtime"
	"slices"
	"sync"

	"github.com/pressly/goose/v3"
	msqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"berth/internal/meta"
)

//go:embed migrations/*.sql
var migrations embed.FS

// maxBatch bounds how many updates share a commit, so that none waits long.
const maxBatch = 128

// Open opens the database file, creating and migrating it as needed. The file
// is readable by its owner only.
func Open(ctx context.Context, path string) (*meta.DB, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the metadata database: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open the metadata database: %w", err)
	}
	writer, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, fmt.Errorf("open the metadata database %s: %w", path, err)
	}
	writer.SetMaxOpenConns(1)
	if err := migrate(ctx, writer); err != nil {
		return nil, errors.Join(fmt.Errorf("bring the metadata database %s up to date: %w", path, err), writer.Close())
	}
	b, err := start(ctx, writer, path)
	if err != nil {
		return nil, fmt.Errorf("open the metadata database %s: %w", path, err)
	}
	return meta.New(b), nil
}

// start opens the connections and the writer.
func start(ctx context.Context, writer *sql.DB, path string) (*backend, error) {
	readers := max(4, 2*runtime.NumCPU())
	b := &backend{
		pools: []*sql.DB{writer}, readers: make(chan *conn, readers),
		jobs: make(chan *job, maxBatch), stop: make(chan struct{}), done: make(chan struct{}),
	}
	reader, err := sql.Open("sqlite", dsn(path)+"&_pragma=query_only(1)")
	if err != nil {
		return nil, errors.Join(err, writer.Close())
	}
	b.pools = append(b.pools, reader)
	if b.writer, err = newConn(ctx, writer); err != nil {
		return nil, errors.Join(err, b.closePools())
	}
	for range readers {
		c, err := newConn(ctx, reader)
		if err != nil {
			return nil, errors.Join(err, b.closePools())
		}
		b.readers <- c
	}
	go b.run()
	return b, nil
}

func dsn(path string) string {
	q := url.Values{"_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "cache_size(-8192)", "wal_autocheckpoint(4096)",
		"secure_delete(1)", // what was deleted or sealed anew does not stay readable in the file
	}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

func migrate(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

type backend struct {
	pools   []*sql.DB
	writer  *conn      // used by run alone
	relaxed bool       // the writer's mode: its commits do not wait for the disk
	readers chan *conn // idle ones
	jobs    chan *job

	closing sync.Once
	stop    chan struct{} // closed by Close: take no more updates
	done    chan struct{} // closed by run when the last update is answered
}

// A job is one update waiting for the writer.
type job struct {
	ctx     context.Context
	fn      func(meta.Querier) error
	relaxed bool // may be lost with a power cut
	err     error
	ready   chan struct{}
}

var errClosed = fmt.Errorf("%w: it was closed", meta.ErrUnavailable)

// reader waits for an idle connection; whoever gets it puts it back.
func (b *backend) reader(ctx context.Context) (*conn, error) {
	select {
	case c := <-b.readers:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-b.stop:
		return nil, errClosed
	}
}

// Read needs no transaction: a statement is a snapshot of its own.
func (b *backend) Read(ctx context.Context, fn func(meta.Querier) error) error {
	c, err := b.reader(ctx)
	if err != nil {
		return err
	}
	defer func() { b.readers <- c }()
	return fn(c)
}

func (b *backend) View(ctx context.Context, fn func(meta.Querier) error) error {
	c, err := b.reader(ctx)
	if err != nil {
		return err
	}
	defer func() { b.readers <- c }()
	if err := c.run("BEGIN"); err != nil {
		return fmt.Errorf("begin a read of the metadata: %w", err)
	}
	// A read-only transaction has nothing to keep; ending it is all that matters.
	defer func() { _ = c.run("ROLLBACK") }()
	return fn(c)
}

func (b *backend) Update(ctx context.Context, fn func(meta.Querier) error) error {
	return b.enqueue(&job{ctx: ctx, fn: fn, ready: make(chan struct{})})
}

func (b *backend) UpdateRelaxed(ctx context.Context, fn func(meta.Querier) error) error {
	return b.enqueue(&job{ctx: ctx, fn: fn, relaxed: true, ready: make(chan struct{})})
}

func (b *backend) enqueue(j *job) error {
	select {
	case b.jobs <- j:
	case <-j.ctx.Done():
		return j.ctx.Err()
	case <-b.stop:
		return errClosed
	}
	// Once queued the outcome is awaited even when ctx ends: the caller must
	// know whether it happened.
	select {
	case <-j.ready:
		return j.err
	case <-b.done:
		select {
		case <-j.ready:
			return j.err
		default:
			return errClosed
		}
	}
}

// run is the one writer.
func (b *backend) run() {
	defer close(b.done)
	for {
		select {
		case j := <-b.jobs:
			b.commit(b.collect(j))
		case <-b.stop:
			for {
				select {
				case j := <-b.jobs:
					b.commit(b.collect(j))
				default:
					return
				}
			}
		}
	}
}

// collect takes what waits already; it never waits for more, so a lone update
// pays no delay and a busy server batches by itself while it fsyncs.
func (b *backend) collect(first *job) []*job {
	batch := []*job{first}
	for len(batch) < maxBatch {
		select {
		case j := <-b.jobs:
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

func (b *backend) commit(batch []*job) {
	err := b.transact(batch)
	for _, j := range batch {
		if err != nil {
			j.err = fmt.Errorf("commit the metadata: %w", err)
		}
		if isFull(j.err) {
			j.err = fmt.Errorf("%w: %w", meta.ErrNoSpace, j.err)
		}
		close(j.ready)
	}
}

func (b *backend) transact(batch []*job) error {
	if err := b.synchronise(batch); err != nil {
		return err
	}
	if err := b.writer.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, j := range batch {
		if j.err = j.ctx.Err(); j.err != nil {
			continue
		}
		if err := b.isolate(j); err != nil {
			return errors.Join(err, b.writer.run("ROLLBACK"))
		}
	}
	if err := b.writer.run("COMMIT"); err != nil {
		return errors.Join(err, b.writer.run("ROLLBACK"))
	}
	return nil
}

// synchronise decides whether the commit of a batch waits for the disk: it
// does as soon as one of its updates must not be lost. With synchronous=NORMAL
// the log is flushed with the next commit that waits (SQLite, "PRAGMA
// synchronous").
func (b *backend) synchronise(batch []*job) error {
	relaxed := !slices.ContainsFunc(batch, func(j *job) bool { return !j.relaxed })
	if relaxed == b.relaxed {
		return nil
	}
	level := "FULL"
	if relaxed {
		level = "NORMAL"
	}
	if err := b.writer.now("PRAGMA synchronous = " + level); err != nil {
		return err
	}
	b.relaxed = relaxed
	return nil
}

// isolate runs one job behind a savepoint. Its own failure stays in j.err; the
// error returned means that the whole batch is lost.
func (b *backend) isolate(j *job) error {
	if err := b.writer.run("SAVEPOINT job"); err != nil {
		return err
	}
	if j.err = guard(j.fn, b.writer); j.err != nil {
		if err := b.writer.run("ROLLBACK TO job"); err != nil {
			return errors.Join(j.err, err) // SQLite may have given up the transaction by itself
		}
	}
	return b.writer.run("RELEASE job")
}

// guard turns a panic of an update into its error: the writer serves everyone.
func guard(fn func(meta.Querier) error, q meta.Querier) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("metadata update panicked: %v", p)
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

func (b *backend) Close() (err error) {
	b.closing.Do(func() {
		close(b.stop)
		<-b.done
		errs := []error{b.writer.close()}
		for range cap(b.readers) {
			errs = append(errs, (<-b.readers).close())
		}
		err = errors.Join(append(errs, b.closePools())...)
	})
	return err
}

func (b *backend) closePools() error {
	var errs []error
	for _, db := range b.pools {
		errs = append(errs, db.Close())
	}
	return errors.Join(errs...)
}

// Sole implements [meta.Sole]: one server has the file, and the commands that
// open it beside the server leave access keys alone.
func (b *backend) Sole() {}

// isFull reports whether the disk, or what the database may take of it, is full.
func isFull(err error) bool {
	var e *msqlite.Error
	return errors.As(err, &e) && e.Code()&0xff == sqlite3.SQLITE_FULL
}

func (b *backend) IsUnique(err error) bool {
	var e *msqlite.Error
	return errors.As(err, &e) &&
		(e.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || e.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}
