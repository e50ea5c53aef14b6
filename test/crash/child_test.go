package crash

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	audits "berth/internal/audit"
	"berth/internal/blob/file"
	"berth/internal/blob/file/faultfs"
	"berth/internal/meta"
	"berth/internal/server"
)

// childVariable makes the test binary be the server; its value is a [childConfig].
const childVariable = "BERTH_CRASH_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childVariable); text != "" {
		if err := runChild(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		// Servers that start and end wait for the disk more than for a processor.
		if err := flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// A childConfig is what the parent decides about a server.
type childConfig struct {
	Data string
	GC   bool // collect all the time, without leases and grace
	Move bool // move the bytes of archived images all the time, without leases
	// Archive is the directory of their store; empty: there is none.
	Archive string
	Kill    kill // armed from the first step on
}

// A kill names the moment at which a server ends itself.
type kill struct {
	Step  string
	N     int // which occurrence, from 1; 0: never
	After bool
}

func (k kill) String() string {
	side := "before"
	if k.After {
		side = "after"
	}
	return fmt.Sprintf("%s %s %d", side, k.Step, k.N)
}

// Steps of the database; those of the file system are faultfs's.
const (
	begin  = "begin"  // of a write transaction; after it, nothing is written yet
	commit = "commit" // before it, everything is written but not kept
)

// reading are the steps of the file system that change nothing: the moment
// before or after them is that of their neighbours.
func reading(op faultfs.Op) bool {
	switch op {
	case faultfs.Open, faultfs.Read, faultfs.ReadDir, faultfs.Stat, faultfs.Seek, faultfs.Close:
		return true
	}
	return false
}

// A killer counts steps.
type killer struct {
	mu     sync.Mutex
	armed  kill
	before map[string]int
	after  map[string]int
}

func (k *killer) arm(at kill) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.armed, k.before, k.after = at, map[string]int{}, map[string]int{}
}

func (k *killer) step(name string, after bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	count := k.before
	if after {
		count = k.after
	}
	count[name]++
	if k.armed.Step == name && k.armed.After == after && k.armed.N == count[name] {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // with the lock: nothing else happens until the signal is there
	}
}

func (k *killer) counts() map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.before
}

func (k *killer) fileSystem() file.FS {
	return faultfs.FS{
		FS: file.System{},
		Fault: func(op faultfs.Op, _ string) error {
			if !reading(op) {
				k.step(string(op), false)
			}
			return nil
		},
		Done: func(op faultfs.Op, _ string) {
			if !reading(op) {
				k.step(string(op), true)
			}
		},
	}
}

// killerDB reports the borders of write transactions.
type killerDB struct {
	meta.Backend
	k *killer
}

func (d killerDB) Update(ctx context.Context, fn func(meta.Querier) error) error {
	d.k.step(begin, false)
	err := d.Backend.Update(ctx, func(q meta.Querier) error {
		d.k.step(begin, true)
		err := fn(q)
		if err == nil {
			d.k.step(commit, false)
		}
		return err
	})
	if err == nil {
		d.k.step(commit, true)
	}
	return err
}

// A hello is what a server says when it listens.
type hello struct{ Endpoint, Region, AccessKey, Secret string }

// runChild is the server's process: it obeys a line of JSON at a time.
func runChild(text string) error {
	var cfg childConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	k := &killer{}
	k.arm(cfg.Kill)
	gc := server.GC{Interval: -1}
	if cfg.GC {
		gc = server.GC{Interval: 5 * time.Millisecond, Lease: time.Nanosecond, Grace: time.Nanosecond}
	}
	move := audits.MoveOptions{Interval: -1}
	if cfg.Move {
		gc.Lease, move = time.Nanosecond, audits.MoveOptions{Interval: 100 * time.Millisecond, Restore: 100 * time.Millisecond}
	}
	s, err := server.New(context.Background(), server.Config{
		ArchiveBlobs: cfg.Archive, Move: move,
		Data: cfg.Data, Listen: "127.0.0.1:0", Database: "sqlite", Blobs: "file", GC: gc, FileSystem: k.fileSystem(), LifecycleInterval: -1,
		WrapDatabase: func(b meta.Backend) meta.Backend { return killerDB{b, k} },
	}, slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	root := s.Root()
	if err := out.Encode(hello{s.Endpoint(), s.Region(), root.AccessKeyID, root.SecretAccessKey}); err != nil {
		return err
	}
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			var at kill
			if err := json.Unmarshal(in.Bytes(), &at); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			before := k.counts()
			k.arm(at)
			if err := out.Encode(before); err != nil {
				os.Exit(1)
			}
		}
		os.Exit(0) // the parent is gone
	}()
	return s.Run(context.Background())
}
