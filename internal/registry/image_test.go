package registry_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/access"
	"berth/internal/manifest"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

func TestPushNeedsWhatTheManifestLists(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := testkit.RandomImage(t, 2, 10)
	var missing []string
	for _, blob := range img.Blobs {
		missing = append(missing, blob.Descriptor.Digest.String())
	}
	wantRefusal(t, b.tag("app", "v1", img), registry.LayersMissing, fmt.Sprintf(
		"Layers with digests '[%s]' required for pushing image into repository with name 'app' in the registry with id '123456789012' do not exist",
		strings.Join(missing, ", ")))
	b.putBlob("app", img.Blobs[0].Bytes)
	wantRefusal(t, b.tag("app", "v1", img), registry.LayersMissing, fmt.Sprintf(
		"Layers with digests '[%s]' required for pushing image into repository with name 'app' in the registry with id '123456789012' do not exist",
		strings.Join(missing[1:], ", ")))

	index := testkit.RandomIndex(t, 10, "amd64", "arm64")
	wantRefusal(t, b.tag("app", "multi", index), registry.ReferencedImagesNotFound, fmt.Sprintf(
		"Images with digests '[%s, %s]' required for pushing image into repository with name 'app' in the registry with id '123456789012' do not exist",
		index.Children[0].Digest(), index.Children[1].Digest()))
	b.wantImages("app")
}

func TestPushRefusesWhatIsNoManifest(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.image()
	b.putBlobs("app", img)
	const syntax = "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'"
	ociType := img.Root.Descriptor.MediaType
	for name, p := range map[string]registry.Push{
		"not JSON":          {MediaType: ociType, Body: []byte("{")},
		"empty":             {MediaType: ociType},
		"unknown type":      {MediaType: "application/json", Body: img.Root.Bytes},
		"other type":        {MediaType: "application/vnd.oci.image.index.v1+json", Body: img.Root.Bytes},
		"no type":           {Body: []byte(`{"schemaVersion":2,"manifests":[]}`)},
		"trailing document": {MediaType: ociType, Body: append(slices.Clone(img.Root.Bytes), "{}"...)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.PutImage(context.Background(), scope, "app", p)
			wantRefusal(t, err, registry.InvalidParameter, syntax)
		})
	}
	b.wantImages("app")
}

// CVE-2021-41190, GHSA-qq97-vm5h-rrhg: one document that is a manifest to one
// reader and an index to another.
func TestCVE2021_41190_AmbiguousManifestIsRefused(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "v1", b.image())
	body := []byte(fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":1},"layers":[],
		"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`, img.Blobs[0].Descriptor.Digest, img.Root.Descriptor.MediaType, img.Digest()))
	for _, mediaType := range []string{
		"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json",
		manifest.MediaTypeDockerManifest, manifest.MediaTypeDockerList,
	} {
		_, err := b.PutImage(context.Background(), scope, "app", registry.Push{MediaType: mediaType, Body: body, Tags: []string{"evil"}})
		wantRefusal(t, err, registry.InvalidParameter, "")
	}
	b.wantImages("app", entry(img, "v1"))
}

func TestInvariant11_ManifestSizeIsCapped(t *testing.T) {
	b := newBench(t)
	b.create("app")
	base := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"annotations":{"a":"`
	for size, ok := range map[int]bool{manifest.MaxSize: true, manifest.MaxSize + 1: false} {
		body := base + strings.Repeat("x", size-len(base)-3) + `"}}`
		_, err := b.PutImage(context.Background(), scope, "app", registry.Push{Body: []byte(body)})
		if ok && err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if !ok {
			wantRefusal(t, err, registry.ManifestTooLarge, "")
		}
	}
}

func TestPushByDigest(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.image()
	b.putBlobs("app", img)
	for name, tc := range map[string]struct {
		claimed digest.Digest
		code    registry.Code
	}{
		"other bytes":     {digest.FromString("x"), registry.ImageDigestDoesNotMatch},
		"not a digest":    {"sha256:abc", registry.InvalidParameter},
		"other algorithm": {"md5:d41d8cd98f00b204e9800998ecf8427e", registry.InvalidParameter},
		"upper case":      {digest.Digest(strings.ToUpper(img.Digest().String())), registry.InvalidParameter},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.PutImage(context.Background(), scope, "app", registry.Push{
				MediaType: img.Root.Descriptor.MediaType, Body: img.Root.Bytes, Digest: tc.claimed, Tags: []string{"v1"},
			})
			wantRefusal(t, err, tc.code, "")
		})
	}
	b.wantImages("app")
	long := digest.SHA512.FromBytes(img.Root.Bytes)
	p, err := b.PutImage(context.Background(), scope, "app", registry.Push{
		MediaType: img.Root.Descriptor.MediaType, Body: img.Root.Bytes, Digest: long,
	})
	if err != nil || p.Digest != long {
		t.Fatalf("%+v, %v", p, err)
	}
	m, err := b.Manifest(context.Background(), scope, "app", registry.ImageRef{Digest: long.String()})
	if err != nil || string(m.Bytes) != string(img.Root.Bytes) {
		t.Errorf("the manifest came back changed: %v", err)
	}
}

func TestTagsOf129Characters(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.image()
	b.putBlobs("app", img)
	if err := b.tag("app", strings.Repeat("a", 128), img); err != nil {
		t.Errorf("128 characters: %v", err)
	}
	for _, tag := range []string{strings.Repeat("a", 129), "-a", ".a", "a b", "a/b", "a:b", "é", "a\x00", "a\n", "+1"} {
		wantRefusal(t, b.tag("app", tag, img), registry.InvalidParameter,
			"Invalid parameter at 'imageTag' failed to satisfy constraint: 'must satisfy regular expression '[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}''")
	}
}

func TestTagsPerImageAreCapped(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "first", b.image())
	put := func(tags []string) error {
		_, err := b.PutImage(context.Background(), scope, "app", registry.Push{
			MediaType: img.Root.Descriptor.MediaType, Body: img.Root.Bytes, Tags: tags,
		})
		return err
	}
	tags := make([]string, 999)
	for i := range tags {
		tags[i] = fmt.Sprintf("t%d", i)
	}
	if err := put(tags); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, put([]string{"one-too-many"}), registry.LimitExceeded, "")
	if got := b.digestOf("app", "one-too-many"); got != "" {
		t.Error("the refused tag exists")
	}
}

func TestImageSizes(t *testing.T) {
	b := newBench(t)
	b.create("app")
	index := b.push("app", "multi", testkit.Index(t, testkit.RandomImage(t, 1, 100), testkit.RandomImage(t, 3, 1000)))
	sizes := map[string]int64{}
	list, _, err := b.DescribeImages(context.Background(), scope, "app", nil, registry.ImageFilter{}, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range list {
		sizes[img.Digest] = img.Size
	}
	var largest int64
	for _, c := range index.Children {
		var want int64
		for _, blob := range c.Blobs {
			want += blob.Descriptor.Size
		}
		if sizes[c.Digest().String()] != want {
			t.Errorf("image has size %d, want config and layers, %d", sizes[c.Digest().String()], want)
		}
		largest = max(largest, want)
	}
	if got := sizes[index.Digest().String()]; got != largest {
		t.Errorf("index has size %d, want that of its largest child, %d", got, largest)
	}
}

// The size of a layer is what the registry stored, whatever the manifest claims.
func TestSizeIsNotTheClientsWord(t *testing.T) {
	b := newBench(t)
	b.create("app")
	config, layer := b.putBlob("app", []byte("{}")), b.putBlob("app", []byte("layer"))
	body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":"a/b","digest":%q,"size":9223372036854775807},"layers":[{"mediaType":"a/b","digest":%q,"size":9223372036854775807}]}`, config, layer)
	if _, err := b.PutImage(context.Background(), scope, "app", registry.Push{Body: []byte(body)}); err != nil {
		t.Fatal(err)
	}
	list, _, err := b.DescribeImages(context.Background(), scope, "app", nil, registry.ImageFilter{}, "", 10)
	if err != nil || len(list) != 1 || list[0].Size != 7 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestManifestByTagAndDigest(t *testing.T) {
	b := newBench(t)
	b.create("app")
	one, two := b.push("app", "one", b.image()), b.push("app", "two", b.image())
	ctx := context.Background()
	for _, tc := range []struct {
		ref  registry.ImageRef
		want string
	}{
		{byTag("one"), one.Digest().String()},
		{byDigest(two), two.Digest().String()},
		{registry.ImageRef{Digest: one.Digest().String(), Tag: "one"}, one.Digest().String()},
		{registry.ImageRef{Digest: one.Digest().String(), Tag: "two"}, ""},
		{byTag("three"), ""},
		{registry.ImageRef{}, ""},
	} {
		m, err := b.Manifest(ctx, scope, "app", tc.ref)
		if tc.want == "" {
			wantRefusal(t, err, registry.ImageNotFound, fmt.Sprintf(
				"The image with imageId %s does not exist within the repository with name 'app' in the registry with id '123456789012'", tc.ref))
		} else if err != nil || m.Digest != tc.want {
			t.Errorf("%s: %s, %v", tc.ref, m.Digest, err)
		}
	}
	if got := registry.ImageRef.String(registry.ImageRef{Tag: "x"}); got != "{imageDigest:'null', imageTag:'x'}" {
		t.Error(got)
	}
}

func TestManifestsReportsEachFailure(t *testing.T) {
	b := newBench(t)
	b.create("app")
	one, two := b.push("app", "one", b.image()), b.push("app", "two", b.image())
	mixed := registry.ImageRef{Digest: one.Digest().String(), Tag: "two"}
	refs := []registry.ImageRef{
		byTag("one"), {}, {Digest: "sha256"}, {Digest: "sha256:zz"}, {Digest: "sha256:abc"}, byTag("a b"), byTag("none"), mixed, byDigest(two),
	}
	found, failed, err := b.Manifests(context.Background(), scope, "app", refs)
	if err != nil || len(found) != 2 || found[0].Digest != one.Digest().String() || found[1].Digest != two.Digest().String() {
		t.Fatalf("found %d: %v", len(found), err)
	}
	want := []string{
		failure(refs[1], "MissingDigestAndTag"), failure(refs[2], "InvalidImageDigest"), failure(refs[3], "InvalidImageDigest"),
		failure(refs[4], "ImageNotFound"), failure(refs[5], "InvalidImageTag"), failure(refs[6], "ImageNotFound"),
		failure(mixed, "ImageTagDoesNotMatchDigest"),
	}
	if got := failures(failed); !slices.Equal(got, want) {
		t.Errorf("failures\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestDescribeImagesByID(t *testing.T) {
	b := newBench(t)
	b.create("app")
	one, two := b.push("app", "one", b.image()), b.push("app", "two", b.image())
	list, _, err := b.DescribeImages(context.Background(), scope, "app", []registry.ImageRef{byTag("two"), byTag("one"), byDigest(two)}, registry.ImageFilter{}, "", 10)
	if err != nil || len(list) != 2 || list[0].Digest != two.Digest().String() || list[1].Digest != one.Digest().String() {
		t.Errorf("%+v, %v", list, err)
	}
	_, _, err = b.DescribeImages(context.Background(), scope, "app", []registry.ImageRef{byTag("one"), byTag("none")}, registry.ImageFilter{}, "", 10)
	wantRefusal(t, err, registry.ImageNotFound, "") // one unknown id fails the whole call
	_, _, err = b.DescribeImages(context.Background(), scope, "app", []registry.ImageRef{{}}, registry.ImageFilter{}, "", 10)
	wantRefusal(t, err, registry.InvalidParameter, "")
}

func TestPullsAreRecorded(t *testing.T) {
	b := newBench(t)
	b.create("app")
	img := b.push("app", "v1", b.image())
	m, err := b.Manifest(context.Background(), scope, "app", byTag("v1"))
	if err != nil {
		t.Fatal(err)
	}
	b.advance(time.Hour)
	at := b.clock()
	somebody := access.Principal{ARN: "arn:aws:iam::123456789012:user/somebody"}
	var pulls sync.WaitGroup
	for range 20 {
		pulls.Go(func() { b.RecordPull(scope, somebody, m.ID) })
	}
	pulls.Wait()
	b.RecordPull(scope, somebody, 987654) // an image that is gone by now
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.Run(ctx) // what is pending is written before Run returns
	list, _, err := b.DescribeImages(context.Background(), scope, "app", []registry.ImageRef{byDigest(img)}, registry.ImageFilter{}, "", 10)
	if err != nil || !list[0].PulledAt.Equal(at) {
		t.Errorf("pulled at %v, want %v (%v)", list[0].PulledAt, at, err)
	}
}

// The pulls of a user or a role that is excluded leave no trace; those of others
// do, and a session is its role.
func TestExcludedPullsDoNotCount(t *testing.T) {
	const user, role = "arn:aws:iam::123456789012:user/mirror", "arn:aws:iam::123456789012:role/ci/scanner"
	for _, tc := range []struct {
		what     string
		by       access.Principal
		excluded bool
	}{
		{"user", access.Principal{ARN: user}, true},
		{"session of the role", access.Principal{ARN: "arn:aws:sts::123456789012:assumed-role/scanner/x", Role: role}, true},
		{"another user", access.Principal{ARN: user + "2"}, false},
		{"session of another role", access.Principal{ARN: "arn:aws:sts::123456789012:assumed-role/scanner/x", Role: role + "2"}, false},
	} {
		b := newBench(t)
		b.create("app")
		b.push("app", "v1", b.image())
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		pull := func(by access.Principal) {
			m, err := b.Manifest(context.Background(), scope, "app", byTag("v1"))
			if err != nil {
				t.Fatal(err)
			}
			b.RecordPull(scope, by, m.ID)
		}
		pulledAt := func() time.Time {
			b.Run(ctx) // writes down what is pending
			img, err := b.Image(context.Background(), scope, "app", byTag("v1"))
			if err != nil {
				t.Fatal(err)
			}
			return img.PulledAt
		}
		for _, arn := range []string{user, role} {
			if _, err := b.AddExclusion(context.Background(), scope, arn); err != nil {
				t.Fatal(err)
			}
		}
		pull(tc.by)
		if got := pulledAt(); got.IsZero() != tc.excluded {
			t.Errorf("%s: pulled at %v", tc.what, got)
		}
		b.advance(time.Hour)
		pull(access.Principal{ARN: user + "3"})
		at := b.clock()
		b.advance(time.Minute)
		pull(access.Principal{ARN: user})
		if got := pulledAt(); !got.Equal(at) {
			t.Errorf("%s: pulled at %v by somebody else, want %v", tc.what, got, at)
		}
		if err := b.RemoveExclusion(context.Background(), scope, user); err != nil {
			t.Fatal(err)
		}
		pull(access.Principal{ARN: user})
		if got := pulledAt(); !got.Equal(b.clock()) {
			t.Errorf("%s: pulled at %v after the exclusion was removed, want %v", tc.what, got, b.clock())
		}
	}
}

func TestReferrers(t *testing.T) {
	b := newBench(t)
	b.create("app", "other")
	subject := b.push("app", "v1", b.image())
	artifacts := map[string]string{} // digest to type
	for i := range 5 {
		kind := fmt.Sprintf("application/vnd.test.kind%d", i%2)
		a := b.push("app", "", testkit.Artifact(t, kind, []byte{byte(i)}, &subject))
		artifacts[a.Digest().String()] = kind
	}
	b.push("other", "", testkit.Artifact(t, "application/vnd.test.kind0", []byte("x"), &subject))
	list := func(kind string, limit int) (got []string) {
		for after := int64(0); ; {
			page, more, err := b.Referrers(context.Background(), scope, "app", subject.Digest().String(), kind, after, limit)
			if err != nil || len(page) > limit {
				t.Fatalf("%d items: %v", len(page), err)
			}
			for _, m := range page {
				got = append(got, m.Digest)
				after = m.ID
				if kind != "" && m.ArtifactType != kind {
					t.Errorf("%s has type %s", m.Digest, m.ArtifactType)
				}
			}
			if !more {
				return got
			}
		}
	}
	for _, limit := range []int{1, 2, 100} {
		if got := list("", limit); len(got) != 5 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 5 {
			t.Errorf("pages of %d: %v", limit, got)
		}
		if got := list("application/vnd.test.kind1", limit); len(got) != 2 {
			t.Errorf("pages of %d with a filter: %v", limit, got)
		}
	}
	if got, _, err := b.Referrers(context.Background(), scope, "app", digest.FromString("none").String(), "", 0, 10); err != nil || len(got) != 0 {
		t.Errorf("an unknown subject has %v, %v", got, err)
	}
}

func TestScopesAreApart(t *testing.T) {
	b := newBench(t)
	b.create("app")
	b.push("app", "v1", b.image())
	for _, s := range []meta.Scope{{Account: scope.Account, Region: "eu-west-1"}, {Account: "999999999999", Region: scope.Region}} {
		_, err := b.Manifest(context.Background(), s, "app", byTag("v1"))
		wantRefusal(t, err, registry.RepositoryNotFound, fmt.Sprintf("The repository with name 'app' does not exist in the registry with id '%s'", s.Account))
		if _, err := b.CreateRepository(context.Background(), s, registry.NewRepository{Name: "app"}); err != nil {
			t.Error(err)
		}
		if got, _, err := b.ListImages(context.Background(), s, "app", registry.ImageFilter{}, "", 10); err != nil || len(got) != 0 {
			t.Errorf("%v sees %v, %v", s, got, err)
		}
	}
}
