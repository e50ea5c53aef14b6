package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/meta"
	"berth/internal/meta/sqlite"
)

// fake is as much of a registry as the workloads need, in memory.
type fake struct {
	mu      sync.Mutex
	content map[string][]byte // blobs and manifests by path; uploads too
	tags    map[string]bool   // by path
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	path := r.URL.Path
	stored, ok := f.content[path]
	switch {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case path == "/v2/":
	case strings.HasSuffix(path, "/tags/list"):
		f.list(w, r)
	case r.Method == "POST":
		at := fmt.Sprintf("%s%d", path, len(f.content))
		f.content[at] = nil
		answer(w, at, http.StatusAccepted)
	case r.Method == "PATCH":
		f.content[path] = append(stored, body...)
		answer(w, path, http.StatusAccepted)
	case r.Method == "PUT" && strings.Contains(path, "/manifests/"):
		f.content[path], f.tags[path] = body, true
		answer(w, path, http.StatusCreated)
	case r.Method == "PUT":
		d := r.URL.Query().Get("digest")
		if digest.FromBytes(stored).String() != d {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		before, _, _ := strings.Cut(path, "uploads/")
		f.content[before+d] = stored
		answer(w, before+d, http.StatusCreated)
	case !ok:
		w.WriteHeader(http.StatusNotFound)
	default:
		w.Header().Set("Content-Length", strconv.Itoa(len(stored)))
		_, _ = w.Write(stored) // a client that is gone fails by itself
	}
}

func answer(w http.ResponseWriter, location string, status int) {
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}

func (f *fake) list(w http.ResponseWriter, r *http.Request) {
	prefix := strings.TrimSuffix(r.URL.Path, "tags/list") + "manifests/"
	n, _ := strconv.Atoi(r.URL.Query().Get("n"))
	out := struct{ Tags []string }{}
	for _, path := range slices.Sorted(maps.Keys(f.tags)) {
		tag, ok := strings.CutPrefix(path, prefix)
		if !ok || tag <= r.URL.Query().Get("last") {
			continue
		}
		if len(out.Tags) == n {
			w.Header().Set("Link", fmt.Sprintf(`<%s?n=%d&last=%s>; rel="next"`, r.URL.Path, n, out.Tags[n-1]))
			break
		}
		out.Tags = append(out.Tags, tag)
	}
	_ = json.NewEncoder(w).Encode(out) // as above
}

func tinyScale() scale {
	return scale{
		rounds: 2, round: 20 * time.Millisecond, limit: 10 * time.Millisecond, bytes: 4, medium: 64 * kib, large: 256 * kib, layers: 3,
		trace:   traceShape{seed: 1, images: 2, operations: 20, clients: 4},
		listing: listingShape{tags: 250, peerTags: 250, fill: time.Minute, pages: 4},
		memory:  memoryShape{clients: 4, size: 64 * kib}, images: 10, starts: 1,
	}
}

// inProcess is a server of this process.
func inProcess(t *testing.T, name string, h http.Handler, headers string, src *source) *server {
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	return &server{name: name, addr: web.Listener.Addr().String(), headers: headers, src: src}
}

func TestWholeRunAgainstFakes(t *testing.T) {
	src := newSource()
	fakes := func(name string) subject {
		return subject{name, func(context.Context, string) (*server, error) {
			return inProcess(t, name, &fake{content: map[string][]byte{}, tags: map[string]bool{}}, "", src), nil
		}}
	}
	b := bench{
		scale: tinyScale(), subjects: []subject{fakes("one"), fakes("two")}, dirs: &dirs{t.TempDir()}, src: src,
		only: func(string) bool { return true }, say: t.Logf,
		bare: func(_ context.Context, dir string) (*server, error) {
			h, err := bareHandler(dir)
			return inProcess(t, "bare", h, bareHeaders(), src), err
		},
		start: func(context.Context) ([]figure, error) { return nil, nil },
	}
	res, err := b.run(t.Context(), newResult(true))
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Rows) != len(b.scale.workloads()) {
		t.Errorf("%d workloads were measured", len(res.Rows))
	}
	for _, r := range res.Rows {
		for _, name := range res.Subjects {
			for _, s := range r.Samples[name] {
				if s.Rate <= 0 || s.Requests <= 0 || s.Seconds <= 0 {
					t.Errorf("%s of %s: %+v", r.Workload, name, s)
				}
			}
			if len(r.Samples[name]) != b.scale.rounds {
				t.Errorf("%s of %s has %d rounds", r.Workload, name, len(r.Samples[name]))
			}
		}
	}
	if l := res.Limits; min(l.SHA256, l.AESGCM, l.Disk, l.Fsync1, l.Fsync4, l.Requests, l.Bytes) <= 0 {
		t.Errorf("limits: %+v", l)
	}
	if len(res.Figures) != 5 || len(res.Figures[0].Values) != 2 {
		t.Errorf("figures: %+v", res.Figures)
	}
	dir := t.TempDir()
	if err := toFile(filepath.Join(dir, "x.json"), res.json); err != nil {
		t.Error(err)
	}
	if err := toFile(filepath.Join(dir, "x.md"), res.markdown); err != nil {
		t.Error(err)
	}
}

// TestFailuresEndARun: a registry that refuses must not be measured as a fast one.
func TestFailuresEndARun(t *testing.T) {
	src := newSource()
	s := inProcess(t, "refusing", http.NotFoundHandler(), "", src)
	for _, w := range tinyScale().workloads() {
		if _, err := w.measure(t.Context(), s, "r"); err == nil {
			t.Errorf("%s counts what was refused", w.name)
		}
	}
}

// insertBlob writes the row alone: there are no bytes behind it.
func insertBlob(ctx context.Context, path, d string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `INSERT INTO blobs (domain, digest, size, created_at, location) VALUES ('d', $1, 1, 1, 'l')`, d)
	return errors.Join(err, db.Close())
}

func TestFillImages(t *testing.T) {
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "meta.db")
	db, err := sqlite.Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(ctx, func(tx *meta.Tx) error {
		r := meta.Repository{Scope: homeScope(), Name: seedRepository, Mutability: "MUTABLE", Encryption: "AES256"}
		if err := tx.InsertRepository(&r); err != nil {
			return err
		}
		m := meta.StoredManifest{Image: meta.Image{RepositoryID: r.ID, Digest: "sha256:0", MediaType: accept}, Bytes: []byte("sealed")}
		if err := tx.InsertImage(&m); err != nil {
			return err
		}
		return tx.PutTag(r.ID, "v0", m.ID, time.Now())
	})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := insertBlob(ctx, path, digest.FromString("x").String()); err != nil {
		t.Fatal(err)
	}
	last, err := fillImages(ctx, path, imagesPerFilling+7)
	if err != nil {
		t.Fatal(err)
	}
	if db, err = sqlite.Open(ctx, path); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}()
	err = db.View(ctx, func(tx *meta.Tx) error {
		r, err := tx.Repository(homeScope(), last)
		if err != nil {
			return err
		}
		images, err := tx.Images(r.ID, meta.ImageFilter{Tags: meta.Tagged}, 0, 100)
		if err != nil {
			return err
		}
		if len(images) != 7 {
			t.Errorf("the last repository has %d images, not the 7 that the one before has no place for", len(images))
		}
		by, err := tx.ReferencedBy(r.ID, meta.RefBlob, digest.FromString("x").String(), 100)
		if len(by) != 7 {
			t.Errorf("%d images name the blob", len(by))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
