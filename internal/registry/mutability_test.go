package registry_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"berth/internal/registry"
	"berth/internal/testkit"
)

// The table of the Amazon ECR user guide, "Preventing image tags from being overwritten".
func TestTagMutability(t *testing.T) {
	for _, tc := range []struct {
		mode    string
		filters []string
		tag     string
		moves   bool
	}{
		{"", nil, "v1", true},
		{registry.Mutable, nil, "v1", true},
		{registry.Mutable, nil, "latest", true},
		{registry.Immutable, nil, "v1", false},
		{registry.Immutable, nil, "latest", false}, // CVE-2026-31801: no tag is exempt by its name
		{registry.ImmutableWithExclusion, []string{"latest", "dev-*"}, "latest", true},
		{registry.ImmutableWithExclusion, []string{"latest", "dev-*"}, "dev-1", true},
		{registry.ImmutableWithExclusion, []string{"latest", "dev-*"}, "latest2", false},
		{registry.ImmutableWithExclusion, []string{"latest", "dev-*"}, "v1", false},
		{registry.ImmutableWithExclusion, []string{"latest", "dev-*"}, "xdev-1", false},
		{registry.MutableWithExclusion, []string{"v*.*"}, "v1.2", false},
		{registry.MutableWithExclusion, []string{"v*.*"}, "v1", true},
		{registry.MutableWithExclusion, []string{"v*.*"}, "latest", true},
		{registry.MutableWithExclusion, []string{"*"}, "anything", false},
	} {
		t.Run(fmt.Sprintf("%s %v %s", tc.mode, tc.filters, tc.tag), func(t *testing.T) {
			b := newBench(t)
			b.createAs("app", registry.Mutability{Mode: tc.mode, Filters: tc.filters})
			first, second := b.push("app", tc.tag, b.image()), b.image()
			b.putBlobs("app", second)

			moved := b.tag("app", tc.tag, second)
			if tc.moves {
				if moved != nil || b.digestOf("app", tc.tag) != second.Digest().String() {
					t.Fatalf("the tag did not move: %v", moved)
				}
				b.wantImages("app", entry(first), entry(second, tc.tag)) // the old image stays, untagged
				wantRefusal(t, b.tag("app", tc.tag, second), registry.ImageAlreadyExists, fmt.Sprintf(
					"Image with digest '%s' and tag '%s' already exists in the repository with name 'app' in registry with id '123456789012'", second.Digest(), tc.tag))
			} else {
				text := fmt.Sprintf("The image tag '%s' already exists in the 'app' repository and cannot be overwritten because the tag is immutable.", tc.tag)
				wantRefusal(t, moved, registry.ImageTagAlreadyExists, text)
				wantRefusal(t, b.tag("app", tc.tag, first), registry.ImageTagAlreadyExists, text) // even with its own digest
				b.wantImages("app", entry(first, tc.tag))                                         // nothing of the refused push is kept
			}
			if err := b.tag("app", "brand-new", first); err != nil {
				t.Errorf("a new tag was refused: %v", err)
			}
			wantRefusal(t, b.tag("app", "", first), registry.ImageAlreadyExists, "")
		})
	}
}

func TestMutabilityDecidesLaterPushesOnly(t *testing.T) {
	b := newBench(t)
	b.create("app")
	first, second := b.push("app", "v1", b.image()), b.image()
	b.putBlobs("app", second)
	if _, err := b.SetMutability(context.Background(), scope, "app", registry.Mutability{Mode: registry.Immutable}); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, b.tag("app", "v1", second), registry.ImageTagAlreadyExists, "")
	// An immutable tag can be deleted, and is new after that.
	if _, failed, err := b.DeleteImages(context.Background(), scope, "app", []registry.ImageRef{byTag("v1")}); err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	if err := b.tag("app", "v1", second); err != nil {
		t.Fatal(err)
	}
	b.wantImages("app", entry(second, "v1"))
	_ = first
}

// One refused tag of many refuses them all.
func TestPushOfManyTagsIsOneDecision(t *testing.T) {
	b := newBench(t)
	b.createAs("app", registry.Mutability{Mode: registry.ImmutableWithExclusion, Filters: []string{"latest"}})
	first, second := b.push("app", "v1", b.image()), b.image()
	b.putBlobs("app", second)
	_, err := b.PutImage(context.Background(), scope, "app", registry.Push{
		MediaType: second.Root.Descriptor.MediaType, Body: second.Root.Bytes, Tags: []string{"new", "latest", "v1"},
	})
	wantRefusal(t, err, registry.ImageTagAlreadyExists, "")
	b.wantImages("app", entry(first, "v1"))
}

func TestInvariant07_OneWinnerOfANewImmutableTag(t *testing.T) {
	b := newBench(t)
	b.createAs("app", registry.Mutability{Mode: registry.Immutable})
	const pushers = 12
	images := make([]testkit.Content, pushers)
	for i := range images {
		images[i] = b.image()
		b.putBlobs("app", images[i])
	}
	for round := range 5 {
		tag := fmt.Sprintf("v%d", round)
		errs := make([]error, pushers)
		var wg sync.WaitGroup
		start := make(chan struct{})
		for i := range images {
			wg.Go(func() {
				<-start
				errs[i] = b.tag("app", tag, images[i])
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("pushers %d and %d both won %s", winner, i, tag)
			case err == nil:
				winner = i
			default:
				wantRefusal(t, err, registry.ImageTagAlreadyExists, "")
			}
		}
		if winner < 0 {
			t.Fatalf("nobody won %s", tag)
		}
		if got := b.digestOf("app", tag); got != images[winner].Digest().String() {
			t.Errorf("%s names %s, its winner pushed %s", tag, got, images[winner].Digest())
		}
	}
}

func TestMutabilitySettings(t *testing.T) {
	const member = "Invalid parameter at 'imageTagMutabilityExclusionFilters' failed to satisfy constraint: '"
	long := strings.Repeat("a", 128)
	for _, tc := range []struct {
		mode    string
		filters []string
		want    string // empty: accepted
	}{
		{registry.ImmutableWithExclusion, []string{"latest"}, ""},
		{registry.ImmutableWithExclusion, []string{"a*b*", long, "_", ".", "-"}, ""},
		{registry.ImmutableWithExclusion, nil, member + "ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as IMMUTABLE_WITH_EXCLUSION'"},
		{registry.MutableWithExclusion, nil, member + "ImageTagMutabilityExclusionFilters can't be null when imageTagMutability is set as MUTABLE_WITH_EXCLUSION'"},
		{registry.Immutable, []string{"x"}, member + "ImageTagMutabilityExclusionFilters must be null when imageTagMutability is set as IMMUTABLE'"},
		{"", []string{"x"}, member + "ImageTagMutabilityExclusionFilters must be null when imageTagMutability is set as MUTABLE'"},
		{registry.MutableWithExclusion, []string{"1", "2", "3", "4", "5", "6"}, member + "Member must have length less than or equal to 5'"},
		{registry.MutableWithExclusion, []string{"a*b*c*"}, member + "Filter must not have more than 2 wildcards'"},
		{registry.MutableWithExclusion, []string{long + "a"}, member + "Member must satisfy regular expression pattern: ^[0-9a-zA-Z._*-]{1,128}$'"},
		{registry.MutableWithExclusion, []string{"a b"}, member + "Member must satisfy regular expression pattern: ^[0-9a-zA-Z._*-]{1,128}$'"},
		{registry.MutableWithExclusion, []string{"a\n"}, member + "Member must satisfy regular expression pattern: ^[0-9a-zA-Z._*-]{1,128}$'"},
		{"immutable", nil, "Invalid parameter at 'imageTagMutability' failed to satisfy constraint: 'Member must satisfy enum value set: [IMMUTABLE, MUTABLE, MUTABLE_WITH_EXCLUSION, IMMUTABLE_WITH_EXCLUSION]'"},
	} {
		t.Run(fmt.Sprintf("%s %v", tc.mode, tc.filters), func(t *testing.T) {
			b := newBench(t)
			b.create("old")
			m := registry.Mutability{Mode: tc.mode, Filters: tc.filters}
			_, created := b.CreateRepository(context.Background(), scope, registry.NewRepository{Name: "new", Mutability: m})
			_, set := b.SetMutability(context.Background(), scope, "old", m)
			for _, err := range []error{created, set} {
				if tc.want == "" {
					if err != nil {
						t.Error(err)
					}
					continue
				}
				wantRefusal(t, err, registry.InvalidParameter, tc.want)
			}
			if _, err := b.Repository(context.Background(), scope, "new"); tc.want != "" && !registry.Is(err, registry.RepositoryNotFound) {
				t.Errorf("the refused repository exists: %v", err)
			}
		})
	}
}
