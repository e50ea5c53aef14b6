package terraform_test

import (
	"encoding/json"
	"slices"
	"testing"
)

// A change is what a plan says about one resource, in comparable form: without attributes that are null, which the
// two programs write or leave out as their schemas have it.
type change struct {
	Actions       []string
	Before, After map[string]any
	Unknown       []string // attributes that are known only after apply
}

// document is a plan in JSON: terraform show -json, berth plan --json.
// https://developer.hashicorp.com/terraform/internals/json-format#plan-representation
type document struct {
	ResourceChanges []struct {
		Address string `json:"address"`
		Mode    string `json:"mode"`
		Change  struct {
			Actions      []string       `json:"actions"`
			Before       map[string]any `json:"before"`
			After        map[string]any `json:"after"`
			AfterUnknown map[string]any `json:"after_unknown"`
		} `json:"change"`
	} `json:"resource_changes"`
	OutputChanges map[string]struct {
		Actions      []string `json:"actions"`
		Before       any      `json:"before"`
		After        any      `json:"after"`
		AfterUnknown any      `json:"after_unknown"`
	} `json:"output_changes"`
}

func plan(t testing.TB, text string) document {
	t.Helper()
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return d
}

// changes are the managed resources of a plan by address, without the tag of the native engine.
func (d document) changes() map[string]change {
	all := map[string]change{}
	for _, r := range d.ResourceChanges {
		if r.Mode != "managed" {
			continue // a data source that waits for the apply
		}
		c := change{Actions: r.Change.Actions, Before: attributes(r.Change.Before), After: attributes(r.Change.After)}
		for name, unknown := range r.Change.AfterUnknown {
			// The provider does not know tags_all while planning when there are no tags or the repository is a new one.
			if unknown == true && name != "tags_all" {
				c.Unknown = append(c.Unknown, name)
			}
		}
		slices.Sort(c.Unknown)
		all[r.Address] = c
	}
	return all
}

// count counts as Terraform's summary line does.
func (d document) count() counts {
	var n counts
	for _, r := range d.ResourceChanges {
		if r.Mode != "managed" {
			continue
		}
		for _, action := range r.Change.Actions {
			switch action {
			case "create":
				n.Add++
			case "update":
				n.Change++
			case "delete":
				n.Destroy++
			}
		}
	}
	return n
}

func attributes(object map[string]any) map[string]any {
	if object == nil {
		return nil
	}
	clean := withoutNulls(object).(map[string]any)
	for _, name := range []string{"tags", "tags_all"} {
		if tags, ok := clean[name].(map[string]any); ok {
			delete(tags, ownerTag)
			// Terraform plans no tags as null, and reads them back as an empty map.
			if len(tags) == 0 {
				delete(clean, name)
			}
		}
	}
	return clean
}

// optional are attributes that are null when they are planned, and an empty text when they were read.
func optional(name string) bool {
	return slices.Contains([]string{"credential_arn", "custom_role_arn", "kms_key", "upstream_repository_prefix"}, name)
}

// withoutNulls drops from objects what is null, and what means the same.
func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		clean := map[string]any{}
		for name, value := range v {
			if value != nil && (value != "" || !optional(name)) {
				clean[name] = withoutNulls(value)
			}
		}
		return clean
	case []any:
		clean := make([]any, len(v))
		for i, value := range v {
			clean[i] = withoutNulls(value)
		}
		return clean
	}
	return v
}
