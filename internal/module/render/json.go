package render

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/zclconf/go-cty/cty"

	"berth/internal/module/plan"
)

// formatVersion is the version of Terraform's plan format that is written.
const formatVersion = "1.2"

const providerName = "registry.terraform.io/hashicorp/aws"

type planJSON struct {
	FormatVersion   string                `json:"format_version"`
	ResourceChanges []resourceChange      `json:"resource_changes"`
	OutputChanges   map[string]changeJSON `json:"output_changes"`
	Complete        bool                  `json:"complete"`
	Applyable       bool                  `json:"applyable"`
	Errored         bool                  `json:"errored"`
	Notes           []string              `json:"berth_notes,omitempty"`
	Blockers        []string              `json:"berth_blockers,omitempty"`
}

type resourceChange struct {
	Address       string     `json:"address"`
	ModuleAddress string     `json:"module_address"`
	Mode          string     `json:"mode"`
	Type          string     `json:"type"`
	Name          string     `json:"name"`
	Index         string     `json:"index"`
	ProviderName  string     `json:"provider_name"`
	Change        changeJSON `json:"change"`
	ActionReason  string     `json:"action_reason,omitempty"`
}

type changeJSON struct {
	Actions         []string `json:"actions"`
	Before          any      `json:"before"`
	After           any      `json:"after"`
	AfterUnknown    any      `json:"after_unknown"`
	BeforeSensitive any      `json:"before_sensitive"`
	AfterSensitive  any      `json:"after_sensitive"`
	ReplacePaths    [][]any  `json:"replace_paths,omitempty"`
}

// PlanJSON returns a plan in the format of `terraform show -json PLANFILE`, as far as a plan without a state file has
// it. Before and after are the outputs as they are and as they will be, by name. The additional members berth_notes
// and berth_blockers hold sentences for people.
func PlanJSON(p *plan.Plan, before, after []Output) ([]byte, error) {
	doc := planJSON{
		FormatVersion: formatVersion, ResourceChanges: []resourceChange{}, Complete: true,
		Applyable: !p.Counts().Empty() && len(p.Blockers) == 0, Notes: p.Notes, Blockers: p.Blockers,
	}
	for _, c := range p.Changes() {
		doc.ResourceChanges = append(doc.ResourceChanges, resourceChange{
			Address: c.Address(), ModuleAddress: c.Module, Mode: "managed", Type: c.Type, Name: "this", Index: c.Index,
			ProviderName: providerName, Change: changeOf(c), ActionReason: reason(c),
		})
	}
	var err error
	if doc.OutputChanges, err = outputChanges(before, after); err != nil {
		return nil, err
	}
	return plainJSON(doc)
}

func reason(c plan.Change) string {
	switch {
	case c.Action == plan.Replace:
		return "replace_because_cannot_update"
	case c.Action == plan.Delete && c.Reason != "":
		return "delete_because_each_key"
	}
	return ""
}

func changeOf(c plan.Change) changeJSON {
	out := changeJSON{Actions: c.Action.Verbs(), BeforeSensitive: false, AfterSensitive: false, AfterUnknown: map[string]any{}}
	if c.Before != nil {
		out.Before = c.Before
	}
	if c.After != nil {
		known := maps.Clone(c.After)
		unknown := map[string]any{}
		for name := range c.Unknown {
			delete(known, name)
			unknown[name] = true
		}
		out.After, out.AfterUnknown = known, unknown
	}
	if c.After == nil {
		out.AfterUnknown = map[string]any{}
	}
	for _, name := range c.Forces {
		out.ReplacePaths = append(out.ReplacePaths, []any{name})
	}
	return out
}

// outputChanges pairs the outputs before and after by name. An output that is null does not exist, but it is listed.
func outputChanges(before, after []Output) (map[string]changeJSON, error) {
	index := func(list []Output) map[string]Output {
		m := map[string]Output{}
		for _, o := range list {
			if !o.Value.IsNull() {
				m[o.Name] = o
			}
		}
		return m
	}
	old, now := index(before), index(after)
	changes := map[string]changeJSON{}
	for _, o := range slices.Concat(before, after) {
		name := o.Name
		if _, done := changes[name]; done {
			continue
		}
		c := changeJSON{AfterUnknown: false, BeforeSensitive: old[name].Sensitive, AfterSensitive: now[name].Sensitive}
		var err error
		if o, ok := old[name]; ok {
			if c.Before, _, err = split(o.Value); err != nil {
				return nil, fmt.Errorf("output %q: %w", name, err)
			}
		}
		if o, ok := now[name]; ok {
			if c.After, c.AfterUnknown, err = split(o.Value); err != nil {
				return nil, fmt.Errorf("output %q: %w", name, err)
			}
		}
		c.Actions = outputAction(c, old, now, name).Verbs()
		changes[name] = c
	}
	return changes, nil
}

func outputAction(c changeJSON, old, now map[string]Output, name string) plan.Action {
	_, was := old[name]
	_, is := now[name]
	switch {
	case !was && !is:
		return plan.NoOp
	case !was:
		return plan.Create
	case !is:
		return plan.Delete
	case now[name].Value.IsWhollyKnown() && reflect.DeepEqual(c.Before, c.After):
		return plan.NoOp
	}
	return plan.Update
}

// split separates a value into what is known, as JSON, and a mask of what is not.
func split(v cty.Value) (known, unknown any, err error) {
	ty := v.Type()
	switch {
	case !v.IsKnown():
		return nil, true, nil
	case v.IsNull():
		return nil, false, nil
	case ty.IsObjectType() || ty.IsMapType():
		values, mask := map[string]any{}, map[string]any{}
		for name, elem := range v.AsValueMap() {
			k, u, err := split(elem)
			if err != nil {
				return nil, nil, err
			}
			if u != true {
				values[name] = k
			}
			if u != false {
				mask[name] = u
			}
		}
		if len(mask) == 0 {
			return values, false, nil
		}
		return values, mask, nil
	case ty.IsTupleType() || ty.IsListType() || ty.IsSetType():
		values, mask, some := []any{}, []any{}, false
		for _, elem := range v.AsValueSlice() {
			k, u, err := split(elem)
			if err != nil {
				return nil, nil, err
			}
			values, mask = append(values, k), append(mask, u)
			some = some || u != false
		}
		if !some {
			return values, false, nil
		}
		return values, mask, nil
	}
	b, err := ValueJSON(v)
	if err != nil {
		return nil, nil, err
	}
	return json.RawMessage(b), false, nil
}
