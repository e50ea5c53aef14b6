package policy

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strings"
)

const maxConditionKey = 512

// parseConditions reads {operator: {key: value or list}}.
func parseConditions(n *node) ([]Condition, *fault) {
	if n.kind != object {
		return nil, faultAt(n.offset, "Condition must be an object, not %s", n.kind)
	}
	var out []Condition
	for _, block := range n.members {
		op, valid := parseOperator(block.name)
		if !valid {
			return nil, faultAt(block.offset, "unknown condition operator %q", clip(block.name))
		}
		if block.value.kind != object {
			return nil, faultAt(block.value.offset, "%s must be an object of condition keys, not %s", block.name, block.value.kind)
		}
		for _, m := range block.value.members {
			if !isConditionKey(m.name) {
				return nil, faultAt(m.offset, "condition key %q is not of the form service:name", clip(m.name))
			}
			values, f := conditionValues(op, m)
			if f != nil {
				return nil, f
			}
			out = append(out, Condition{Operator: op, Key: m.name, Values: values})
		}
	}
	slices.SortFunc(out, func(a, b Condition) int {
		return cmp.Or(strings.Compare(a.Operator.String(), b.Operator.String()), strings.Compare(a.Key, b.Key))
	})
	return out, nil
}

func isConditionKey(s string) bool {
	service, name, ok := strings.Cut(s, ":")
	return ok && service != "" && name != "" && len(s) <= maxConditionKey
}

// conditionValues reads a value or a list of values, and checks that the
// operator can read each. Where policy variables are possible, a value with one
// is known only later.
func conditionValues(op Operator, m member) ([]string, *fault) {
	items := m.value.items
	if m.value.kind != array {
		items = []*node{m.value}
	}
	if len(items) == 0 {
		return nil, faultAt(m.value.offset, "condition key %q has an empty list", clip(m.name))
	}
	valid, variables := valueTest(op.Name), hasVariables(op.Name)
	values := make([]string, len(items))
	for i, item := range items {
		switch item.kind {
		case text, number, boolean:
		default:
			return nil, faultAt(item.offset, "condition key %q must hold strings, not %s", clip(m.name), item.kind)
		}
		if !(variables && strings.Contains(item.text, "${")) && !valid(item.text) {
			return nil, faultAt(item.offset, "%s cannot read the value %q", op, clip(item.text))
		}
		values[i] = item.text
	}
	return values, nil
}

// valueTest returns the test of an operator's values, or nil when IAM has no
// such operator (IAM User Guide, "IAM JSON policy elements: Condition operators").
func valueTest(name string) func(string) bool {
	switch name {
	case "StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
		"ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike":
		return isText
	case "NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals":
		return isNumber
	case "DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals":
		return isDate
	case "Bool", "Null":
		return isBool
	case "BinaryEquals":
		return isBinary
	case "IpAddress", "NotIpAddress":
		return isNetwork
	}
	return nil
}

// hasVariables tells which operators take policy variables (IAM User Guide, "IAM
// JSON policy elements: Condition operators", the line "Policy variables" of
// each). Elsewhere one is refused: it would be compared as text that no number,
// date or address equals, and a Deny with it would deny nothing.
func hasVariables(name string) bool {
	return name == "Bool" || strings.HasPrefix(name, "String") || strings.HasPrefix(name, "Arn")
}

// parseOperator takes an operator apart: [qualifier:]Name[IfExists].
func parseOperator(s string) (Operator, bool) {
	var op Operator
	if qualifier, rest, ok := strings.Cut(s, ":"); ok {
		op.Qualifier, s = Qualifier(qualifier), rest
		if op.Qualifier != ForAllValues && op.Qualifier != ForAnyValue {
			return Operator{}, false
		}
	}
	op.Name, op.IfExists = strings.CutSuffix(s, "IfExists")
	if op.IfExists && op.Name == "Null" {
		return Operator{}, false // it would test twice whether the key exists
	}
	return op, valueTest(op.Name) != nil
}

func isText(string) bool { return true }

func isBool(s string) bool { return strings.EqualFold(s, "true") || strings.EqualFold(s, "false") }

func isBinary(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}
