package event_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
)

var home = meta.Scope{Account: "000000000000", Region: "us-east-1"}

// A rig is an outbox with a clock of its own.
type rig struct {
	t  *testing.T
	db *meta.DB

	mu  sync.Mutex
	now time.Time
}

func newRig(t *testing.T) *rig {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	return onDB(t, db)
}

func onDB(t *testing.T, db *meta.DB) *rig {
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &rig{t: t, db: db, now: time.Unix(1_700_000_000, 0)}
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// emit writes events of an image, named by their numbers.
func (r *rig) emit(digest string, numbers ...int) {
	r.t.Helper()
	err := r.db.Update(r.t.Context(), func(tx *meta.Tx) error {
		for _, n := range numbers {
			e := meta.Event{
				UUID: fmt.Sprint(digest, n), Scope: home, Source: "aws.ecr", Type: "ECR Image Action", Repository: "app", Digest: digest,
				At: r.clock(), Resources: "[]", Detail: "{}",
			}
			if err := tx.InsertEvent(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// run runs a server's deliverers until the test ends, or what it returns is called.
func (r *rig) run(holder string, sinks ...event.Sink) (*event.Runner, func()) {
	r.t.Helper()
	runner := event.New(event.Options{
		DB: r.db, Sinks: sinks, Retention: event.DefaultRetention, Holder: holder, Log: slog.New(slog.DiscardHandler), Now: r.clock,
		Pace: 2 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(r.t.Context())
	var done sync.WaitGroup
	done.Go(func() { runner.Run(ctx) })
	stop := func() { cancel(); done.Wait() }
	r.t.Cleanup(stop)
	return runner, stop
}

// eventually waits for something that other goroutines do.
func eventually(t *testing.T, what string, fn func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !fn(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen that " + what)
		}
	}
}

// A fakeSink keeps what it is given, in order, unless fail says why not.
type fakeSink struct {
	name string
	mu   sync.Mutex
	got  []string
	fail func(e meta.Event) error
	hang chan struct{} // not nil: Deliver waits for it
}

func (s *fakeSink) Name() string { return s.name }
func (s *fakeSink) Batch() int   { return 4 }

func (s *fakeSink) Deliver(ctx context.Context, events []meta.Event) []error {
	if s.hang != nil {
		select {
		case <-s.hang:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]error, len(events))
	for i, e := range events {
		if s.fail != nil {
			out[i] = s.fail(e)
		}
		if out[i] == nil {
			s.got = append(s.got, e.UUID)
		}
	}
	return out
}

func (s *fakeSink) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

func (s *fakeSink) set(fail func(meta.Event) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// only is what was taken of one image.
func only(list []string, digest string) (out []string) {
	for _, id := range list {
		if strings.HasPrefix(id, digest) {
			out = append(out, id)
		}
	}
	return out
}

func TestEverySinkGetsEveryEventInOrder(t *testing.T) {
	r := newRig(t)
	a, b := &fakeSink{name: "a"}, &fakeSink{name: "b"}
	r.emit("x", 1, 2)
	r.run("one", a, b)
	r.emit("y", 1)
	r.emit("x", 3)
	for _, s := range []*fakeSink{a, b} {
		eventually(t, "all events arrive", func() bool { return len(s.taken()) == 4 })
		if got := only(s.taken(), "x"); !slices.Equal(got, []string{"x1", "x2", "x3"}) {
			t.Errorf("%s got %q", s.name, got)
		}
	}
}

// A sink that hangs or fails holds up no other one; when it works again, it gets
// what waited, in order.
func TestDeadSinkIsAlone(t *testing.T) {
	r := newRig(t)
	hung, broken, good := &fakeSink{name: "hung", hang: make(chan struct{})}, &fakeSink{name: "broken"}, &fakeSink{name: "good"}
	broken.set(func(meta.Event) error { return errors.New("connection refused") })
	runner, _ := r.run("one", hung, broken, good)
	r.emit("x", 1, 2, 3)
	r.emit("y", 1)
	eventually(t, "the good sink gets all", func() bool { return len(good.taken()) == 4 })
	eventually(t, "the broken sink was tried", func() bool { return runner.Counts().Failed.Load() > 0 })
	broken.set(nil)
	close(hung.hang)
	eventually(t, "the broken sink gets all", func() bool { r.advance(time.Second); return len(broken.taken()) == 4 })
	eventually(t, "the sink that hung gets all", func() bool { return len(hung.taken()) == 4 })
	if got := only(broken.taken(), "x"); !slices.Equal(got, []string{"x1", "x2", "x3"}) {
		t.Errorf("the broken sink got %q", got)
	}
}

// An event that a sink refuses holds up those of its own image alone; after a
// bounded number of tries it is given up and listed, and can be tried again.
func TestRefusedEventIsGivenUp(t *testing.T) {
	r := newRig(t)
	s := &fakeSink{name: "s"}
	tries := 0
	s.set(func(e meta.Event) error {
		if e.UUID == "x1" {
			tries++
			return &event.RefusedError{Reason: "too odd\x00"}
		}
		return nil
	})
	r.emit("x", 1, 2)
	r.emit("y", 1, 2)
	r.run("one", s)
	eventually(t, "the other image goes on", func() bool { return len(only(s.taken(), "y")) == 2 })
	if got := only(s.taken(), "x"); len(got) > 0 {
		t.Fatalf("before x1 came %q", got)
	}
	eventually(t, "x1 is given up", func() bool { r.advance(20 * time.Second); return len(only(s.taken(), "x")) == 1 })
	if tries != event.MaxTries {
		t.Errorf("%d tries", tries)
	}
	var dead []meta.Delivery
	read := func() {
		err := r.db.View(t.Context(), func(tx *meta.Tx) (err error) {
			dead, err = tx.DeadDeliveries(home, "", 0, 10)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if read(); len(dead) != 1 || dead[0].UUID != "x1" || dead[0].Error != "the sink refused the event: too odd" || dead[0].Attempts != event.MaxTries {
		t.Fatalf("dead: %+v", dead)
	}
	s.set(nil)
	err := r.db.Update(t.Context(), func(tx *meta.Tx) error {
		_, err := tx.RetryDeadDeliveries(home, r.clock())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "x1 arrives", func() bool { return slices.Contains(s.taken(), "x1") })
	eventually(t, "the list is empty", func() bool { read(); return len(dead) == 0 })
}

// What no sink takes within a day is given up, and what is older than the
// retention is deleted, and both are counted.
func TestOutboxIsBounded(t *testing.T) {
	r := newRig(t)
	s := &fakeSink{name: "s"}
	s.set(func(meta.Event) error { return errors.New("away") })
	runner, stop := r.run("one", s)
	r.emit("x", 1, 2, 3)
	eventually(t, "it is tried", func() bool { return runner.Counts().Failed.Load() > 0 })
	stop()
	r.advance(event.MaxAge + time.Second)
	if err := runner.Clean(t.Context()); err != nil || runner.Counts().Dead.Load() != 3 {
		t.Errorf("%d are dead after a day, %v", runner.Counts().Dead.Load(), err)
	}
	r.advance(event.DefaultRetention)
	if err := runner.Clean(t.Context()); err != nil || runner.Counts().Lost.Load() != 2 { // the last one stays
		t.Errorf("%d are lost after the retention, %v", runner.Counts().Lost.Load(), err)
	}
}

// Of two servers one delivers at a time, and either goes on when the other ends.
func TestOneServerDelivers(t *testing.T) {
	r := newRig(t)
	s := &fakeSink{name: "s"} // both servers' own, so that it sees all
	_, stopOne := r.run("one", s)
	_, stopTwo := r.run("two", s)
	for i := range 50 {
		r.emit("x", i)
	}
	eventually(t, "all arrive", func() bool { return len(s.taken()) >= 50 })
	stopOne()
	r.emit("x", 50)
	eventually(t, "the other goes on", func() bool { r.advance(time.Minute); return len(s.taken()) >= 51 })
	stopTwo()
	want := []string{}
	for i := range 51 {
		want = append(want, fmt.Sprint("x", i))
	}
	if got := s.taken(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// The file has a line for each event; one that a crash cut off spoils no other.
func TestFileSink(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(t.TempDir(), "events.jsonl")
	if err := os.WriteFile(path, []byte(`{"cut`), 0o600); err != nil {
		t.Fatal(err)
	}
	sinks, err := event.Open(t.Context(), []string{"file:" + path}, settings)
	if err != nil {
		t.Fatal(err)
	}
	r.emit("x", 1, 2)
	r.run("one", sinks...)
	var text string
	eventually(t, "both are in the file", func() bool {
		b, err := os.ReadFile(path)
		text = string(b)
		return err == nil && strings.Contains(text, `"id":"x2"`)
	})
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != `{"cut` || !strings.HasPrefix(lines[1], `{"version":"0","id":"x1"`) || !strings.HasSuffix(lines[1], "}") || lines[3] != "" {
		t.Errorf("the file is %q", text)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	r.emit("x", 3)
	eventually(t, "a new file is made", func() bool {
		b, err := os.ReadFile(path)
		return err == nil && strings.Contains(string(b), `"id":"x3"`)
	})
}

var settings = event.Settings{Secret: []byte("0123456789abcdef"), Now: time.Now}

func TestOpenRefusesWhatItCannotUse(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		names []string
		want  string
	}{
		{[]string{"events.jsonl"}, "not of the form"},
		{[]string{"ftp://host/secret"}, "not of the form"},
		{[]string{"file:"}, "not of the form"},
		{[]string{"https://user:secret@/x"}, "not of the form"},
		{[]string{"https://host/x#secret"}, "not of the form"},
		{[]string{"https://host/x?token=secret1", "https://host/x?token=secret2"}, "given twice"},
		{[]string{"file:" + dir + "/none/e"}, "does not exist"},
		{[]string{"file:" + dir + "/e", "file:" + dir + "/./e"}, "given twice"},
	} {
		_, err := event.Open(t.Context(), c.names, settings)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", c.names, err)
		}
	}
	if _, err := event.Open(t.Context(), []string{"https://host/x"}, event.Settings{Secret: []byte("short"), Now: time.Now}); err == nil || !strings.Contains(err.Error(), "at least 16 bytes") {
		t.Errorf("a short secret: %v", err)
	}
}

// FuzzParseTarget: what is read has a name that is text, tells nothing of users
// and queries, and reads as the same sink again.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"file:x", "https://user:pw@host/a?b=c", "http://[::1]:80/%00", "https:", "file:\xff", "eventbridge://bus?region=us-east-1", "securityhub://?region=eu-west-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		target, err := event.ParseTarget(text)
		if err != nil {
			if len(text) > 8 && strings.Contains(err.Error(), text) {
				t.Errorf("the error quotes %q", text)
			}
			return
		}
		name := target.Name()
		if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
			t.Errorf("the name of %q is %q", text, name)
		}
		again, err := event.ParseTarget(name)
		if err != nil || again.Name() != name {
			t.Errorf("%q is named %q, and that %q: %v", text, name, again.Name(), err)
		}
	})
}
