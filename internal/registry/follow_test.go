package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/testkit"
)

// sign adds a signature that refers to an image.
func (b *bench) sign(repo string, subject testkit.Content) testkit.Content {
	b.t.Helper()
	signature := testkit.Artifact(b.t, "application/x-signature", []byte("s"), &subject)
	b.putBlobs(repo, signature)
	if _, err := b.putManifest(repo, signature.Root, ""); err != nil {
		b.t.Fatal(err)
	}
	return signature
}

// An image that gets a tag after it was judged stays, and so does its signature.
func TestSignatureStaysWithItsImage(t *testing.T) {
	b := newBench(t)
	b.create("app")
	image := b.push("app", "", b.image())
	signature := b.sign("app", image)
	b.policy("app", policyText(untaggedAfter1))
	b.advance(48 * time.Hour)
	meanwhile := b.over(b.db.Wrap(func(inner meta.Backend) meta.Backend {
		return &interrupted{Backend: inner, first: func() {
			if err := b.tag("app", "saved", image); err != nil {
				t.Error(err)
			}
		}}
	}))
	if run, err := meanwhile.RunLifecycle(context.Background(), scope, "app"); err != nil || run.Expired != 0 {
		t.Errorf("%+v: %v", run, err)
	}
	b.wantImages("app", entry(image, "saved"), entry(signature))
}

// cutOff lets one update happen, and no more.
type cutOff struct {
	meta.Backend
	done bool
}

func (c *cutOff) Update(ctx context.Context, fn func(meta.Querier) error) error {
	if c.done {
		return errors.New("cut off")
	}
	c.done = true
	return c.Backend.Update(ctx, fn)
}

// A run that is cut off leaves no signature of an image that is gone, which no
// rule would see again; the next run does the rest, and nothing else.
func TestRunThatIsCutOff(t *testing.T) {
	b := newBench(t)
	b.create("app")
	const images, signed = 105, 99 // the last one of the first hundred
	var signature testkit.Content
	for i := range images {
		image := b.push("app", "", b.image())
		if i == signed {
			signature = b.sign("app", image)
		}
		b.advance(time.Second)
	}
	kept := b.push("app", "v1", b.image())
	b.policy("app", policyText(untaggedAfter1))
	b.advance(48 * time.Hour)
	cut := b.over(b.db.Wrap(func(inner meta.Backend) meta.Backend { return &cutOff{Backend: inner} }))
	if _, err := cut.RunLifecycle(context.Background(), scope, "app"); err == nil {
		t.Fatal("the run was not cut off")
	}
	left := b.images("app")
	if len(left) != images-signed-1+1 {
		t.Errorf("%d images are left", len(left))
	}
	for _, i := range left {
		if i == entry(signature) {
			t.Error("the signature of an image that is gone is left")
		}
	}
	if run := b.run("app"); run.Expired != images-signed-1 {
		t.Errorf("%+v", run)
	}
	b.wantImages("app", entry(kept, "v1"))
}
