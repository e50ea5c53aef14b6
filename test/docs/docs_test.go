package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestLinks follows every link that stays in the tree, with its fragment.
func TestLinks(t *testing.T) {
	all := map[string]document{}
	for _, d := range documents(t) {
		all[d.path] = d
	}
	if len(all) < 10 {
		t.Fatalf("only %d documents found: is %s the top of the tree?", len(all), root)
	}
	for _, d := range all {
		for _, l := range d.links {
			u, err := url.Parse(l.target)
			if err != nil {
				t.Errorf("%s:%d: %v", d.path, l.line, err)
				continue
			}
			if u.Scheme != "" {
				continue
			}
			target := d.path
			if u.Path != "" {
				target = path.Join(path.Dir(d.path), u.Path)
			}
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(target))); err != nil {
				t.Errorf("%s:%d: the link %s leads nowhere", d.path, l.line, l.target)
				continue
			}
			if to, ok := all[target]; u.Fragment != "" && (!ok || !to.anchors()[u.Fragment]) {
				t.Errorf("%s:%d: %s has no heading for the link %s", d.path, l.line, target, l.target)
			}
		}
	}
}

// TestTranslations compares each Vietnamese document with its original: what need not be translated is the same.
func TestTranslations(t *testing.T) {
	for _, tt := range []struct {
		english, vietnamese string
		code                func(block) string // what of a block must be the same
	}{
		{"README.md", "README.vi.md", func(b block) string { return b.text }},
		{"modules/ecr/README.md", "modules/ecr/README.vi.md", withoutComments},
	} {
		t.Run(tt.vietnamese, func(t *testing.T) {
			en, vi := read(t, tt.english), read(t, tt.vietnamese)
			compare(t, "headings", en.headings, vi.headings, func(h heading) string { return strings.Repeat("#", h.level) })
			compare(t, "tables", en.tables, vi.tables, shape)
			compare(t, "blocks of code", en.blocks, vi.blocks, func(b block) string { return b.language + "\n" + tt.code(b) })
			compare(t, "links", sorted(en.links), sorted(vi.links), func(s string) string { return s })
		})
	}
}

// compare tells the first difference of two lists as seen through a function.
func compare[T any](t *testing.T, what string, en, vi []T, see func(T) string) {
	t.Helper()
	for i := range min(len(en), len(vi)) {
		if e, v := see(en[i]), see(vi[i]); e != v {
			t.Errorf("%s: number %d differs: %q, translated %q", what, i+1, e, v)
			return
		}
	}
	if len(en) != len(vi) {
		t.Errorf("%s: %d, translated %d", what, len(en), len(vi))
	}
}

// shape is the number of rows and columns, and which cells are empty.
func shape(tb table) string {
	var b strings.Builder
	for _, row := range tb {
		for _, cell := range row {
			if cell == "" {
				b.WriteString("| ")
			} else {
				b.WriteString("|x")
			}
		}
		b.WriteString("|\n")
	}
	return b.String()
}

var (
	comment = regexp.MustCompile(`(^|\s+)#.*`)
	blanks  = regexp.MustCompile(`[ \t]+`)
)

// withoutComments leaves the code, since comments are translated.
func withoutComments(b block) string {
	var out []string
	for line := range strings.Lines(b.text) {
		line = strings.TrimSpace(blanks.ReplaceAllString(comment.ReplaceAllString(line, ""), " "))
		if line != "" {
			out = append(out, line)
		}
	}
	return strings.Join(out, "\n")
}

// sorted lists the targets of links without what differs between languages: fragments, and which README is meant.
func sorted(links []link) (out []string) {
	for _, l := range links {
		target, _, _ := strings.Cut(l.target, "#")
		target = strings.Replace(target, "README.vi.md", "README.md", 1)
		out = append(out, strings.TrimSuffix(strings.TrimSuffix(target, "README.md"), "/"))
	}
	slices.Sort(out)
	return out
}

// TestOperationCount holds the number of operations that the README gives to the table of routes.
func TestOperationCount(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "internal/ecrapi/routes.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	routes := 0
	ast.Inspect(file, func(n ast.Node) bool {
		if f, ok := n.(*ast.FuncDecl); ok && f.Name.Name != "routes" {
			return false
		}
		if table, ok := n.(*ast.CompositeLit); ok {
			routes = len(table.Elts)
			return false
		}
		return true
	})
	if routes == 0 {
		t.Fatal("internal/ecrapi/routes.go has no table of routes in its function routes")
	}
	for document, claim := range map[string]string{
		"README.md":    `the (\d+) that these need`,
		"README.vi.md": `(\d+) operation mà`,
	} {
		m := regexp.MustCompile(claim).FindStringSubmatch(strings.Join(read(t, document).lines, "\n"))
		if m == nil {
			t.Errorf("%s does not say how many operations there are: it should match %q", document, claim)
		} else if m[1] != strconv.Itoa(routes) {
			t.Errorf("%s says %s operations, the table of routes has %d", document, m[1], routes)
		}
	}
}

// TestLibraries checks that the libraries that the design explains are in use.
func TestLibraries(t *testing.T) {
	imported := imports(t)
	libraries := 0
	for _, tb := range read(t, "docs/design.md").tables {
		if tb[0][0] != "library" {
			continue
		}
		for _, row := range tb[2:] {
			for name := range strings.FieldsSeq(row[0]) {
				name = strings.Trim(name, ",;")
				if !strings.Contains(name, ".") {
					continue
				}
				libraries++
				if !slices.ContainsFunc(imported, func(i string) bool { return i == name || strings.HasPrefix(i, name+"/") }) {
					t.Errorf("docs/design.md lists %s, which nothing imports", name)
				}
			}
		}
	}
	if libraries == 0 {
		t.Error("docs/design.md has no table of libraries")
	}
}

// imports lists what the Go files of the tree import.
func imports(t *testing.T) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, i := range file.Imports {
			out = append(out, strings.Trim(i.Path.Value, `"`))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
