package hclload

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// Facts are what the known data sources answer. The zero value means that they are not known yet.
type Facts struct {
	AccountID string
	CallerARN string
	UserID    string
	Region    string
	Partition string // aws, aws-cn, aws-us-gov
	DNSSuffix string // amazonaws.com, amazonaws.com.cn
}

func knownData(typ string) bool {
	return typ == "aws_caller_identity" || typ == "aws_region" || typ == "aws_partition"
}

// attributes returns the value of a data source of a type.
func (f Facts) attributes(typ string) cty.Value {
	text := func(s string) cty.Value {
		if f == (Facts{}) {
			return cty.UnknownVal(cty.String)
		}
		return cty.StringVal(s)
	}
	switch typ {
	case "aws_caller_identity":
		return cty.ObjectVal(map[string]cty.Value{
			"account_id": text(f.AccountID), "arn": text(f.CallerARN), "user_id": text(f.UserID), "id": text(f.AccountID),
		})
	case "aws_region":
		return cty.ObjectVal(map[string]cty.Value{"name": text(f.Region), "region": text(f.Region), "id": text(f.Region)})
	default:
		return cty.ObjectVal(map[string]cty.Value{
			"partition": text(f.Partition), "id": text(f.Partition), "dns_suffix": text(f.DNSSuffix),
		})
	}
}

// Instance is one instance of the ECR module with the values of its inputs.
type Instance struct {
	Label   string               // of the module block
	Key     string               // of for_each, or the number of count
	Keyed   bool                 // whether the block has for_each or count
	Address string               // module.ecr, module.ecr["dev"], module.ecr[0]
	Inputs  map[string]cty.Value // converted to the types of the module, defaults applied
	Failed  []CheckFailure       // check blocks of the module that do not hold
	call    *call
}

// Where returns the position at which an input is written, or that of the module block.
func (i *Instance) Where(input string) string {
	if given, ok := i.call.bare[input]; ok {
		return position(given.expr.Range())
	}
	if attr := i.call.args[input]; attr != nil {
		return position(attr.Expr.Range())
	}
	return position(i.call.rng)
}

// Evaluated is a configuration with its values.
type Evaluated struct {
	Provider  Provider
	Instances []Instance
}

// Evaluate computes the inputs of every instance of the module. With unknown facts, inputs may hold unknown values. The
// result is shared between calls and must not be changed.
func (r *Root) Evaluate(facts Facts) (*Evaluated, error) {
	if r.static != nil {
		return r.static, nil
	}
	ctx, diags := r.scope(facts, nil)
	result := &Evaluated{}
	var more hcl.Diagnostics
	result.Provider, more = r.evalProvider(ctx)
	diags = append(diags, more...)
	for _, c := range r.calls {
		instances, more := r.expand(c, ctx)
		diags = append(diags, more...)
		for _, inst := range instances {
			if !more.HasErrors() && (facts != (Facts{}) || !r.NeedsIdentity()) {
				diags = append(diags, inst.known()...)
			}
			result.Instances = append(result.Instances, inst.Instance)
		}
	}
	if err := asError(diags); err != nil {
		return nil, err
	}
	if !r.NeedsIdentity() {
		r.static = result
	}
	return result, nil
}

// scope builds the evaluation context: variables, data, and the locals in the order of their references. Modules maps
// labels to the outputs of the calls; when nil they are not known yet.
func (r *Root) scope(facts Facts, modules map[string]cty.Value) (*hcl.EvalContext, hcl.Diagnostics) {
	vars := map[string]cty.Value{"var": cty.ObjectVal(r.values)}
	if len(r.values) == 0 {
		vars["var"] = cty.EmptyObjectVal
	}
	data := map[string]cty.Value{}
	for typ, instances := range r.data {
		byName := map[string]cty.Value{}
		for name := range instances {
			byName[name] = facts.attributes(typ)
		}
		data[typ] = cty.ObjectVal(byName)
	}
	vars["data"] = cty.ObjectVal(data)
	outputs := map[string]cty.Value{}
	for _, c := range r.calls {
		outputs[c.label] = cty.DynamicVal
		if v, ok := modules[c.label]; ok {
			outputs[c.label] = v
		}
	}
	vars["module"] = cty.ObjectVal(outputs)
	ctx := r.context(vars)
	order, diags := localOrder(r.locals, names(r.locals))
	values := map[string]cty.Value{}
	for _, name := range order {
		ctx.Variables["local"] = cty.ObjectVal(values)
		val, more := r.locals[name].Expr.Value(ctx)
		diags = append(diags, more...)
		if more.HasErrors() {
			val = cty.DynamicVal
		}
		values[name] = val
	}
	ctx.Variables["local"] = cty.ObjectVal(values)
	return ctx, diags
}

// context returns an evaluation context with the functions and the variables that every expression sees.
func (r *Root) context(vars map[string]cty.Value) *hcl.EvalContext {
	all := map[string]cty.Value{}
	for name, v := range vars {
		all[name] = v
	}
	cwd, err := os.Getwd()
	if err != nil {
		cwd = "." // the working directory is gone; relative names still mean the same
	}
	all["path"] = cty.ObjectVal(map[string]cty.Value{
		"module": cty.StringVal("."), "root": cty.StringVal("."), "cwd": cty.StringVal(cwd),
	})
	all["terraform"] = cty.ObjectVal(map[string]cty.Value{"workspace": cty.StringVal(r.workspace)})
	return &hcl.EvalContext{Variables: all, Functions: functions(r.dir)}
}

// instance carries where each input was written, for messages about unknown values.
type instance struct {
	Instance
	given assignments
}

// expand evaluates for_each or count and then the inputs of each instance.
func (r *Root) expand(c *call, ctx *hcl.EvalContext) ([]instance, hcl.Diagnostics) {
	switch {
	case c.args["for_each"] != nil:
		keys, diags := forEachKeys(c, ctx)
		var list []instance
		for _, key := range names(keys) {
			child := ctx.NewChild()
			child.Variables = map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{
				"key": cty.StringVal(key), "value": keys[key],
			})}
			inst, more := c.instantiate(ctx, child, fmt.Sprintf("module.%s[%q]", c.label, key))
			diags = append(diags, more...)
			inst.Key, inst.Keyed = key, true
			list = append(list, inst)
		}
		return list, diags
	case c.args["count"] != nil:
		n, diags := countValue(c, ctx)
		var list []instance
		for i := range n {
			child := ctx.NewChild()
			child.Variables = map[string]cty.Value{"count": cty.ObjectVal(map[string]cty.Value{"index": cty.NumberIntVal(int64(i))})}
			inst, more := c.instantiate(ctx, child, fmt.Sprintf("module.%s[%d]", c.label, i))
			diags = append(diags, more...)
			inst.Key, inst.Keyed = strconv.Itoa(i), true
			list = append(list, inst)
		}
		return list, diags
	}
	inst, diags := c.instantiate(ctx, ctx, "module."+c.label)
	return []instance{inst}, diags
}

func forEachKeys(c *call, ctx *hcl.EvalContext) (map[string]cty.Value, hcl.Diagnostics) {
	attr := c.args["for_each"]
	val, diags := attr.Expr.Value(ctx)
	if diags.HasErrors() {
		return nil, diags
	}
	ty := val.Type()
	switch {
	case !val.IsKnown() || (ty.IsSetType() && !val.IsWhollyKnown()):
		return nil, hcl.Diagnostics{problem(attr.Expr.Range(), "for_each of module %q depends on values that are known only after apply", c.label)}
	case val.IsNull():
		return nil, hcl.Diagnostics{problem(attr.Expr.Range(), "for_each of module %q must not be null: use {} for no instance", c.label)}
	case ty.IsMapType() || ty.IsObjectType():
		return val.AsValueMap(), nil
	case ty.IsSetType() && (ty.ElementType() == cty.String || val.LengthInt() == 0):
		keys := map[string]cty.Value{}
		for _, v := range val.AsValueSlice() {
			if v.IsNull() {
				return nil, hcl.Diagnostics{problem(attr.Expr.Range(), "for_each of module %q holds a null", c.label)}
			}
			keys[v.AsString()] = v
		}
		return keys, nil
	}
	return nil, hcl.Diagnostics{problem(attr.Expr.Range(), "for_each of module %q must be a map or a set of texts, not a %s", c.label, ty.FriendlyName())}
}

// maxCount bounds count, so that a mistaken number does not exhaust memory.
const maxCount = 1000

func countValue(c *call, ctx *hcl.EvalContext) (int, hcl.Diagnostics) {
	attr := c.args["count"]
	val, diags := attr.Expr.Value(ctx)
	if diags.HasErrors() {
		return 0, diags
	}
	val, err := convert.Convert(val, cty.Number)
	if err != nil || val.IsNull() || !val.IsKnown() {
		return 0, hcl.Diagnostics{problem(attr.Expr.Range(), "count of module %q must be a known number", c.label)}
	}
	n, accuracy := val.AsBigFloat().Int64()
	if accuracy != 0 || n < 0 || n > maxCount {
		return 0, hcl.Diagnostics{problem(attr.Expr.Range(), "count of module %q must be a whole number from 0 to %d", c.label, maxCount)}
	}
	return int(n), nil
}

// instantiate evaluates the inputs in ctx. Root is the context without each and count, for the validations.
func (c *call) instantiate(root, ctx *hcl.EvalContext, address string) (instance, hcl.Diagnostics) {
	inst := instance{Instance: Instance{Label: c.label, Address: address, call: c}, given: c.bare}
	var diags hcl.Diagnostics
	if inst.given == nil {
		inst.given = assignments{}
		for _, attr := range sortedAttributes(c.args) {
			if metaArgument(attr.Name) {
				continue
			}
			val, more := attr.Expr.Value(ctx)
			diags = append(diags, more...)
			inst.given[attr.Name] = assigned{val, attr.Expr}
		}
	}
	if diags.HasErrors() {
		return inst, diags
	}
	var more hcl.Diagnostics
	validation := &hcl.EvalContext{Functions: root.Functions}
	inst.Inputs, more = inst.given.resolve(c.def.variables,
		func(name string) string { return name },
		func(v *variable) *hcl.Diagnostic {
			return problem(c.rng, "module %q needs the input %q", c.label, v.name)
		}, validation)
	diags = append(diags, more...)
	if !diags.HasErrors() {
		diags = append(diags, c.def.notUnderstood(inst.given)...)
		inst.Failed, more = c.def.evalChecks(inst.Inputs, validation)
		diags = append(diags, more...)
	}
	return inst, diags
}

// known reports inputs that hold unknown values.
func (i *instance) known() hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, name := range names(i.Inputs) {
		if i.Inputs[name].IsWhollyKnown() {
			continue
		}
		at := i.call.rng
		if given, ok := i.given[name]; ok {
			at = given.expr.Range()
		}
		diags = append(diags, problem(at, "%s of module %q depends on the outputs of a module, which are known only after apply: use values that are known before", name, i.Label))
	}
	return diags
}

// OutputValue is one evaluated output of the root.
type OutputValue struct {
	Name      string
	Value     cty.Value // may be unknown
	Sensitive bool
}

// Outputs evaluates the outputs of the root, by name, given the outputs of each instance by its address. A root that
// exports none shows those of its module; with several instances, one object for each address.
func (r *Root) Outputs(facts Facts, instances []Instance, byAddress map[string]cty.Value) ([]OutputValue, error) {
	if len(r.outputs) == 0 {
		return moduleOutputs(instances, byAddress), nil
	}
	ctx, diags := r.scope(facts, r.moduleValues(instances, byAddress))
	var list []OutputValue
	for _, o := range r.outputs {
		val, more := o.value.Value(ctx)
		diags = append(diags, more...)
		if !more.HasErrors() {
			list = append(list, OutputValue{Name: o.name, Value: val, Sensitive: o.sensitive})
		}
	}
	if err := asError(diags); err != nil {
		return nil, err
	}
	slices.SortFunc(list, func(a, b OutputValue) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// moduleValues groups the outputs of the instances as the expression module.LABEL sees them.
func (r *Root) moduleValues(instances []Instance, byAddress map[string]cty.Value) map[string]cty.Value {
	values := map[string]cty.Value{}
	for _, c := range r.calls {
		object := map[string]cty.Value{}
		tuple := []cty.Value{}
		for _, inst := range instances {
			switch {
			case inst.Label != c.label:
			case c.args["for_each"] != nil:
				object[inst.Key] = byAddress[inst.Address]
			case c.args["count"] != nil:
				tuple = append(tuple, byAddress[inst.Address])
			default:
				values[c.label] = byAddress[inst.Address]
			}
		}
		switch {
		case c.args["for_each"] != nil:
			values[c.label] = cty.ObjectVal(object)
		case c.args["count"] != nil:
			values[c.label] = cty.TupleVal(tuple)
		}
	}
	return values
}

func moduleOutputs(instances []Instance, byAddress map[string]cty.Value) []OutputValue {
	var list []OutputValue
	if len(instances) == 1 {
		for name, v := range sortedElements(byAddress[instances[0].Address]) {
			list = append(list, OutputValue{Name: name, Value: v})
		}
		return list
	}
	for _, inst := range instances {
		list = append(list, OutputValue{Name: inst.Address, Value: byAddress[inst.Address]})
	}
	return list
}
