package hclload

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// locate returns where the value at path is written inside expr: as deep as the source is a literal object or tuple,
// and the range of the innermost literal otherwise (a local, a function call).
func locate(expr hcl.Expression, path cty.Path) hcl.Range {
	value, _ := descend(expr, path)
	return value
}

// locateName is like locate, but returns where the last name of the path is written rather than its value.
func locateName(expr hcl.Expression, path cty.Path) hcl.Range {
	_, name := descend(expr, path)
	return name
}

func descend(expr hcl.Expression, path cty.Path) (value, name hcl.Range) {
	value, name = expr.Range(), expr.Range()
	for _, step := range path {
		for {
			paren, ok := expr.(*hclsyntax.ParenthesesExpr)
			if !ok {
				break
			}
			expr = paren.Expression
		}
		switch e := expr.(type) {
		case *hclsyntax.ObjectConsExpr:
			key, ok := stepName(step)
			item := findItem(e, key)
			if !ok || item == nil {
				return value, name
			}
			expr, name = item.ValueExpr, item.KeyExpr.Range()
		case *hclsyntax.TupleConsExpr:
			index, ok := step.(cty.IndexStep)
			if !ok || index.Key.Type() != cty.Number || !index.Key.IsKnown() {
				return value, name
			}
			i, _ := index.Key.AsBigFloat().Int64()
			if i < 0 || int(i) >= len(e.Exprs) {
				return value, name
			}
			expr, name = e.Exprs[i], e.Exprs[i].Range()
		default:
			return value, name
		}
		value = expr.Range()
	}
	return value, name
}

func stepName(step cty.PathStep) (string, bool) {
	switch s := step.(type) {
	case cty.GetAttrStep:
		return s.Name, true
	case cty.IndexStep:
		if s.Key.IsKnown() && !s.Key.IsNull() && s.Key.Type() == cty.String {
			return s.Key.AsString(), true
		}
	}
	return "", false
}

// findItem returns the last item of an object expression whose key is the constant name, as the last one wins.
func findItem(e *hclsyntax.ObjectConsExpr, name string) *hclsyntax.ObjectConsItem {
	for i := len(e.Items) - 1; i >= 0; i-- {
		key, diags := e.Items[i].KeyExpr.Value(nil)
		if !diags.HasErrors() && key.IsKnown() && !key.IsNull() && key.Type() == cty.String && key.AsString() == name {
			return &e.Items[i]
		}
	}
	return nil
}
