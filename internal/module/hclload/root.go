package hclload

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Options says what a configuration is evaluated with.
type Options struct {
	Assign  []Assignment // --var and --var-file, in the order given
	Environ []string     // NAME=VALUE; TF_VAR_ variables and TF_WORKSPACE are read from it
	Builtin fs.FS        // holds ecr/*.tf: the module to use when the source of a call does not exist; may be nil
}

// Root is a parsed configuration: a directory of .tf files, or a bare variables file for the module itself. It is not
// safe for concurrent use.
type Root struct {
	dir       string
	bare      bool
	variables map[string]*variable
	values    map[string]cty.Value // of the variables
	locals    map[string]*hcl.Attribute
	calls     []*call
	outputs   []*output
	data      map[string]map[string]hcl.Range // type -> name -> where
	provider  *hcl.Block                      // the default provider "aws", nil when there is none
	workspace string
	warnings  []string
	static    *Evaluated // the result of the first evaluation, when it depends on no facts
}

// call is one module block.
type call struct {
	label string
	rng   hcl.Range
	args  hcl.Attributes
	def   *definition
	bare  assignments // the values of a bare variables file, instead of args
}

// output is one output block of the root.
type output struct {
	name      string
	rng       hcl.Range
	value     hcl.Expression
	sensitive bool
}

// Load reads the configuration at path: a directory, or a file whose attributes are the inputs of the module. A
// directory without .tf files but with a terraform.tfvars is read as such a file, too. Every error is an [*Error] or
// names the path.
func Load(path string, opt Options) (*Root, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read %s: %w", path, underlying(err))
	}
	if !info.IsDir() {
		body, err := readCapped(path)
		if err != nil {
			return nil, err
		}
		return loadBare(filepath.Dir(path), []source{{path, body}}, opt)
	}
	d, err := readDirectory(path)
	if err != nil {
		return nil, err
	}
	switch {
	case len(d.config) > 0 && !onlyAttributes(d.config):
		return loadRoot(path, d, opt)
	case len(d.config)+len(d.autoVars) > 0:
		return loadBare(path, append(d.config, d.autoVars...), opt)
	}
	return nil, fmt.Errorf("%s has no .tf files and no terraform.tfvars: give the directory of a configuration that calls the ECR module", path)
}

// onlyAttributes says whether the files hold no block at all, such as the bare `repositories = {…}` form.
func onlyAttributes(files []source) bool {
	attributes := 0
	for _, f := range files {
		parsed, diags := parseHCL(f)
		if diags.HasErrors() {
			return false
		}
		attrs, diags := parsed.Body.JustAttributes()
		if diags.HasErrors() {
			return false
		}
		attributes += len(attrs)
	}
	return attributes > 0
}

// loadBare applies the attributes of the files to the built-in module directly, as the call module "ecr". Unlike in
// Terraform's variables files, functions may be called in them: the documents show the form with jsonencode.
func loadBare(dir string, files []source, opt Options) (*Root, error) {
	if opt.Builtin == nil {
		return nil, errors.New("a bare variables file needs the built-in module, which this program was built without")
	}
	at := hcl.Range{Filename: files[0].name, Start: hcl.InitialPos, End: hcl.InitialPos}
	def, diags := builtinDefinition(opt.Builtin, at)
	if diags.HasErrors() {
		return nil, asError(diags)
	}
	r := newRoot(dir, opt)
	r.bare = true
	values, more := collect(def.variables, files, opt, r.context(nil), true)
	diags = append(diags, more...)
	r.calls = []*call{{label: "ecr", rng: at, def: def, bare: values}}
	r.note(diags)
	if err := asError(diags); err != nil {
		return nil, err
	}
	return r, r.dryRun()
}

func newRoot(dir string, opt Options) *Root {
	r := &Root{
		dir: dir, variables: map[string]*variable{}, locals: map[string]*hcl.Attribute{},
		data: map[string]map[string]hcl.Range{}, workspace: "default",
	}
	for _, entry := range opt.Environ {
		if name, ok := strings.CutPrefix(entry, "TF_WORKSPACE="); ok && name != "" {
			r.workspace = name
		}
	}
	return r
}

// loadRoot decodes the blocks of a directory and evaluates what does not depend on the registry.
func loadRoot(dir string, d *directory, opt Options) (*Root, error) {
	r := newRoot(dir, opt)
	var diags hcl.Diagnostics
	for _, f := range d.config {
		parsed, more := parseHCL(f)
		diags = append(diags, more...)
		if !more.HasErrors() {
			diags = append(diags, r.decode(parsed.Body, opt)...)
		}
	}
	if diags.HasErrors() {
		return nil, asError(diags)
	}
	if len(r.calls) == 0 {
		return nil, fmt.Errorf("%s calls no module: add a block module \"ecr\" with source = \"./modules/ecr\"", dir)
	}
	// Variables files hold constants only, as in Terraform.
	values, more := collect(r.variables, d.autoVars, opt, nil, false)
	diags = append(diags, more...)
	if !diags.HasErrors() {
		r.values, more = values.resolve(r.variables,
			func(name string) string { return "variable " + strconvQuote(name) + ", " + name },
			func(v *variable) *hcl.Diagnostic {
				return problem(v.rng, "variable %q has no value: set it in terraform.tfvars, with --var %s=… or in TF_VAR_%s", v.name, v.name, v.name)
			}, r.context(nil))
		diags = append(diags, more...)
	}
	r.note(diags)
	if err := asError(diags); err != nil {
		return nil, err
	}
	return r, r.dryRun()
}

// dryRun evaluates everything with unknown facts, so that a broken block is found before anything is contacted.
func (r *Root) dryRun() error {
	evaluated, err := r.Evaluate(Facts{})
	if err != nil {
		return err
	}
	byAddress := map[string]cty.Value{}
	for _, inst := range evaluated.Instances {
		byAddress[inst.Address] = cty.ObjectVal(map[string]cty.Value{
			"repository_urls": cty.DynamicVal, "repository_arns": cty.DynamicVal, "repository_registry_ids": cty.DynamicVal,
			"flowise_server_url": cty.UnknownVal(cty.String), "flowise_ui_url": cty.UnknownVal(cty.String),
			"docker_login_command": cty.UnknownVal(cty.String),
		})
	}
	if _, err := r.Outputs(Facts{}, evaluated.Instances, byAddress); err != nil {
		return err
	}
	for _, c := range r.calls {
		if c.def.differs {
			r.warnings = append(r.warnings, fmt.Sprintf("%s: the resources of the module at %s differ from those of the module inside this program, and what berth does is the latter", position(c.rng), c.def.origin))
		}
	}
	return nil
}

// note keeps the warnings among diagnostics.
func (r *Root) note(diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity == hcl.DiagWarning {
			r.warnings = append(r.warnings, formatDiag(d))
		}
	}
}

// Warnings lists what was found that does not stop the work, one sentence each.
func (r *Root) Warnings() []string { return r.warnings }

// Dir is the directory that the configuration was read from.
func (r *Root) Dir() string { return r.dir }

// NeedsIdentity says whether the configuration reads a data source whose values only the caller's identity gives.
func (r *Root) NeedsIdentity() bool { return len(r.data) > 0 }

var rootSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "terraform"},
	{Type: "provider", LabelNames: []string{"name"}},
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "locals"},
	{Type: "module", LabelNames: []string{"name"}},
	{Type: "output", LabelNames: []string{"name"}},
	{Type: "data", LabelNames: []string{"type", "name"}},
	{Type: "resource", LabelNames: []string{"type", "name"}},
	{Type: "ephemeral", LabelNames: []string{"type", "name"}},
	{Type: "moved"}, {Type: "import"}, {Type: "removed"},
	{Type: "check", LabelNames: []string{"name"}},
}}

func (r *Root) decode(body hcl.Body, opt Options) hcl.Diagnostics {
	content, diags := body.Content(rootSchema)
	for _, b := range content.Blocks {
		switch b.Type {
		case "terraform":
			// Backends and version constraints are about Terraform itself.
		case "provider":
			diags = append(diags, r.addProvider(b)...)
		case "variable":
			v, more := decodeVariable(b)
			diags = append(diags, more...)
			if _, dup := r.variables[v.name]; dup {
				diags = append(diags, problem(b.DefRange, "variable %q is declared twice", v.name))
			}
			r.variables[v.name] = v
		case "locals":
			diags = append(diags, r.addLocals(b)...)
		case "module":
			diags = append(diags, r.addCall(b, opt)...)
		case "output":
			diags = append(diags, r.addOutput(b)...)
		case "data":
			diags = append(diags, r.addData(b)...)
		case "moved":
			diags = append(diags, warning(b.DefRange, "the moved block is about Terraform's state, which berth does not use, so it has no effect; a repository that another module block names moves there by itself"))
		case "import":
			diags = append(diags, problem(b.DefRange, "import blocks are not supported: remove it and pass --adopt to take over repositories that exist"))
		default:
			diags = append(diags, problem(b.DefRange, "%s %s is not part of the ECR module, and berth manages nothing else: apply this directory with terraform, or move the module block to a directory of its own",
				b.Type, strings.Join(quoteAll(b.Labels), " ")))
		}
	}
	r.note(diags)
	return errorsOnly(diags)
}

func quoteAll(labels []string) []string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = strconvQuote(l)
	}
	return out
}

func errorsOnly(diags hcl.Diagnostics) hcl.Diagnostics {
	var kept hcl.Diagnostics
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			kept = append(kept, d)
		}
	}
	return kept
}

func (r *Root) addLocals(b *hcl.Block) hcl.Diagnostics {
	attrs, diags := b.Body.JustAttributes()
	for _, attr := range sortedAttributes(attrs) {
		if _, dup := r.locals[attr.Name]; dup {
			diags = append(diags, problem(attr.NameRange, "local.%s is defined twice", attr.Name))
		}
		r.locals[attr.Name] = attr
	}
	return diags
}

var outputSchema = &hcl.BodySchema{
	Attributes: []hcl.AttributeSchema{
		{Name: "value", Required: true}, {Name: "description"}, {Name: "sensitive"}, {Name: "depends_on"}, {Name: "ephemeral"},
	},
}

func (r *Root) addOutput(b *hcl.Block) hcl.Diagnostics {
	content, diags := b.Body.Content(outputSchema)
	if diags.HasErrors() {
		return diags
	}
	for _, o := range r.outputs {
		if o.name == b.Labels[0] {
			return append(diags, problem(b.DefRange, "output %q is declared twice", o.name))
		}
	}
	o := &output{name: b.Labels[0], rng: b.DefRange, value: content.Attributes["value"].Expr}
	if attr := content.Attributes["sensitive"]; attr != nil {
		val, more := attr.Expr.Value(nil)
		diags = append(diags, more...)
		if !more.HasErrors() {
			b, err := asBool(val)
			if err != nil {
				diags = append(diags, problem(attr.Expr.Range(), "sensitive of output %q must be true or false", o.name))
			}
			o.sensitive = b
		}
	}
	r.outputs = append(r.outputs, o)
	return diags
}

// addData accepts the data sources whose values follow from the caller's identity and the region.
func (r *Root) addData(b *hcl.Block) hcl.Diagnostics {
	typ, name := b.Labels[0], b.Labels[1]
	if !knownData(typ) {
		return hcl.Diagnostics{problem(b.DefRange, "data %q %q cannot be read by berth, which knows aws_caller_identity, aws_region and aws_partition: use a variable for its value, or terraform", typ, name)}
	}
	attrs, diags := b.Body.JustAttributes()
	if diags.HasErrors() || len(attrs) > 0 {
		return hcl.Diagnostics{problem(b.DefRange, "data %q %q must be empty: berth reads it for the default provider only", typ, name)}
	}
	if r.data[typ] == nil {
		r.data[typ] = map[string]hcl.Range{}
	}
	if _, dup := r.data[typ][name]; dup {
		return hcl.Diagnostics{problem(b.DefRange, "data.%s.%s is declared twice", typ, name)}
	}
	r.data[typ][name] = b.DefRange
	return nil
}

// addCall reads a module block and the definition of the module that it calls.
func (r *Root) addCall(b *hcl.Block, opt Options) hcl.Diagnostics {
	attrs, diags := b.Body.JustAttributes()
	if diags.HasErrors() {
		return diags
	}
	c := &call{label: b.Labels[0], rng: b.DefRange, args: attrs}
	for _, other := range r.calls {
		if other.label == c.label {
			return hcl.Diagnostics{problem(b.DefRange, "module %q is called twice: give one of the blocks another name", c.label)}
		}
	}
	src := attrs["source"]
	if src == nil {
		return hcl.Diagnostics{problem(b.DefRange, "module %q has no source: add source = \"./modules/ecr\"", c.label)}
	}
	val, more := src.Expr.Value(nil)
	if more.HasErrors() || val.IsNull() || !val.IsKnown() || val.Type() != cty.String {
		return hcl.Diagnostics{problem(src.Expr.Range(), "the source of module %q must be a constant text", c.label)}
	}
	if v := attrs["version"]; v != nil {
		diags = append(diags, problem(v.NameRange, "module %q has a version, which only modules of a registry can have: remove it", c.label))
	}
	if p := attrs["providers"]; p != nil && !defaultProviders(p.Expr) {
		diags = append(diags, problem(p.NameRange, "module %q is given another provider than the default one, which berth does not support: use one directory for each account and region", c.label))
	}
	if attrs["for_each"] != nil && attrs["count"] != nil {
		diags = append(diags, problem(attrs["count"].NameRange, "module %q has both count and for_each: keep one", c.label))
	}
	c.def, more = loadDefinition(r.dir, val.AsString(), src.Expr.Range(), opt.Builtin)
	diags = append(diags, more...)
	if diags.HasErrors() {
		return diags
	}
	for _, attr := range sortedAttributes(attrs) {
		if _, known := c.def.variables[attr.Name]; !known && !metaArgument(attr.Name) {
			hint := suggest(attr.Name, names(c.def.variables))
			if hint == "" {
				hint = "; its inputs are " + listed(names(c.def.variables))
			}
			diags = append(diags, problem(attr.NameRange, "module %q has no input %q%s", c.label, attr.Name, hint))
		}
	}
	r.calls = append(r.calls, c)
	return diags
}

// metaArgument says whether name is an argument of every module block.
func metaArgument(name string) bool {
	switch name {
	case "source", "version", "providers", "depends_on", "count", "for_each":
		return true
	}
	return false
}

// defaultProviders says whether a providers argument passes on the default provider only: { aws = aws }.
func defaultProviders(expr hcl.Expression) bool {
	pairs, diags := hcl.ExprMap(expr)
	if diags.HasErrors() {
		return false
	}
	for _, pair := range pairs {
		if hcl.ExprAsKeyword(pair.Key) != "aws" || hcl.ExprAsKeyword(pair.Value) != "aws" {
			return false
		}
	}
	return true
}
