package upload_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/blob"
	"berth/internal/upload"
)

func TestInvariant10_UploadResumesAfterRestart(t *testing.T) {
	s := newStores(t)
	ctx := context.Background()
	whole := pattern(1, 700_001)
	id := s.start(t, s.receiver())
	for at := 0; at < len(whole); {
		n := min(100_003, len(whole)-at)
		u, err := s.receiver().Append(ctx, s.repo, id, int64(at), bytes.NewReader(whole[at:at+n])) // a new process each time
		if err != nil {
			t.Fatal(err)
		}
		if at += n; u.Size != int64(at) {
			t.Fatalf("session has %d bytes after %d were sent", u.Size, at)
		}
	}
	res, err := s.receiver().Complete(ctx, s.target(), id, digest.FromBytes(whole))
	if err != nil {
		t.Fatal(err)
	}
	if res.Size != int64(len(whole)) || res.Existed {
		t.Errorf("result %+v", res)
	}
	s.wantStored(t, digest.FromBytes(whole), whole)
	if _, err := s.receiver().Session(ctx, s.repo, id); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("the session outlived its completion: %v", err)
	}
	if n := s.staged(t); n != 0 {
		t.Errorf("%d staged files are left", n)
	}
}

// A crash after bytes reached the file but before the row: what is beyond the
// row was never acknowledged, and must become part of no blob.
func TestUnacknowledgedBytesAreDropped(t *testing.T) {
	first, second := pattern(1, 200_000), pattern(2, 300)
	for _, tc := range []struct {
		name   string
		finish func(t *testing.T, s *stores, id string) []byte // what the blob must be
	}{
		{"complete at once", func(t *testing.T, s *stores, id string) []byte { return first }},
		{"append more", func(t *testing.T, s *stores, id string) []byte {
			if _, err := s.receiver().Append(context.Background(), s.repo, id, upload.AnyOffset, bytes.NewReader(second)); err != nil {
				t.Fatal(err)
			}
			return append(bytes.Clone(first), second...)
		}},
	} {
		for _, a := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			t.Run(tc.name+" "+a.String(), func(t *testing.T) {
				s := newStores(t)
				id := s.start(t, s.receiver())
				if _, err := s.receiver().Append(context.Background(), s.repo, id, 0, bytes.NewReader(first)); err != nil {
					t.Fatal(err)
				}
				f, err := os.OpenFile(s.stagedFile(t), os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.Write([]byte("bytes that the crash left behind"))
				if err := errors.Join(err, f.Close()); err != nil {
					t.Fatal(err)
				}
				want := tc.finish(t, s, id)
				if _, err := s.receiver().Complete(context.Background(), s.target(), id, a.FromBytes(want)); err != nil {
					t.Fatal(err)
				}
				s.wantStored(t, a.FromBytes(want), want)
			})
		}
	}
}

func TestOffsetMustBeTheEnd(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	id := s.start(t, r)
	if _, err := r.Append(context.Background(), s.repo, id, 0, bytes.NewReader(pattern(1, 10))); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 9, 11, 1 << 40} {
		_, err := r.Append(context.Background(), s.repo, id, at, bytes.NewReader(pattern(2, 5)))
		var offset *upload.OffsetError
		if !errors.As(err, &offset) || offset.Have != 10 || offset.Got != at {
			t.Errorf("offset %d: %v", at, err)
		}
	}
	if n := s.size(t, r, id); n != 10 {
		t.Errorf("session has %d bytes", n)
	}
}

func TestClientFailureKeepsWhatCame(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	id := s.start(t, r)
	whole := pattern(1, 1_000_000)
	u, err := r.Append(context.Background(), s.repo, id, 0, failing(whole[:600_000], io.ErrUnexpectedEOF))
	var client *upload.ClientError
	if !errors.As(err, &client) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("got %v", err)
	}
	if u.Size != 600_000 || s.size(t, r, id) != 600_000 {
		t.Fatalf("kept %d bytes of 600000", u.Size)
	}
	if _, err := r.Append(context.Background(), s.repo, id, 600_000, bytes.NewReader(whole[600_000:])); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Complete(context.Background(), s.target(), id, digest.FromBytes(whole)); err != nil {
		t.Fatal(err)
	}
	s.wantStored(t, digest.FromBytes(whole), whole)
}

// The client's context ends with its connection; what it sent is kept all the same.
func TestClientFailureWithCancelledContext(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	id := s.start(t, r)
	ctx, cancel := context.WithCancel(context.Background())
	body := io.MultiReader(bytes.NewReader(pattern(1, 1000)), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, context.Canceled
	}))
	if _, err := r.Append(ctx, s.repo, id, 0, body); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if n := s.size(t, r, id); n != 1000 {
		t.Errorf("kept %d bytes of 1000", n)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// zot 99918212: a full disk must lose nothing that was there.
func TestDiskFullLeavesSessionAsItWas(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	ctx := context.Background()
	id := s.start(t, r)
	whole := pattern(1, 900_000)
	if _, err := r.Append(ctx, s.repo, id, 0, bytes.NewReader(whole[:300_000])); err != nil {
		t.Fatal(err)
	}
	s.blobs.set(func(f *faulty) { f.room = 300_000 })
	if _, err := r.Append(ctx, s.repo, id, 300_000, bytes.NewReader(whole[300_000:])); !errors.Is(err, blob.ErrNoSpace) {
		t.Fatalf("got %v, want ErrNoSpace", err)
	}
	if n := s.size(t, r, id); n != 300_000 {
		t.Fatalf("session has %d bytes", n)
	}
	s.blobs.set(func(f *faulty) { f.room = 0 })
	if _, err := r.Append(ctx, s.repo, id, 300_000, bytes.NewReader(whole[300_000:])); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Complete(ctx, s.target(), id, digest.FromBytes(whole)); err != nil {
		t.Fatal(err)
	}
	s.wantStored(t, digest.FromBytes(whole), whole)
}

func TestCompleteAfterFailedAppendHasOnlyAcknowledgedBytes(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	ctx := context.Background()
	id := s.start(t, r)
	first := pattern(1, 1000)
	if _, err := r.Append(ctx, s.repo, id, 0, bytes.NewReader(first)); err != nil {
		t.Fatal(err)
	}
	s.blobs.set(func(f *faulty) { f.room = 100 })
	if _, err := r.Append(ctx, s.repo, id, 1000, bytes.NewReader(pattern(2, 500))); !errors.Is(err, blob.ErrNoSpace) {
		t.Fatalf("got %v", err)
	}
	s.blobs.set(func(f *faulty) { f.room = 0 })
	if _, err := r.Complete(ctx, s.target(), id, digest.FromBytes(first)); err != nil {
		t.Fatal(err)
	}
	s.wantStored(t, digest.FromBytes(first), first)
}

// A store may report a failed write only when the file is closed. That must
// not hide behind the client's own failure.
func TestCloseErrorIsNeverSwallowed(t *testing.T) {
	boom := errors.New("close failed")
	for name, body := range map[string]io.Reader{
		"client fine":  bytes.NewReader(pattern(1, 100)),
		"client fails": failing(pattern(1, 100), io.ErrUnexpectedEOF),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStores(t)
			r := s.receiver()
			id := s.start(t, r)
			s.blobs.set(func(f *faulty) { f.closeErr = boom })
			_, err := r.Append(context.Background(), s.repo, id, 0, body)
			var client *upload.ClientError
			if !errors.Is(err, boom) || errors.As(err, &client) {
				t.Errorf("got %v", err)
			}
			if n := s.size(t, r, id); n != 0 {
				t.Errorf("session advanced to %d", n)
			}
		})
	}
}

func TestInvariant02_NoRowWithoutDurableBytes(t *testing.T) {
	boom := errors.New("fsync failed")
	b := pattern(1, 1000)
	d := digest.FromBytes(b)
	s := newStores(t)
	r := s.receiver()
	ctx := context.Background()
	id := s.start(t, r)
	if _, err := r.Append(ctx, s.repo, id, 0, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	s.blobs.set(func(f *faulty) { f.commitErr = boom })
	if _, err := r.Complete(ctx, s.target(), id, d); !errors.Is(err, boom) {
		t.Fatalf("Complete: %v", err)
	}
	if _, err := r.Put(ctx, s.target(), d, bytes.NewReader(b)); !errors.Is(err, boom) {
		t.Fatalf("Put: %v", err)
	}
	if _, ok := s.member(t, d); ok {
		t.Fatal("a row was written for bytes that are not durable")
	}
	s.blobs.set(func(f *faulty) { f.commitErr = nil })
	if _, err := r.Complete(ctx, s.target(), id, d); err != nil { // the session is still good
		t.Fatal(err)
	}
	s.wantStored(t, d, b)
}

// The process dies, or the database fails, between the commit of the bytes and
// that of the row. The client's second PUT must succeed.
func TestCompleteAgainAfterRowsFailed(t *testing.T) {
	for _, size := range []int{0, 1000, 200_000} {
		completeAgain(t, pattern(1, size))
	}
}

func completeAgain(t *testing.T, b []byte) {
	d := digest.FromBytes(b)
	s := newStores(t)
	ctx := context.Background()
	id := s.start(t, s.receiver())
	if _, err := s.receiver().Append(ctx, s.repo, id, 0, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.blobs.Store.Commit(ctx, s.stage(t, id)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.receiver().Complete(ctx, s.target(), id, d); err != nil {
		t.Fatal(err)
	}
	s.wantStored(t, d, b)
}

// go-containerregistry#2124 and its like: bytes that a power cut took away are
// not believed because the row is right.
func TestLostBytesEndTheSession(t *testing.T) {
	b := pattern(1, 200_000)
	for name, damage := range map[string]func(path string) error{
		"file gone":      os.Remove,
		"file shortened": func(p string) error { return os.Truncate(p, 10) },
	} {
		for op, act := range map[string]func(s *stores, id string) error{
			"append": func(s *stores, id string) error {
				_, err := s.receiver().Append(context.Background(), s.repo, id, 200_000, bytes.NewReader(b))
				return err
			},
			"complete": func(s *stores, id string) error {
				_, err := s.receiver().Complete(context.Background(), s.target(), id, digest.FromBytes(b))
				return err
			},
		} {
			t.Run(name+" "+op, func(t *testing.T) {
				s := newStores(t)
				id := s.start(t, s.receiver())
				if _, err := s.receiver().Append(context.Background(), s.repo, id, 0, bytes.NewReader(b)); err != nil {
					t.Fatal(err)
				}
				if err := damage(s.stagedFile(t)); err != nil {
					t.Fatal(err)
				}
				if err := act(s, id); !errors.Is(err, upload.ErrNotFound) {
					t.Errorf("got %v, want ErrNotFound", err)
				}
				if _, ok := s.member(t, digest.FromBytes(b)); ok {
					t.Error("a row was written")
				}
				if _, err := s.receiver().Session(context.Background(), s.repo, id); !errors.Is(err, upload.ErrNotFound) {
					t.Errorf("the session is still offered: %v", err)
				}
				if n := s.staged(t); n != 0 {
					t.Errorf("%d staged files are left", n)
				}
			})
		}
	}
}

// goharbor/harbor#20143: the digest is always the one of the bytes written.
func TestDigestMismatchDiscards(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	ctx := context.Background()
	b, other := pattern(1, 1000), digest.FromString("other")
	id := s.start(t, r)
	if _, err := r.Append(ctx, s.repo, id, 0, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	var mismatch *upload.DigestError
	if _, err := r.Complete(ctx, s.target(), id, other); !errors.As(err, &mismatch) || mismatch.Computed != digest.FromBytes(b) {
		t.Errorf("Complete: %v", err)
	}
	if _, err := r.Session(ctx, s.repo, id); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("the session is still there: %v", err)
	}
	if _, err := r.Put(ctx, s.target(), other, bytes.NewReader(b)); !errors.As(err, &mismatch) || mismatch.Computed != digest.FromBytes(b) {
		t.Errorf("Put: %v", err)
	}
	if n, m := s.staged(t), s.files(t); n != 0 || m != 0 {
		t.Errorf("%d staged and %d committed files are left", n, m)
	}
	for _, d := range []digest.Digest{other, digest.FromBytes(b)} {
		if _, ok := s.member(t, d); ok {
			t.Errorf("%s became a member", d)
		}
	}
}

func TestDigestsOfEveryAlgorithm(t *testing.T) {
	b := pattern(1, 100_000)
	for _, session := range []digest.Algorithm{"", digest.SHA256, digest.SHA512} {
		for _, want := range []digest.Algorithm{digest.SHA256, digest.SHA512} {
			t.Run(string(session)+" session, "+want.String(), func(t *testing.T) {
				s := newStores(t)
				r := s.receiver()
				u, err := r.Start(context.Background(), s.target(), session)
				if err != nil {
					t.Fatal(err)
				}
				for _, part := range [][]byte{b[:40_000], b[40_000:]} {
					if _, err := r.Append(context.Background(), s.repo, u.ID, upload.AnyOffset, bytes.NewReader(part)); err != nil {
						t.Fatal(err)
					}
				}
				// A digest that does not match is passed over when another does.
				res, err := r.Complete(context.Background(), s.target(), u.ID, digest.SHA512.FromString("no"), want.FromBytes(b))
				if err != nil {
					t.Fatal(err)
				}
				if res.Digest != want.FromBytes(b) {
					t.Errorf("digest %s", res.Digest)
				}
				s.wantStored(t, res.Digest, b)
			})
		}
	}
}

func TestEmptyBlob(t *testing.T) {
	empty := digest.FromBytes(nil)
	for name, store := range map[string]func(s *stores, r *upload.Receiver, id string) error{
		"session without bytes": func(s *stores, r *upload.Receiver, id string) error {
			_, err := r.Complete(context.Background(), s.target(), id, empty)
			return err
		},
		"session with an empty chunk": func(s *stores, r *upload.Receiver, id string) error {
			if _, err := r.Append(context.Background(), s.repo, id, 0, bytes.NewReader(nil)); err != nil {
				return err
			}
			_, err := r.Complete(context.Background(), s.target(), id, empty)
			return err
		},
		"whole": func(s *stores, r *upload.Receiver, id string) error {
			_, err := r.Put(context.Background(), s.target(), empty, bytes.NewReader(nil))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStores(t)
			r := s.receiver()
			if err := store(s, r, s.start(t, r)); err != nil {
				t.Fatal(err)
			}
			s.wantStored(t, empty, nil)
		})
	}
}

func TestPartSizes(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		name  string
		parts []int
		want  error
	}{
		{"none", nil, upload.ErrEmpty},
		{"one small", []int{1}, nil},
		{"last small", []int{5 * mib, 1}, nil},
		{"first one byte short", []int{5*mib - 1, 1}, upload.ErrPartSize},
		{"small in the middle", []int{5 * mib, 1, 5 * mib}, upload.ErrPartSize},
		{"small at first, large later", []int{1, 5 * mib, 5 * mib}, upload.ErrPartSize},
		{"all large", []int{5 * mib, 6 * mib}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newStores(t)
			r := s.receiver()
			id := s.start(t, r)
			var whole []byte
			for i, n := range tc.parts {
				part := pattern(byte(i), n)
				if _, err := r.AppendPart(context.Background(), s.repo, id, int64(len(whole)), bytes.NewReader(part)); err != nil {
					t.Fatal(err)
				}
				whole = append(whole, part...)
			}
			_, err := r.CompleteParts(context.Background(), s.target(), id, digest.FromBytes(whole))
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if _, ok := s.member(t, digest.FromBytes(whole)); ok != (tc.want == nil) {
				t.Errorf("member: %v", ok)
			}
		})
	}
}

func TestCompletePartsReportsWhatWasThere(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	b := pattern(1, 10)
	for _, existed := range []bool{false, true} {
		id := s.start(t, r)
		if _, err := r.AppendPart(context.Background(), s.repo, id, 0, bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		res, err := r.CompleteParts(context.Background(), s.target(), id, digest.FromBytes(b))
		if err != nil || res.Existed != existed {
			t.Errorf("result %+v, error %v; want existed %v", res, err, existed)
		}
	}
}

func TestSessionBelongsToItsRepository(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	other := s.addRepository(t, "other")
	ctx := context.Background()
	id := s.start(t, r)
	if _, err := r.Append(ctx, other, id, 0, bytes.NewReader([]byte("x"))); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("Append: %v", err)
	}
	if _, err := r.Complete(ctx, upload.Target{RepositoryID: other, Domain: account}, id, digest.FromBytes(nil)); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("Complete: %v", err)
	}
	if err := r.Cancel(ctx, other, id); !errors.Is(err, upload.ErrNotFound) {
		t.Errorf("Cancel: %v", err)
	}
	if n := s.size(t, r, id); n != 0 {
		t.Errorf("the session has %d bytes", n)
	}
}

// Requests of one session take turns: each chunk is in the blob whole or not at all.
func TestConcurrentAppendsNeverInterleave(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	ctx := context.Background()
	id := s.start(t, r)
	const writers, size = 8, 300_000
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			body := io.MultiReader(bytes.NewReader(bytes.Repeat([]byte{byte('a' + i)}, size/2)),
				bytes.NewReader(bytes.Repeat([]byte{byte('a' + i)}, size/2)))
			if _, err := r.Append(ctx, s.repo, id, upload.AnyOffset, body); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got := s.readStaged(t, id)
	if len(got) != writers*size {
		t.Fatalf("%d bytes", len(got))
	}
	seen := map[byte]bool{}
	for at := 0; at < len(got); at += size {
		c := got[at]
		if seen[c] || !bytes.Equal(got[at:at+size], bytes.Repeat([]byte{c}, size)) {
			t.Fatalf("the chunk at %d is mixed or repeated", at)
		}
		seen[c] = true
	}
	if _, err := r.Complete(ctx, s.target(), id, digest.FromBytes(got)); err != nil {
		t.Errorf("the running digest is not that of the bytes: %v", err)
	}
}

// One offset, many clients: exactly one chunk is taken.
func TestConcurrentAppendsAtOneOffset(t *testing.T) {
	s := newStores(t)
	r := s.receiver()
	id := s.start(t, r)
	var wg sync.WaitGroup
	results := make(chan error, 8)
	for i := range 8 {
		wg.Go(func() {
			_, err := r.Append(context.Background(), s.repo, id, 0, bytes.NewReader(pattern(byte(i), 1000)))
			results <- err
		})
	}
	wg.Wait()
	close(results)
	won := 0
	for err := range results {
		var offset *upload.OffsetError
		if err == nil {
			won++
		} else if !errors.As(err, &offset) {
			t.Errorf("got %v", err)
		}
	}
	if won != 1 || s.size(t, r, id) != 1000 {
		t.Errorf("%d chunks were taken", won)
	}
}
