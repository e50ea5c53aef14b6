package crash

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"berth/internal/testkit"
)

// layerSize is more than two packages of the sealed store, so that a layer is
// written while it comes, and few enough bytes to read all of them after each kill.
const layerSize = 150 << 10

// A scenario is what a client does while the server is armed.
type scenario struct {
	name string
	run  func(t testing.TB, ctx context.Context, c *client) error
}

// scenarios are what changes a registry. Each finds what ready leaves.
func scenarios() []scenario {
	return []scenario{
		{"push in chunks", pushChunks},
		{"push by the ECR API", pushParts},
		{"push an index", pushIndex},
		{"retag", retag},
		{"delete", remove},
		{"delete a repository", removeRepository},
		{"apply a lifecycle policy", runPolicy},
	}
}

// ready brings the repository into the state that scenarios begin with: two
// images under tags of their own, and a tag that moves.
func ready(t testing.TB, ctx context.Context, c *client) error {
	if !c.now.exists {
		if err := c.create(ctx); err != nil {
			return err
		}
	}
	if err := c.dropPolicy(ctx); err != nil {
		return err
	}
	if len(c.now.images) > 4 {
		if err := c.deleteImages(ctx, slices.Sorted(maps.Keys(c.now.images))...); err != nil {
			return err
		}
	}
	for _, tag := range []string{"first", "second"} {
		if c.now.tags[tag] == "" {
			if err := c.pushWhole(ctx, tag, testkit.RandomImage(t, 1, 100)); err != nil {
				return err
			}
		}
	}
	return c.put(ctx, "moving", c.now.images[c.now.tags["first"]])
}

func (c *client) tag() string {
	c.serial++
	return fmt.Sprintf("t%d", c.serial)
}

// pushWhole pushes every blob in one request.
func (c *client) pushWhole(ctx context.Context, tag string, content testkit.Content) error {
	for b, manifest := range content.All() {
		switch {
		case !manifest:
			if err := c.PutBlob(ctx, c.repository, b); err != nil {
				return err
			}
		case b.Descriptor.Digest != content.Digest():
			for _, child := range content.Children {
				if child.Digest() == b.Descriptor.Digest {
					if err := c.put(ctx, "", child); err != nil {
						return err
					}
				}
			}
		}
	}
	return c.put(ctx, tag, content)
}

func pushChunks(t testing.TB, ctx context.Context, c *client) error {
	image := testkit.RandomImage(t, 1, layerSize)
	if err := c.putChunks(ctx, image.Blobs[1]); err != nil {
		return err
	}
	if err := c.PutBlob(ctx, c.repository, image.Blobs[0]); err != nil {
		return err
	}
	return c.put(ctx, c.tag(), image)
}

func pushParts(t testing.TB, ctx context.Context, c *client) error {
	image := testkit.RandomImage(t, 1, layerSize)
	for _, b := range image.Blobs {
		if err := c.putParts(ctx, b); err != nil {
			return err
		}
	}
	return c.putECR(ctx, c.tag(), image)
}

func pushIndex(t testing.TB, ctx context.Context, c *client) error {
	return c.pushWhole(ctx, c.tag(), testkit.RandomIndex(t, 1000, "amd64", "arm64"))
}

func retag(_ testing.TB, ctx context.Context, c *client) error {
	if err := c.put(ctx, "moving", c.now.images[c.now.tags["second"]]); err != nil {
		return err
	}
	return c.putECR(ctx, "moving", c.now.images[c.now.tags["first"]])
}

func remove(_ testing.TB, ctx context.Context, c *client) error {
	if err := c.untag(ctx, "moving"); err != nil {
		return err
	}
	return c.deleteImages(ctx, c.now.tags["first"], c.now.tags["second"])
}

func removeRepository(t testing.TB, ctx context.Context, c *client) error {
	if err := c.deleteRepository(ctx); err != nil {
		return err
	}
	if err := c.create(ctx); err != nil {
		return err
	}
	return c.pushWhole(ctx, c.tag(), testkit.RandomImage(t, 1, 100))
}

// work does whatever comes up until the server stops answering. What it pushes
// was made before, since only the test's own goroutine may make content.
func (c *client) work(ctx context.Context, random *rand.Rand, images []testkit.Content) error {
	for {
		image := images[random.IntN(len(images))]
		var err error
		switch n := random.IntN(10); {
		case !c.now.exists:
			err = c.create(ctx)
		case n < 3:
			err = c.pushWhole(ctx, c.tag(), image)
		case n < 5:
			if err = c.putChunks(ctx, image.Blobs[1]); err == nil {
				err = c.pushWhole(ctx, "moving", image)
			}
		case n < 6:
			if err = c.putParts(ctx, testkit.NewBlob("", fmt.Appendf(nil, "%d %d", random.Uint64(), random.Uint64()))); err == nil {
				err = c.pushWhole(ctx, c.tag(), image)
			}
		case n < 7 && c.now.tags["moving"] != "":
			err = c.untag(ctx, "moving")
		case n < 9 && len(c.now.images) > 2:
			digests := slices.Sorted(maps.Keys(c.now.images))
			err = c.deleteImages(ctx, digests[random.IntN(len(digests))])
		case n == 9:
			err = c.deleteRepository(ctx)
		}
		if err != nil {
			return err
		}
	}
}
