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
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/audit"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
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

// A server that was killed while it brought its directory up to date, or while
// it collected, is not kept from that by what it had claimed itself.
func TestOwnClaimsAreTakenOver(t *testing.T) {
	const id = "7f1c3f0e-3f1b-4a53-9a55-0f5a6a3a9d01"
	// claimed is a directory that was left while it was brought up to date.
	claimed := func(holder string) string {
		t.Helper()
		data := t.TempDir()
		if err := os.WriteFile(filepath.Join(data, "lock"), []byte(id), 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := sqlite.Open(t.Context(), filepath.Join(data, "meta.db"))
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(t.Context(), func(tx *meta.Tx) error {
			_, err := tx.Claim("seal-old", holder, time.Now(), time.Now().Add(time.Minute))
			return err
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		return data
	}
	servertest.StartIn(t, claimed(id)).Stop()
	cfg := server.Config{Listen: "127.0.0.1:0", Data: claimed("another process"), Database: "sqlite", Blobs: server.FileBlobs}
	s, err := server.New(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Fatal("started beside a process that brings the directory up to date", s.Close())
	}
	if !errors.Is(err, audit.ErrBusy) {
		t.Error(err)
	}
}
