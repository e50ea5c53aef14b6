package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"berth/internal/meta"
	"berth/internal/meta/metatest"
	"berth/internal/meta/postgres"
	"berth/internal/testkit"
)

func open(t testing.TB, url string) *meta.DB {
	t.Helper()
	db, err := postgres.Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestSuite(t *testing.T) {
	cluster := testkit.StartPostgres(t)
	metatest.Run(t, func(t *testing.T) *meta.DB { return open(t, cluster.Database(t)) })
}

func BenchmarkStore(b *testing.B) {
	metatest.Benchmark(b, open(b, testkit.Postgres(b)))
}

// raw runs a statement past the store.
func raw(t *testing.T, url, statement string) {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(context.Background(), statement)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestServersThatStartTogetherMigrateOnce(t *testing.T) {
	url := testkit.Postgres(t)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			db, err := postgres.Open(context.Background(), url)
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(db.Ping(context.Background()), db.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	cluster := testkit.StartPostgres(t)
	for name, c := range map[string]struct{ prepare, want string }{
		"a newer schema": {
			`CREATE TABLE goose_db_version (id int GENERATED ALWAYS AS IDENTITY, version_id bigint NOT NULL, is_applied boolean NOT NULL, tstamp timestamp NOT NULL DEFAULT now());
			INSERT INTO goose_db_version (version_id, is_applied) VALUES (0, true), (1, true), (9999, true)`,
			"its schema has version 9999",
		},
		"a read-only database": {`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`, "is read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			url := cluster.Database(t)
			raw(t, url, c.prepare)
			_, err := postgres.Open(context.Background(), url)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// secret is looked for wherever it must not appear.
const secret = "hunter2-S3cret"

func TestErrorsNeverHoldThePassword(t *testing.T) {
	cluster := testkit.StartPostgres(t)
	good := cluster.Database(t)
	wrong := strings.Replace(good, cluster.Password, secret, 1)
	for _, url := range []string{
		wrong,
		"postgres://ann:" + secret + "@127.0.0.1:1/db",
		"postgres://ann:" + secret + "@127.0.0.1:1/db?sslmode=nonsense",
		"postgres://ann:" + secret + "@127.0.0.1:port/db",
		"postgres://ann:" + secret + "@127.0.0.1:1/db?pool_max_conns=1",
		"postgres://ann:" + secret + "@127.0.0.1:1/db?sslrootcert=/nonexistent&sslmode=verify-full",
		"postgres://ann:%zz" + secret + "@127.0.0.1:1/db",
		"postgres://ann:" + secret + "%@127.0.0.1:1/db",
		"postgres://ann:x@" + secret + "@127.0.0.1:1/db",
		"postgres://127.0.0.1:1/db?user=ann&password=" + secret,
		"postgres://127.0.0.1:1/db?user=ann&password=" + secret + "&sslmode=nonsense",
		"postgres://ann:" + secret + "@/db?host=%00",
		"host=127.0.0.1 port=1 password=" + secret,
		"mysql://ann:" + secret + "@127.0.0.1:1/db",
	} {
		db, err := postgres.Open(context.Background(), url)
		if err == nil {
			t.Errorf("opened %s: %v", url, db.Close())
			continue
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%v", err), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%q", err)} {
			if strings.Contains(text, secret) {
				t.Errorf("the error of %s holds the password: %s", url, text)
			}
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(fmt.Sprintf("%+v", e), secret) {
				t.Errorf("a cause of the error of %s holds the password: %T", url, e)
			}
		}
	}
}

func TestUnreachableIsNamedAndQuick(t *testing.T) {
	started := time.Now()
	_, err := postgres.Open(context.Background(), "postgres://ann:"+secret+"@127.0.0.1:1/images")
	if !errors.Is(err, meta.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1/images") {
		t.Errorf("got %v, want ErrUnavailable with host and database", err)
	}
	if d := time.Since(started); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

// write adds one repository.
func write(db *meta.DB, name string) error {
	return db.Update(context.Background(), func(tx *meta.Tx) error {
		return tx.InsertRepository(&meta.Repository{Scope: meta.Scope{Account: "000000000000", Region: "us-east-1"}, Name: name})
	})
}

// quick checks that a call on a database that is gone fails as it should.
func quick(t *testing.T, what string, call func() error) {
	t.Helper()
	started := time.Now()
	err := call()
	if !errors.Is(err, meta.ErrUnavailable) {
		t.Errorf("%s: %v, want ErrUnavailable", what, err)
	}
	if d := time.Since(started); d > 6*time.Second {
		t.Errorf("%s failed only after %v", what, d)
	}
	t.Logf("%s: %.1f s: %v", what, time.Since(started).Seconds(), err)
}

// recovered waits until writes work again.
func recovered(t *testing.T, db *meta.DB, name string) {
	t.Helper()
	started := time.Now()
	for {
		err := write(db, name)
		if err == nil || errors.Is(err, meta.ErrExists) {
			t.Logf("recovered after %.1f s", time.Since(started).Seconds())
			return
		}
		if !errors.Is(err, meta.ErrUnavailable) || time.Since(started) > 10*time.Second {
			t.Fatalf("not recovered after %v: %v", time.Since(started), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestCrashedDatabase(t *testing.T) {
	cluster := testkit.StartPostgres(t)
	db := open(t, cluster.Database(t))
	if err := write(db, "before"); err != nil {
		t.Fatal(err)
	}
	cluster.Stop(t, "immediate")
	quick(t, "update", func() error { return write(db, "during") })
	quick(t, "ping", func() error { return db.Ping(context.Background()) })
	cluster.Start(t)
	recovered(t, db, "after")
	if err := write(db, "before"); !errors.Is(err, meta.ErrExists) {
		t.Errorf("a committed row is gone after a crash: %v", err)
	}
	if err := write(db, "during"); err != nil {
		t.Errorf("a failed update was kept: %v", err)
	}
}

// TestRestartIsNotNoticed: connections that died while they were idle cost
// nobody an error, neither those that have waited long nor fresh ones.
func TestRestartIsNotNoticed(t *testing.T) {
	cluster := testkit.StartPostgres(t)
	db := open(t, cluster.Database(t))
	for round := range 3 {
		var wg sync.WaitGroup
		for i := range 12 { // so that there are many connections
			wg.Go(func() {
				if err := write(db, fmt.Sprintf("r%d-%d", round, i)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		cluster.Stop(t, "fast")
		cluster.Start(t)
		if err := db.Ping(context.Background()); err != nil {
			t.Errorf("view after a restart: %v", err)
		}
	}
}

func TestConnectionLostInsideAnUpdate(t *testing.T) {
	cluster := testkit.StartPostgres(t)
	url := cluster.Database(t)
	db := open(t, url)
	runs := 0
	err := db.Update(context.Background(), func(tx *meta.Tx) error {
		runs++
		if runs == 1 {
			raw(t, url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'berth'")
		}
		return tx.InsertRepository(&meta.Repository{Name: "app"})
	})
	if err != nil || runs != 2 {
		t.Errorf("%d runs, %v: want a second run that succeeds", runs, err)
	}
}

func TestFrozenDatabase(t *testing.T) {
	cluster := testkit.StartPostgres(t)
	db := open(t, cluster.Database(t))
	if err := write(db, "before"); err != nil {
		t.Fatal(err)
	}
	// A transaction that is under way when the server stops answering.
	quick(t, "running update", func() error {
		return db.Update(context.Background(), func(tx *meta.Tx) error {
			cluster.Freeze(t)
			return tx.InsertRepository(&meta.Repository{Name: "running"})
		})
	})
	quick(t, "update", func() error { return write(db, "during") })
	quick(t, "ping", func() error { return db.Ping(context.Background()) })
	cluster.Thaw(t)
	recovered(t, db, "after")
	if err := write(db, "before"); !errors.Is(err, meta.ErrExists) {
		t.Errorf("a committed row is gone: %v", err)
	}
}

// TestSlowIsNotGone: a statement that waits long for a lock is left alone as
// long as the server answers others.
func TestSlowIsNotGone(t *testing.T) {
	url := testkit.Postgres(t)
	db := open(t, url)
	locker, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := locker.Close(); err != nil {
			t.Error(err)
		}
	})
	tx, err := locker.BeginTx(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(context.Background(), "LOCK TABLE repositories"); err != nil {
		t.Fatal(err)
	}
	free := time.AfterFunc(5*time.Second, func() {
		if err := tx.Commit(); err != nil {
			t.Error(err)
		}
	})
	defer free.Stop()
	started := time.Now()
	if err := write(db, "patient"); err != nil {
		t.Errorf("after %v: %v", time.Since(started), err)
	}
}

func FuzzOpen(f *testing.F) {
	for _, s := range []string{"postgres://a:b@h:1/d?sslmode=disable", "postgres://", "postgresql://h?pool_max_conns=x", "postgres://a:%zz@h"} {
		f.Add(s)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // whatever the URL, no connection is made
	f.Fuzz(func(t *testing.T, s string) {
		db, err := postgres.Open(ctx, s)
		if err == nil {
			t.Errorf("opened %q without a server: %v", s, db.Close())
		}
	})
}
