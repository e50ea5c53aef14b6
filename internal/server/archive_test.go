package server_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/audit"
	"berth/internal/meta"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// moving is a configuration whose mover works all the time.
func moving(cfg server.Config) server.Config {
	cfg.Move = audit.MoveOptions{Interval: 20 * time.Millisecond, Restore: 20 * time.Millisecond}
	cfg.GC = server.GC{Interval: -1, Lease: time.Nanosecond, Grace: time.Hour}
	return cfg
}

// setClass changes the storage class of an image and waits until it has the
// status given.
func setClass(t *testing.T, s *servertest.Server, repository, tag string, class types.TargetStorageClass, status types.ImageStatus) {
	t.Helper()
	id := &types.ImageIdentifier{ImageTag: aws.String(tag)}
	out, err := s.ECR().UpdateImageStorageClass(t.Context(), &ecr.UpdateImageStorageClassInput{RepositoryName: &repository, ImageId: id, TargetStorageClass: class})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); out.ImageStatus != status; time.Sleep(20 * time.Millisecond) {
		got, err := s.ECR().DescribeImages(t.Context(), &ecr.DescribeImagesInput{
			RepositoryName: &repository, ImageIds: []types.ImageIdentifier{*id}, Filter: &types.DescribeImagesFilter{ImageStatus: types.ImageStatusFilterAny},
		})
		if err != nil {
			t.Fatal(err)
		}
		if out.ImageStatus = got.ImageDetails[0].ImageStatus; time.Now().After(deadline) {
			t.Fatalf("%s:%s is %s and does not become %s", repository, tag, out.ImageStatus, status)
		}
	}
}

// rowOf is the row of a layer.
func rowOf(t *testing.T, cfg server.Config, b testkit.Blob) (row meta.Blob) {
	t.Helper()
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	err = st.DB.View(t.Context(), func(tx *meta.Tx) (err error) {
		row, err = tx.Blob("000000000000", b.Descriptor.Digest.String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return row
}

// awaits polls the row of a layer until it is as wanted.
func awaits(t *testing.T, cfg server.Config, b testkit.Blob, what string, is func(meta.Blob) bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		row := rowOf(t, cfg, b)
		if is(row) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("layer %s is not %s: %+v", row.Digest, what, row)
		}
	}
}

// TestArchivedBytesMove archives images in all kinds of stores, looks after what
// was moved with every tool there is, and restores them.
func TestArchivedBytesMove(t *testing.T) {
	t.Parallel()
	for _, in := range []struct{ database, blobs, second string }{
		{"sqlite", "file", ""}, {"sqlite", "file", "file"}, {"sqlite", "file", "s3"}, {"sqlite", "s3", ""}, {"sqlite", "s3", "file"},
		{"postgres", "file", ""}, {"postgres", "file", "file"}, {"postgres", "s3", ""}, {"postgres", "s3", "s3"},
	} {
		t.Run(fmt.Sprintf("%s, %s, archive %q", in.database, in.blobs, in.second), func(t *testing.T) {
			t.Parallel()
			cfg := stores(t.TempDir())
			if in.blobs == "s3" || in.second == "s3" {
				on := onS3(testkit.S3(t), "main", cfg.Data)
				if in.second == "s3" {
					cfg.ArchiveBlobs = strings.Replace(on.Blobs, "/main?", "/archive?", 1)
				}
				if cfg.S3 = on.S3; in.blobs == "s3" {
					cfg.Blobs = on.Blobs
				}
			}
			if in.second == "file" {
				cfg.ArchiveBlobs = filepath.Join(t.TempDir(), "archive")
			}
			if in.database == "postgres" {
				cfg.Database = testkit.Postgres(t)
			}
			archivedBytesMove(t, cfg)
		})
	}
}

func archivedBytesMove(t *testing.T, cfg server.Config) {
	s, want := furnished(t, moving(cfg))
	second := cfg.ArchiveBlobs != ""
	text := testkit.Artifact(t, "application/x", bytes.Repeat([]byte(marker), 20_000), nil)
	noise := testkit.RandomImage(t, 1, 300_000)
	for tag, image := range map[string]testkit.Content{"text": text, "noise": noise} {
		if err := pushTo(s, "plain", tag, image, want); err != nil {
			t.Fatal(err)
		}
		setClass(t, s, "plain", tag, types.TargetStorageClassArchive, types.ImageStatusArchived)
		if resp, _ := s.Do(http.MethodGet, "/v2/plain/manifests/"+tag, nil); resp.StatusCode != http.StatusNotFound {
			t.Errorf("an archived image: %s", resp.Status)
		}
	}
	layer, dense := text.Blobs[1], noise.Blobs[1]
	awaits(t, cfg, layer, "compressed in its place", func(b meta.Blob) bool { return b.Packed > 0 && b.Packed < b.Size/10 && b.Cold == second })
	awaits(t, cfg, dense, "in its place as it was", func(b meta.Blob) bool { return b.Packed == 0 && b.Cold == second && b.Incompressible != second })
	for _, b := range []testkit.Blob{layer, dense} { // as a push sees it, or the scrubber
		resp, body := s.Do(http.MethodGet, "/v2/plain/blobs/"+b.Descriptor.Digest.String(), nil)
		if resp.StatusCode != http.StatusOK || !bytes.Equal(body, b.Bytes) {
			t.Errorf("an archived layer: %s with %d bytes", resp.Status, len(body))
		}
	}
	resp, body := s.Do(http.MethodGet, "/metrics", nil)
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), `berth_archive_stored_bytes{store="`) {
		t.Errorf("metrics: %s", resp.Status)
	}
	s.Stop()

	renewAndCheck(t, cfg)
	if row := rowOf(t, cfg, layer); row.Packed == 0 || row.Cold != second {
		t.Errorf("a rotation of keys moved %+v", row)
	}
	if second {
		without := cfg
		without.ArchiveBlobs = ""
		if _, err := server.OpenStorage(t.Context(), without); err == nil || !strings.Contains(err.Error(), "--archive-blobs") {
			t.Errorf("opened without the second store: %v", err)
		}
		without.ArchiveBlobs, without.Listen = filepath.Join(t.TempDir(), "other"), "127.0.0.1:0"
		if _, err := server.New(t.Context(), without, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "mounted") {
			t.Errorf("started with another store: %v", err)
		}
	}
	dest := filepath.Join(t.TempDir(), "b")
	if m := backUp(t, cfg, dest); m.Missing > 0 {
		t.Errorf("%d blobs are not in the backup", m.Missing)
	}
	other := stores(t.TempDir()) // which has no second store
	if err := restore(t, other, dest); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []server.Config{other, cfg} {
		isClean(t, cfg)
		s := servertest.StartWith(t, moving(cfg))
		setClass(t, s, "plain", "noise", types.TargetStorageClassStandard, types.ImageStatusActivating)
		for _, tag := range []string{"text", "noise"} { // at once, the server looks every few seconds
			setClass(t, s, "plain", tag, types.TargetStorageClassStandard, types.ImageStatusActive)
		}
		for _, b := range []testkit.Blob{layer, dense} {
			if row := rowOf(t, cfg, b); row.Moved() {
				t.Errorf("an image is active and its layer is %+v", row)
			}
		}
		serves(t, s, want)
		s.Stop()
	}
	renewAndCheck(t, cfg)
}

// renewAndCheck renews all keys, collects what is left of moves, and expects
// every byte to be right and none to be left over.
func renewAndCheck(t *testing.T, cfg server.Config) {
	t.Helper()
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	o := everything
	o.Settle = time.Microsecond
	if r, err := rotate(t.Context(), st, o); err != nil || r.Damaged > 0 {
		t.Errorf("renew the keys: %+v, %v", r, err)
	}
	if err := collectNow(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	isClean(t, cfg)
}

// TestMovedLayersInPushes: a layer that was moved can be probed, mounted and
// named by new images, and comes back for them.
func TestMovedLayersInPushes(t *testing.T) {
	t.Parallel()
	cfg := stores(t.TempDir())
	cfg.ArchiveBlobs = filepath.Join(t.TempDir(), "archive")
	s := servertest.StartWith(t, moving(cfg))
	s.CreateRepositories("app", "other")
	want := expected{}
	image := testkit.Artifact(t, "application/x", bytes.Repeat([]byte(marker), 20_000), nil)
	layer := image.Blobs[1]
	d := layer.Descriptor.Digest.String()
	away := func() {
		t.Helper()
		awaits(t, cfg, layer, "moved", func(b meta.Blob) bool { return b.Moved() && b.Cold })
	}
	back := func() {
		t.Helper()
		awaits(t, cfg, layer, "back", func(b meta.Blob) bool { return !b.Moved() })
	}
	do := func(status int, method, path string, body []byte, header ...string) {
		t.Helper()
		if resp, text := s.Do(method, path, bytes.NewReader(body), header...); resp.StatusCode != status {
			t.Fatalf("%s %s: %s: %s", method, path, resp.Status, text)
		}
	}
	if err := pushTo(s, "app", "v1", image, want); err != nil {
		t.Fatal(err)
	}
	setClass(t, s, "app", "v1", types.TargetStorageClassArchive, types.ImageStatusArchived)
	away()

	// ECR calls it archived, and clients of the registry need not push it again.
	got, err := s.ECR().BatchCheckLayerAvailability(t.Context(), &ecr.BatchCheckLayerAvailabilityInput{RepositoryName: aws.String("app"), LayerDigests: []string{d}})
	if err != nil || len(got.Layers) != 1 || got.Layers[0].LayerAvailability != types.LayerAvailabilityArchived {
		t.Errorf("%+v, %v", got, err)
	}
	do(http.StatusOK, http.MethodHead, "/v2/app/blobs/"+d, nil)
	do(http.StatusPartialContent, http.MethodGet, "/v2/app/blobs/"+d, nil, "Range", "bytes=100-199")

	// Mounted into another repository, it is served at once and comes back.
	do(http.StatusCreated, http.MethodPost, "/v2/other/blobs/uploads/?mount="+d+"&from=app", nil)
	config := image.Blobs[0]
	do(http.StatusCreated, http.MethodPost, "/v2/other/blobs/uploads/?digest="+config.Descriptor.Digest.String(), config.Bytes)
	do(http.StatusCreated, http.MethodPut, "/v2/other/manifests/v1", image.Root.Bytes, "Content-Type", image.Root.Descriptor.MediaType)
	serves(t, s, expected{"other:v1": want["app:v1"]})
	back()
	serves(t, s, expected{"other:v1": want["app:v1"]})

	setClass(t, s, "other", "v1", types.TargetStorageClassArchive, types.ImageStatusArchived)
	away()
	// A push of the manifest alone restores the image at once.
	do(http.StatusCreated, http.MethodPut, "/v2/app/manifests/v1", image.Root.Bytes, "Content-Type", image.Root.Descriptor.MediaType)
	serves(t, s, want)
	back()
	serves(t, s, want)

	setClass(t, s, "app", "v1", types.TargetStorageClassArchive, types.ImageStatusArchived)
	away()
	// So does a push of everything, whose bytes take the place of those moved.
	if err := pushTo(s, "app", "v1", image, want); err != nil {
		t.Fatal(err)
	}
	serves(t, s, want)
	back()
	s.Stop()
	st, err := server.OpenStorage(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	if err := collectNow(t.Context(), st); err != nil {
		t.Fatal(err)
	}
	isClean(t, cfg)
}
