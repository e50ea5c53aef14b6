package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"pgregory.net/rapid"

	"berth/internal/access/token"
	"berth/internal/blob"
	"berth/internal/blob/file"
	"berth/internal/collect"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/registry"
	"berth/internal/seal/sealtest"
	"berth/internal/testkit"
	"berth/internal/upload"
)

// Times of the model. The lease is short, so that a probe within the interval
// after which long leases are renewed must renew it too.
const (
	modelLease = 8 * time.Minute
	modelGrace = 3 * time.Minute
)

// A modelRepository is what a repository holds.
type modelRepository struct {
	leased map[digest.Digest]time.Time // members, and what the last upload, mount or probe promised them
	images map[digest.Digest]testkit.Content
	tags   map[string]digest.Digest
}

func newModelRepository() *modelRepository {
	return &modelRepository{map[digest.Digest]time.Time{}, map[digest.Digest]testkit.Content{}, map[string]digest.Digest{}}
}

// needed are the blobs that images list.
func (m *modelRepository) needed() map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for _, image := range m.images {
		for _, b := range image.Blobs {
			out[b.Descriptor.Digest] = true
		}
	}
	return out
}

// A machine drives the registry and its collector, and the model beside them.
type machine struct {
	t     testing.TB
	ctx   context.Context
	bench *bench
	store *file.Store
	gc    *collect.Collector
	repos map[string]*modelRepository
	rows  map[digest.Digest]bool // blobs that have a copy
	trash []time.Time            // since when copies wait to be deleted
	small int                    // up to how many bytes a blob lies in its row
	// Contents to choose from. Images share layers; the index lists images 0 and 1.
	blobs  []testkit.Blob
	images []testkit.Content
	bytes  map[digest.Digest][]byte // of every layer and configuration there may be
}

func newMachine(t testing.TB, dir string, small int) *machine {
	b := &bench{t: t, dir: dir, now: time.Unix(1_700_000_000, 0)}
	m := &machine{t: t, ctx: context.Background(), bench: b, repos: map[string]*modelRepository{}, rows: map[digest.Digest]bool{}, small: small}
	var err error
	if b.db, err = sqlite.Open(m.ctx, filepath.Join(dir, "meta.db")); err != nil {
		t.Fatal(err)
	}
	ring, keys := sealtest.New(t, b.db, dir, b.clock)
	if m.store, err = file.Open(file.System{}, dir, ring); err != nil {
		t.Fatal(err)
	}
	tokens, err := token.New(bytes.Repeat([]byte{7}, token.KeySize), b.clock)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b.Registry = registry.New(registry.Options{
		DB: b.db, Blobs: m.store, Seal: ring, KMS: keys, Cursors: tokens, Log: log, Now: b.clock, Lease: modelLease, MaxSmall: small,
		Host: func(meta.Scope) string { return "registry.test" },
	})
	m.gc = collect.New(collect.Options{DB: b.db, Blobs: m.store, Log: log, Now: b.clock, Lease: modelLease, Grace: modelGrace})
	for i := range 4 {
		m.blobs = append(m.blobs, testkit.NewBlob("application/octet-stream", fmt.Appendf(nil, "layer %d", i)))
	}
	m.blobs = append(m.blobs, testkit.NewBlob("application/octet-stream", bytes.Repeat([]byte("large"), 40_000)))
	for _, layers := range [][]int{{0, 1}, {1, 2}, {2, 3, 4}} {
		m.images = append(m.images, modelImage(t, m.blobs[layers[0]:layers[len(layers)-1]+1]...))
	}
	m.images = append(m.images, testkit.Index(t, m.images[0], m.images[1]))
	m.bytes = map[digest.Digest][]byte{}
	for _, image := range m.images {
		for _, b := range image.Blobs {
			m.bytes[b.Descriptor.Digest] = b.Bytes
		}
	}
	return m
}

func (m *machine) close() {
	if err := m.bench.db.Close(); err != nil {
		m.t.Error(err)
	}
}

// reset empties the registry, which is faster than to make another one.
func (m *machine) reset(t *rapid.T) {
	for _, name := range []string{"aa", "bb"} {
		_, err := m.bench.DeleteRepository(m.ctx, scope, name, true)
		if err != nil && !registry.Is(err, registry.RepositoryNotFound) {
			t.Fatal(err)
		}
	}
	m.repos, m.rows, m.trash = map[string]*modelRepository{}, map[digest.Digest]bool{}, nil
	for range 2 {
		m.bench.advance(modelLease + modelGrace)
		if _, err := m.gc.Collect(m.ctx); err != nil {
			t.Fatal(err)
		}
	}
	m.checkAll(t)
}

// modelImage is an image of the layers given.
func modelImage(t testing.TB, layers ...testkit.Blob) testkit.Content {
	config := testkit.NewBlob(v1.MediaTypeImageConfig, fmt.Appendf(nil, `{"layers":%d}`, len(layers)))
	manifest := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest, Config: config.Descriptor}
	for _, l := range layers {
		manifest.Layers = append(manifest.Layers, l.Descriptor)
	}
	body, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return testkit.Content{Root: testkit.NewBlob(v1.MediaTypeImageManifest, body), Blobs: append([]testkit.Blob{config}, layers...)}
}

// pick draws a repository, which may not be there.
func (m *machine) pick(t *rapid.T) (string, *modelRepository) {
	name := rapid.SampledFrom([]string{"aa", "bb"}).Draw(t, "repository")
	return name, m.repos[name]
}

// outcome fails unless err is the refusal wanted, or none for 0.
func outcome(t *rapid.T, err error, want registry.Code) {
	t.Helper()
	if (want == 0 && err != nil) || (want != 0 && !registry.Is(err, want)) {
		t.Fatalf("got %v, want refusal %d", err, want)
	}
}

func (m *machine) create(t *rapid.T) {
	name, repo := m.pick(t)
	_, err := m.bench.CreateRepository(m.ctx, scope, registry.NewRepository{Name: name})
	if repo != nil {
		outcome(t, err, registry.RepositoryAlreadyExists)
		return
	}
	outcome(t, err, 0)
	m.repos[name] = newModelRepository()
}

func (m *machine) drop(t *rapid.T) {
	name, repo := m.pick(t)
	if repo == nil {
		t.Skip("there is none")
	}
	_, err := m.bench.DeleteRepository(m.ctx, scope, name, true)
	outcome(t, err, 0)
	delete(m.repos, name)
}

// push uploads everything that one image needs, or a single blob of it.
func (m *machine) push(t *rapid.T) {
	name, repo := m.pick(t)
	blobs := m.images[rapid.IntRange(0, 2).Draw(t, "image")].Blobs
	if rapid.Bool().Draw(t, "one blob") {
		blobs = blobs[len(blobs)-1:]
	}
	for _, b := range blobs {
		d := b.Descriptor.Digest
		_, err := m.bench.PutBlob(m.ctx, scope, name, d, bytes.NewReader(b.Bytes))
		if repo == nil {
			outcome(t, err, registry.RepositoryNotFound)
			return
		}
		outcome(t, err, 0)
		if m.rows[d] && m.inStore(d) {
			m.trash = append(m.trash, m.bench.clock()) // the second copy
		}
		m.rows[d], repo.leased[d] = true, m.bench.clock()
	}
}

func (m *machine) mount(t *rapid.T) {
	from, source := m.pick(t)
	to, repo := m.pick(t)
	if repo == nil || source == nil {
		t.Skip("there is none")
	}
	d := m.blobs[rapid.IntRange(0, len(m.blobs)-1).Draw(t, "blob")].Descriptor.Digest
	_, mounted, err := m.bench.MountBlob(m.ctx, scope, to, from, d)
	outcome(t, err, 0)
	_, has := source.leased[d]
	if mounted != has {
		t.Fatalf("mounted: %t, the source has the blob: %t", mounted, has)
	}
	if mounted {
		repo.leased[d] = m.bench.clock()
	}
}

// put pushes a manifest, of an image or an index, with a tag or without.
func (m *machine) put(t *rapid.T) {
	name, repo := m.pick(t)
	if repo == nil {
		t.Skip("there is none")
	}
	content := m.images[rapid.IntRange(0, len(m.images)-1).Draw(t, "image")]
	tag := rapid.SampledFrom([]string{"", "v1", "v2"}).Draw(t, "tag")
	d := content.Digest()
	want := registry.Code(0)
	for _, b := range content.Blobs {
		if _, ok := repo.leased[b.Descriptor.Digest]; !ok {
			want = registry.LayersMissing
		}
	}
	for _, child := range content.Children {
		if _, ok := repo.images[child.Digest()]; !ok {
			want = registry.ReferencedImagesNotFound
		}
	}
	if _, there := repo.images[d]; there && (tag == "" || repo.tags[tag] == d) {
		want = registry.ImageAlreadyExists
	}
	push := registry.Push{MediaType: content.Root.Descriptor.MediaType, Body: content.Root.Bytes}
	if tag != "" {
		push.Tags = []string{tag}
	}
	_, err := m.bench.PutImage(m.ctx, scope, name, push)
	outcome(t, err, want)
	if want == 0 {
		repo.images[d] = content
		if tag != "" {
			repo.tags[tag] = d
		}
	}
}

func (m *machine) untag(t *rapid.T) {
	name, repo := m.pick(t)
	if repo == nil || len(repo.tags) == 0 {
		t.Skip("there is none")
	}
	tag := rapid.SampledFrom(slices.Sorted(maps.Keys(repo.tags))).Draw(t, "tag")
	outcome(t, m.bench.DeleteManifest(m.ctx, scope, name, byTag(tag)), 0)
	delete(repo.tags, tag)
}

func (m *machine) remove(t *rapid.T) {
	name, repo := m.pick(t)
	if repo == nil || len(repo.images) == 0 {
		t.Skip("there is none")
	}
	d := rapid.SampledFrom(slices.Sorted(maps.Keys(repo.images))).Draw(t, "image")
	want := registry.Code(0)
	for _, image := range repo.images {
		for _, child := range image.Children {
			if child.Digest() == d {
				want = registry.ImageReferenced
			}
		}
	}
	outcome(t, m.bench.DeleteManifest(m.ctx, scope, name, registry.ImageRef{Digest: d.String()}), want)
	if want == 0 {
		delete(repo.images, d)
		maps.DeleteFunc(repo.tags, func(_ string, to digest.Digest) bool { return to == d })
	}
}

func (m *machine) probe(t *rapid.T) {
	name, repo := m.pick(t)
	if repo == nil {
		t.Skip("there is none")
	}
	d := m.blobs[rapid.IntRange(0, len(m.blobs)-1).Draw(t, "blob")].Descriptor.Digest
	found, _, err := m.bench.CheckLayers(m.ctx, scope, name, []digest.Digest{d})
	outcome(t, err, 0)
	_, has := repo.leased[d]
	if (len(found) == 1) != has {
		t.Fatalf("found: %v, the repository has the blob: %t", found, has)
	}
	if has {
		repo.leased[d] = m.bench.clock()
	}
}

// advance keeps to steps longer than the time for which a probe need not renew
// the lease of modelLease, so that the model knows every lease exactly.
func (m *machine) advance(t *rapid.T) {
	m.bench.advance(time.Duration(rapid.IntRange(1, 4).Draw(t, "steps")) * 2 * time.Minute)
}

func (m *machine) collect(t *rapid.T) {
	now := m.bench.clock()
	if _, err := m.gc.Collect(m.ctx); err != nil {
		t.Fatal(err)
	}
	owned := map[digest.Digest]bool{}
	for _, repo := range m.repos {
		needed := repo.needed()
		maps.DeleteFunc(repo.leased, func(d digest.Digest, at time.Time) bool { return !needed[d] && at.Before(now.Add(-modelLease)) })
		for d := range repo.leased {
			owned[d] = true
		}
	}
	for d := range m.rows {
		if !owned[d] {
			delete(m.rows, d)
			if m.inStore(d) {
				m.trash = append(m.trash, now)
			}
		}
	}
	m.trash = slices.DeleteFunc(m.trash, func(since time.Time) bool { return since.Before(now.Add(-modelGrace)) })
	m.checkAll(t)
}

// check looks at one blob and one repository, which is what every step can afford.
func (m *machine) check(t *rapid.T) {
	name, _ := m.pick(t)
	m.compare(t, name, rapid.SampledFrom(slices.Sorted(maps.Keys(m.bytes))).Draw(t, "blob"))
}

// compare compares a repository's blobs, manifests and tags with the model.
func (m *machine) compare(t *rapid.T, name string, blobs ...digest.Digest) {
	repo := m.repos[name]
	if repo == nil {
		return
	}
	for _, d := range blobs {
		got, err := m.bench.readBlob(name, d)
		if _, has := repo.leased[d]; !has {
			outcome(t, err, registry.LayerNotFound)
		} else if err != nil || !bytes.Equal(got, m.bytes[d]) {
			t.Fatalf("blob %s of %s: %d bytes, %v", d, name, len(got), err)
		}
	}
	for d, image := range repo.images {
		got, err := m.bench.Manifest(m.ctx, scope, name, registry.ImageRef{Digest: d.String()})
		if err != nil || !bytes.Equal(got.Bytes, image.Root.Bytes) {
			t.Fatalf("manifest %s of %s: %v", d, name, err)
		}
	}
	tags, _, err := m.bench.Tags(m.ctx, scope, name, "", 100)
	if want := slices.Sorted(maps.Keys(repo.tags)); err != nil || !slices.Equal(tags, want) {
		t.Fatalf("tags of %s: %v, want %v (%v)", name, tags, want, err)
	}
}

// inStore tells whether a blob's bytes lie in the blob store.
func (m *machine) inStore(d digest.Digest) bool { return len(m.bytes[d]) > m.small }

// checkAll compares everything that can be read, and the number of copies.
func (m *machine) checkAll(t *rapid.T) {
	for name := range m.repos {
		m.compare(t, name, slices.Sorted(maps.Keys(m.bytes))...)
	}
	n := 0
	err := m.store.List(m.ctx, func(blob.Object) error {
		n++
		return nil
	})
	copies := 0
	for d := range m.rows {
		if m.inStore(d) {
			copies++
		}
	}
	if err != nil || n != copies+len(m.trash) {
		t.Fatalf("the store holds %d objects, want %d copies in use and %d to be deleted (%v)", n, copies, len(m.trash), err)
	}
}

// TestInvariant03_RegistryAndCollectionFollowTheModel: what is reachable or
// leased is there to the byte, what is neither goes, after its time of grace
// and not before, whatever happens in which order.
func TestInvariant03_RegistryAndCollectionFollowTheModel(t *testing.T) {
	t.Run("all bytes in the store", func(t *testing.T) { followTheModel(t, -1) })
	t.Run("small blobs in rows", func(t *testing.T) { followTheModel(t, upload.MaxSmall) })
}

func followTheModel(t *testing.T, small int) {
	m := newMachine(t, t.TempDir(), small)
	defer m.close()
	rapid.Check(t, func(rt *rapid.T) {
		m.reset(rt)
		for _, name := range []string{"aa", "bb"} {
			if _, err := m.bench.CreateRepository(m.ctx, scope, registry.NewRepository{Name: name}); err != nil {
				rt.Fatal(err)
			}
			m.repos[name] = newModelRepository()
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": m.create, "drop": m.drop, "push": m.push, "push again": m.push, "mount": m.mount, "put": m.put,
			"put again": m.put, "untag": m.untag, "remove": m.remove, "probe": m.probe, "advance": m.advance,
			"collect": m.collect, "": m.check,
		})
		m.checkAll(rt)
	})
}
