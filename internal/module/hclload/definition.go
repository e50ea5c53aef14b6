package hclload

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Inputs that the ECR module has, and the attributes of its two object types. The definition of a module may have
// fewer attributes; one that has more is understood as long as nobody uses the others.
var (
	moduleInputs = []string{
		"repositories", "encryption_type", "kms_key_arn", "force_delete", "common_tags", "pull_through_cache_rules",
	}
	objectAttributes = map[string][]string{
		"repositories": {
			"image_tag_mutability", "scan_on_push", "max_image_count", "untagged_days", "repository_policy", "tags",
		},
		"pull_through_cache_rules": {
			"upstream_registry_url", "credential_arn", "custom_role_arn", "upstream_repository_prefix",
		},
	}
)

// definition is the ECR module as its source declares it: types, defaults and validations of its inputs.
type definition struct {
	origin    string // where it was read, for messages
	variables map[string]*variable
	locals    map[string]*hcl.Attribute
	checks    []check
	differs   bool // its resources differ from those of the module that this program was built with
}

// loadDefinition reads the module at source, a path relative to dir. A path that does not exist but is that of the
// ECR module falls back to the module inside the program, so that a single .tf file is enough.
func loadDefinition(dir, sourcePath string, at hcl.Range, builtin fs.FS) (*definition, hcl.Diagnostics) {
	if !strings.HasPrefix(sourcePath, "./") && !strings.HasPrefix(sourcePath, "../") && sourcePath != "." && sourcePath != ".." {
		return nil, hcl.Diagnostics{problem(at, "module source %q is not a local path: only the ECR module can be applied natively, with a source such as \"./modules/ecr\"; use terraform for other modules", sourcePath)}
	}
	local := filepath.Join(dir, filepath.FromSlash(sourcePath))
	files, err := readModule(local)
	switch {
	case errors.Is(err, fs.ErrNotExist) && strings.HasSuffix(path.Clean(sourcePath), "modules/ecr") && builtin != nil:
		return builtinDefinition(builtin, at)
	case errors.Is(err, fs.ErrNotExist):
		return nil, hcl.Diagnostics{problem(at, "module source %q does not exist: there is no directory %s", sourcePath, local)}
	case err != nil:
		return nil, hcl.Diagnostics{problem(at, "module source %q cannot be read: %v", sourcePath, err)}
	}
	def, diags := decodeDefinition(files, local, at)
	if def != nil && builtin != nil {
		own, err := readBuiltin(builtin)
		if err != nil {
			return nil, append(diags, problem(at, "the built-in module cannot be read: %v", err))
		}
		def.differs = resourcesDiffer(files, own)
	}
	return def, diags
}

func builtinDefinition(builtin fs.FS, at hcl.Range) (*definition, hcl.Diagnostics) {
	files, err := readBuiltin(builtin)
	if err != nil {
		return nil, hcl.Diagnostics{problem(at, "the built-in module cannot be read: %v", err)}
	}
	return decodeDefinition(files, "built-in modules/ecr", at)
}

// readModule reads the *.tf files of a directory.
func readModule(dir string) ([]source, error) {
	d, err := readDirectory(dir)
	if err != nil {
		return nil, err
	}
	return d.config, nil
}

// readBuiltin reads ecr/*.tf of the file system that travels inside the program.
func readBuiltin(builtin fs.FS) ([]source, error) {
	matches, err := fs.Glob(builtin, "ecr/*.tf")
	if err != nil {
		return nil, err
	}
	if len(matches) == 0 {
		return nil, fmt.Errorf("it has no ecr/*.tf files")
	}
	var files []source
	for _, name := range matches {
		body, err := fs.ReadFile(builtin, name)
		if err != nil {
			return nil, err
		}
		files = append(files, source{"modules/" + name, body})
	}
	return files, nil
}

// resourcesDiffer compares the files of two copies of the module by name and bytes, except variables.tf, which the
// engine follows, and what cannot change the resources.
func resourcesDiffer(a, b []source) bool {
	index := func(files []source) map[string][]byte {
		m := map[string][]byte{}
		for _, f := range files {
			switch name := filepath.Base(f.name); name {
			case "variables.tf", "versions.tf", "checks.tf":
			default:
				m[name] = f.body
			}
		}
		return m
	}
	x, y := index(a), index(b)
	if len(x) != len(y) {
		return true
	}
	for name, body := range x {
		if other, ok := y[name]; !ok || !bytes.Equal(body, other) {
			return true
		}
	}
	return false
}

var definitionSchema = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "variable", LabelNames: []string{"name"}},
	{Type: "resource", LabelNames: []string{"type", "name"}},
	{Type: "locals"},
	{Type: "check", LabelNames: []string{"name"}},
}}

// decodeDefinition reads the variables of a module and makes sure that it is the ECR module.
func decodeDefinition(files []source, origin string, at hcl.Range) (*definition, hcl.Diagnostics) {
	def := &definition{origin: origin, variables: map[string]*variable{}, locals: map[string]*hcl.Attribute{}}
	var diags hcl.Diagnostics
	repositories := false
	for _, f := range files {
		parsed, more := parseHCL(f)
		diags = append(diags, more...)
		if more.HasErrors() {
			continue
		}
		content, _, more := parsed.Body.PartialContent(definitionSchema)
		diags = append(diags, more...)
		for _, block := range content.Blocks {
			switch block.Type {
			case "resource":
				repositories = repositories || block.Labels[0] == "aws_ecr_repository" && block.Labels[1] == "this"
				continue
			case "locals":
				attrs, more := block.Body.JustAttributes()
				diags = append(diags, more...)
				for name, attr := range attrs {
					def.locals[name] = attr
				}
				continue
			case "check":
				found, more := decodeCheck(block)
				diags = append(diags, more...)
				def.checks = append(def.checks, found...)
				continue
			}
			if _, dup := def.variables[block.Labels[0]]; dup {
				diags = append(diags, problem(block.DefRange, "variable %q is declared twice", block.Labels[0]))
				continue
			}
			v, more := decodeVariable(block)
			diags = append(diags, more...)
			def.variables[v.name] = v
		}
	}
	if diags.HasErrors() {
		return nil, diags
	}
	for _, name := range moduleInputs {
		if _, ok := def.variables[name]; !ok {
			return nil, append(diags, problem(at, "the module at %s is not the ECR module: it declares no variable %q; only that module can be applied natively, use terraform for others", origin, name))
		}
	}
	if !repositories {
		return nil, append(diags, problem(at, "the module at %s is not the ECR module: it has no resource aws_ecr_repository.this; only that module can be applied natively, use terraform for others", origin))
	}
	return def, diags
}

// notUnderstood reports inputs and attributes that the module declares, that are set, and that the native engine does
// not know: to ignore them would apply something else than the module does.
func (d *definition) notUnderstood(values assignments) hcl.Diagnostics {
	var diags hcl.Diagnostics
	for _, name := range names(values) {
		given := values[name]
		if !slices.Contains(moduleInputs, name) {
			diags = append(diags, problem(given.expr.Range(), "input %q of the module at %s is not known to the native engine: leave it out, or use terraform", name, d.origin))
			continue
		}
		attributes, isObject := objectAttributes[name]
		if !isObject || given.value.IsNull() || !given.value.IsKnown() {
			continue
		}
		if ty := given.value.Type(); !ty.IsObjectType() && !ty.IsMapType() {
			continue
		}
		for key, elem := range sortedElements(given.value) {
			if elem.IsNull() || !elem.IsKnown() || (!elem.Type().IsObjectType() && !elem.Type().IsMapType()) {
				continue
			}
			for attr, v := range sortedElements(elem) {
				if slices.Contains(attributes, attr) || v.IsNull() {
					continue
				}
				at := locateName(given.expr, cty.Path{cty.IndexStep{Key: cty.StringVal(key)}, cty.GetAttrStep{Name: attr}})
				diags = append(diags, problem(at, "attribute %q of %s[%q] is declared by the module at %s but not known to the native engine: leave it out, or use terraform", attr, name, key, d.origin))
			}
		}
	}
	return diags
}
