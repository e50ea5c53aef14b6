package module

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/zclconf/go-cty/cty"

	"berth/internal/module/apply"
	"berth/internal/module/desired"
	"berth/internal/module/hclload"
	"berth/internal/module/live"
	"berth/internal/module/plan"
	"berth/internal/module/render"
)

// Assignment is one --var or --var-file flag; see [ParseVarFlag].
type Assignment = hclload.Assignment

// ParseVarFlag splits the argument of --var, NAME=VALUE.
func ParseVarFlag(arg string) (Assignment, error) { return hclload.ParseVarFlag(arg) }

// LoadOptions says what a configuration is evaluated with.
type LoadOptions struct {
	Assign        []Assignment // --var and --var-file, in the order given; the last one wins
	Environ       []string     // NAME=VALUE, for TF_VAR_NAME and TF_WORKSPACE
	BuiltinModule fs.FS        // holds ecr/*.tf, for a source that does not exist and for bare variables files
	Stack         string       // name of the stack; empty for one derived from the place of the directory
}

// Stack is a loaded configuration. It is not safe for concurrent use.
type Stack struct {
	root     *hclload.Root
	provider hclload.Provider
	name     string // of the stack
}

// Load reads and checks the configuration at path: a directory with .tf files, or a .tfvars file with the inputs of
// the module. Nothing is contacted. Errors name file, line and column, one problem on each line.
func Load(path string, opt LoadOptions) (*Stack, error) {
	root, err := hclload.Load(path, hclload.Options{Assign: opt.Assign, Environ: opt.Environ, Builtin: opt.BuiltinModule})
	if err != nil {
		return nil, err
	}
	evaluated, err := root.Evaluate(hclload.Facts{})
	if err != nil {
		return nil, err
	}
	s := &Stack{root: root, provider: evaluated.Provider, name: opt.Stack}
	if s.name == "" {
		place, err := placeOf(root.Dir())
		if err != nil {
			return nil, err
		}
		s.name = desired.StackName(place)
	}
	if err := desired.CheckStackName(s.name); err != nil {
		return nil, err
	}
	return s, nil
}

// placeOf names a directory in a way that stays the same on another machine: its path within the repository that holds
// it, from the name of the repository on; without a repository, its last two names.
func placeOf(dir string) ([]string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot find the path of %s: %w", dir, err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	}
	split := func(path string) []string {
		return slices.DeleteFunc(strings.Split(filepath.ToSlash(path), "/"), func(s string) bool { return s == "" })
	}
	for top := abs; ; top = filepath.Dir(top) {
		if _, err := os.Stat(filepath.Join(top, ".git")); err == nil {
			if rel, err := filepath.Rel(filepath.Dir(top), abs); err == nil {
				return split(rel), nil
			}
		}
		if top == filepath.Dir(top) {
			break
		}
	}
	parts := split(strings.TrimPrefix(abs, filepath.VolumeName(abs)))
	if len(parts) == 0 {
		return []string{"root"}, nil
	}
	return parts[max(0, len(parts)-2):], nil
}

// Warnings lists what was found in the configuration that does not stop the work, one sentence each.
func (s *Stack) Warnings() []string { return s.root.Warnings() }

// ClientOptions are the settings of the provider block, if there is one. A caller overrides them with its flags.
func (s *Stack) ClientOptions() ClientOptions {
	p := s.provider
	return ClientOptions{
		Endpoint: p.ECREndpoint, STSEndpoint: p.STSEndpoint, Region: p.Region, Profile: p.Profile,
		AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey, SessionToken: p.SessionToken,
	}
}

// state is a configuration with all values known, and what it asks for.
type state struct {
	instances []hclload.Instance
	modules   []desired.Module
	facts     hclload.Facts
	warnings  []string
}

// resolve evaluates the configuration for a registry.
func (s *Stack) resolve(ctx context.Context, c *Client) (*state, error) {
	var facts hclload.Facts
	var err error
	if s.root.NeedsIdentity() || s.provider.AllowedAccounts != nil {
		if facts, err = c.identity(ctx); err != nil {
			return nil, err
		}
	}
	if allowed := s.provider.AllowedAccounts; allowed != nil && !slices.Contains(allowed, facts.AccountID) {
		return nil, fmt.Errorf("account %s is not among allowed_account_ids of provider \"aws\" (%s): use credentials of one of them", facts.AccountID, strings.Join(allowed, ", "))
	}
	evaluated, err := s.root.Evaluate(facts)
	if err != nil {
		return nil, err
	}
	st := &state{instances: evaluated.Instances, facts: facts}
	for _, inst := range evaluated.Instances {
		id, err := desired.StackID(s.name, inst.Label, inst.Key, inst.Keyed)
		if err != nil {
			return nil, err
		}
		m, err := desired.Build(inst.Address, id, inst.Inputs, evaluated.Provider.DefaultTags)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", inst.Where("repositories"), err)
		}
		st.modules = append(st.modules, m)
		for _, failed := range inst.Failed {
			text := fmt.Sprintf("%s: %s: %s", inst.Where("pull_through_cache_rules"), inst.Address, strings.TrimSuffix(failed.Message, "."))
			if c.aws && strings.HasPrefix(failed.Name, "pull_through_cache_") {
				return nil, fmt.Errorf("%s", text)
			}
			st.warnings = append(st.warnings, text)
		}
		if len(m.Repositories) == 0 && st.facts == (hclload.Facts{}) {
			if st.facts, err = c.identity(ctx); err != nil {
				return nil, err
			}
		}
	}
	if err := desired.Conflict(st.modules); err != nil {
		return nil, fmt.Errorf("%s: %w", s.root.Dir(), err)
	}
	return st, nil
}

// PlanOptions says how to plan.
type PlanOptions struct {
	Adopt        bool     // take over repositories that the configuration names and that are not managed by it
	AllowReplace []string // addresses of resources that may be replaced
}

// Plan compares the configuration with the registry.
func (s *Stack) Plan(ctx context.Context, c *Client, opt PlanOptions) (*Plan, error) {
	return s.plan(ctx, c, opt, false)
}

// PlanDestroy plans the deletion of everything that the stack owns, and of the pull-through cache rules that its
// configuration names.
func (s *Stack) PlanDestroy(ctx context.Context, c *Client, opt PlanOptions) (*Plan, error) {
	return s.plan(ctx, c, opt, true)
}

func (s *Stack) plan(ctx context.Context, c *Client, opt PlanOptions, destroy bool) (*Plan, error) {
	st, err := s.resolve(ctx, c)
	if err != nil {
		return nil, err
	}
	options := plan.Options{Stack: s.name, Destroy: destroy, Adopt: opt.Adopt, AllowReplace: map[string]bool{}}
	for _, address := range opt.AllowReplace {
		options.AllowReplace[address] = true
	}
	scope := live.Scope{Names: map[string]bool{}, Stack: s.name}
	for _, m := range st.modules {
		scope.CacheRules = scope.CacheRules || len(m.CacheRules) > 0
		for name := range m.Repositories {
			scope.Names[name] = true
		}
	}
	found, err := live.Read(ctx, c.ecr, scope)
	if err != nil {
		return nil, err
	}
	p, err := plan.Build(st.modules, found, options)
	if err != nil {
		return nil, err
	}
	if doomed := p.Doomed(); len(doomed) > 0 {
		// Only now is it known which repositories are at stake; with the answer, plan again: planning is pure.
		if err := live.Occupied(ctx, c.ecr, found, doomed); err != nil {
			return nil, err
		}
		if p, err = plan.Build(st.modules, found, options); err != nil {
			return nil, err
		}
	}
	result := &Plan{plan: p, warnings: st.warnings}
	if !p.OnlyCreates() {
		if result.before, err = s.currentOutputs(st, found.Repositories); err != nil {
			return nil, err
		}
	}
	if !destroy {
		pending := map[string]bool{}
		for _, r := range p.Repositories {
			pending[r.Name] = r.Repo.Action == plan.Create || r.Repo.Action == plan.Replace
		}
		if result.after, err = s.outputs(st, found.Repositories, pending); err != nil {
			return nil, err
		}
	}
	return result, nil
}

// Plan is what has to be done.
type Plan struct {
	plan          *plan.Plan
	warnings      []string
	before, after []render.Output
}

// HasChanges says whether there is something to do.
func (p *Plan) HasChanges() bool { return !p.plan.Counts().Empty() }

// Result counts what was or will be done; a replacement is counted as added and as destroyed.
type Result struct {
	Added     int `json:"added"`
	Changed   int `json:"changed"`
	Destroyed int `json:"destroyed"`
}

func resultOf(n plan.Counts) Result {
	return Result{Added: n.Add, Changed: n.Change, Destroyed: n.Destroy}
}

// Counts counts what will be done.
func (p *Plan) Counts() Result { return resultOf(p.plan.Counts()) }

// Summary is the line `Plan: 4 to add, 0 to change, 0 to destroy.`, or `No changes.` and what follows it.
func (p *Plan) Summary() string {
	if !p.HasChanges() {
		return render.NoChanges(p.plan)
	}
	return render.Summary(p.plan.Counts())
}

// Warnings lists what the module warns about for these inputs, one sentence each.
func (p *Plan) Warnings() []string { return p.warnings }

// Blockers lists why Apply will refuse the plan, one sentence each; it is empty when it will not.
func (p *Plan) Blockers() []string { return p.plan.Blockers }

// A Stake is a repository whose images the plan touches.
type Stake struct {
	Repository string
	URI        string // host/name
	Deleted    bool   // it is deleted or replaced, with its images
	Lifecycle  string // otherwise the JSON of the lifecycle policy that it gets
}

// Stakes lists the repositories that exist and lose images by the plan itself or by a new lifecycle policy.
func (p *Plan) Stakes() (out []Stake) {
	for _, r := range p.plan.Repositories {
		if r.Have == nil {
			continue
		}
		s := Stake{Repository: r.Name, URI: r.Have.URI, Deleted: r.Repo.Action == plan.Delete || r.Repo.Action == plan.Replace}
		switch r.Lifecycle.Action {
		case plan.Create, plan.Update, plan.Replace:
			s.Lifecycle, _ = r.Lifecycle.After["policy"].(string)
		case plan.NoOp, plan.Delete:
		}
		if s.Deleted || s.Lifecycle != "" {
			out = append(out, s)
		}
	}
	return out
}

// WriteText writes the plan for people. Color adds ANSI colours.
func (p *Plan) WriteText(w io.Writer, color bool) error { return render.Text(w, p.plan, color) }

// MarshalJSON writes the plan in the format of `terraform show -json`.
func (p *Plan) MarshalJSON() ([]byte, error) { return render.PlanJSON(p.plan, p.before, p.after) }

// ECR is the client of the registry, for what the engine does not do.
func (c *Client) ECR() *ecr.Client { return c.sdk }

// Event reports progress on one resource.
type Event = apply.Event

// The phases of an event.
const (
	EventStarted = apply.Started
	EventDone    = apply.Done
	EventFailed  = apply.Failed
)

// Apply carries out a plan. Progress, which may be nil, is called for one event at a time. The result counts what was
// done even when there is an error, which joins those of all resources that failed. A plan with blockers is refused
// before anything is changed.
func (c *Client) Apply(ctx context.Context, p *Plan, progress func(Event)) (Result, error) {
	counts, err := apply.Apply(ctx, c.ecr, p.plan, progress)
	return resultOf(counts), err
}

// currentOutputs evaluates the outputs for what exists. An expression that picks a repository which does not exist yet
// has no value yet, and its output is left out.
func (s *Stack) currentOutputs(st *state, found map[string]live.Repository) ([]render.Output, error) {
	list, err := s.outputs(st, found, nil)
	if err == nil {
		return list, nil
	}
	missing := map[string]bool{}
	for _, m := range st.modules {
		for name := range m.Repositories {
			_, exists := found[name]
			missing[name] = !exists
		}
	}
	if list, err = s.outputs(st, found, missing); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(list, func(o render.Output) bool { return !o.Value.IsWhollyKnown() }), nil
}

// outputs evaluates the outputs for the repositories that exist, and those that are pending, which are unknown.
func (s *Stack) outputs(st *state, found map[string]live.Repository, pending map[string]bool) ([]render.Output, error) {
	byAddress := map[string]cty.Value{}
	for _, m := range st.modules {
		byAddress[m.Address] = moduleOutputs(m, found, pending, st.facts)
	}
	values, err := s.root.Outputs(st.facts, st.instances, byAddress)
	if err != nil {
		return nil, err
	}
	var list []render.Output
	for _, v := range values {
		list = append(list, render.Output{Name: v.Name, Value: v.Value, Sensitive: v.Sensitive})
	}
	return list, nil
}
