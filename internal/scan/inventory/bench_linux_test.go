package inventory_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"time"

	"berth/internal/scan/inventory"
)

// layerSize is the compressed size of a large base image of Debian, in bytes.
const layerSize = 56_000_000

var errFull = errors.New("the layer is large enough")

// debianLayer is a compressed layer of this machine's own files, with what dpkg
// says is installed.
func debianLayer(b *testing.B) []byte {
	b.Helper()
	if _, err := os.Stat("/var/lib/dpkg/status"); err != nil {
		b.Skip("no packages of Debian are installed here: run this on Debian")
	}
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	if err != nil {
		b.Fatal(err)
	}
	w := tar.NewWriter(z)
	add := func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil //nolint:nilerr // what cannot be read is left out
		}
		if out.Len() >= layerSize {
			return errFull
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		if err := w.WriteHeader(&tar.Header{Name: name[1:], Mode: 0o644, Size: int64(len(text))}); err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	for _, root := range []string{"/usr/lib/os-release", "/etc/os-release", "/var/lib/dpkg/status", "/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/share", "/usr/lib"} {
		if err := filepath.WalkDir(root, add); err != nil && !errors.Is(err, errFull) {
			b.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		b.Fatal(err)
	}
	if out.Len() < layerSize {
		b.Skipf("the files of this machine make a layer of %d bytes only", out.Len())
	}
	return out.Bytes()
}

func processorTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDebianLayer reads what is installed in a layer of 56 MB: the processor
// time, and the most that is on the heap beyond the layer itself.
func BenchmarkDebianLayer(b *testing.B) {
	data := debianLayer(b)
	debug.FreeOSMemory()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak, stop, ended := uint64(0), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapInuse-min(now.HeapInuse, before.HeapInuse))
			}
		}
	}()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	used := processorTime(b)
	for b.Loop() {
		given := false
		inv, err := inventory.Read(b.Context(), func() (inventory.Layer, error) {
			if given {
				return inventory.Layer{}, io.EOF
			}
			given = true
			return inventory.Layer{Digest: "base", Bytes: bytes.NewReader(data)}, nil
		}, inventory.DefaultLimits)
		if err != nil || len(inv.Packages) < 100 {
			b.Fatal(len(inv.Packages), err)
		}
	}
	used = processorTime(b) - used
	close(stop)
	<-ended
	b.ReportMetric(used.Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
}
