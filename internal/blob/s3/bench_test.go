package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

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

// TestMemory: many uploads at once take 1 MiB each, a part for those whose turn it is, and no more; at the end nothing is
// held. Without turns they took 426 MiB.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 768 MiB")
	}
	s := open(t, testkit.S3(t), "memory", nil)
	s.slotWait = time.Minute // however slow the machine is
	const uploads = 64
	piece := blobtest.Bytes(1 << 20)
	done := make(chan struct{})
	peak := make(chan int64)
	go func() {
		most := int64(0)
		for {
			most = max(most, s.pool.lent.Load())
			select {
			case <-done:
				peak <- most
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
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
	close(done)
	most := <-peak * chunkSize
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	t.Logf("%d uploads at once held %d MiB of %d from the operating system", uploads, most>>20, m.Sys>>20)
	if limit := int64(uploads*slotFrom + maxSlots*(5<<20)); most > limit {
		t.Errorf("the buffers grew to %d MiB, more than %d", most>>20, limit>>20)
	}
	if left := s.pool.lent.Load(); left != 0 {
		t.Errorf("%d chunks are held by nobody", left)
	}
}
