package modules_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"berth/modules"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

const root = ".."

func TestEmbeddedModuleIsTheModule(t *testing.T) {
	embedded, err := fs.Glob(modules.FS, "ecr/*")
	if err != nil {
		t.Fatal(err)
	}
	onDisk, err := filepath.Glob("ecr/*.tf")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(embedded, onDisk) {
		t.Errorf("embedded %q, on disk %q", embedded, onDisk)
	}
	if !slices.Contains(embedded, "ecr/variables.tf") {
		t.Errorf("no ecr/variables.tf among %q", embedded)
	}
}

// TestInterfaceIsTheSeeds compares the module's inputs, defaults and outputs with the two tables of the seed document.
func TestInterfaceIsTheSeeds(t *testing.T) {
	seed := read(t, root, "docs/seed.md")
	variables := blocks(t, "ecr/variables.tf", "variable")
	outputs := blocks(t, "ecr/outputs.tf", "output")

	wantInputs := rows(section(seed, "## Inputs"))
	if got, want := keys(variables), firsts(wantInputs); !slices.Equal(got, want) {
		t.Errorf("inputs are %q, the seed has %q", got, want)
	}
	for _, row := range wantInputs {
		name, want := row[0], strings.Trim(row[3], "`")
		attribute, ok := variables[name].Attributes["default"]
		if !ok {
			t.Errorf("%s has no default, the seed says %s", name, want)
			continue
		}
		if got := source(t, "ecr/variables.tf", attribute.Expr.Range()); got != want {
			t.Errorf("%s defaults to %s, the seed says %s", name, got, want)
		}
	}

	if got, want := keys(outputs), firsts(rows(section(seed, "## Outputs"))); !slices.Equal(got, want) {
		t.Errorf("outputs are %q, the seed has %q", got, want)
	}
}

// TestRepositoryDefaultsAreTheSeeds compares the object type of repositories with the seed's Repository Object.
func TestRepositoryDefaultsAreTheSeeds(t *testing.T) {
	text := section(read(t, root, "docs/seed.md"), "### Repository Object")
	declared := source(t, "ecr/variables.tf", blocks(t, "ecr/variables.tf", "variable")["repositories"].Attributes["type"].Expr.Range())

	promised := regexp.MustCompile(`(?m)^  (\w+) += (\S+)`).FindAllStringSubmatch(text, -1)
	if len(promised) != 6 {
		t.Fatalf("the seed's object has %d attributes, read from:\n%s", len(promised), text)
	}
	optional := regexp.MustCompile(`(\w+) += optional\((\w+(?:\(\w+\))?)(?:, (\S+))?\)\n`).FindAllStringSubmatch(declared, -1)
	if len(optional) != len(promised) || strings.Count(declared, "=") != len(promised) {
		t.Fatalf("the module's object differs from the seed's six optional attributes: %s", declared)
	}
	for i, p := range promised {
		want := p[2]
		if want == "null" {
			want = "" // optional without a default
		}
		if optional[i][1] != p[1] || optional[i][3] != want {
			t.Errorf("attribute %d is %s = %q, the seed says %s = %q", i+1, optional[i][1], optional[i][3], p[1], want)
		}
	}
}

func TestReadmesListTheInterface(t *testing.T) {
	for _, c := range []struct{ file, inputs, outputs string }{
		{"ecr/README.md", "## Inputs", "## Outputs"},
		{"ecr/README.vi.md", "## Đầu vào", "## Đầu ra"},
	} {
		t.Run(c.file, func(t *testing.T) {
			text := read(t, c.file)
			if got, want := firsts(rows(section(text, c.inputs))), keys(blocks(t, "ecr/variables.tf", "variable")); !slices.Equal(got, want) {
				t.Errorf("the inputs table lists %q, the module has %q", got, want)
			}
			if got, want := firsts(rows(section(text, c.outputs))), keys(blocks(t, "ecr/outputs.tf", "output")); !slices.Equal(got, want) {
				t.Errorf("the outputs table lists %q, the module has %q", got, want)
			}
		})
	}
}

// TestEnvironmentsHoldTheSeedsProfiles reads the two terraform.tfvars: every repository has the seed's figures for its
// environment, and every input of the module is written down.
func TestEnvironmentsHoldTheSeedsProfiles(t *testing.T) {
	for _, c := range []struct {
		environment, mutability string
		images, days            int64
	}{
		{"dev", "MUTABLE", 20, 3},
		{"production", "IMMUTABLE", 100, 1},
	} {
		t.Run(c.environment, func(t *testing.T) {
			file := filepath.Join(root, "examples/terraform-eks/environments", c.environment, "terraform.tfvars")
			parsed, diags := hclparse.NewParser().ParseHCLFile(file)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			attributes, diags := parsed.Body.JustAttributes()
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if got, want := keys(attributes), keys(blocks(t, "ecr/variables.tf", "variable")); !slices.Equal(got, want) {
				t.Errorf("sets %q, the module's inputs are %q", got, want)
			}
			repositories, diags := attributes["repositories"].Expr.Value(nil)
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if !repositories.Type().HasAttribute("flowise-server") || !repositories.Type().HasAttribute("flowise-ui") {
				t.Errorf("no flowise-server and flowise-ui in %#v", repositories)
			}
			for name, r := range repositories.AsValueMap() {
				for attribute, want := range map[string]cty.Value{
					"image_tag_mutability": cty.StringVal(c.mutability),
					"scan_on_push":         cty.True,
					"max_image_count":      cty.NumberIntVal(c.images),
					"untagged_days":        cty.NumberIntVal(c.days),
				} {
					if got := r.GetAttr(attribute); !got.RawEquals(want) {
						t.Errorf("%s: %s = %#v, want %#v", name, attribute, got, want)
					}
				}
			}
		})
	}
}

// blocks returns the labelled top-level blocks of one type in a configuration file.
func blocks(t *testing.T, file, kind string) map[string]*hclsyntax.Body {
	t.Helper()
	parsed, diags := hclparse.NewParser().ParseHCLFile(file)
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	found := map[string]*hclsyntax.Body{}
	for _, b := range parsed.Body.(*hclsyntax.Body).Blocks {
		if b.Type == kind {
			found[b.Labels[0]] = b.Body
		}
	}
	return found
}

func source(t *testing.T, file string, at hcl.Range) string {
	t.Helper()
	return string(at.SliceBytes([]byte(read(t, file))))
}

// section returns the text under a heading, up to the next heading of any level.
func section(text, heading string) string {
	_, rest, found := strings.Cut("\n"+text, "\n"+heading+"\n")
	if !found {
		return ""
	}
	body, _, _ := strings.Cut(rest, "\n#")
	return body
}

// rows returns the cells of a Markdown table, without its head.
func rows(text string) [][]string {
	var table [][]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		table = append(table, cells)
	}
	if len(table) < 2 {
		return nil
	}
	return table[2:]
}

// firsts returns the sorted first cells, without code marks.
func firsts(table [][]string) []string {
	var names []string
	for _, row := range table {
		names = append(names, strings.Trim(row[0], "`"))
	}
	slices.Sort(names)
	return names
}

func keys[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
