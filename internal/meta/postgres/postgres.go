package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"golang.org/x/sync/semaphore"

	"berth/internal/meta"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	// defaultConnections is how many connections a server opens at most. Six
	// servers fit into PostgreSQL's default of 100 (max_connections).
	defaultConnections = 16
	// maxConnections bounds pool_max_conns.
	maxConnections = 1000

	connectTimeout = 3 * time.Second // for each host
	idleTime       = 5 * time.Minute // after which an unused connection is closed
	lifeTime       = time.Hour       // after which a connection is replaced, so that load moves to new hosts

	// migrationLock is the advisory lock under which the schema is changed:
	// the bytes "berth/db" as a number.
	migrationLock = 0x62657274682f6462

	minVersion = 120000 // server_version_num of PostgreSQL 12
)

// IsURL reports whether a database setting names a PostgreSQL database.
func IsURL(s string) bool {
	return strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://")
}

// Open connects to a database and brings its schema up to date. The URL is
// libpq's connection URI (PostgreSQL manual, section 34.1.1.2):
//
//	postgres://user:password@host:port/database?sslmode=verify-full
//
// What it leaves out comes from the PG… environment variables and the password
// file, as with psql. One parameter is our own: pool_max_conns, the number of
// connections opened at most, 2 to 1000, 16 by default. The user must be
// allowed to create tables in the first schema of the search path.
func Open(ctx context.Context, rawURL string) (*meta.DB, error) {
	cfg, conns, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	writers := int64(max(1, conns*3/4))
	b := &backend{config: cfg, where: where(cfg), turns: semaphore.NewWeighted(writers), writers: writers}
	if err := b.migrate(ctx); err != nil {
		return nil, err
	}
	b.db = stdlib.OpenDB(*bounded(cfg))
	b.db.SetMaxOpenConns(conns)
	b.db.SetMaxIdleConns(conns)
	b.db.SetConnMaxIdleTime(idleTime)
	b.db.SetConnMaxLifetime(lifeTime)
	return meta.New(b), nil
}

var errURL = errors.New("the database URL is not valid: it must look like postgres://user:password@host:5432/database")

// parse reads a connection URL. Its errors never quote the URL: what is wrong
// with it may be the password.
func parse(rawURL string) (cfg *pgx.ConnConfig, conns int, err error) {
	u, err := url.Parse(rawURL)
	if err != nil || !IsURL(rawURL) {
		return nil, 0, errURL
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, 0, errURL
	}
	conns = defaultConnections
	if v := q.Get("pool_max_conns"); v != "" {
		conns, err = strconv.Atoi(v)
		if err != nil || conns < 2 || conns > maxConnections {
			return nil, 0, fmt.Errorf("pool_max_conns in the database URL must be a number from 2 to %d", maxConnections)
		}
	}
	q.Del("pool_max_conns")
	u.RawQuery = q.Encode()
	cfg, err = pgx.ParseConfig(u.String())
	if err != nil {
		return nil, 0, errors.New("the database URL " + place(u) + " is not valid: check its port, its parameters (such as sslmode) and the files they name")
	}
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, connectTimeout)
	dialer := &net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}}
	cfg.DialFunc = dialer.DialContext
	setDefault(cfg, "application_name", "berth")
	return cfg, conns, nil
}

// place is what may be shown of a URL: host and database.
func place(u *url.URL) string { return "postgres://" + u.Host + u.EscapedPath() }

// where names the hosts and the database of a configuration.
func where(cfg *pgx.ConnConfig) string {
	hosts := []string{hostPort(cfg.Host, cfg.Port)}
	for _, f := range cfg.Fallbacks {
		// A host stands here twice when it is tried with TLS and without.
		if h := hostPort(f.Host, f.Port); !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return strings.Join(hosts, ",") + "/" + cfg.Database
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func setDefault(cfg *pgx.ConnConfig, name, value string) {
	if _, ok := cfg.RuntimeParams[name]; !ok {
		cfg.RuntimeParams[name] = value
	}
}

// bounded is the configuration of the connections that serve requests: the
// server ends what takes too long, also on behalf of a client that vanished
// and would hold its locks for ever.
func bounded(cfg *pgx.ConnConfig) *pgx.ConnConfig {
	cfg = cfg.Copy()
	setDefault(cfg, "statement_timeout", strconv.FormatInt(maxTransaction.Milliseconds(), 10))
	setDefault(cfg, "idle_in_transaction_session_timeout", strconv.FormatInt(maxTransaction.Milliseconds(), 10))
	// A sequential scan would make a SERIALIZABLE transaction conflict with
	// every write to the table; all our queries have an index.
	setDefault(cfg, "enable_seqscan", "off")
	return cfg
}

// migrate checks the server and brings the schema up to date, on connections
// of its own: a migration may take longer than any request.
func (b *backend) migrate(ctx context.Context) (err error) {
	db := stdlib.OpenDB(*b.config)
	defer func() { err = errors.Join(err, db.Close()) }()
	lock, err := db.Conn(ctx)
	if err != nil {
		return b.unavailable(err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := b.check(ctx, lock); err != nil {
		return err
	}
	// The lock ends with its connection at the latest.
	if _, err := lock.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(migrationLock)); err != nil {
		return fmt.Errorf("wait to migrate the PostgreSQL database %s: %w", b.where, err)
	}
	defer func() {
		_, uerr := lock.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrationLock))
		err = errors.Join(err, uerr)
	}()
	if err := up(ctx, db); err != nil {
		return fmt.Errorf("bring the PostgreSQL database %s up to date: %w", b.where, err)
	}
	return nil
}

// check refuses servers that cannot keep what we promise.
func (b *backend) check(ctx context.Context, c *sql.Conn) error {
	var (
		version            int
		name, encoding     string
		replica, forbidden bool
	)
	err := c.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
		current_setting('server_encoding'), pg_is_in_recovery(), current_setting('transaction_read_only')::bool`).
		Scan(&version, &name, &encoding, &replica, &forbidden)
	switch {
	case err != nil:
		return b.unavailable(err)
	case version < minVersion:
		return fmt.Errorf("the server of the database %s is PostgreSQL %s: Berth needs 12 or later", b.where, name)
	case encoding != "UTF8":
		return fmt.Errorf("the PostgreSQL database %s has the encoding %s: create it with ENCODING 'UTF8'", b.where, encoding)
	case replica || forbidden:
		return fmt.Errorf("the PostgreSQL database %s is read-only: name the primary server, or several with target_session_attrs=read-write", b.where)
	}
	return nil
}

func up(ctx context.Context, db *sql.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files)
	if err != nil {
		return err
	}
	have, known, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > known {
		return fmt.Errorf("its schema has version %d and this program knows %d at most: use the newer program that made it", have, known)
	}
	_, err = p.Up(ctx)
	return err
}
