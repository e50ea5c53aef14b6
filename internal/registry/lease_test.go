package registry_test

import (
	"context"
	"errors"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/meta"
)

// A blob that is collected, or loses its repository, between the look of a
// probe and the renewal of its lease is missing. It was answered with 500.
func TestProbeOfABlobThatGoesMeanwhile(t *testing.T) {
	b := newBench(t)
	b.create("app")
	d := b.putBlob("app", []byte("layer"))
	b.advance(24 * 60 * 60 * 1e9)
	var once bool
	r := b.over(b.db.Wrap(func(inner meta.Backend) meta.Backend {
		return beforeUpdate{inner, func() error {
			if once {
				return nil
			}
			once = true
			return b.DeleteBlob(context.Background(), scope, "app", d)
		}}
	}))
	found, missing, err := r.CheckLayers(context.Background(), scope, "app", []digest.Digest{d})
	if err != nil || len(found) != 0 || len(missing) != 1 || !once {
		t.Errorf("found %v, missing %v, %v", found, missing, err)
	}
}

// beforeUpdate does something right before each write transaction.
type beforeUpdate struct {
	meta.Backend
	do func() error
}

func (u beforeUpdate) Update(ctx context.Context, fn func(meta.Querier) error) error {
	if err := u.do(); err != nil {
		return errors.Join(errors.New("before an update"), err)
	}
	return u.Backend.Update(ctx, fn)
}
