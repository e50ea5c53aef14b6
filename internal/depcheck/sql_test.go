package depcheck

import (
	"go/ast"
	"go/token"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var statement = regexp.MustCompile(`(?i)^\s*(SELECT|INSERT|UPDATE|DELETE|WITH|ALTER|PRAGMA)\b`)

// fragments are what may stand between the literals of a statement: constants of this package, and names of tables and
// columns from its own lists. Nothing of them comes from a request.
var fragments = []string{
	"table", "column", "order", "t.Name", "placeholders", "strings.Join", "overriding", "blobFacts", "blobReturning",
	"where", "f.where", "types", "statusIs", "status", "level", // built of literals and placeholders in the same file
}

// TestStatementsAreConstants: no SQL is made of texts of requests (CVE-2019-19026, CVE-2019-19029 and CVE-2024-22261 of
// Harbor). Values go through placeholders.
func TestStatementsAreConstants(t *testing.T) {
	seen := 0
	for _, f := range sources(t) {
		if f.test || !within(f.pkg, "internal") || strings.HasSuffix(f.pkg, "test") {
			continue
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				parts := operands(n)
				if !startsStatement(parts[0]) {
					return true
				}
				seen++
				for _, p := range parts[1:] {
					if name := fragment(p); name != "" && !strings.HasSuffix(name, "Columns") && !slices.Contains(fragments, name) && !constant(f.syntax, name) {
						t.Errorf("%s: a statement is made of %s: pass values through placeholders", f.path, name)
					}
				}
				return false
			case *ast.CallExpr:
				if called := fragment(n.Fun); (called == "fmt.Sprintf" || called == "fmt.Sprint") && len(n.Args) > 0 && startsStatement(n.Args[0]) {
					t.Errorf("%s: a statement is made by %s: pass values through placeholders", f.path, called)
				}
			}
			return true
		})
	}
	if seen < 50 {
		t.Errorf("%d statements were found, so this test reads the code wrong", seen)
	}
}

// operands are the terms of a sum, from left to right.
func operands(e ast.Expr) []ast.Expr {
	if b, ok := e.(*ast.BinaryExpr); ok && b.Op == token.ADD {
		return append(operands(b.X), operands(b.Y)...)
	}
	return []ast.Expr{e}
}

func startsStatement(e ast.Expr) bool {
	l, ok := e.(*ast.BasicLit)
	return ok && l.Kind == token.STRING && statement.MatchString(strings.Trim(l.Value, "`\""))
}

// fragment names an expression that is no literal.
func fragment(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		return ""
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return fragment(e.X) + "." + e.Sel.Name
	case *ast.CallExpr:
		return fragment(e.Fun)
	}
	return "an expression"
}

// constant tells whether a file declares a constant of that name.
func constant(f *ast.File, name string) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		d, ok := n.(*ast.GenDecl)
		if !ok || d.Tok != token.CONST {
			return true
		}
		for _, spec := range d.Specs {
			for _, declared := range spec.(*ast.ValueSpec).Names {
				found = found || declared.Name == name
			}
		}
		return true
	})
	return found
}
