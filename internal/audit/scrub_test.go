package audit_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/audit"
	"berth/internal/meta"
)

// A scrubber reads what has not been read for long, marks what is wrong, and
// sweeps once in its time whoever does it.
func TestScrubber(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	d := b.image("app", "v1", "layer")
	age(t, b.stray(true), 48*time.Hour)
	flip(t, b.file(b.blob(d).Location))
	s := b.NewScrubber(audit.ScrubOptions{})
	if err := s.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Blobs.Load() != 0 || s.Orphans.Load() != 1 {
		t.Errorf("read %d fresh blobs, removed %d strays: want none and 1", s.Blobs.Load(), s.Orphans.Load())
	}
	long := time.Now().Add(-31 * 24 * time.Hour)
	config := b.blob(digest.FromString("{}"))
	b.update(func(tx *meta.Tx) error {
		return errors.Join(tx.MarkVerified(b.blobIn(tx, d), long, false), tx.MarkVerified(config, long, false))
	})
	age(t, b.stray(true), 48*time.Hour)
	if err := b.NewScrubber(audit.ScrubOptions{}).Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !b.blob(d).Damaged {
		t.Error("a flipped bit was not found")
	}
	if got := b.blob(digest.FromString("{}")); got.Damaged || time.Since(got.VerifiedAt) > time.Hour {
		t.Errorf("a whole blob was not noted as such: %+v", got)
	}
	if r := b.check(audit.Options{OrphanAge: time.Hour}); !strings.Contains(kinds(r), audit.OrphanedObject) {
		t.Error("another scrubber swept a second time within a day")
	}
}

// The rate holds for what is read, not for each blob.
func TestScrubRate(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.image("app", "v1", strings.Repeat("x", 100_000))
	s := b.NewScrubber(audit.ScrubOptions{Every: time.Nanosecond, Rate: 200_000})
	start := time.Now()
	if err := s.Round(t.Context()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Errorf("100 kB at 200 kB/s took %v", took)
	}
}

// One server scrubs at a time.
func TestScrubIsClaimed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.update(func(tx *meta.Tx) error {
		_, err := tx.Claim("scrub", "another", time.Now(), time.Now().Add(time.Minute))
		return err
	})
	if err := b.NewScrubber(audit.ScrubOptions{}).Round(t.Context()); !errors.Is(err, audit.ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
}
