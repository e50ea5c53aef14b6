package collect_test

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/collect"
	"berth/internal/meta"
	"berth/internal/registry"
)

// distribution#3178 and its like: the children of an index have no tags, and
// they and all that they list stay as long as the index does.
func TestChildrenOfAnIndexAreNoGarbage(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	config := l.put("app", "of the child")
	body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":1},"layers":[]}`, config)
	pushed, err := l.reg.PutImage(ctx, home, "app", registry.Push{Body: body})
	if err != nil {
		t.Fatal(err)
	}
	child := pushed.Digest
	index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[
		{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":1}]}`, child)
	if _, err := l.reg.PutImage(ctx, home, "app", registry.Push{Body: index, Tags: []string{"index"}}); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l.advance(lease + grace)
		l.collect()
	}
	_, missing, err := l.reg.Manifests(ctx, home, "app", []registry.ImageRef{{Digest: child.String()}})
	if err != nil || len(missing) != 0 {
		t.Errorf("the child of an index: %v, %v", missing, err)
	}
	if !l.has(config) {
		t.Error("the config of an index's child was collected")
	}
}

// zot#2625, distribution#2367: repositories share bytes. One that lets go of
// them ends its own membership, and the last one takes the bytes along.
func TestSharedLayerStaysWithItsLastOwner(t *testing.T) {
	l := newLab(t)
	ctx := context.Background()
	if _, err := l.reg.CreateRepository(ctx, home, registry.NewRepository{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	d := l.put("app", "base layer")
	l.put("other", "base layer")
	if _, err := l.image(d, "v1"); err != nil {
		t.Fatal(err)
	}
	for range 3 { // other's lease ends, and it has no image
		l.advance(lease + grace)
		l.collect()
	}
	if n := l.stored(); n != 1 || !l.has(d) {
		t.Errorf("%d copies, want the one that an image of app needs", n)
	}
	if _, err := l.reg.ProbeBlob(ctx, home, "other", d); !registry.Is(err, registry.LayerNotFound) {
		t.Errorf("other has the layer still: %v", err)
	}
	if _, err := l.reg.DeleteRepository(ctx, home, "app", true); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l.advance(lease + grace)
		l.collect()
	}
	if n := l.stored(); n != 0 {
		t.Errorf("%d copies that nobody has", n)
	}
}

// zot#2964: what collection does at a time is bounded, however much there is.
func TestTransactionsAreSmall(t *testing.T) {
	const blobs, limit = 2_100, 2_000 // of statements in a transaction
	l := newLab(t)
	err := l.db.Update(t.Context(), func(tx *meta.Tx) error {
		repo, err := tx.Repository(home, "app")
		for i := 0; i < blobs && err == nil; i++ {
			var b meta.Blob
			b, err = tx.EnsureBlob(meta.Blob{
				Domain: home.Account, Digest: digest.FromString(fmt.Sprint(i)).String(), Size: 1, Location: fmt.Sprintf("none-%d", i), CreatedAt: l.clock(),
			})
			if err == nil {
				err = tx.AddMember(repo.ID, b, l.clock())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	l.advance(lease + grace)
	count := &counter{}
	c := collect.New(collect.Options{DB: l.db.Wrap(count.wrap), Blobs: l.blobs, Log: quiet, Now: l.clock, Lease: lease, Grace: grace})
	r, err := c.Collect(t.Context())
	if err != nil || r.Blobs != blobs {
		t.Fatalf("%+v, %v: want all %d blobs to die", r, err, blobs)
	}
	if most := count.most.Load(); most > limit {
		t.Errorf("a transaction of %d statements, want %d at most", most, limit)
	}
}

// A counter sees how many statements the largest write transaction has.
type counter struct {
	meta.Backend
	most atomic.Int64
}

func (c *counter) wrap(b meta.Backend) meta.Backend { c.Backend = b; return c }

func (c *counter) Update(ctx context.Context, fn func(meta.Querier) error) error {
	return c.Backend.Update(ctx, func(q meta.Querier) error {
		counted := &countedQuerier{Querier: q}
		err := fn(counted)
		c.most.Store(max(c.most.Load(), counted.n))
		return err
	})
}

type countedQuerier struct {
	meta.Querier
	n int64
}

func (q *countedQuerier) Exec(query string, args ...any) (sql.Result, error) {
	q.n++
	return q.Querier.Exec(query, args...)
}

func (q *countedQuerier) Query(query string, args ...any) (*sql.Rows, error) {
	q.n++
	return q.Querier.Query(query, args...)
}

func (q *countedQuerier) QueryRow(query string, args ...any) *sql.Row {
	q.n++
	return q.Querier.QueryRow(query, args...)
}
