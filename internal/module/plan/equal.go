package plan

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// sameLifecycle compares two lifecycle policies: the order of rules, of keys and of tag lists does not matter.
func sameLifecycle(a, b string) bool {
	x, okX := canonicalLifecycle(a)
	y, okY := canonicalLifecycle(b)
	if !okX || !okY {
		return a == b
	}
	return x == y
}

func canonicalLifecycle(text string) (string, bool) {
	var doc map[string]any
	if json.Unmarshal([]byte(text), &doc) != nil || doc == nil {
		return "", false
	}
	rules, _ := doc["rules"].([]any)
	for _, rule := range rules {
		r, _ := rule.(map[string]any)
		selection, _ := r["selection"].(map[string]any)
		for _, list := range []string{"tagPrefixList", "tagPatternList"} {
			if values, ok := selection[list].([]any); ok {
				sortValues(values)
			}
		}
	}
	sortValues(rules)
	return encode(doc), true
}

// SamePolicy compares two resource policies by meaning: the order of statements and of values does not matter, nor
// does a single value against a list of one, "*" against {"AWS": "*"}, or an account id against its root ARN.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
func SamePolicy(a, b string) bool {
	x, okX := canonicalPolicy(a)
	y, okY := canonicalPolicy(b)
	if !okX || !okY {
		return a == b
	}
	return x == y
}

func canonicalPolicy(text string) (string, bool) {
	var doc map[string]any
	if json.Unmarshal([]byte(text), &doc) != nil || doc == nil {
		return "", false
	}
	if _, ok := doc["Version"]; !ok {
		doc["Version"] = "2008-10-17" // the default of the grammar
	}
	statements := asList(doc["Statement"])
	for i, s := range statements {
		if statement, ok := s.(map[string]any); ok {
			statements[i] = canonicalStatement(statement)
		}
	}
	sortValues(statements)
	doc["Statement"] = statements
	return encode(doc), true
}

func canonicalStatement(s map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range s {
		switch key {
		case "Principal", "NotPrincipal":
			out[key] = canonicalPrincipal(value)
		case "Action", "NotAction":
			out[key] = stringSet(value, strings.ToLower) // actions are case-insensitive
		case "Resource", "NotResource":
			out[key] = stringSet(value, nil)
		case "Condition":
			out[key] = canonicalCondition(value)
		default:
			out[key] = value
		}
	}
	if sid, ok := out["Sid"].(string); ok && sid == "" {
		delete(out, "Sid")
	}
	return out
}

func canonicalPrincipal(v any) any {
	if text, ok := v.(string); ok && text == "*" {
		v = map[string]any{"AWS": "*"}
	}
	byKind, ok := v.(map[string]any)
	if !ok {
		return v
	}
	root := regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):root$`)
	out := map[string]any{}
	for kind, value := range byKind {
		normal := func(s string) string { return s }
		if kind == "AWS" {
			normal = func(s string) string { return root.ReplaceAllString(s, "$1") }
		}
		out[kind] = stringSet(value, normal)
	}
	return out
}

func canonicalCondition(v any) any {
	operators, ok := v.(map[string]any)
	if !ok {
		return v
	}
	out := map[string]any{}
	for operator, value := range operators {
		keys, ok := value.(map[string]any)
		if !ok {
			out[operator] = value
			continue
		}
		normal := map[string]any{}
		for key, values := range keys {
			normal[key] = stringSet(values, nil)
		}
		out[operator] = normal
	}
	return out
}

// asList returns a list as it is and anything else as a list of one.
func asList(v any) []any {
	switch list := v.(type) {
	case nil:
		return nil
	case []any:
		return list
	}
	return []any{v}
}

// stringSet returns the values as a sorted set of texts. Numbers and booleans are written as text, as IAM does.
func stringSet(v any, normal func(string) string) []any {
	var set []string
	for _, item := range asList(v) {
		text, ok := item.(string)
		if !ok {
			text = fmt.Sprint(item)
		}
		if normal != nil {
			text = normal(text)
		}
		set = append(set, text)
	}
	slices.Sort(set)
	out := make([]any, 0, len(set))
	for _, text := range slices.Compact(set) {
		out = append(out, text)
	}
	return out
}

func sortValues(values []any) {
	slices.SortFunc(values, func(a, b any) int { return strings.Compare(encode(a), encode(b)) })
}

// encode renders a decoded JSON value with sorted keys.
func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		// Only values that json.Unmarshal produced get here, and those can be marshalled.
		return fmt.Sprint(v)
	}
	return string(b)
}
