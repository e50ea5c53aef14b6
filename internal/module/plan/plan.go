package plan

import (
	"maps"
	"slices"
	"strings"

	"berth/internal/module/desired"
	"berth/internal/module/live"
)

// Action says what happens to a resource.
type Action int

// The actions, as Terraform has them.
const (
	NoOp Action = iota
	Create
	Update
	Delete
	Replace // delete, then create
)

// Verbs returns the action as the list of Terraform's plan format.
// https://developer.hashicorp.com/terraform/internals/json-format#change-representation
func (a Action) Verbs() []string {
	switch a {
	case Create:
		return []string{"create"}
	case Update:
		return []string{"update"}
	case Delete:
		return []string{"delete"}
	case Replace:
		return []string{"delete", "create"}
	}
	return []string{"no-op"}
}

// Resource types of the module.
const (
	TypeRepository = "aws_ecr_repository"
	TypeLifecycle  = "aws_ecr_lifecycle_policy"
	TypePolicy     = "aws_ecr_repository_policy"
	TypeCacheRule  = "aws_ecr_pull_through_cache_rule"
)

// Change is what happens to one resource, in the attributes of the hashicorp/aws provider.
type Change struct {
	Module  string // address of the module instance
	Type    string
	Index   string // key of for_each
	Action  Action
	Before  map[string]any  // nil when it does not exist
	After   map[string]any  // nil when it will not exist
	Unknown map[string]bool // attributes of After that are known only after apply
	Forces  []string        // attributes whose change forces the replacement
	Reason  string          // why, when the action alone does not tell
}

// Address is the address of the resource in Terraform.
func (c Change) Address() string {
	return c.Module + "." + c.Type + `.this["` + c.Index + `"]`
}

// Repository is all that happens to one repository and the policies on it. The zero Change stands for a policy that
// neither exists nor will.
type Repository struct {
	Module      string
	Name        string
	StackID     string
	ForceDelete bool                // in the current configuration
	Want        *desired.Repository // nil: it is to be deleted
	Have        *live.Repository    // nil: it does not exist
	Repo        Change
	Lifecycle   Change
	Policy      Change
}

// CacheRule is what happens to one pull-through cache rule.
type CacheRule struct {
	Want *desired.CacheRule // nil: it is to be deleted
	Have *desired.CacheRule // nil: it does not exist
	Rule Change
}

// Plan is what has to be done.
type Plan struct {
	Destroy      bool // it was made to delete everything
	Repositories []Repository
	CacheRules   []CacheRule
	Blockers     []string // why apply refuses the plan, one sentence each; empty when it does not
	Notes        []string // what a reader should know, one sentence each
}

// Options says how to plan.
type Options struct {
	Stack        string          // the stack that all modules belong to
	Destroy      bool            // plan the deletion of all that the stack owns
	Adopt        bool            // take over repositories that are named and not owned
	AllowReplace map[string]bool // addresses that may be replaced
}

// Build compares. It returns a [*ForeignError] when repositories that the configuration names are not owned and must
// not be adopted.
func Build(modules []desired.Module, state *live.State, opt Options) (*Plan, error) {
	b := builder{state: state, opt: opt, plan: &Plan{Destroy: opt.Destroy}}
	named, present := map[string]bool{}, map[string]bool{}
	for _, m := range modules {
		present[m.StackID] = true
		for name := range m.Repositories {
			named[name] = true
		}
	}
	for _, m := range modules {
		for _, name := range slices.Sorted(maps.Keys(m.Repositories)) {
			b.repository(m, m.Repositories[name])
		}
		for _, name := range slices.Sorted(maps.Keys(state.Repositories)) {
			if have := state.Repositories[name]; have.Tags[desired.OwnerTag] == m.StackID && !named[name] {
				b.remove(m, have, "because it is not in the configuration")
			}
		}
		for _, prefix := range slices.Sorted(maps.Keys(m.CacheRules)) {
			b.cacheRule(m, m.CacheRules[prefix])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(state.Repositories)) {
		have := state.Repositories[name]
		owner := have.Tags[desired.OwnerTag]
		if opt.Stack != "" && desired.StackOf(owner) == opt.Stack && !present[owner] && !named[name] {
			gone := desired.Module{Address: desired.AddressOf(owner), StackID: owner}
			b.remove(gone, have, "because "+gone.Address+" is not in the configuration")
		}
	}
	b.unmanagedRules(modules)
	b.unusedAllowances()
	if len(b.foreign) > 0 {
		return nil, &ForeignError{Repositories: b.foreign}
	}
	return b.plan, nil
}

// builder collects a plan.
type builder struct {
	state   *live.State
	opt     Options
	plan    *Plan
	foreign []Foreign
}

func (b *builder) repository(m desired.Module, want desired.Repository) {
	have, exists := b.state.Repositories[want.Name]
	owner := have.Tags[desired.OwnerTag]
	// A repository may move from one module block of the stack to another.
	own := owner != "" && (owner == m.StackID || b.opt.Stack != "" && desired.StackOf(owner) == b.opt.Stack)
	switch {
	case b.opt.Destroy && !exists:
		return
	case b.opt.Destroy && !own:
		b.note("repository %q stays, because it is not managed by stack %q (%s)", want.Name, b.opt.Stack, ownership(owner))
		return
	case b.opt.Destroy:
		b.remove(m, have, "")
		return
	case !exists:
		b.create(m, want)
		return
	case !own && !b.opt.Adopt:
		b.foreign = append(b.foreign, Foreign{Name: want.Name, Owner: owner, Stack: b.opt.Stack})
		return
	}
	unit := Repository{
		Module: m.Address, Name: want.Name, StackID: m.StackID, ForceDelete: m.ForceDelete, Want: &want, Have: &have,
		Repo: existingRepository(m, want, have),
	}
	switch {
	case !own:
		b.note("repository %q is adopted by stack %q (%s)", want.Name, b.opt.Stack, ownership(owner))
	case owner != m.StackID:
		b.note("repository %q moves from %s to %s", want.Name, desired.AddressOf(owner), m.Address)
	}
	if unit.Repo.Action == Replace {
		unit.Lifecycle = createPolicy(m, TypeLifecycle, want.Name, want.Lifecycle)
		unit.Policy = createPolicy(m, TypePolicy, want.Name, want.Policy)
		replacePolicy(&unit.Lifecycle, m, TypeLifecycle, have, have.Lifecycle)
		replacePolicy(&unit.Policy, m, TypePolicy, have, have.Policy)
		b.replacement(unit.Repo, "its encryption cannot be changed, and the replacement deletes its images")
		b.occupied(have, m.ForceDelete, "replaced")
	} else {
		unit.Lifecycle = policyChange(m, TypeLifecycle, have, have.Lifecycle, want.Lifecycle, sameLifecycle)
		unit.Policy = policyChange(m, TypePolicy, have, have.Policy, want.Policy, SamePolicy)
	}
	b.plan.Repositories = append(b.plan.Repositories, unit)
}

func (b *builder) create(m desired.Module, want desired.Repository) {
	b.plan.Repositories = append(b.plan.Repositories, Repository{
		Module: m.Address, Name: want.Name, StackID: m.StackID, ForceDelete: m.ForceDelete, Want: &want,
		Repo:      newRepository(m, want),
		Lifecycle: createPolicy(m, TypeLifecycle, want.Name, want.Lifecycle),
		Policy:    createPolicy(m, TypePolicy, want.Name, want.Policy),
	})
}

func (b *builder) remove(m desired.Module, have live.Repository, reason string) {
	unit := Repository{
		Module: m.Address, Name: have.Name, StackID: m.StackID, ForceDelete: m.ForceDelete, Have: &have,
		Repo: Change{
			Module: m.Address, Type: TypeRepository, Index: have.Name, Action: Delete,
			Before: repositoryBefore(have, m.ForceDelete), Reason: reason,
		},
		Lifecycle: policyChange(m, TypeLifecycle, have, have.Lifecycle, "", sameLifecycle),
		Policy:    policyChange(m, TypePolicy, have, have.Policy, "", SamePolicy),
	}
	b.occupied(have, m.ForceDelete, "deleted")
	b.plan.Repositories = append(b.plan.Repositories, unit)
}

// occupied blocks the loss of images that nobody agreed to.
func (b *builder) occupied(have live.Repository, force bool, what string) {
	if have.HasImages && !force {
		b.block("repository %q still holds images, so it cannot be %s: set force_delete = true or delete the images first", have.Name, what)
	}
}

// replacement blocks a replacement that nobody agreed to.
func (b *builder) replacement(c Change, why string) {
	if !b.opt.AllowReplace[c.Address()] {
		b.block("%s would be replaced, because %s: pass --allow-replace '%s' to agree, or restore the former settings", c.Address(), why, c.Address())
	}
}

func (b *builder) cacheRule(m desired.Module, want desired.CacheRule) {
	have, exists := b.state.CacheRules[want.Prefix]
	change := Change{Module: m.Address, Type: TypeCacheRule, Index: want.Prefix}
	differing := ruleDifferences(want, have)
	switch {
	case b.opt.Destroy && !exists:
		return
	case b.opt.Destroy && len(differing) > 0:
		b.note("pull-through cache rule %q stays, because it differs from the configuration (%s)", want.Prefix, strings.Join(differing, ", "))
		return
	case b.opt.Destroy:
		change.Action, change.Before = Delete, ruleAttributes(have)
		b.plan.CacheRules = append(b.plan.CacheRules, CacheRule{Have: &have, Rule: change})
		return
	case !exists:
		change.Action, change.After = Create, ruleAttributes(want)
		change.Unknown = map[string]bool{"id": true, "registry_id": true}
		b.plan.CacheRules = append(b.plan.CacheRules, CacheRule{Want: &want, Rule: change})
		return
	}
	change.Before, change.After = ruleAttributes(have), ruleAttributes(want)
	change.Action, change.Forces = ruleAction(want, have)
	switch change.Action {
	case NoOp:
		change.After = change.Before
	case Update:
		for _, name := range []string{"id", "registry_id"} {
			change.After[name] = change.Before[name]
		}
	case Replace:
		change.Unknown = map[string]bool{"id": true, "registry_id": true}
		b.replacement(change, strings.Join(change.Forces, " and ")+" of a pull-through cache rule cannot be changed")
	}
	b.plan.CacheRules = append(b.plan.CacheRules, CacheRule{Want: &want, Have: &have, Rule: change})
}

// unmanagedRules mentions cache rules that the configuration does not name: nobody can tell whose they are.
func (b *builder) unmanagedRules(modules []desired.Module) {
	var others []string
	for _, prefix := range slices.Sorted(maps.Keys(b.state.CacheRules)) {
		if !slices.ContainsFunc(modules, func(m desired.Module) bool { _, ok := m.CacheRules[prefix]; return ok }) {
			others = append(others, prefix)
		}
	}
	if len(others) > 0 {
		b.note("pull-through cache rules that are not in the configuration stay as they are: %s", strings.Join(others, ", "))
	}
}

// unusedAllowances mentions agreements to replacements that do not happen, such as a misspelt address.
func (b *builder) unusedAllowances() {
	replaced := map[string]bool{}
	for _, c := range b.plan.Changes() {
		replaced[c.Address()] = c.Action == Replace
	}
	for _, address := range slices.Sorted(maps.Keys(b.opt.AllowReplace)) {
		if !replaced[address] {
			b.note("--allow-replace %s has no effect, because this plan does not replace it", address)
		}
	}
}

// Changes lists what happens to every resource, in the order of addresses.
func (p *Plan) Changes() []Change {
	var list []Change
	for _, r := range p.Repositories {
		for _, c := range []Change{r.Repo, r.Lifecycle, r.Policy} {
			if c.Type != "" {
				list = append(list, c)
			}
		}
	}
	for _, r := range p.CacheRules {
		list = append(list, r.Rule)
	}
	slices.SortFunc(list, func(a, b Change) int { return strings.Compare(a.Address(), b.Address()) })
	return list
}

// Counts are the numbers of Terraform's summary line; a replacement is counted as added and as destroyed.
type Counts struct {
	Add, Change, Destroy int
}

// Empty says whether there is nothing to do.
func (c Counts) Empty() bool { return c == Counts{} }

// Counts counts what will happen.
func (p *Plan) Counts() Counts {
	var n Counts
	for _, c := range p.Changes() {
		n.Count(c.Action)
	}
	return n
}

// Count adds one action.
func (n *Counts) Count(a Action) {
	switch a {
	case Create:
		n.Add++
	case Update:
		n.Change++
	case Delete:
		n.Destroy++
	case Replace:
		n.Add++
		n.Destroy++
	}
}

// OnlyCreates says that the plan is the first one: there is something to do, and nothing of it exists yet.
func (p *Plan) OnlyCreates() bool {
	changes := p.Changes()
	return len(changes) > 0 && !slices.ContainsFunc(changes, func(c Change) bool { return c.Action != Create })
}

// Doomed lists the repositories that the plan deletes or replaces, without which the question whether they hold images
// need not be asked.
func (p *Plan) Doomed() []string {
	var list []string
	for _, r := range p.Repositories {
		if r.Repo.Action == Delete || r.Repo.Action == Replace {
			list = append(list, r.Name)
		}
	}
	return list
}
