package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/blob"
	"berth/internal/blob/file"
	"berth/internal/blob/file/faultfs"
)

// keys derives everything from the label: enough to tell files apart.
type keys struct{}

func (keys) Sealing(context.Context, string) (int64, error) { return 7, nil }

func (keys) Derive(_ context.Context, domain string, dataKey int64, label string, n int) ([]byte, error) {
	b := make([]byte, n)
	copy(b, fmt.Sprintf("%s%d%s", label[max(0, len(label)-14):], dataKey, domain))
	return b, nil
}

func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i*31) + byte(i>>8)
	}
	return b
}

func round(s *file.Store, stage blob.Stage, b []byte) (blob.Stage, error) {
	w, err := s.Append(context.Background(), stage)
	if err != nil {
		return stage, err
	}
	_, werr := w.Write(b)
	next, err := w.Close()
	if werr != nil && err == nil {
		return stage, fmt.Errorf("Close forgot what Write met: %w", werr)
	}
	if err != nil {
		return stage, err
	}
	return next, nil
}

func readAll(s *file.Store, c blob.Copy) ([]byte, error) {
	r, err := s.Open(context.Background(), c)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

// store puts two rounds and commits them. It goes on after failures as a
// client does: from the last stage that was acknowledged.
func store(s *file.Store, first, second []byte) (blob.Copy, error) {
	stage := blob.Stage{ID: "up-1", Domain: "d"}
	for _, b := range [][]byte{first, second} {
		next, err := round(s, stage, b)
		if err != nil {
			return blob.Copy{}, err
		}
		stage = next
	}
	return s.Commit(context.Background(), stage)
}

// Every step of storing a blob fails once, with every error. The error comes
// out, a full disk as ErrNoSpace; what was acknowledged is still good, or is
// reported lost; no other bytes ever come back.
func TestEveryStepMayFail(t *testing.T) {
	first, second := pattern(1, 150_000), pattern(2, 90_000)
	whole := append(bytes.Clone(first), second...)
	for _, fault := range []error{syscall.ENOSPC, syscall.EIO, io.ErrShortWrite} {
		for n := 0; ; n++ {
			steps, failed := 0, ""
			ffs := faultfs.FS{FS: file.System{}, Fault: func(op faultfs.Op, path string) error {
				if op == faultfs.Stat || failed != "" {
					return nil
				}
				if steps++; steps <= n {
					return nil
				}
				failed = string(op)
				return fault
			}}
			root := t.TempDir()
			failed = "not yet"
			s, err := file.Open(ffs, root, keys{})
			if err != nil {
				t.Fatal(err)
			}
			failed, steps = "", 0
			c, err := store(s, first, second)
			if failed == "" {
				if err != nil {
					t.Fatal(err)
				}
				break // every step had its turn
			}
			switch {
			case err == nil:
				// A step whose failure does no harm.
			case errors.Is(fault, syscall.ENOSPC) && !errors.Is(err, blob.ErrNoSpace):
				t.Errorf("%s on a full disk: %v, want ErrNoSpace", failed, err)
			case !errors.Is(err, fault) && !errors.Is(err, blob.ErrNotFound):
				t.Errorf("%v in %s came out as %v", fault, failed, err)
			}
			if err != nil {
				if c, err = again(s, first, second); err != nil {
					t.Fatalf("after %v in %s nothing can be stored any more: %v", fault, failed, err)
				}
			}
			if got, err := readAll(s, c); err != nil || !bytes.Equal(got, whole) {
				t.Errorf("after %v in %s: %d bytes, %v", fault, failed, len(got), err)
			}
		}
	}
}

// again stores the blob under another id, as a client does that starts over.
func again(s *file.Store, first, second []byte) (blob.Copy, error) {
	stage, err := round(s, blob.Stage{ID: "up-2", Domain: "d"}, append(bytes.Clone(first), second...))
	if err != nil {
		return blob.Copy{}, err
	}
	return s.Commit(context.Background(), stage)
}

// Acknowledged means fsynced: the file before its name, the name before the answer.
func TestCommitFlushesFileThenDirectory(t *testing.T) {
	var mu sync.Mutex
	var steps []string
	ffs := faultfs.FS{FS: file.System{}, Fault: func(faultfs.Op, string) error { return nil }}
	root := t.TempDir()
	s, err := file.Open(ffs, root, keys{})
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{10, 150_000} {
		stage, err := round(s, blob.Stage{ID: fmt.Sprintf("up-%d", size), Domain: "d"}, pattern(1, size))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Commit(context.Background(), stage); err != nil { // makes the directories
			t.Fatal(err)
		}
	}
	ffs.Done = func(op faultfs.Op, path string) {
		mu.Lock()
		defer mu.Unlock()
		if op == faultfs.Write || op == faultfs.Sync || op == faultfs.SyncDir || op == faultfs.Rename {
			steps = append(steps, string(op))
		}
	}
	if s, err = file.Open(ffs, root, keys{}); err != nil {
		t.Fatal(err)
	}
	if stage, err := round(s, blob.Stage{ID: "up-1", Domain: "d"}, pattern(1, 10)); err != nil {
		t.Fatal(err)
	} else if steps = nil; true {
		if _, err := s.Commit(context.Background(), stage); err != nil {
			t.Fatal(err)
		}
	}
	got := strings.Join(steps, " ")
	if !strings.HasSuffix(got, "write sync rename syncdir") {
		t.Errorf("steps of a commit: %s", got)
	}
}

// recorder notes which packages are written where.
type recorder struct {
	file.FS
	t       testing.TB
	written map[place][]byte
	fail    int // writes until one fails; negative: never
}

// A place is what a nonce belongs to: the sealer writes a package at a time,
// with the nonce in its header, which says too whether it is the last one.
type place struct {
	path  string
	at    int64
	nonce string
}

type recordedFile struct {
	file.File
	r    *recorder
	path string
	at   int64
}

func (r *recorder) OpenFile(name string, flag int, perm fs.FileMode) (file.File, error) {
	f, err := r.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return &recordedFile{File: f, r: r, path: name}, nil
}

func (f *recordedFile) Seek(offset int64, whence int) (int64, error) {
	at, err := f.File.Seek(offset, whence)
	f.at = at
	return at, err
}

func (f *recordedFile) Write(p []byte) (int, error) {
	if f.r.fail == 0 {
		f.r.fail = -1
		n, _ := f.File.Write(p[:len(p)/2])
		f.note(p[:n])
		return n, syscall.EIO
	}
	f.r.fail--
	n, err := f.File.Write(p)
	f.note(p[:n])
	return n, err
}

// note fails the test when a package is written with the nonce of another one.
func (f *recordedFile) note(p []byte) {
	if len(p) < 16 {
		f.r.t.Errorf("%d bytes written to %s are no package", len(p), f.path)
		return
	}
	where := place{f.path, f.at, string(p[4:16])}
	old := f.r.written[where]
	if n := min(len(old), len(p)); !bytes.Equal(old[:n], p[:n]) {
		f.r.t.Errorf("the package at %d of %s was sealed twice", f.at, f.path)
	}
	if len(p) > len(old) {
		f.r.written[where] = bytes.Clone(p)
	}
	f.at += int64(len(p))
}

// Whatever fails and is tried again, with the same bytes or others, no two
// packages are sealed under one key and nonce, and the blob is always what was
// acknowledged.
func TestNoNonceIsUsedTwice(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rec := &recorder{FS: file.System{}, t: t, written: map[place][]byte{}, fail: -1}
		s, err := file.Open(rec, t.TempDir(), keys{})
		if err != nil {
			rt.Fatal(err)
		}
		stage := blob.Stage{ID: "up-1", Domain: "d"}
		var want []byte
		for i := range rapid.IntRange(1, 6).Draw(rt, "rounds") {
			b := pattern(byte(i), rapid.SampledFrom([]int{0, 1, 1000, 65_535, 65_536, 65_537, 140_000}).Draw(rt, "size"))
			rec.fail = rapid.SampledFrom([]int{-1, -1, 0, 1}).Draw(rt, "fail")
			next, err := round(s, stage, b)
			rec.fail = -1
			if err != nil {
				continue // the client sends something else next
			}
			if rapid.IntRange(0, 3).Draw(rt, "lost") == 0 {
				continue // the server died before the row: the round never happened
			}
			stage, want = next, append(want, b...)
			if rapid.IntRange(0, 3).Draw(rt, "commit") == 0 {
				rec.fail = 0
				_, _ = s.Commit(context.Background(), stage) // fails, and the session goes on
				rec.fail = -1
			}
		}
		if stage.State == nil {
			return
		}
		c, err := s.Commit(context.Background(), stage)
		if err != nil {
			rt.Fatal(err)
		}
		if got, err := readAll(s, c); err != nil || !bytes.Equal(got, want) {
			rt.Fatalf("%d bytes, %v; want %d", len(got), err, len(want))
		}
	})
}
