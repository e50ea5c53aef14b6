package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"

	"berth/internal/blob/blobtest"
	"berth/internal/testkit"
)

func BenchmarkPut(b *testing.B) {
	s := open(b, testkit.S3(b), "bench", nil)
	for _, size := range []int{4 << 10, 64 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			body := blobtest.Bytes(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				c := blobtest.Put(b, s, newMark(), body)
				b.StopTimer()
				if err := s.Delete(context.Background(), c); err != nil {
					b.Fatal(err)
				}
				b.StartTimer()
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := open(b, testkit.S3(b), "bench", nil)
	for _, size := range []int{4 << 10, 64 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			c := blobtest.Put(b, s, newMark(), blobtest.Bytes(size))
			buf := make([]byte, 64<<10)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				r, err := s.Open(context.Background(), c)
				if err != nil {
					b.Fatal(err)
				}
				_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf)
				if err := errors.Join(err, r.Close()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestMemory: many uploads at once take a part each and little more.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 768 MiB")
	}
	s := open(t, testkit.S3(t), "memory", nil)
	const uploads = 64
	piece := blobtest.Bytes(1 << 20)
	var wait sync.WaitGroup
	for i := range uploads {
		wait.Go(func() {
			w, err := s.Append(context.Background(), blobtest.New(fmt.Sprintf("up-%d", i)))
			for n := 0; n < 12 && err == nil; n++ {
				_, err = w.Write(piece)
			}
			if err == nil {
				_, err = w.Close()
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d uploads at once: %d MiB from the operating system", uploads, m.Sys>>20)
	// 1 MiB for each, a part for those whose turn it is, and as much for what the collector leaves for a while. A slow
	// machine lets uploads lose patience, and then there are more.
	if limit := uint64(uploads*slotFrom+maxSlots*(5<<20)) * 2; m.HeapSys > limit {
		t.Errorf("the heap grew to %d MiB, more than %d", m.HeapSys>>20, limit>>20)
	}
}
