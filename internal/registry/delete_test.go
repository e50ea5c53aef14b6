package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/registry"
	"berth/internal/testkit"
)

// deletion runs BatchDeleteImage and gives what went and what failed, as text.
func (b *bench) deletion(refs ...registry.ImageRef) (deleted, failed []string) {
	b.t.Helper()
	gone, not, err := b.DeleteImages(context.Background(), scope, "app", refs)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, ref := range gone {
		deleted = append(deleted, ref.String())
	}
	return deleted, failures(not)
}

func wantStrings(t *testing.T, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s\n%s\nwant\n%s", what, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func id(c testkit.Content, tag string) string {
	return registry.ImageRef{Digest: c.Digest().String(), Tag: tag}.String()
}

func TestDeleteByTag(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "a", b.image())
	if err := b.tag("app", "b", img); err != nil {
		t.Fatal(err)
	}
	deleted, failed := b.deletion(byTag("a"))
	wantStrings(t, "deleted", deleted, []string{id(img, "a")})
	wantStrings(t, "failed", failed, nil)
	b.wantImages("app", entry(img, "b"))
	deleted, _ = b.deletion(byTag("b")) // the last tag takes the image along
	wantStrings(t, "deleted", deleted, []string{id(img, "b")})
	b.wantImages("app")
}

func TestDeleteByDigestListsEveryTag(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "b", b.image())
	if err := b.tag("app", "a", img); err != nil {
		t.Fatal(err)
	}
	untagged := b.push("app", "", b.image())
	deleted, failed := b.deletion(byDigest(img), byDigest(untagged))
	wantStrings(t, "deleted", deleted, []string{id(img, "a"), id(img, "b"), id(untagged, "")})
	wantStrings(t, "failed", failed, nil)
	b.wantImages("app")
}

func TestDeleteFailures(t *testing.T) {
	b := newBench(t)
	b.create("app")
	one, two := b.push("app", "one", b.image()), b.push("app", "two", b.image())
	mixed := registry.ImageRef{Digest: one.Digest().String(), Tag: "two"}
	unknown := registry.ImageRef{Digest: digest.FromString("none").String()}
	refs := []registry.ImageRef{mixed, {}, byTag("none"), unknown, {Digest: "nothing"}, byTag("one"), byTag("one")}
	deleted, failed := b.deletion(refs...)
	wantStrings(t, "deleted", deleted, []string{id(one, "one")})
	wantStrings(t, "failed", failed, []string{
		failure(mixed, "ImageTagDoesNotMatchDigest"), failure(refs[1], "MissingDigestAndTag"), failure(refs[2], "ImageNotFound"),
		failure(unknown, "ImageNotFound"), failure(refs[4], "InvalidImageDigest"), failure(refs[6], "ImageNotFound"),
	})
	b.wantImages("app", entry(two, "two"))
}

// distribution#3178: the children of an index that lives are not to be lost.
func TestInvariant08_ChildOfLiveIndexStays(t *testing.T) {
	b := newBench(t)
	b.create("app")
	inner := testkit.RandomIndex(t, 10, "amd64", "arm64")
	outer := b.push("app", "multi", testkit.Index(t, inner))
	child := inner.Children[0]
	if err := b.tag("app", "child", child); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []registry.ImageRef{byDigest(child), byTag("child")} {
		_, failed, err := b.DeleteImages(context.Background(), scope, "app", []registry.ImageRef{ref})
		if err != nil || len(failed) != 1 || failed[0].Code != "ImageReferencedByManifestList" ||
			failed[0].Reason != fmt.Sprintf("Requested image referenced by manifest list: [%s]", inner.Digest()) {
			t.Errorf("%s: %+v, %v", ref, failed, err)
		}
	}
	wantRefusal(t, b.DeleteManifest(context.Background(), scope, "app", byDigest(child)), registry.ImageReferenced, "")
	wantRefusal(t, b.DeleteManifest(context.Background(), scope, "app", byDigest(inner)), registry.ImageReferenced, "")
	if got := b.digestOf("app", "child"); got != child.Digest().String() {
		t.Errorf("the tag of the child names %q", got)
	}
	if len(b.images("app")) != 4 {
		t.Errorf("images: %v", b.images("app"))
	}
	// A second index lists the child too: both must go before it can.
	second := b.push("app", "second", testkit.Index(t, child))
	b.deletion(byDigest(outer), byDigest(inner))
	if _, failed := b.deletion(byDigest(child)); len(failed) != 1 {
		t.Errorf("the child of the second index went: %v", failed)
	}
	b.deletion(byDigest(second))
	if _, failed := b.deletion(byDigest(child)); len(failed) != 0 {
		t.Errorf("a child of no index stayed: %v", failed)
	}
}

// The order of the ids in one call does not matter.
func TestDeleteIndexAndChildrenInOneCall(t *testing.T) {
	for _, order := range [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			b := newBench(t)
			b.create("app")
			inner := testkit.RandomIndex(t, 10, "amd64", "arm64")
			outer := b.push("app", "multi", testkit.Index(t, inner))
			all := []registry.ImageRef{byDigest(inner.Children[0]), byDigest(inner.Children[1]), byDigest(inner), byDigest(outer)}
			var refs []registry.ImageRef
			for _, i := range order {
				refs = append(refs, all[i])
			}
			deleted, failed := b.deletion(refs...)
			wantStrings(t, "failed", failed, nil)
			if len(deleted) != 4 {
				t.Errorf("deleted %v", deleted)
			}
			b.wantImages("app")
		})
	}
}

// distribution-spec: deleting a tag leaves the manifest.
func TestDeleteManifest(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	img := b.push("app", "v1", b.image())
	if err := b.DeleteManifest(ctx, scope, "app", byTag("v1")); err != nil {
		t.Fatal(err)
	}
	b.wantImages("app", entry(img))
	wantRefusal(t, b.DeleteManifest(ctx, scope, "app", byTag("v1")), registry.ImageNotFound, "")
	if err := b.DeleteManifest(ctx, scope, "app", byDigest(img)); err != nil {
		t.Fatal(err)
	}
	b.wantImages("app")
	wantRefusal(t, b.DeleteManifest(ctx, scope, "app", byDigest(img)), registry.ImageNotFound, "")
}

// distribution#1755, #3266: what goes leaves nothing that points at it.
func TestDeletedRepositoryIsEmptyWhenItComesBack(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	img := b.push("app", "v1", b.image())
	_, err := b.DeleteRepository(ctx, scope, "app", false)
	wantRefusal(t, err, registry.RepositoryNotEmpty, "The repository with name 'app' in registry with id '123456789012' cannot be deleted because it still contains images")
	b.wantImages("app", entry(img, "v1"))
	if _, err := b.DeleteRepository(ctx, scope, "app", true); err != nil {
		t.Fatal(err)
	}
	b.create("app")
	b.wantImages("app")
	if tags, _, err := b.Tags(ctx, scope, "app", "", 10); err != nil || len(tags) != 0 {
		t.Errorf("tags %v, %v", tags, err)
	}
	_, err = b.readBlob("app", img.Blobs[0].Descriptor.Digest)
	wantRefusal(t, err, registry.LayerNotFound, "")
	wantRefusal(t, b.tag("app", "v1", img), registry.LayersMissing, "")
}

func TestDeleteBlob(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	img := b.push("app", "v1", b.image())
	loose := b.putBlob("app", []byte("loose"))
	for _, blob := range img.Blobs {
		wantRefusal(t, b.DeleteBlob(ctx, scope, "app", blob.Descriptor.Digest), registry.ImageReferenced, "")
	}
	if err := b.DeleteBlob(ctx, scope, "app", loose); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, b.DeleteBlob(ctx, scope, "app", loose), registry.LayerNotFound, "")
	_, err := b.readBlob("app", loose) // zot#1733: not served after its deletion
	wantRefusal(t, err, registry.LayerNotFound, "")
	if _, failed := b.deletion(byTag("v1")); len(failed) > 0 {
		t.Fatal(failed)
	}
	if err := b.DeleteBlob(ctx, scope, "app", img.Blobs[0].Descriptor.Digest); err != nil {
		t.Errorf("the blob of a deleted image: %v", err)
	}
}

// What is remembered of a blob is about its bytes and never about who has it:
// another repository's use of the same bytes brings nothing back.
func TestCVE2026_35172_DeletedBlobStaysDeleted(t *testing.T) {
	b := newBench(t)
	b.create("aa", "bb")
	secret := []byte("bytes of both")
	d := b.putBlob("aa", secret)
	b.putBlob("bb", secret)
	for _, repo := range []string{"aa", "bb"} {
		if got, err := b.readBlob(repo, d); err != nil || !bytes.Equal(got, secret) {
			t.Fatalf("%s: %q, %v", repo, got, err)
		}
	}
	if err := b.DeleteBlob(context.Background(), scope, "aa", d); err != nil {
		t.Fatal(err)
	}
	if got, err := b.readBlob("bb", d); err != nil || !bytes.Equal(got, secret) {
		t.Fatalf("the other repository: %q, %v", got, err)
	}
	_, err := b.readBlob("aa", d)
	wantRefusal(t, err, registry.LayerNotFound, "")
	_, err = b.ProbeBlob(context.Background(), scope, "aa", d)
	wantRefusal(t, err, registry.LayerNotFound, "")
}

// deleteFirst deletes a repository when its first byte is asked for.
type deleteFirst struct {
	t    *testing.T
	b    *bench
	name string
	rest io.Reader
}

func (d *deleteFirst) Read(p []byte) (int, error) {
	if d.name != "" {
		if _, err := d.b.DeleteRepository(context.Background(), scope, d.name, true); err != nil {
			d.t.Error(err)
		}
		d.name = ""
	}
	return d.rest.Read(p)
}

// A repository that goes while bytes for it come is an ordinary refusal, and
// nothing of the upload stays.
func TestRepositoryDeletedDuringUpload(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	data := []byte("some bytes")

	b.create("whole")
	_, err := b.PutBlob(ctx, scope, "whole", digest.FromBytes(data), &deleteFirst{t, b, "whole", bytes.NewReader(data)})
	wantRefusal(t, err, registry.RepositoryNotFound, "The repository with name 'whole' does not exist in the registry with id '"+scope.Account+"'")

	b.create("chunked")
	u, err := b.StartUpload(ctx, scope, "chunked", "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.AppendUpload(ctx, scope, "chunked", u.ID, 0, &deleteFirst{t, b, "chunked", bytes.NewReader(data)})
	wantRefusal(t, err, registry.UploadNotFound, "")

	b.create("chunked")
	_, err = b.UploadStatus(ctx, scope, "chunked", u.ID)
	wantRefusal(t, err, registry.UploadNotFound, "")
}
