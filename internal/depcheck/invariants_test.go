package depcheck

import (
	"fmt"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// row is one line of the table in docs/invariants.md.
type row struct {
	number          string
	proved, planned []string
}

var quoted = regexp.MustCompile("`([^`]+)`")

// invariants reads the table. Under "Proved by" it takes only names with a Test or Fuzz function in them, so that a
// remark may quote code.
func invariants(text string) ([]row, error) {
	var rows []row
	for line := range strings.Lines(text) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 3 || strings.Trim(cells[1], " -#") == "" {
			continue
		}
		if len(cells) != 6 {
			return nil, fmt.Errorf("row %s has %d cells, want 4", cells[1], len(cells)-2)
		}
		r := row{number: strings.TrimSpace(cells[1])}
		for _, name := range quoted.FindAllStringSubmatch(cells[3], -1) {
			if _, function := splitTest(name[1]); strings.HasPrefix(function, "Test") || strings.HasPrefix(function, "Fuzz") {
				r.proved = append(r.proved, name[1])
			}
		}
		for _, name := range quoted.FindAllStringSubmatch(cells[4], -1) {
			r.planned = append(r.planned, name[1])
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// numbered is the form of a test that proves one invariant; the number is the row's.
var numbered = regexp.MustCompile(`^TestInvariant[0-9]`)

func prefix(number int) string { return fmt.Sprintf("TestInvariant%02d_", number) }

// splitTest splits "internal/blob/file.TestSuite" into the package's directory and the function.
func splitTest(name string) (dir, function string) {
	i := strings.LastIndexByte(name, '.')
	return name[:max(i, 0)], name[i+1:]
}

func TestInvariantsNameRealTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "invariants.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := invariants(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 12 {
		t.Fatalf("docs/invariants.md lists %d invariants, docs/design.md section 4 has 12", len(rows))
	}
	tests, functions := testFunctions(t)
	listed := map[string]bool{}
	for i, r := range rows {
		if want := fmt.Sprint(i + 1); r.number != want {
			t.Errorf("row %d is numbered %s", i+1, r.number)
		}
		if len(r.proved)+len(r.planned) == 0 {
			t.Errorf("invariant %s names no test", r.number)
		}
		for _, name := range r.proved {
			if _, function := splitTest(name); strings.HasPrefix(function, prefix(i+1)) {
				listed[name] = true
			}
			if !tests[name] {
				t.Errorf("invariant %s: %s does not exist", r.number, name)
			}
		}
		for _, name := range r.planned {
			if pkg, exists := functions[name]; exists {
				t.Errorf("invariant %s: %s exists in %s: move it to \"Proved by\" as %s", r.number, name, pkg, pkg+"."+name)
			}
			if want := prefix(i + 1); !strings.HasPrefix(name, want) {
				t.Errorf("invariant %s: the planned test %s is not named %s…", r.number, name, want)
			}
		}
	}
	for name := range tests {
		_, function := splitTest(name)
		if numbered.MatchString(function) && !listed[name] {
			t.Errorf("%s proves an invariant, and that row of docs/invariants.md does not name it", name)
		}
	}
}

// testFunctions are the tests of the module: by directory and function, and the
// directory of each function.
func testFunctions(t *testing.T) (tests map[string]bool, functions map[string]string) {
	t.Helper()
	tests, functions = map[string]bool{}, map[string]string{}
	for _, f := range sources(t) {
		for _, declaration := range f.syntax.Decls {
			if fn, ok := declaration.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				tests[f.pkg+"."+fn.Name.Name] = true
				functions[fn.Name.Name] = f.pkg
			}
		}
	}
	return tests, functions
}

func TestNeverAgainNamesRealTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "never-again.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows, err := invariants(string(text))
	if err != nil || len(rows) == 0 {
		t.Fatal(len(rows), err)
	}
	tests, functions := testFunctions(t)
	for i, r := range rows {
		if want := fmt.Sprint(i + 1); r.number != want {
			t.Errorf("row %d is numbered %s", i+1, r.number)
		}
		if len(r.proved) == 0 {
			t.Errorf("row %s names no test", r.number)
		}
		for _, name := range r.proved {
			if !tests[name] {
				t.Errorf("row %s: %s does not exist", r.number, name)
			}
		}
		for _, name := range r.planned {
			if pkg, exists := functions[name]; exists {
				t.Errorf("row %s: %s exists in %s: move it to \"Proved by\"", r.number, name, pkg)
			}
		}
	}
}

// TestThreatsNameRealTests holds the threat model of SECURITY.md to what is there.
func TestThreatsNameRealTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests, _ := testFunctions(t)
	n := 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) < 3 || strings.Trim(cells[1], " -#") == "" {
			continue
		}
		n++
		number := strings.TrimSpace(cells[1])
		if len(cells) != 6 || number != fmt.Sprint(n) {
			t.Errorf("row %s has %d cells and should be row %d with 4", number, len(cells)-2, n)
			continue
		}
		proofs := quoted.FindAllStringSubmatch(cells[4], -1)
		if len(proofs) == 0 {
			t.Errorf("row %s names no test", number)
		}
		for _, name := range proofs {
			if !tests[name[1]] {
				t.Errorf("row %s: %s does not exist", number, name[1])
			}
		}
	}
	if n < 28 {
		t.Errorf("the threat model has %d rows; 28 are known, so this test reads it wrong or rows are gone", n)
	}
}

func TestInvariantTableIsRead(t *testing.T) {
	rows, err := invariants("text | no row\n| # | Invariant | Proved by | Planned |\n|---|---|---|---|\n" +
		"| 1 | bold | `a/b.TestX`, `go list`, `a.FuzzY` (`z`) | `TestInvariantZ` |\n")
	if err != nil || len(rows) != 1 || fmt.Sprint(rows[0].proved, rows[0].planned) != "[a/b.TestX a.FuzzY] [TestInvariantZ]" {
		t.Errorf("rows = %+v, %v", rows, err)
	}
	if _, err := invariants("| 1 | a | b |\n"); err == nil {
		t.Error("a row with three cells is taken")
	}
}
