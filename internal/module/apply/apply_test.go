package apply

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"go.uber.org/goleak"

	"berth/internal/module/desired"
	"berth/internal/module/ecrtest"
	"berth/internal/module/live"
	"berth/internal/module/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const stack = "stack:ecr"

func repository(name string, change func(*desired.Repository)) desired.Repository {
	r := desired.Repository{
		Name: name, Mutability: "MUTABLE", ScanOnPush: true, EncryptionType: desired.AES256,
		Tags: map[string]string{"Env": "dev"}, Lifecycle: `{"rules":[]}`, Policy: `{"Statement":[]}`,
	}
	if change != nil {
		change(&r)
	}
	return r
}

// run plans for a registry and applies the plan.
func run(t *testing.T, reg *ecrtest.Registry, opt plan.Options, progress func(Event), repos ...desired.Repository) (plan.Counts, error) {
	t.Helper()
	m := desired.Module{Address: "module.ecr", StackID: stack, Repositories: map[string]desired.Repository{}}
	scope := live.Scope{Names: map[string]bool{}, Stack: "stack"}
	for _, r := range repos {
		m.Repositories[r.Name] = r
		m.ForceDelete = m.ForceDelete || r.ForceDelete
		scope.Names[r.Name] = true
	}
	state, err := live.Read(context.Background(), reg, scope)
	if err != nil {
		t.Fatal(err)
	}
	opt.Stack = "stack"
	p, err := plan.Build([]desired.Module{m}, state, opt)
	if err != nil {
		t.Fatal(err)
	}
	reg.ResetCalls()
	return Apply(context.Background(), reg, p, progress)
}

func calls(t *testing.T, reg *ecrtest.Registry, want ...string) {
	t.Helper()
	if got := reg.Calls(); !slices.Equal(got, want) {
		t.Errorf("calls\n got %q\nwant %q", got, want)
	}
}

func TestOrderOfCreation(t *testing.T) {
	reg := ecrtest.New()
	n, err := run(t, reg, plan.Options{}, nil, repository("app", nil))
	if err != nil || n != (plan.Counts{Add: 3}) {
		t.Fatalf("%+v, %v", n, err)
	}
	calls(t, reg, "CreateRepository app", "SetRepositoryPolicy app", "PutLifecyclePolicy app")
	got, _ := reg.Repository("app")
	if got.Tags[desired.OwnerTag] != stack || got.Tags["Env"] != "dev" {
		t.Errorf("tags %v", got.Tags)
	}
}

func TestOrderOfChange(t *testing.T) {
	reg := ecrtest.New()
	if _, err := run(t, reg, plan.Options{}, nil, repository("app", nil)); err != nil {
		t.Fatal(err)
	}
	n, err := run(t, reg, plan.Options{}, nil, repository("app", func(r *desired.Repository) {
		r.Mutability, r.ScanOnPush, r.Tags = "IMMUTABLE", false, map[string]string{"Team": "a"}
		r.Policy, r.Lifecycle = "", `{"rules":[1]}`
	}))
	if err != nil || n != (plan.Counts{Change: 2, Destroy: 1}) {
		t.Fatalf("%+v, %v", n, err)
	}
	// One Put for the lifecycle policy: the repository is never without one.
	calls(t, reg, "PutImageTagMutability app", "PutImageScanningConfiguration app", "UntagResource app", "TagResource app",
		"DeleteRepositoryPolicy app", "PutLifecyclePolicy app")
}

func TestReplacement(t *testing.T) {
	reg := ecrtest.New()
	if _, err := run(t, reg, plan.Options{}, nil, repository("app", nil)); err != nil {
		t.Fatal(err)
	}
	allow := plan.Options{AllowReplace: map[string]bool{`module.ecr.aws_ecr_repository.this["app"]`: true}}
	kms := func(r *desired.Repository) { r.EncryptionType = desired.KMS }
	var blocked *BlockedError
	if _, err := run(t, reg, plan.Options{}, nil, repository("app", kms)); !errors.As(err, &blocked) {
		t.Fatalf("not blocked: %v", err)
	}
	calls(t, reg)
	n, err := run(t, reg, allow, nil, repository("app", kms))
	if err != nil || n != (plan.Counts{Add: 3, Destroy: 3}) {
		t.Fatalf("%+v, %v", n, err)
	}
	calls(t, reg, "DeleteRepository app", "CreateRepository app", "SetRepositoryPolicy app", "PutLifecyclePolicy app")
}

// Images that were pushed between plan and apply stop the deletion, and the lifecycle policy is still there.
func TestDeletionOfFullRepositoryLeavesItWhole(t *testing.T) {
	reg := ecrtest.New()
	if _, err := run(t, reg, plan.Options{}, nil, repository("app", nil)); err != nil {
		t.Fatal(err)
	}
	reg.Change("app", func(r *ecrtest.Repository) { r.Images = 1 })
	var events []Event
	n, err := run(t, reg, plan.Options{}, func(e Event) { events = append(events, e) })
	if err == nil || !strings.Contains(err.Error(), `repository "app" still holds images, so it was not deleted: set force_delete = true or delete the images first`) {
		t.Fatalf("error %v", err)
	}
	if n != (plan.Counts{}) || len(events) != 2 || events[1].Phase != Failed {
		t.Errorf("%+v, %+v", n, events)
	}
	calls(t, reg, "DeleteRepository app")
	if got, ok := reg.Repository("app"); !ok || got.Lifecycle == "" || got.Policy == "" {
		t.Errorf("repository %+v", got)
	}
}

func TestOneFailureDoesNotStopTheOthers(t *testing.T) {
	reg := ecrtest.New()
	boom := errors.New("boom")
	reg.Fail = func(operation, name string) error {
		if operation == "SetRepositoryPolicy" && name == "b" {
			return boom
		}
		return nil
	}
	repos := []desired.Repository{repository("a", nil), repository("b", nil), repository("c", nil)}
	n, err := run(t, reg, plan.Options{}, nil, repos...)
	if !errors.Is(err, boom) || !strings.Contains(err.Error(), `module.ecr.aws_ecr_repository_policy.this["b"]: boom`) {
		t.Fatalf("error %v", err)
	}
	if n != (plan.Counts{Add: 7}) {
		t.Errorf("counts %+v", n)
	}
	reg.Fail = nil
	if n, err = run(t, reg, plan.Options{}, nil, repos...); err != nil || n != (plan.Counts{Add: 2}) {
		t.Errorf("the second run: %+v, %v", n, err)
	}
}

func TestEventualConsistency(t *testing.T) {
	reg := ecrtest.New()
	left := 2
	reg.Fail = func(operation, _ string) error {
		if operation == "PutLifecyclePolicy" && left > 0 {
			left--
			return &types.RepositoryNotFoundException{}
		}
		return nil
	}
	start := time.Now()
	if _, err := run(t, reg, plan.Options{}, nil, repository("app", nil)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d < 700*time.Millisecond {
		t.Errorf("two repetitions after %v, want pauses of 250 and 500 ms", d)
	}
}

func TestInterruption(t *testing.T) {
	reg := ecrtest.New()
	ctx, cancel := context.WithCancel(context.Background())
	reg.Fail = func(operation, _ string) error {
		if operation == "PutLifecyclePolicy" {
			cancel()
			return &types.RepositoryNotFoundException{} // would be repeated for half a minute
		}
		return nil
	}
	want := repository("app", nil)
	m := desired.Module{Address: "module.ecr", StackID: stack, Repositories: map[string]desired.Repository{"app": want}}
	p, err := plan.Build([]desired.Module{m}, &live.State{}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := Apply(ctx, reg, p, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
	if n, err := Apply(ctx, reg, p, nil); !errors.Is(err, context.Canceled) || n != (plan.Counts{}) || !strings.Contains(err.Error(), "not started") {
		t.Errorf("after the interruption: %+v, %v", n, err)
	}
}

// What is done by someone else between plan and apply is not an error when it is what was wanted, and one otherwise.
func TestRaces(t *testing.T) {
	rule := desired.CacheRule{Prefix: "hub", UpstreamURL: "quay.io"}
	app := repository("app", nil)
	gone := &plan.Plan{
		Repositories: []plan.Repository{{Name: "app", Repo: plan.Change{Type: plan.TypeRepository, Action: plan.Delete}}},
		CacheRules:   []plan.CacheRule{{Have: &rule, Rule: plan.Change{Index: "hub", Action: plan.Delete}}},
	}
	if n, err := Apply(context.Background(), ecrtest.New(), gone, nil); err != nil || n != (plan.Counts{Destroy: 2}) {
		t.Errorf("already gone: %+v, %v", n, err)
	}
	there := &plan.Plan{
		Repositories: []plan.Repository{{Name: "app", Want: &app, Repo: plan.Change{Type: plan.TypeRepository, Action: plan.Create}}},
		CacheRules:   []plan.CacheRule{{Want: &rule, Rule: plan.Change{Index: "hub", Action: plan.Create}}},
	}
	reg := ecrtest.New()
	if _, err := Apply(context.Background(), reg, there, nil); err != nil {
		t.Fatal(err)
	}
	_, err := Apply(context.Background(), reg, there, nil)
	if err == nil || strings.Count(err.Error(), "was created by someone else after the plan was made") != 2 {
		t.Errorf("already there: %v", err)
	}
}
