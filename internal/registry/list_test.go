package registry_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"berth/internal/meta"
	"berth/internal/registry"
)

// Pages do not move when items come and go between them: what is there all the
// time is listed once.
func TestListImagesIsStableUnderChange(t *testing.T) {
	b := newBench(t)
	b.create("app")
	ctx := context.Background()
	want := map[string]bool{}
	var doomed []registry.ImageRef
	for i := range 24 {
		img := b.push("app", fmt.Sprintf("v%02d", i), b.image())
		if i%3 == 0 {
			doomed = append(doomed, byDigest(img))
			continue
		}
		want[byTagged(img.Digest().String(), fmt.Sprintf("v%02d", i))] = true
		if err := b.tag("app", fmt.Sprintf("w%02d", i), img); err != nil {
			t.Fatal(err)
		}
		want[byTagged(img.Digest().String(), fmt.Sprintf("w%02d", i))] = true
	}
	got := map[string]int{}
	cursor := ""
	for page := 0; ; page++ {
		refs, next, err := b.ListImages(ctx, scope, "app", registry.ImageFilter{}, cursor, 5)
		if err != nil || len(refs) > 5 {
			t.Fatalf("%d items: %v", len(refs), err)
		}
		for _, ref := range refs {
			got[ref.String()]++
		}
		if next == "" {
			break
		}
		cursor = next
		b.push("app", fmt.Sprintf("new%d", page), b.image())
		if len(doomed) > 0 {
			b.deletion(doomed[0])
			doomed = doomed[1:]
		}
	}
	for ref, n := range got {
		if n > 1 {
			t.Errorf("%s was listed %d times", ref, n)
		}
		delete(want, ref)
	}
	for ref := range want {
		t.Errorf("%s was not listed", ref)
	}
}

func byTagged(digest, tag string) string { return registry.ImageRef{Digest: digest, Tag: tag}.String() }

func TestListFilters(t *testing.T) {
	b := newBench(t)
	b.create("app")
	tagged, untagged := b.push("app", "v1", b.image()), b.push("app", "", b.image())
	for status, want := range map[string][]string{
		"":                         {id(tagged, "v1"), id(untagged, "")},
		registry.TagStatusAny:      {id(tagged, "v1"), id(untagged, "")},
		registry.TagStatusTagged:   {id(tagged, "v1")},
		registry.TagStatusUntagged: {id(untagged, "")},
	} {
		refs, _, err := b.ListImages(context.Background(), scope, "app", registry.ImageFilter{TagStatus: status}, "", 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, ref := range refs {
			got = append(got, ref.String())
		}
		wantStrings(t, status, got, want)
		list, _, err := b.DescribeImages(context.Background(), scope, "app", nil, registry.ImageFilter{TagStatus: status}, "", 10)
		if err != nil || len(list) != len(want) {
			t.Errorf("%s: %d images, %v", status, len(list), err)
		}
	}
}

// A cursor is good for its own listing of its own registry and repository, and
// only as it was given.
func TestCursorsCannotBeMadeUp(t *testing.T) {
	b := newBench(t)
	b.create("app", "other", "third")
	ctx := context.Background()
	for _, repo := range []string{"app", "other"} {
		for range 3 {
			b.push(repo, "", b.image())
		}
	}
	_, images, err := b.ListImages(ctx, scope, "app", registry.ImageFilter{}, "", 1)
	if err != nil || images == "" {
		t.Fatal(images, err)
	}
	_, details, err := b.DescribeImages(ctx, scope, "app", nil, registry.ImageFilter{}, "", 1)
	if err != nil || details == "" {
		t.Fatal(details, err)
	}
	_, repos, err := b.DescribeRepositories(ctx, scope, nil, "", 1)
	if err != nil || repos == "" {
		t.Fatal(repos, err)
	}
	ids := func(repo, cursor string) error {
		_, _, err := b.ListImages(ctx, scope, repo, registry.ImageFilter{}, cursor, 1)
		return err
	}
	if err := ids("app", images); err != nil {
		t.Fatalf("a good cursor: %v", err)
	}
	refused := map[string]error{
		"of another repository": ids("other", images),
		"of another listing":    ids("app", details),
		"of repositories":       ids("app", repos),
		"made up":               ids("app", "eyJJbWFnZSI6MX0"),
		"long":                  ids("app", strings.Repeat("A", 1<<20)),
		"cut":                   ids("app", images[:len(images)-1]),
		"with more":             ids("app", images+"A"),
	}
	for i := range len(images) {
		flipped := []byte(images)
		flipped[i] ^= 1
		refused[fmt.Sprintf("changed at %d", i)] = ids("app", string(flipped))
	}
	_, _, refused["repositories, of another registry"] = b.DescribeRepositories(ctx, meta.Scope{Account: "999999999999", Region: scope.Region}, nil, repos, 1)
	_, _, refused["rules, of repositories"] = b.CacheRules(ctx, scope, nil, repos, 1)
	for name, err := range refused {
		t.Run(name, func(t *testing.T) {
			wantRefusal(t, err, registry.InvalidParameter, "Invalid parameter at 'NextToken' failed to satisfy constraint: 'Invalid next token provided'")
		})
	}
}

func TestDescribeRepositoriesPages(t *testing.T) {
	b := newBench(t)
	names := []string{"a-b", "a.b", "a/b", "aa", "zz", "b/c/d", "m1"}
	b.create(names...)
	slices.Sort(names)
	for _, limit := range []int{1, 2, 7, 100} {
		var got []string
		for cursor := ""; ; {
			page, next, err := b.DescribeRepositories(context.Background(), scope, nil, cursor, limit)
			if err != nil || len(page) > limit {
				t.Fatal(len(page), err)
			}
			for _, r := range page {
				got = append(got, r.Name)
			}
			if cursor = next; cursor == "" {
				break
			}
		}
		wantStrings(t, fmt.Sprintf("pages of %d", limit), got, names)
	}
	_, _, err := b.DescribeRepositories(context.Background(), scope, []string{"aa", "none"}, "", 10)
	wantRefusal(t, err, registry.RepositoryNotFound, "The repository with name 'none' does not exist in the registry with id '123456789012'")
}

func TestTagsAndNames(t *testing.T) {
	b := newBench(t)
	b.create("app", "zz")
	img := b.push("app", "b", b.image())
	for _, tag := range []string{"a", "B", "_", "c"} {
		if err := b.tag("app", tag, img); err != nil {
			t.Fatal(err)
		}
	}
	tags, more, err := b.Tags(context.Background(), scope, "app", "", 2)
	wantStrings(t, "first page", tags, []string{"B", "_"})
	if !more || err != nil {
		t.Error(more, err)
	}
	tags, more, err = b.Tags(context.Background(), scope, "app", "_", 3)
	wantStrings(t, "last page", tags, []string{"a", "b", "c"})
	if more || err != nil {
		t.Error(more, err)
	}
	if tags, more, err = b.Tags(context.Background(), scope, "app", "", 0); len(tags) != 0 || !more || err != nil {
		t.Error(tags, more, err)
	}
	names, more, err := b.RepositoryNames(context.Background(), scope, "app", 1)
	wantStrings(t, "names", names, []string{"zz"})
	if more || err != nil {
		t.Error(more, err)
	}
}
