package hclload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// variable is one `variable` block of a root or of the module.
type variable struct {
	name        string
	rng         hcl.Range
	typ         cty.Type // with optional attributes; DynamicPseudoType when the block names none
	literal     bool     // a value given as text (--var, TF_VAR_) is taken literally: string, number, bool or no type
	defaults    *typeexpr.Defaults
	def         cty.Value // NilVal when the variable is required
	nullable    bool
	validations []validation
}

type validation struct {
	condition hcl.Expression
	message   hcl.Expression
}

var variableSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{
		{Name: "type"}, {Name: "default"}, {Name: "nullable"}, {Name: "description"}, {Name: "sensitive"},
		{Name: "ephemeral"}, {Name: "deprecated"},
	},
	Blocks: []hcl.BlockHeaderSchema{{Type: "validation"}},
}

var validationSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{{Name: "condition", Required: true}, {Name: "error_message", Required: true}},
}

// decodeVariable reads a variable block. Description and sensitive change how Terraform prints a value, not which
// repositories exist, so they are accepted and have no effect here.
func decodeVariable(b *hcl.Block) (*variable, hcl.Diagnostics) {
	content, diags := b.Body.Content(variableSchema)
	v := &variable{name: b.Labels[0], rng: b.DefRange, typ: cty.DynamicPseudoType, literal: true, nullable: true}
	if attr := content.Attributes["type"]; attr != nil {
		typ, defaults, more := typeexpr.TypeConstraintWithDefaults(attr.Expr)
		diags = append(diags, more...)
		if !more.HasErrors() {
			v.typ, v.defaults, v.literal = typ, defaults, typ.IsPrimitiveType()
		}
	}
	if attr := content.Attributes["nullable"]; attr != nil {
		val, more := attr.Expr.Value(nil)
		diags = append(diags, more...)
		if !more.HasErrors() {
			b, err := asBool(val)
			if err != nil {
				diags = append(diags, problem(attr.Expr.Range(), "nullable of variable %q must be true or false", v.name))
			}
			v.nullable = b
		}
	}
	for _, block := range content.Blocks {
		rule, more := block.Body.Content(validationSchema)
		diags = append(diags, more...)
		if !more.HasErrors() {
			v.validations = append(v.validations, validation{
				condition: rule.Attributes["condition"].Expr, message: rule.Attributes["error_message"].Expr,
			})
		}
	}
	if attr := content.Attributes["default"]; attr != nil && !diags.HasErrors() {
		val, more := attr.Expr.Value(nil)
		diags = append(diags, more...)
		if !more.HasErrors() {
			val, more = v.conform(val, attr.Expr, "the default of variable "+strconvQuote(v.name))
			diags = append(diags, more...)
			v.def = val
		}
	}
	return v, diags
}

func strconvQuote(s string) string { return fmt.Sprintf("%q", s) }

// asBool converts a known value to a bool.
func asBool(v cty.Value) (bool, error) {
	b, err := convert.Convert(v, cty.Bool)
	if err != nil {
		return false, err
	}
	if b.IsNull() || !b.IsKnown() {
		return false, fmt.Errorf("a bool is required")
	}
	return b.True(), nil
}

// value returns what the variable holds when raw is assigned to it (NilVal: nothing is assigned). Expr is where raw is
// written, for positions in messages; what names the assignment in them.
func (v *variable) value(raw cty.Value, expr hcl.Expression, what string) (cty.Value, hcl.Diagnostics) {
	if raw == cty.NilVal || (raw.IsNull() && !v.nullable) {
		if v.def == cty.NilVal {
			if raw == cty.NilVal {
				return cty.DynamicVal, hcl.Diagnostics{problem(v.rng, "variable %q has no value and no default", v.name)}
			}
			return cty.DynamicVal, hcl.Diagnostics{problem(expr.Range(), "%s must not be null", what)}
		}
		return v.def, nil
	}
	return v.conform(raw, expr, what)
}

// conform checks raw against the type of the variable, fills in the defaults of optional attributes and converts.
func (v *variable) conform(raw cty.Value, expr hcl.Expression, what string) (cty.Value, hcl.Diagnostics) {
	if diags := attributeProblems(raw, v.typ, nil, expr, what); diags.HasErrors() {
		return cty.DynamicVal, diags
	}
	val := raw
	if v.defaults != nil {
		val = v.defaults.Apply(raw)
	}
	val, err := convert.Convert(val, v.typ)
	if err != nil {
		path, _ := errorPath(err)
		return cty.DynamicVal, hcl.Diagnostics{
			problem(locate(expr, path), "%s%s: %s", what, pathText(path), err.Error()),
		}
	}
	return val, nil
}

// errorPath extracts the path of a conversion error.
func errorPath(err error) (cty.Path, bool) {
	pathErr, ok := err.(cty.PathError)
	if !ok {
		return nil, false
	}
	return pathErr.Path, true
}

// check evaluates the validation blocks in ctx, which must hold the value of the variable as var.NAME.
func (v *variable) check(ctx *hcl.EvalContext, subject hcl.Range) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, rule := range v.validations {
		cond, more := rule.condition.Value(ctx)
		if more.HasErrors() {
			diags = append(diags, more...)
			continue
		}
		if !cond.IsKnown() {
			continue
		}
		ok, err := asBool(cond)
		if err != nil {
			diags = append(diags, problem(rule.condition.Range(), "the condition of a validation of variable %q is not a bool", v.name))
			continue
		}
		if ok {
			continue
		}
		text, more := rule.message.Value(ctx)
		diags = append(diags, more...)
		if more.HasErrors() {
			continue
		}
		text, err = convert.Convert(text, cty.String)
		if err != nil || text.IsNull() || !text.IsKnown() {
			diags = append(diags, problem(rule.message.Range(), "the error_message of a validation of variable %q is not a text", v.name))
			continue
		}
		diags = append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError,
			Summary:  fmt.Sprintf("invalid value for %s", v.name),
			Detail:   text.AsString(),
			Subject:  &subject,
		})
	}
	return diags
}

// attributeProblems reports attributes of objects that the type does not have, and those that it needs. Terraform drops
// the former silently when it converts, which turns a misspelt name into a default.
func attributeProblems(v cty.Value, want cty.Type, path cty.Path, expr hcl.Expression, what string) hcl.Diagnostics {
	if v == cty.NilVal || v.IsNull() || !v.IsKnown() || want == cty.DynamicPseudoType {
		return nil
	}
	var diags hcl.Diagnostics
	ty := v.Type()
	switch {
	case want.IsObjectType() && (ty.IsObjectType() || ty.IsMapType()):
		known := want.AttributeTypes()
		for name, elem := range sortedElements(v) {
			sub := extend(path, cty.GetAttrStep{Name: name})
			if _, ok := known[name]; !ok {
				hint := suggest(name, names(known))
				if hint == "" {
					hint = "; it knows " + listed(names(known))
				}
				diags = append(diags, problem(locateName(expr, sub), "%s%s has no attribute %q%s", what, pathText(path), name, hint))
				continue
			}
			diags = append(diags, attributeProblems(elem, known[name], sub, expr, what)...)
		}
		for _, name := range names(known) {
			if _, given := v.AsValueMap()[name]; !given && !want.AttributeOptional(name) {
				diags = append(diags, problem(locate(expr, path), "%s%s needs the attribute %q", what, pathText(path), name))
			}
		}
	case want.IsMapType() && (ty.IsObjectType() || ty.IsMapType()):
		for name, elem := range sortedElements(v) {
			sub := extend(path, cty.IndexStep{Key: cty.StringVal(name)})
			diags = append(diags, attributeProblems(elem, want.ElementType(), sub, expr, what)...)
		}
	case (want.IsListType() || want.IsSetType()) && (ty.IsTupleType() || ty.IsListType() || ty.IsSetType()):
		for i, elem := range v.AsValueSlice() {
			sub := extend(path, cty.IndexStep{Key: cty.NumberIntVal(int64(i))})
			diags = append(diags, attributeProblems(elem, want.ElementType(), sub, expr, what)...)
		}
	}
	return diags
}

func extend(path cty.Path, step cty.PathStep) cty.Path {
	return append(slices.Clip(slices.Clone(path)), step)
}

// sortedElements iterates over a map or an object by name.
func sortedElements(v cty.Value) func(yield func(string, cty.Value) bool) {
	elems := v.AsValueMap()
	names := make([]string, 0, len(elems))
	for name := range elems {
		names = append(names, name)
	}
	slices.Sort(names)
	return func(yield func(string, cty.Value) bool) {
		for _, name := range names {
			if !yield(name, elems[name]) {
				return
			}
		}
	}
}

// pathText renders a path as it is written in HCL: ["app"].scan_on_push.
func pathText(path cty.Path) string {
	var b strings.Builder
	for _, step := range path {
		switch s := step.(type) {
		case cty.GetAttrStep:
			b.WriteString("." + s.Name)
		case cty.IndexStep:
			switch {
			case s.Key.IsNull() || !s.Key.IsKnown():
				b.WriteString("[*]")
			case s.Key.Type() == cty.String:
				fmt.Fprintf(&b, "[%q]", s.Key.AsString())
			case s.Key.Type() == cty.Number:
				fmt.Fprintf(&b, "[%s]", s.Key.AsBigFloat().Text('f', -1))
			default:
				b.WriteString("[*]")
			}
		}
	}
	return b.String()
}
