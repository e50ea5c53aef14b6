package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
	"berth/internal/upload"
	"berth/test/wire"
)

const (
	workers = 8
	shared  = 24 // layers that images choose from
	// lease is for how long the server spares what it said it has. Clients begin
	// with the manifest in the first half: a machine that is busy elsewhere stops
	// them for a while in between.
	lease = 3 * time.Second
)

// Kinds of work, as they are reported.
const (
	pushes    = "images pushed"
	probes    = "blobs taken from a probe"
	mounts    = "blobs mounted"
	uploads   = "blobs uploaded"
	pulls     = "images pulled"
	retags    = "tags moved"
	untags    = "tags deleted"
	deletions = "images deleted"
	drops     = "repositories deleted"
	aborted   = "uploads aborted"
	late      = "pushes that were too slow to count"
)

// A soak is one server and what all workers have in common.
type soak struct {
	client *wire.Client
	layers []testkit.Blob
	mu     sync.Mutex
	counts map[string]int
	lost   atomic.Int64
}

func (s *soak) count(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.counts[what]++
}

// A worker has a repository of its own, so that it knows at any time what it
// must hold. Bytes and layers it shares with all others.
type worker struct {
	*soak
	random     *rand.Rand
	repository string
	images     map[digest.Digest]testkit.Content
	tags       map[string]digest.Digest
	serial     int
}

func TestInvariant03_SoakLosesNothing(t *testing.T) {
	last := 30 * time.Second
	if text := os.Getenv("SOAK_TIME"); text != "" {
		var err error
		if last, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	data := t.TempDir()
	srv := servertest.StartWith(t, server.Config{Data: data, GC: server.GC{
		Interval: 30 * time.Millisecond, Lease: lease, Grace: time.Nanosecond,
	}})
	client, err := wire.Dial(t.Context(), srv.Endpoint, srv.Region, srv.Root.AccessKeyID, srv.Root.SecretAccessKey)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	seed := uint64(time.Now().UnixNano())
	s := &soak{client: client, counts: map[string]int{}}
	for i := range shared {
		data := make([]byte, 100+i*i*400) // some fit into one package of the sealed store, some do not
		_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(data)
		s.layers = append(s.layers, testkit.NewBlob(v1.MediaTypeImageLayerGzip, data))
	}
	ctx, cancel := context.WithTimeout(t.Context(), last)
	defer cancel()
	var working sync.WaitGroup
	all := make([]*worker, workers)
	for i := range all {
		w := &worker{soak: s, random: rand.New(rand.NewPCG(seed, uint64(i))), repository: fmt.Sprintf("soak/%d", i)}
		all[i] = w
		working.Go(func() {
			// The requests outlive ctx, so that none ends without an answer.
			for ctx.Err() == nil {
				if err := w.step(context.WithoutCancel(ctx)); err != nil {
					s.lost.Add(1)
					t.Errorf("%s: %v", w.repository, err)
					return
				}
			}
		})
	}
	working.Wait()
	needed := map[digest.Digest]bool{}
	for _, w := range all {
		if err := w.pullAll(t.Context()); err != nil {
			s.lost.Add(1)
			t.Errorf("in the end: %s: %v", w.repository, err)
		}
		for _, image := range w.images {
			for _, b := range image.Blobs {
				if len(b.Bytes) > upload.MaxSmall {
					needed[b.Descriptor.Digest] = true
				}
			}
		}
	}
	s.report(t, last)
	s.settle(t, data, len(needed))
}

func (s *soak) report(t *testing.T, last time.Duration) {
	total := 0
	for _, what := range slices.Sorted(maps.Keys(s.counts)) {
		t.Logf("%8d %s", s.counts[what], what)
		total += s.counts[what]
	}
	t.Logf("%8d events in %s, %d lost", total, last, s.lost.Load())
	if s.counts[late] > s.counts[pushes]/2 {
		t.Errorf("this machine is too slow for leases of %s", lease)
	}
	for _, what := range []string{pushes, probes, mounts, uploads, pulls, retags, untags, deletions, drops, aborted} {
		if s.counts[what] == 0 {
			t.Errorf("no %s: the soak proves nothing about them", what)
		}
	}
}

// settle waits for collection and compares the disk with what is needed: bytes
// go when nobody refers to them, and none but those.
func (s *soak) settle(t *testing.T, data string, needed int) {
	t.Helper()
	var files int
	for deadline := time.Now().Add(lease + 20*time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		files = 0
		err := filepath.WalkDir(filepath.Join(data, "blobs"), func(_ string, e os.DirEntry, err error) error {
			if errors.Is(err, os.ErrNotExist) {
				return nil // collected meanwhile
			}
			if err == nil && e.Type().IsRegular() {
				files++
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if files == needed {
			return
		}
	}
	t.Errorf("after the last collection %d files are left, images need %d", files, needed)
}

// step does one thing; an error is a loss.
func (w *worker) step(ctx context.Context) error {
	if w.images == nil {
		w.images, w.tags = map[digest.Digest]testkit.Content{}, map[string]digest.Digest{}
		_, err := w.client.ECR.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: &w.repository})
		return err
	}
	switch n := w.random.IntN(100); {
	case n < 40 || len(w.images) == 0:
		return w.push(ctx)
	case n < 60:
		return w.pullOne(ctx)
	case n < 70:
		return w.retag(ctx)
	case n < 76:
		return w.untag(ctx)
	case n < 90 || len(w.images) > 8:
		return w.remove(ctx)
	case n < 94:
		return w.abort(ctx)
	case n < 98:
		return w.drop(ctx)
	default:
		time.Sleep(time.Duration(w.random.Int64N(int64(2 * lease)))) // so that leases run out
		return w.pullAll(ctx)
	}
}

func (w *worker) image() (testkit.Content, error) {
	w.serial++
	config := testkit.NewBlob(v1.MediaTypeImageConfig, fmt.Appendf(nil, `{"image":"%s %d %d"}`, w.repository, w.serial, w.random.Uint64()))
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: config.Descriptor}
	blobs := []testkit.Blob{config}
	for _, i := range w.random.Perm(len(w.layers))[:1+w.random.IntN(3)] {
		m.Layers, blobs = append(m.Layers, w.layers[i].Descriptor), append(blobs, w.layers[i])
	}
	body, err := json.Marshal(m)
	return testkit.Content{Root: testkit.NewBlob(v1.MediaTypeImageManifest, body), Blobs: blobs}, err
}

// push pushes an image as clients do: each blob is probed, else mounted, else
// uploaded, and what was answered with yes is there when the manifest comes.
func (w *worker) push(ctx context.Context) error {
	image, err := w.image()
	if err != nil {
		return err
	}
	begun := time.Now()
	for _, b := range image.Blobs {
		if err := w.bring(ctx, b); err != nil {
			return err
		}
	}
	tag := fmt.Sprintf("t%d", w.random.IntN(10))
	if time.Since(begun) > lease/2 {
		w.count(late)
		return nil
	}
	// A pause between the last answer and the manifest is what Quay's loss needed.
	time.Sleep(time.Duration(w.random.Int64N(int64(lease / 8))))
	if err := w.client.PutManifest(ctx, w.repository, tag, image.Root); err != nil {
		if time.Since(begun) > lease*7/8 { // what a probe promises
			w.count(late)
			return nil
		}
		return fmt.Errorf("lost: the blobs were acknowledged %s before: %w", time.Since(begun), err)
	}
	w.images[image.Digest()], w.tags[tag] = image, image.Digest()
	w.count(pushes)
	return nil
}

func (w *worker) bring(ctx context.Context, b testkit.Blob) error {
	d := b.Descriptor.Digest.String()
	a, err := w.client.Do(ctx, http.MethodHead, "/v2/"+w.repository+"/blobs/"+d, nil)
	switch {
	case err != nil:
		return err
	case a.Status == http.StatusOK:
		w.count(probes)
		return nil
	case a.Status != http.StatusNotFound:
		return fmt.Errorf("HEAD of a blob: %d", a.Status)
	}
	query := "?mount=" + d
	if w.random.IntN(2) == 0 {
		query += fmt.Sprintf("&from=soak/%d", w.random.IntN(workers))
	}
	a, err = w.client.Do(ctx, http.MethodPost, "/v2/"+w.repository+"/blobs/uploads/"+query, nil)
	switch {
	case err != nil:
		return err
	case a.Status == http.StatusCreated:
		w.count(mounts)
		return nil
	case a.Status != http.StatusAccepted:
		return fmt.Errorf("mount: %d: %s", a.Status, a.Body)
	}
	w.count(uploads)
	session := a.Header.Get("Location")
	if w.random.IntN(2) == 0 {
		_, err = w.client.Want(ctx, http.StatusCreated, http.MethodPut, session+"?digest="+d, b.Bytes)
		return err
	}
	if _, err = w.client.Want(ctx, http.StatusAccepted, http.MethodPatch, session, b.Bytes); err == nil {
		_, err = w.client.Want(ctx, http.StatusCreated, http.MethodPut, session+"?digest="+d, nil)
	}
	return err
}

// some draws one of the keys of a map that has any, in an order that the seed decides.
func some[K digest.Digest | string, V any](w *worker, m map[K]V) K {
	return slices.Sorted(maps.Keys(m))[w.random.IntN(len(m))]
}

func (w *worker) pullOne(ctx context.Context) error {
	d := some(w, w.images)
	w.count(pulls)
	return w.client.Pull(ctx, w.repository, d.String(), w.images[d])
}

func (w *worker) pullAll(ctx context.Context) error {
	for d, image := range w.images {
		w.count(pulls)
		if err := w.client.Pull(ctx, w.repository, d.String(), image); err != nil {
			return fmt.Errorf("lost: %w", err)
		}
	}
	for tag, d := range w.tags {
		if err := w.client.Pull(ctx, w.repository, tag, testkit.Content{Root: w.images[d].Root}); err != nil {
			return fmt.Errorf("lost: tag %s: %w", tag, err)
		}
	}
	return nil
}

func (w *worker) retag(ctx context.Context) error {
	d, tag := some(w, w.images), fmt.Sprintf("t%d", w.random.IntN(10))
	w.count(retags)
	w.tags[tag] = d
	return w.client.PutManifest(ctx, w.repository, tag, w.images[d].Root)
}

func (w *worker) untag(ctx context.Context) error {
	if len(w.tags) == 0 {
		return nil
	}
	tag := some(w, w.tags)
	w.count(untags)
	delete(w.tags, tag)
	_, err := w.client.Want(ctx, http.StatusAccepted, http.MethodDelete, "/v2/"+w.repository+"/manifests/"+tag, nil)
	return err
}

func (w *worker) remove(ctx context.Context) error {
	d := some(w, w.images)
	w.count(deletions)
	delete(w.images, d)
	maps.DeleteFunc(w.tags, func(_ string, to digest.Digest) bool { return to == d })
	out, err := w.client.ECR.BatchDeleteImage(ctx, &ecr.BatchDeleteImageInput{
		RepositoryName: &w.repository, ImageIds: []types.ImageIdentifier{{ImageDigest: aws.String(d.String())}},
	})
	if err == nil && len(out.Failures) > 0 {
		err = fmt.Errorf("lost: delete %s: %s", d, *out.Failures[0].FailureReason)
	}
	return err
}

// abort gives an upload up: by saying so, since one that is left alone stays
// for a day and would be on the disk in the end.
func (w *worker) abort(ctx context.Context) error {
	a, err := w.client.Want(ctx, http.StatusAccepted, http.MethodPost, "/v2/"+w.repository+"/blobs/uploads/", nil)
	if err != nil {
		return err
	}
	session := a.Header.Get("Location")
	b := w.layers[w.random.IntN(len(w.layers))].Bytes
	if _, err := w.client.Want(ctx, http.StatusAccepted, http.MethodPatch, session, b[:w.random.IntN(len(b))]); err != nil {
		return err
	}
	w.count(aborted)
	_, err = w.client.Want(ctx, http.StatusNoContent, http.MethodDelete, session, nil)
	return err
}

func (w *worker) drop(ctx context.Context) error {
	w.count(drops)
	w.images, w.tags = nil, nil
	_, err := w.client.ECR.DeleteRepository(ctx, &ecr.DeleteRepositoryInput{RepositoryName: &w.repository, Force: true})
	return err
}
