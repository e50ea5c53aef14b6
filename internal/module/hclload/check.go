package hclload

import (
	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// check is one assertion of a check block of the module: a warning, never an error, in Terraform.
type check struct {
	name string
	rule validation
}

// CheckFailure is a check block of the module that does not hold for the given inputs.
type CheckFailure struct {
	Name    string // of the check block
	Message string // its error_message
}

var checkSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "assert"}}}

func decodeCheck(b *hcl.Block) ([]check, hcl.Diagnostics) {
	content, _, diags := b.Body.PartialContent(checkSchema)
	var list []check
	for _, block := range content.Blocks {
		rule, more := block.Body.Content(validationSchema)
		diags = append(diags, more...)
		if !more.HasErrors() {
			list = append(list, check{b.Labels[0], validation{
				condition: rule.Attributes["condition"].Expr, message: rule.Attributes["error_message"].Expr,
			}})
		}
	}
	return list, diags
}

// evalChecks evaluates the checks that look at nothing but inputs. Those that look at resources are about what
// Terraform reads back, which the native engine does not have.
func (d *definition) evalChecks(inputs map[string]cty.Value, base *hcl.EvalContext) ([]CheckFailure, hcl.Diagnostics) {
	var failed []CheckFailure
	var diags hcl.Diagnostics
	for _, c := range d.checks {
		needed, pure := d.references(c.rule.condition, c.rule.message)
		if !pure {
			continue
		}
		order, more := localOrder(d.locals, needed)
		diags = append(diags, more...)
		ctx := base.NewChild()
		values := map[string]cty.Value{}
		ctx.Variables = map[string]cty.Value{"var": cty.ObjectVal(inputs), "local": cty.EmptyObjectVal}
		for _, name := range order {
			val, more := d.locals[name].Expr.Value(ctx)
			diags = append(diags, more...)
			values[name] = val
			ctx.Variables["local"] = cty.ObjectVal(values)
		}
		holds, more := c.rule.condition.Value(ctx)
		diags = append(diags, more...)
		if more.HasErrors() || !holds.IsKnown() {
			continue
		}
		if ok, err := asBool(holds); err != nil || ok {
			continue
		}
		text, more := c.rule.message.Value(ctx)
		diags = append(diags, more...)
		if text, err := convert.Convert(text, cty.String); err == nil && text.IsKnown() && !text.IsNull() {
			failed = append(failed, CheckFailure{Name: c.name, Message: oneLine(text.AsString())})
		}
	}
	return failed, diags
}

// references lists the locals that expressions use, directly or not, and says whether all of it is made of inputs.
func (d *definition) references(exprs ...hcl.Expression) (locals []string, pure bool) {
	seen := map[string]bool{}
	for len(exprs) > 0 {
		expr := exprs[0]
		exprs = exprs[1:]
		for _, ref := range expr.Variables() {
			switch ref.RootName() {
			case "var":
			case "local":
				name, ok := localName(ref)
				attr := d.locals[name]
				if !ok || attr == nil {
					return nil, false
				}
				if !seen[name] {
					seen[name] = true
					locals = append(locals, name)
					exprs = append(exprs, attr.Expr)
				}
			default:
				return nil, false
			}
		}
	}
	return locals, true
}

// localName returns the name in a reference local.NAME.
func localName(ref hcl.Traversal) (string, bool) {
	if ref.RootName() != "local" || len(ref) < 2 {
		return "", false
	}
	step, ok := ref[1].(hcl.TraverseAttr)
	return step.Name, ok
}

// localOrder sorts the wanted locals, and those that they refer to, so that each comes after what it needs.
func localOrder(locals map[string]*hcl.Attribute, wanted []string) ([]string, hcl.Diagnostics) {
	const visiting, done = 1, 2
	state := map[string]int{}
	var order []string
	var diags hcl.Diagnostics
	var visit func(name string)
	visit = func(name string) {
		attr := locals[name]
		switch {
		case attr == nil || state[name] == done:
			return
		case state[name] == visiting:
			diags = append(diags, problem(attr.NameRange, "local.%s refers to itself", name))
			return
		}
		state[name] = visiting
		for _, ref := range attr.Expr.Variables() {
			if next, ok := localName(ref); ok {
				visit(next)
			}
		}
		state[name] = done
		order = append(order, name)
	}
	for _, name := range wanted {
		visit(name)
	}
	return order, diags
}
