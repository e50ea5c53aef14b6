package hclload

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// Assignment is one --var or --var-file flag. File, when not empty, names a variables file; else Name is set to Value.
type Assignment struct {
	Name  string
	Value string
	File  string
}

// assigned is the raw value of one variable and where it comes from.
type assigned struct {
	value cty.Value
	expr  hcl.Expression
}

// assignments maps variable names to their raw values.
type assignments map[string]assigned

// collect gathers the values of the declared variables in the order of precedence. Names that no variable declares
// are warnings when they come from a file, as in Terraform, and errors when strict is set or when a flag names them.
func collect(declared map[string]*variable, auto []source, opt Options, ctx *hcl.EvalContext, strict bool) (assignments, hcl.Diagnostics) {
	values := assignments{}
	var diags hcl.Diagnostics
	for _, entry := range opt.Environ {
		name, text, ok := strings.Cut(entry, "=")
		name, isVar := strings.CutPrefix(name, "TF_VAR_")
		if !ok || !isVar {
			continue
		}
		// Variables of the environment that no block declares belong to someone else, as in Terraform.
		if v, known := declared[name]; known {
			diags = append(diags, values.text(v, text, "TF_VAR_"+name, ctx)...)
		}
	}
	for _, s := range auto {
		diags = append(diags, values.file(s, declared, ctx, strict)...)
	}
	for _, a := range opt.Assign {
		if a.File != "" {
			body, err := readCapped(a.File)
			if err != nil {
				return nil, append(diags, problem(hcl.Range{Filename: a.File, Start: hcl.InitialPos, End: hcl.InitialPos},
					"the variables file given by --var-file cannot be used: %v", err))
			}
			diags = append(diags, values.file(source{a.File, body}, declared, ctx, strict)...)
			continue
		}
		v, known := declared[a.Name]
		if !known {
			diags = append(diags, problem(flagRange("--var "+a.Name), "there is no variable %q%s", a.Name, suggest(a.Name, names(declared))))
			continue
		}
		diags = append(diags, values.text(v, a.Value, "--var "+a.Name, ctx)...)
	}
	return values, diags
}

// flagRange is the position of a value that is not written in a file.
func flagRange(name string) hcl.Range {
	return hcl.Range{Filename: name, Start: hcl.InitialPos, End: hcl.InitialPos}
}

// text assigns a value written as text: taken literally or parsed as an expression, by the type of the variable.
func (a assignments) text(v *variable, text, origin string, ctx *hcl.EvalContext) hcl.Diagnostics {
	if v.literal {
		a[v.name] = assigned{cty.StringVal(text), hcl.StaticExpr(cty.StringVal(text), flagRange(origin))}
		return nil
	}
	expr, diags := hclsyntax.ParseExpression([]byte(text), origin, hcl.InitialPos)
	if diags.HasErrors() {
		return diags
	}
	val, more := expr.Value(ctx)
	diags = append(diags, more...)
	if !diags.HasErrors() {
		a[v.name] = assigned{val, expr}
	}
	return diags
}

// file assigns every attribute of a variables file.
func (a assignments) file(s source, declared map[string]*variable, ctx *hcl.EvalContext, strict bool) hcl.Diagnostics {
	attrs, diags := parseVars(s)
	if diags.HasErrors() {
		return diags
	}
	for _, attr := range sortedAttributes(attrs) {
		if _, known := declared[attr.Name]; !known {
			hint := suggest(attr.Name, names(declared))
			if strict {
				diags = append(diags, problem(attr.NameRange, "the module has no input %q%s; its inputs are %s",
					attr.Name, hint, listed(names(declared))))
			} else {
				diags = append(diags, warning(attr.NameRange, "no variable %q is declared%s, so this value is not used", attr.Name, hint))
			}
			continue
		}
		val, more := attr.Expr.Value(ctx)
		diags = append(diags, more...)
		if !more.HasErrors() {
			a[attr.Name] = assigned{val, attr.Expr}
		}
	}
	return diags
}

// resolve computes the final values of the declared variables. Validation blocks see all of them, as the references
// between variables of Terraform 1.9 need.
func (a assignments) resolve(declared map[string]*variable, what func(name string) string, missing func(*variable) *hcl.Diagnostic, ctx *hcl.EvalContext) (map[string]cty.Value, hcl.Diagnostics) {
	result := make(map[string]cty.Value, len(declared))
	var diags hcl.Diagnostics
	for _, name := range names(declared) {
		v := declared[name]
		raw, given := a[name]
		if !given && v.def == cty.NilVal {
			diags = append(diags, missing(v))
			result[name] = cty.DynamicVal
			continue
		}
		value := cty.NilVal
		if given {
			value = raw.value
		}
		val, more := v.value(value, raw.expr, what(name))
		diags = append(diags, more...)
		result[name] = val
	}
	if diags.HasErrors() {
		return result, diags
	}
	child := ctx.NewChild()
	child.Variables = map[string]cty.Value{"var": cty.ObjectVal(result)}
	for _, name := range names(declared) {
		v := declared[name]
		subject := v.rng
		if raw, given := a[name]; given {
			subject = raw.expr.Range()
		}
		diags = append(diags, v.check(child, subject)...)
	}
	return result, diags
}

// names lists the keys of a map in order.
func names[V any](m map[string]V) []string {
	list := make([]string, 0, len(m))
	for name := range m {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// ParseVarFlag splits the argument of --var, NAME=VALUE.
func ParseVarFlag(arg string) (Assignment, error) {
	name, value, ok := strings.Cut(arg, "=")
	if name = strings.TrimSpace(name); !ok || name == "" {
		return Assignment{}, fmt.Errorf("--var %q has no value: write --var NAME=VALUE", arg)
	}
	return Assignment{Name: name, Value: strings.TrimPrefix(value, " ")}, nil
}
