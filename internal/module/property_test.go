package module

import (
	"context"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"berth/internal/module/apply"
	"berth/internal/module/desired"
	"berth/internal/module/ecrtest"
	"berth/internal/module/live"
	"berth/internal/module/plan"
)

func drawModule(t *rapid.T, label string) desired.Module {
	m := desired.Module{
		Address: "module.ecr", StackID: "s:ecr", ForceDelete: rapid.Bool().Draw(t, label+" force"),
		Repositories: map[string]desired.Repository{}, CacheRules: map[string]desired.CacheRule{},
	}
	encryption := rapid.SampledFrom([]string{desired.AES256, desired.KMS}).Draw(t, label+" encryption")
	key := ""
	if encryption == desired.KMS {
		key = rapid.SampledFrom([]string{"", "arn:aws:kms:us-east-1:123456789012:key/a", "arn:aws:kms:us-east-1:123456789012:key/b"}).Draw(t, label+" key")
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"aa", "bb", "cc", "dd"}), 0, 4, rapid.ID[string]).Draw(t, label+" names") {
		m.Repositories[name] = desired.Repository{
			Name: name, EncryptionType: encryption, KMSKey: key, ForceDelete: m.ForceDelete,
			Mutability: rapid.SampledFrom([]string{"MUTABLE", "IMMUTABLE"}).Draw(t, label+" mutability"),
			ScanOnPush: rapid.Bool().Draw(t, label+" scan"),
			Tags:       rapid.MapOfN(rapid.SampledFrom([]string{"k1", "k2", "k3"}), rapid.SampledFrom([]string{"", "v"}), 0, 3).Draw(t, label+" tags"),
			Lifecycle:  rapid.SampledFrom([]string{`{"rules":[1]}`, `{"rules":[2]}`}).Draw(t, label+" lifecycle"),
			Policy:     rapid.SampledFrom([]string{"", `{"Statement":[{"Sid":"a"}]}`, `{"Statement":[{"Sid":"b"}]}`}).Draw(t, label+" policy"),
		}
	}
	for _, prefix := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"hub", "quay"}), 0, 2, rapid.ID[string]).Draw(t, label+" prefixes") {
		m.CacheRules[prefix] = desired.CacheRule{
			Prefix: prefix, UpstreamURL: rapid.SampledFrom([]string{"quay.io", "ghcr.io"}).Draw(t, label+" upstream"),
			CredentialARN:  rapid.SampledFrom([]string{"", "c1", "c2"}).Draw(t, label+" credential"),
			CustomRoleARN:  rapid.SampledFrom([]string{"", "r1"}).Draw(t, label+" role"),
			UpstreamPrefix: rapid.SampledFrom([]string{"", "ROOT", "lib"}).Draw(t, label+" upstream prefix"),
		}
	}
	return m
}

func planOf(t *rapid.T, reg *ecrtest.Registry, m desired.Module, opt plan.Options) *plan.Plan {
	scope := live.Scope{Names: map[string]bool{}, Stack: desired.StackOf(m.StackID), CacheRules: true}
	for name := range m.Repositories {
		scope.Names[name] = true
	}
	state, err := live.Read(context.Background(), reg, scope)
	if err != nil {
		t.Fatal(err)
	}
	opt.Stack = desired.StackOf(m.StackID)
	build := func() *plan.Plan {
		p, err := plan.Build([]desired.Module{m}, state, opt)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := live.Occupied(context.Background(), reg, state, build().Doomed()); err != nil {
		t.Fatal(err)
	}
	return build()
}

// Whatever was applied before: after applying a plan the next one is empty, apply does exactly what the plan counts,
// and a repository of someone else stays as it is.
func TestApplyConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		reg := ecrtest.New()
		foreign := desired.Module{Address: "module.x", StackID: "other:ecr", Repositories: map[string]desired.Repository{
			"foreign": {Name: "foreign", Mutability: "MUTABLE", EncryptionType: desired.AES256, Lifecycle: `{"rules":[9]}`, Policy: `{"a":1}`},
		}}
		if _, err := apply.Apply(context.Background(), reg, planOf(t, reg, foreign, plan.Options{}), nil); err != nil {
			t.Fatal(err)
		}
		before, _ := reg.Repository("foreign")
		for _, label := range []string{"first", "second", "third"} {
			m := drawModule(t, label)
			p := planOf(t, reg, m, plan.Options{})
			agreed := map[string]bool{}
			for _, c := range p.Changes() {
				if c.Action == plan.Replace {
					agreed[c.Address()] = true
				}
			}
			if (len(p.Blockers) > 0) != (len(agreed) > 0 && hasReplacementOfItsOwn(p)) {
				t.Fatalf("blockers %q for %v", p.Blockers, agreed)
			}
			p = planOf(t, reg, m, plan.Options{AllowReplace: agreed})
			done, err := apply.Apply(context.Background(), reg, p, nil)
			if err != nil {
				t.Fatal(err)
			}
			if done != p.Counts() {
				t.Fatalf("done %+v, planned %+v", done, p.Counts())
			}
			if again := planOf(t, reg, m, plan.Options{}); !again.Counts().Empty() {
				t.Fatalf("the next plan is not empty: %+v", again.Changes())
			}
			want := slices.Sorted(maps.Keys(m.Repositories))
			if got := slices.DeleteFunc(reg.Names(), func(s string) bool { return s == "foreign" }); !slices.Equal(got, want) {
				t.Fatalf("repositories %q, want %q", got, want)
			}
		}
		after, ok := reg.Repository("foreign")
		if !ok || !maps.Equal(before.Tags, after.Tags) || before.Policy != after.Policy || before.Lifecycle != after.Lifecycle {
			t.Fatal("the repository of someone else changed")
		}
		m := drawModule(t, "destroyed")
		if _, err := apply.Apply(context.Background(), reg, planOf(t, reg, m, plan.Options{Destroy: true}), nil); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(reg.Names(), []string{"foreign"}) {
			t.Fatalf("after destroy: %q", reg.Names())
		}
	})
}

// hasReplacementOfItsOwn says whether a repository or a cache rule, rather than a policy along with its repository, is
// replaced.
func hasReplacementOfItsOwn(p *plan.Plan) bool {
	return slices.ContainsFunc(p.Changes(), func(c plan.Change) bool {
		return c.Action == plan.Replace && (c.Type == plan.TypeRepository || c.Type == plan.TypeCacheRule)
	})
}
