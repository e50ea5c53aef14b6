package server_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/audit"
	"berth/internal/server"
	"berth/internal/server/servertest"
)

// marker is in every byte that the fixtures' makers pushed; nothing sealed has it.
const marker = "PLAIN-MARKER"

// expected is what a fixture's registry served, as the program that made it did.
type expected map[string]struct {
	Manifest digest.Digest   `json:"manifest"`
	Blobs    []digest.Digest `json:"blobs"`
}

// unpack puts a fixture into a data directory.
func unpack(t *testing.T, fixture, data string) (want expected) {
	t.Helper()
	f, err := os.Open(fixture)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.FileInfo().Mode().IsRegular() {
			continue
		}
		to := filepath.Join(data, filepath.FromSlash(filepath.Clean("/"+h.Name)))
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(to) == "expected.json" {
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return want
}

// serves pulls every image of a fixture and compares it by digest.
func serves(t *testing.T, s *servertest.Server, want expected) {
	t.Helper()
	for name, image := range want {
		repository, tag, _ := strings.Cut(name, ":")
		resp, body := s.Do(http.MethodGet, "/v2/"+repository+"/manifests/"+tag, nil)
		if resp.StatusCode != http.StatusOK || digest.FromBytes(body) != image.Manifest {
			t.Errorf("%s: %s with %d bytes", name, resp.Status, len(body))
		}
		for _, d := range image.Blobs {
			resp, body := s.Do(http.MethodGet, "/v2/"+repository+"/blobs/"+d.String(), nil)
			if resp.StatusCode != http.StatusOK || digest.FromBytes(body) != d {
				t.Errorf("%s: layer %s: %s with %d bytes", name, d, resp.Status, len(body))
			}
		}
	}
}

// isClean runs a deep check as fsck does.
func isClean(t *testing.T, cfg server.Config) {
	t.Helper()
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	r, err := st.Auditor(slog.New(slog.DiscardHandler)).Check(t.Context(), audit.Options{Deep: true, OrphanAge: -1})
	if err != nil || r.Problems > 0 || r.Unread > 0 {
		t.Errorf("the stores are not clean: %v %+v", err, r)
	}
}

// holdsNothingPlain looks for the marker in every file.
func holdsNothingPlain(t *testing.T, data string) {
	t.Helper()
	err := filepath.WalkDir(data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(marker)) {
			t.Errorf("%s has the text that was pushed, unsealed", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestOpensSchema1 upgrades a data directory that the last program with schema
// version 1 made: four images in repositories of three kinds of encryption.
func TestOpensSchema1(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	want := unpack(t, "testdata/schema1.tar.gz", data)
	if len(want) != 4 {
		t.Fatalf("the fixture has %d images", len(want))
	}
	s := servertest.StartIn(t, data)
	serves(t, s, want)
	s.Stop()
	holdsNothingPlain(t, data)
	for _, gone := range []string{"uploads", "blobs/000000000000/sha256"} {
		if _, err := os.Stat(filepath.Join(data, gone)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", gone, err)
		}
	}
	isClean(t, server.Config{Data: data, Database: "sqlite", Blobs: "file"})
	s = servertest.StartIn(t, data)
	serves(t, s, want)
}

// TestUpgradeGoesOn stops the upgrade after each of its steps in turn.
func TestUpgradeGoesOn(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	want := unpack(t, "testdata/schema1.tar.gz", data)
	cfg := server.Config{Data: data, Database: "sqlite", Blobs: "file"}
	untilDone(t, cfg, func(st *server.Storage) error {
		return st.Upgrade(t.Context(), data, slog.New(slog.DiscardHandler))
	})
	serves(t, servertest.StartIn(t, data), want)
	repairs(t, cfg) // copies whose rows never came are left over
	isClean(t, cfg)
}

// repairs runs a check that removes what is left over, and expects no other finding.
func repairs(t *testing.T, cfg server.Config) {
	t.Helper()
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	r, err := st.Auditor(slog.New(slog.DiscardHandler)).Check(t.Context(), audit.Options{Repair: true, OrphanAge: -1})
	if err != nil || !r.Clean() {
		t.Errorf("the stores cannot be repaired: %v %+v", err, r)
	}
}
