package upload_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/upload"
)

func BenchmarkAppend64MiB(b *testing.B) {
	s := newStores(b)
	r := s.receiver()
	data := pattern(1, 64<<20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		id := s.start(b, r)
		if _, err := r.Append(context.Background(), s.repo, id, upload.AnyOffset, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
		if err := r.Cancel(context.Background(), s.repo, id); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkPut(b *testing.B, size int) {
	s := newStores(b)
	r := s.receiver()
	data := pattern(1, size)
	d := digest.FromBytes(data)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Put(context.Background(), s.target(), d, bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut4KiB(b *testing.B) { benchmarkPut(b, 4<<10) }
func BenchmarkPut4MiB(b *testing.B) { benchmarkPut(b, 4<<20) }
