package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/access/token"
	"berth/internal/blob/file"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/seal/sealtest"
	"berth/internal/testkit"
)

var home = meta.Scope{Account: "000000000000", Region: "us-east-1"}

// replica is a registry on a connection pool of its own, as another server has.
func replica(t *testing.T, url, data string) *registry.Registry {
	t.Helper()
	db := open(t, url)
	ring, keys := sealtest.New(t, db, data, time.Now)
	blobs, err := file.Open(file.System{}, data, ring)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := token.New(make([]byte, token.KeySize), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return registry.New(registry.Options{
		DB: db, Blobs: blobs, Seal: ring, KMS: keys, Cursors: tokens, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Host: func(meta.Scope) string { return "localhost" },
	})
}

// manifestOf is an image manifest whose only part is the config given.
func manifestOf(config []byte, n int) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[],"annotations":{"n":"%d"}}`,
		digest.FromBytes(config), len(config), n)
}

// TestImmutableTagRace pushes different images under one immutable tag from
// several servers at once: exactly one gets it, whichever that is.
func TestImmutableTagRace(t *testing.T) {
	url, data := testkit.Postgres(t), t.TempDir()
	replicas := []*registry.Registry{replica(t, url, data), replica(t, url, data), replica(t, url, data)}
	ctx := context.Background()
	if _, err := replicas[0].CreateRepository(ctx, home, registry.NewRepository{Name: "app", Mutability: registry.Mutability{Mode: registry.Immutable}}); err != nil {
		t.Fatal(err)
	}
	config := []byte("{}")
	if _, err := replicas[0].PutBlob(ctx, home, "app", digest.FromBytes(config), bytes.NewReader(config)); err != nil {
		t.Fatal(err)
	}
	for round := range 10 {
		const pushes = 9
		tag := fmt.Sprintf("v%d", round)
		errs, digests := make([]error, pushes), make([]digest.Digest, pushes)
		var wg sync.WaitGroup
		for i := range pushes {
			wg.Go(func() {
				var p registry.Pushed
				p, errs[i] = replicas[i%len(replicas)].PutImage(ctx, home, "app", registry.Push{Body: manifestOf(config, round*pushes+i), Tags: []string{tag}})
				digests[i] = p.Digest
			})
		}
		wg.Wait()
		var winners []digest.Digest
		for i, err := range errs {
			switch {
			case err == nil:
				winners = append(winners, digests[i])
			case !registry.Is(err, registry.ImageTagAlreadyExists):
				t.Errorf("round %d: %v, want ImageTagAlreadyExists", round, err)
			}
		}
		if len(winners) != 1 {
			t.Fatalf("round %d: %d pushes got the immutable tag", round, len(winners))
		}
		m, err := replicas[round%len(replicas)].Manifest(ctx, home, "app", registry.ImageRef{Tag: tag})
		if err != nil || m.Digest != winners[0].String() {
			t.Errorf("round %d: the tag names %s, %v; %s won", round, m.Digest, err, winners[0])
		}
	}
}

// TestNoUpdateIsLostBetweenServers counts in one row from several servers.
func TestNoUpdateIsLostBetweenServers(t *testing.T) {
	url := testkit.Postgres(t)
	servers := []*meta.DB{open(t, url), open(t, url), open(t, url)}
	if err := write(servers[0], "counter"); err != nil {
		t.Fatal(err)
	}
	const workers, rounds = 12, 10
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() {
			for range rounds {
				err := servers[i%len(servers)].Update(context.Background(), func(tx *meta.Tx) error {
					r, err := tx.Repository(home, "counter")
					if err != nil {
						return err
					}
					r.Policy += "x"
					return tx.SaveRepository(r)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	err := servers[0].View(context.Background(), func(tx *meta.Tx) error {
		r, err := tx.Repository(home, "counter")
		if len(r.Policy) != workers*rounds {
			t.Errorf("%d updates left %d marks", workers*rounds, len(r.Policy))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
