package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"berth/internal/module/desired"
	"berth/internal/module/ecrtest"
)

func create(t *testing.T, reg *ecrtest.Registry, name, owner string) {
	t.Helper()
	in := &ecr.CreateRepositoryInput{RepositoryName: aws.String(name), ImageTagMutability: types.ImageTagMutabilityMutable}
	if owner != "" {
		in.Tags = []types.Tag{{Key: aws.String(desired.OwnerTag), Value: aws.String(owner)}}
	}
	if _, err := reg.CreateRepository(context.Background(), in); err != nil {
		t.Fatal(err)
	}
}

func TestReadScopeAndPages(t *testing.T) {
	reg := ecrtest.New() // three to a page
	for i := range 8 {
		create(t, reg, fmt.Sprintf("r%d", i), map[bool]string{true: "me:ecr"}[i >= 6])
	}
	for i := range 4 {
		_, err := reg.CreatePullThroughCacheRule(context.Background(), &ecr.CreatePullThroughCacheRuleInput{
			EcrRepositoryPrefix: aws.String(fmt.Sprintf("p%d", i)), UpstreamRegistryUrl: aws.String("quay.io"),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	state, err := Read(context.Background(), reg, Scope{Names: map[string]bool{"r1": true, "r7": true, "absent": true}, Stack: "me", CacheRules: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := slices.Sorted(maps.Keys(state.Repositories)); !slices.Equal(got, []string{"r1", "r6", "r7"}) {
		t.Errorf("repositories %q", got)
	}
	if len(state.CacheRules) != 4 {
		t.Errorf("rules %v", state.CacheRules)
	}
	// A registry that says nothing about encryption uses AES256.
	if r := state.Repositories["r1"]; r.EncryptionType != desired.AES256 || r.Lifecycle != "" || r.Policy != "" {
		t.Errorf("repository %+v", r)
	}
	reg.ResetCalls()
	if _, err := Read(context.Background(), reg, Scope{Names: map[string]bool{"r1": true}}); err != nil {
		t.Fatal(err)
	}
	if calls := strings.Join(reg.Calls(), ","); strings.Contains(calls, "r2") || strings.Contains(calls, "CacheRules") {
		t.Errorf("calls out of scope: %s", calls)
	}
	all, err := List(context.Background(), reg)
	if err != nil || len(all) != 8 {
		t.Errorf("List: %d, %v", len(all), err)
	}
}

// Repositories that are deleted while they are read are left out; every other failure is reported.
func TestRepositoriesThatDisappear(t *testing.T) {
	for _, operation := range []string{"ListTagsForResource", "GetLifecyclePolicy", "GetRepositoryPolicy", "ListImages"} {
		reg := ecrtest.New()
		create(t, reg, "stays", "")
		create(t, reg, "goes", "")
		var failure error = &types.RepositoryNotFoundException{}
		reg.Fail = func(op, name string) error {
			if op == operation && name == "goes" {
				return failure
			}
			return nil
		}
		scope := Scope{Names: map[string]bool{"stays": true, "goes": true}}
		state, err := Read(context.Background(), reg, scope)
		if err != nil {
			t.Fatal(err)
		}
		if _, there := state.Repositories["goes"]; there != (operation == "ListImages") {
			t.Errorf("%s: %v", operation, state.Repositories)
		}
		if err := Occupied(context.Background(), reg, state, []string{"stays", "goes", "goes"}); err != nil {
			t.Error(err)
		}
		failure = errors.New("boom")
		_, err = Read(context.Background(), reg, scope)
		if operation == "ListImages" {
			err = Occupied(context.Background(), reg, state, []string{"goes"})
		}
		if !errors.Is(err, failure) || !strings.Contains(err.Error(), `of repository "goes"`) {
			t.Errorf("%s: %v", operation, err)
		}
	}
}

func TestOccupied(t *testing.T) {
	reg := ecrtest.New()
	create(t, reg, "full", "")
	create(t, reg, "empty", "")
	reg.Change("full", func(r *ecrtest.Repository) { r.Images = 1 })
	state, err := Read(context.Background(), reg, Scope{Names: map[string]bool{"full": true, "empty": true}})
	if err != nil {
		t.Fatal(err)
	}
	if err := Occupied(context.Background(), reg, state, []string{"full", "empty"}); err != nil {
		t.Fatal(err)
	}
	if !state.Repositories["full"].HasImages || state.Repositories["empty"].HasImages {
		t.Errorf("%+v", state.Repositories)
	}
}
