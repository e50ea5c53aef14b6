package worker_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"berth/internal/scan/worker"
)

// childArgument makes this test program the child of a scan.
const childArgument = "be-the-child-of-a-scan"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		if err := worker.Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func options(t *testing.T) worker.Options {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return worker.Options{Command: []string{exe, childArgument}, Temp: t.TempDir(), Limits: worker.DefaultLimits}
}

func layer(name string, data []byte) worker.Layer {
	return worker.Layer{Digest: name, Size: int64(len(data)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(data)), nil
	}}
}

func archive(t *testing.T, files ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, h := range files {
		body := h.PAXRecords["body"]
		h.PAXRecords = nil
		h.Size = int64(len(body))
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := errors.Join(w.WriteHeader(&h), func() error { _, err := io.WriteString(w, body); return err }()); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func text(name, body string) tar.Header {
	return tar.Header{Name: name, PAXRecords: map[string]string{"body": body}}
}

const (
	osRelease = "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n"
	status    = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\nVersion: 3.0.9-1\nMaintainer: x\n\n"
)

func TestPackagesAreFoundInAChild(t *testing.T) {
	inv, err := worker.Run(t.Context(), options(t), []worker.Layer{
		layer("base", archive(t, text("etc/os-release", osRelease), text("var/lib/dpkg/status", status))),
		layer("top", archive(t, text("app/x", "y"))),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(inv.Packages) != 1 || inv.Platform != "DEBIAN_12" {
		t.Fatalf("found %+v", inv)
	}
	if p := inv.Packages[0]; p.Name != "openssl" || p.Installed != "libssl3" || p.Version != "3.0.9-1" || p.Ecosystem != "Debian:12" || p.Layer != "base" {
		t.Errorf("found %+v", p)
	}
}

// zeros is a gzip bomb: a tar whose one file is larger than the disk.
func zeros(t *testing.T, size int64) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Size: size, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(w, endless{}, size); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestHostileLayersEndWithAReason(t *testing.T) {
	small := options(t)
	small.Limits.Unpacked, small.Limits.Entries = 8<<20, 1000
	hungry := options(t)
	hungry.Limits.Memory = 96 << 20
	slow := options(t)
	slow.Limits.Time = 300 * time.Millisecond
	var many []tar.Header
	for i := range 2000 {
		many = append(many, text(fmt.Sprint("f", i), ""))
	}
	whole := archive(t, text("var/lib/dpkg/status", status))
	for name, c := range map[string]struct {
		o     worker.Options
		layer worker.Layer
		want  string
	}{
		"gzip bomb":       {small, layer("a", zeros(t, 32<<20)), "the layers unpack to more than 8388608 bytes"},
		"many entries":    {small, layer("a", archive(t, many...)), "the layers have more than 1000 entries"},
		"truncated":       {small, layer("a", whole[:len(whole)-12]), "no whole tar archive"},
		"no archive":      {small, layer("a", []byte(strings.Repeat("not a tar", 200))), "no whole tar archive"},
		"large database":  {hungry, layer("a", archive(t, text("var/lib/dpkg/status", strings.Repeat(status, 1_200_000)))), ""},
		"takes for ever":  {slow, worker.Layer{Digest: "a", Size: 1 << 40, Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(endless{}), nil }}, ""},
		"broken database": {small, layer("a", archive(t, text("etc/os-release", osRelease), text("var/lib/rpm/Packages", "no database"))), "the package database var/lib/rpm/Packages cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := worker.Run(t.Context(), c.o, []worker.Layer{c.layer})
			var failure *worker.Failure
			if !errors.As(err, &failure) || !strings.Contains(failure.Reason, c.want) {
				t.Errorf("found %d packages: %v", len(inv.Packages), err)
			}
			t.Log(err)
		})
	}
}

// TestUnreadableBytesAreNotTheImagesFault: the scan is tried again later.
func TestUnreadableBytesAreNotTheImagesFault(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := worker.Run(t.Context(), options(t), []worker.Layer{{Digest: "a", Size: 10, Open: func(context.Context) (io.ReadCloser, error) { return nil, broken }}})
	var failure *worker.Failure
	if errors.As(err, &failure) || !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}
