package testkit

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postgres starts a PostgreSQL cluster that belongs to this test alone and returns the URL of an empty database in it,
// with a random password. See [StartPostgres].
func Postgres(t testing.TB) (url string) {
	t.Helper()
	return StartPostgres(t).Database(t)
}

// PostgresCluster is a running PostgreSQL server with its data.
type PostgresCluster struct {
	Password string // of the user postgres

	bin, dir, data string
	prefix         []string // runs a program as the cluster's owner
	databases      int
}

// StartPostgres starts a PostgreSQL cluster that belongs to this test alone: it listens on a unix socket in a temporary
// directory, asks for a password, writes as durably as a real one, and is ended with all it stored when the test ends. Text
// sorts as in English where PostgreSQL can do that, so that an order that was left to the database shows.
// PostgreSQL refuses to run as root, so as root it runs as the user postgres. It skips the test when PostgreSQL's
// programs (initdb, pg_ctl, createdb) or that user are missing.
func StartPostgres(t testing.TB) *PostgresCluster {
	t.Helper()
	// Not t.TempDir: a unix socket's path must be shorter than 108 bytes, and the cluster's owner must reach it.
	dir, err := os.MkdirTemp("", "berth-pg-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the private PostgreSQL: %v", err)
		}
	})
	c := &PostgresCluster{Password: rand.Text(), bin: postgresBin(t), dir: dir, data: filepath.Join(dir, "data")}
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(c.Password), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		c.prefix = postgresOwner(t, dir, password)
	}
	initdb := []string{"--pgdata", c.data, "--username=postgres", "--auth=scram-sha-256", "--pwfile", password,
		"--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions"}
	english := append(slices.Clone(initdb), "--locale-provider=icu", "--icu-locale=en-US")
	if result, err := c.command("initdb", english...).Try(t.Context()); err != nil || result.ExitCode != 0 {
		c.run(t, "initdb", initdb...) // before version 15, or built without ICU
	}
	c.Start(t)
	t.Cleanup(func() {
		if _, err := os.Stat(c.pidFile()); err == nil {
			c.Thaw(t)
			c.Stop(t, "immediate")
		}
	})
	return c
}

// postgresBin is the directory of PostgreSQL's server programs, the newest version where there are several.
func postgresBin(t testing.TB) string {
	t.Helper()
	// The pattern is a constant, so Glob cannot report it malformed.
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	slices.SortFunc(found, func(a, b string) int { return cmp.Compare(postgresVersion(a), postgresVersion(b)) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1])
	}
	path, err := filepath.EvalSymlinks(Tool(t, "pg_ctl"))
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(path)
}

func postgresVersion(path string) int {
	n, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return n
}

// postgresOwner gives files to the user postgres and returns the command that runs a program as that user.
func postgresOwner(t testing.TB, files ...string) []string {
	t.Helper()
	owner, err := user.Lookup("postgres")
	if err != nil {
		Missing(t, "needs the user postgres, since PostgreSQL does not run as root: install PostgreSQL or run the tests as another user")
	}
	uid, uidErr := strconv.Atoi(owner.Uid)
	gid, gidErr := strconv.Atoi(owner.Gid)
	if uidErr != nil || gidErr != nil {
		t.Fatalf("the user postgres has the ids %s and %s, which are not numbers", owner.Uid, owner.Gid)
	}
	for _, f := range files {
		if err := os.Chown(f, uid, gid); err != nil {
			t.Fatal(err)
		}
	}
	return []string{Tool(t, "setpriv"), "--reuid=" + owner.Uid, "--regid=" + owner.Gid, "--clear-groups", "--"}
}

// command is a program of PostgreSQL, run as the cluster's owner in its directory.
func (c *PostgresCluster) command(name string, args ...string) Command {
	line := append(slices.Clone(c.prefix), append([]string{filepath.Join(c.bin, name)}, args...)...)
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "PG") })
	return Command{Path: line[0], Args: line[1:], Dir: c.dir, Env: append(env, "PGPASSWORD="+c.Password)}
}

func (c *PostgresCluster) run(t testing.TB, name string, args ...string) {
	t.Helper()
	c.command(name, args...).Run(t)
}

// Database makes an empty database and returns its URL.
func (c *PostgresCluster) Database(t testing.TB) string {
	t.Helper()
	c.databases++
	name := fmt.Sprintf("berth%d", c.databases)
	c.run(t, "createdb", "--host", c.dir, "--username=postgres", "--template=template0", name)
	u := url.URL{
		Scheme: "postgres", User: url.UserPassword("postgres", c.Password), Path: "/" + name,
		RawQuery: url.Values{"host": {c.dir}}.Encode(),
	}
	return u.String()
}

// Start starts the server after [PostgresCluster.Stop] and waits until it accepts connections.
func (c *PostgresCluster) Start(t testing.TB) {
	t.Helper()
	c.run(t, "pg_ctl", "start", "--wait", "--silent", "--pgdata", c.data, "--log", filepath.Join(c.dir, "log"),
		"--options", "-c listen_addresses='' -c unix_socket_directories='"+c.dir+"'")
}

// Stop ends the server: "fast" ends its connections and shuts down cleanly, "immediate" is a crash.
func (c *PostgresCluster) Stop(t testing.TB, mode string) {
	t.Helper()
	// Not t.Context, which Run uses: Stop runs in cleanup functions as well.
	result, err := c.command("pg_ctl", "stop", "--wait", "--silent", "--mode", mode, "--pgdata", c.data).
		Try(context.WithoutCancel(t.Context()))
	if err != nil || result.ExitCode != 0 {
		t.Fatalf("stop PostgreSQL: %v%s", err, result.tail())
	}
}

// Freeze stops the server and its connections where they stand, as a machine that hangs does: connections stay open and
// nothing answers. Thaw lets them go on.
func (c *PostgresCluster) Freeze(t testing.TB) {
	t.Helper()
	c.signal(t, syscall.SIGSTOP)
}

// Thaw ends [PostgresCluster.Freeze]. A server that was not frozen does not mind.
func (c *PostgresCluster) Thaw(t testing.TB) {
	t.Helper()
	c.signal(t, syscall.SIGCONT)
}

func (c *PostgresCluster) pidFile() string { return filepath.Join(c.data, "postmaster.pid") }

// signal reaches the server and the processes that it started, which serve a connection each.
func (c *PostgresCluster) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	text, err := os.ReadFile(c.pidFile())
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	postmaster, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("read the number of the PostgreSQL process: %v", err)
	}
	// The server first, so that it starts no other meanwhile.
	for _, pid := range append([]int{postmaster}, childrenOf(t, postmaster)...) {
		if err := syscall.Kill(pid, s); err != nil && err != syscall.ESRCH {
			t.Fatalf("send %v to PostgreSQL: %v", s, err)
		}
	}
	if s == syscall.SIGSTOP {
		time.Sleep(50 * time.Millisecond) // until it has reached them all
	}
}

// childrenOf reads the processes that a process started from /proc.
func childrenOf(t testing.TB, parent int) []int {
	t.Helper()
	tasks, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(parent), "task"))
	if err != nil {
		Missing(t, "needs /proc to find PostgreSQL's processes: run it on Linux")
	}
	var pids []int
	for _, task := range tasks {
		text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(parent), "task", task.Name(), "children"))
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
