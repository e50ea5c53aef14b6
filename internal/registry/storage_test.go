package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

// class changes the storage class of an image and gives its status.
func (b *bench) class(repo string, ref registry.ImageRef, class string) string {
	b.t.Helper()
	_, status, err := b.SetStorageClass(b.t.Context(), scope, repo, ref, class)
	if err != nil {
		b.t.Fatal(err)
	}
	return status
}

func (b *bench) finish() {
	b.t.Helper()
	if err := b.FinishRestores(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// detail describes one image by its digest, whatever its status is.
func (b *bench) detail(repo string, c testkit.Content) registry.ImageDetail {
	b.t.Helper()
	list, _, err := b.DescribeImages(b.t.Context(), scope, repo, []registry.ImageRef{byDigest(c)}, registry.ImageFilter{}, "", 10)
	if err != nil || len(list) != 1 {
		b.t.Fatalf("described %v, %v", list, err)
	}
	return list[0]
}

// listed are the digests that both listings give for an image status.
func (b *bench) listed(repo, status string) string {
	b.t.Helper()
	f := registry.ImageFilter{ImageStatus: status}
	details, _, err := b.DescribeImages(b.t.Context(), scope, repo, nil, f, "", 100)
	if err != nil {
		b.t.Fatal(err)
	}
	ids, _, err := b.ListImages(b.t.Context(), scope, repo, f, "", 100)
	if err != nil {
		b.t.Fatal(err)
	}
	var a, c []string
	for _, d := range details {
		a = append(a, d.Digest)
	}
	for _, id := range ids {
		c = append(c, id.Digest)
	}
	if fmt.Sprint(a) != fmt.Sprint(c) {
		b.t.Errorf("status %q: DescribeImages gives %v, ListImages %v", status, a, c)
	}
	return strings.Join(a, " ")
}

func TestArchivedImageIsOutOfReach(t *testing.T) {
	b := newBench(t)
	b.create("app")
	cold, warm := b.push("app", "cold", b.image()), b.push("app", "warm", b.image())
	pushed := b.clock()
	b.advance(time.Hour)
	if got := b.class("app", byTag("cold"), registry.StorageArchive); got != meta.ImageArchived {
		t.Errorf("archived: %s", got)
	}
	archived := b.clock()
	b.advance(time.Hour)
	if got := b.class("app", byDigest(cold), registry.StorageArchive); got != meta.ImageArchived { // again, which changes nothing
		t.Errorf("archived again: %s", got)
	}
	for _, ref := range []registry.ImageRef{byTag("cold"), byDigest(cold), {Digest: cold.Digest().String(), Tag: "cold"}} {
		_, err := b.Manifest(t.Context(), scope, "app", ref)
		wantRefusal(t, err, registry.ImageNotFound, "")
		_, err = b.Image(t.Context(), scope, "app", ref)
		wantRefusal(t, err, registry.ImageNotFound, "")
		found, failed, err := b.Manifests(t.Context(), scope, "app", []registry.ImageRef{ref})
		if err != nil || len(found) != 0 || failures(failed)[0] != failure(ref, "ImageNotFound") {
			t.Errorf("batch of %v: %v, %v, %v", ref, found, failed, err)
		}
	}
	for status, want := range map[string]string{
		"": warm.Digest().String(), "ACTIVE": warm.Digest().String(), "ARCHIVED": cold.Digest().String(), "ACTIVATING": "",
		"ANY": cold.Digest().String() + " " + warm.Digest().String(),
	} {
		if got := b.listed("app", status); got != want {
			t.Errorf("status %q lists %s, want %s", status, got, want)
		}
	}
	if tags, _, err := b.Tags(t.Context(), scope, "app", "", 10); err != nil || fmt.Sprint(tags) != "[warm]" {
		t.Errorf("tags %v, %v", tags, err)
	}
	d := b.detail("app", cold)
	if d.Status != meta.ImageArchived || !d.ArchivedAt.Equal(archived) || !d.ActivatedAt.IsZero() || !d.PushedAt.Equal(pushed) || fmt.Sprint(d.Tags) != "[cold]" {
		t.Errorf("described %+v", d)
	}
	none, _, err := b.DescribeImages(t.Context(), scope, "app", []registry.ImageRef{byDigest(cold)}, registry.ImageFilter{ImageStatus: "ACTIVE"}, "", 10)
	if err != nil || len(none) != 0 {
		t.Errorf("a filter that does not fit gives %v, %v", none, err)
	}
	// It is still an image of the repository, and can be deleted.
	_, err = b.DeleteRepository(t.Context(), scope, "app", false)
	wantRefusal(t, err, registry.RepositoryNotEmpty, "")
	gone, failed, err := b.DeleteImages(t.Context(), scope, "app", []registry.ImageRef{byTag("cold")})
	if err != nil || len(failed) != 0 || len(gone) != 1 || b.listed("app", "ANY") != warm.Digest().String() {
		t.Errorf("deleted %v, %v, %v", gone, failed, err)
	}
}

func TestArchivedLayers(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "v1", b.image())
	layer := img.Blobs[0].Descriptor.Digest
	loose := b.putBlob("app", []byte("of no image"))
	state := func() string {
		found, missing, err := b.CheckLayers(t.Context(), scope, "app", []digest.Digest{layer, loose})
		if err != nil || len(missing) != 0 {
			t.Fatalf("missing %v, %v", missing, err)
		}
		return fmt.Sprint(found[0].Archived, found[1].Archived)
	}
	if got := state(); got != "false false" {
		t.Errorf("active: %s", got)
	}
	b.class("app", byTag("v1"), registry.StorageArchive)
	if got := state(); got != "true false" {
		t.Errorf("archived: %s", got)
	}
	_, err := b.LayerTicket(t.Context(), scope, "app", layer)
	wantRefusal(t, err, registry.LayerInaccessible, "")
	b.class("app", byTag("v1"), registry.StorageStandard)
	b.finish()
	if _, err := b.LayerTicket(t.Context(), scope, "app", layer); err != nil || state() != "false false" {
		t.Errorf("restored: %s, %v", state(), err)
	}
}

func TestRestore(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "v1", b.image())
	if got := b.class("app", byTag("v1"), registry.StorageStandard); got != meta.ImageActive { // as it is
		t.Errorf("restored what is active: %s", got)
	}
	b.class("app", byTag("v1"), registry.StorageArchive)
	archived := b.clock()
	b.advance(time.Hour)
	for range 2 {
		if got := b.class("app", byTag("v1"), registry.StorageStandard); got != meta.ImageActivating {
			t.Errorf("restored: %s", got)
		}
	}
	_, err := b.Manifest(t.Context(), scope, "app", byTag("v1"))
	wantRefusal(t, err, registry.ImageNotFound, "")
	if b.listed("app", "ACTIVATING") != img.Digest().String() || b.listed("app", "") != "" {
		t.Error("an image that is being restored is listed wrong")
	}
	_, _, err = b.SetStorageClass(t.Context(), scope, "app", byTag("v1"), registry.StorageArchive)
	wantRefusal(t, err, registry.StorageClassNotSupported, "The storage class of the image with digest '"+img.Digest().String()+
		"' in the repository with name 'app' in the registry with id '123456789012' cannot be updated to ARCHIVE: it is being restored")
	b.advance(time.Hour)
	b.finish()
	d := b.detail("app", img)
	if d.Status != meta.ImageActive || !d.ActivatedAt.Equal(b.clock()) || !d.ArchivedAt.Equal(archived) {
		t.Errorf("restored %+v", d)
	}
	if b.digestOf("app", "v1") != img.Digest().String() {
		t.Error("the restored image cannot be pulled")
	}
}

// A push of its manifest restores an archived image at once.
func TestPushRestores(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "v1", b.image())
	b.class("app", byTag("v1"), registry.StorageArchive)
	b.advance(time.Hour)
	if err := b.tag("app", "v1", img); err != nil {
		t.Fatal(err)
	}
	if d := b.detail("app", img); d.Status != meta.ImageActive || !d.ActivatedAt.Equal(b.clock()) {
		t.Errorf("pushed again: %+v", d)
	}
	wantRefusal(t, b.tag("app", "v1", img), registry.ImageAlreadyExists, "")
	b.class("app", byTag("v1"), registry.StorageArchive)
	b.class("app", byTag("v1"), registry.StorageStandard)
	if err := b.tag("app", "v2", img); err != nil || b.digestOf("app", "v2") != img.Digest().String() {
		t.Errorf("pushed while it was being restored: %v", err)
	}
	// A tag of an archived image moves as any other does.
	b.class("app", byDigest(img), registry.StorageArchive)
	other := b.push("app", "v1", b.image())
	if b.digestOf("app", "v1") != other.Digest().String() || fmt.Sprint(b.detail("app", img).Tags) != "[v2]" {
		t.Error("the tag of an archived image did not move")
	}
}

// What an active index lists is active, whatever is archived and restored in
// whatever order.
func TestIndexesAndTheirImages(t *testing.T) {
	b := newBench(t)
	b.create("app")
	index := b.push("app", "multi", testkit.RandomIndex(t, 64, "amd64", "arm64"))
	child := index.Children[0]
	_, _, err := b.SetStorageClass(t.Context(), scope, "app", byDigest(child), registry.StorageArchive)
	wantRefusal(t, err, registry.StorageClassNotSupported, "The storage class of the image with digest '"+child.Digest().String()+
		"' in the repository with name 'app' in the registry with id '123456789012' cannot be updated to ARCHIVE: it is referenced by manifest list: ["+index.Digest().String()+"]")
	b.class("app", byTag("multi"), registry.StorageArchive)
	b.class("app", byDigest(child), registry.StorageArchive)
	_, _, err = b.SetStorageClass(t.Context(), scope, "app", byTag("multi"), registry.StorageStandard)
	wantRefusal(t, err, registry.StorageClassNotSupported, "The storage class of the image with digest '"+index.Digest().String()+
		"' in the repository with name 'app' in the registry with id '123456789012' cannot be updated to STANDARD: the images that it references are archived: ["+child.Digest().String()+"]")
	missing := "Images with digests '[" + child.Digest().String() + "]' required for pushing image into repository with name 'app' in the registry with id '123456789012' do not exist"
	wantRefusal(t, b.tag("app", "multi", index), registry.ReferencedImagesNotFound, missing)
	again := testkit.Index(t, child)
	wantRefusal(t, b.tag("app", "new", again), registry.ReferencedImagesNotFound, missing)
	b.class("app", byDigest(child), registry.StorageStandard)
	b.class("app", byTag("multi"), registry.StorageStandard)
	b.finish()
	if b.digestOf("app", "multi") != index.Digest().String() || b.listed("app", "ARCHIVED") != "" {
		t.Error("the index was not restored")
	}
}

// Signatures and SBOMs go with what they are about, and so do those about them.
func TestReferrersFollow(t *testing.T) {
	b := newBench(t)
	b.create("app")
	subject := b.push("app", "v1", b.image())
	sbom := b.push("app", "", testkit.Artifact(t, "application/vnd.test.sbom", []byte("sbom"), &subject))
	signature := b.push("app", "", testkit.Artifact(t, "application/vnd.test.signature", []byte("signature"), &sbom))
	all := subject.Digest().String() + " " + sbom.Digest().String() + " " + signature.Digest().String()
	referrers := func(status string) (got []string) {
		list, _, err := b.ListReferrers(t.Context(), scope, "app", subject.Digest().String(), nil, status, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			got = append(got, m.Digest+" "+m.Status)
		}
		return got
	}
	b.class("app", byTag("v1"), registry.StorageArchive)
	if got := b.listed("app", "ARCHIVED"); got != all {
		t.Errorf("archived %s, want %s", got, all)
	}
	active, _, err := b.Referrers(t.Context(), scope, "app", subject.Digest().String(), "", 0, 10)
	if err != nil || len(active) != 0 || len(referrers("")) != 0 || fmt.Sprint(referrers("ANY"), referrers("ARCHIVED")) !=
		fmt.Sprintf("[%[1]s ARCHIVED] [%[1]s ARCHIVED]", sbom.Digest()) {
		t.Errorf("referrers %v, %v, of any status %v", active, err, referrers("ANY"))
	}
	b.class("app", byTag("v1"), registry.StorageStandard)
	if got := b.listed("app", "ACTIVATING"); got != all {
		t.Errorf("activating %s, want %s", got, all)
	}
	b.finish()
	if got := b.listed("app", ""); got != all || len(referrers("")) != 1 {
		t.Errorf("active %s, want %s", got, all)
	}
}

func TestStorageClassIsChecked(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "v1", b.image())
	for _, tc := range []struct {
		repo, class string
		ref         registry.ImageRef
		code        registry.Code
	}{
		{"app", "COLD", byTag("v1"), registry.InvalidParameter}, {"app", "ARCHIVE", registry.ImageRef{}, registry.InvalidParameter},
		{"app", "ARCHIVE", byTag("v2"), registry.ImageNotFound}, {"app", "ARCHIVE", registry.ImageRef{Tag: "v1", Digest: digest.FromString("x").String()}, registry.ImageNotFound},
		{"app", "ARCHIVE", registry.ImageRef{Digest: "nonsense"}, registry.InvalidParameter}, {"none", "ARCHIVE", byTag("v1"), registry.RepositoryNotFound},
	} {
		_, _, err := b.SetStorageClass(t.Context(), scope, tc.repo, tc.ref, tc.class)
		wantRefusal(t, err, tc.code, "")
	}
	if b.listed("app", "") != img.Digest().String() {
		t.Error("a refused call archived the image")
	}
}

// Whatever is archived, restored, pushed and deleted in whatever order, an active
// index lists active images, and every image has a status that its times fit.
func TestActiveIndexesListActiveImages(t *testing.T) {
	b := newBench(t)
	b.create("app")
	first := b.push("app", "multi", testkit.RandomIndex(t, 16, "amd64"))
	second := b.push("app", "more", testkit.Index(t, first.Children[0], b.image()))
	all := []testkit.Content{first, second, first.Children[0], second.Children[1]}
	rapid.Check(t, func(t *rapid.T) {
		for _, c := range all { // from the same state
			b.putBlobs("app", c)
			if err := b.tag("app", "", c); err != nil && !registry.Is(err, registry.ImageAlreadyExists) {
				t.Fatal(err)
			}
		}
		for range rapid.IntRange(5, 30).Draw(t, "steps") {
			c := rapid.SampledFrom(all).Draw(t, "image")
			var err error
			switch step := rapid.SampledFrom([]string{"archive", "archive", "restore", "push", "finish", "delete"}).Draw(t, "step"); step {
			case "archive":
				_, _, err = b.SetStorageClass(context.Background(), scope, "app", byDigest(c), registry.StorageArchive)
			case "restore":
				_, _, err = b.SetStorageClass(context.Background(), scope, "app", byDigest(c), registry.StorageStandard)
			case "push":
				err = b.tag("app", "", c)
			case "finish":
				b.finish()
			case "delete":
				_, _, err = b.DeleteImages(context.Background(), scope, "app", []registry.ImageRef{byDigest(c)})
			}
			var refused *registry.Error
			if err != nil && !errors.As(err, &refused) {
				t.Fatal(err)
			}
			status := map[string]string{}
			list, _, err := b.DescribeImages(context.Background(), scope, "app", nil, registry.ImageFilter{ImageStatus: "ANY"}, "", 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, img := range list {
				status[img.Digest] = img.Status
				if img.Status != meta.ImageActive && img.ArchivedAt.IsZero() {
					t.Fatalf("%s is %s and was never archived", img.Digest, img.Status)
				}
			}
			for _, index := range []testkit.Content{first, second} {
				for _, child := range index.Children {
					if s := status[child.Digest().String()]; status[index.Digest().String()] == meta.ImageActive && s != meta.ImageActive {
						t.Fatalf("the index %s is active, and its image %s is %q", index.Digest(), child.Digest(), s)
					}
				}
			}
		}
	})
}
