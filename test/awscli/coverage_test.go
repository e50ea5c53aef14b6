package awscli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// newer are operations that no released model of botocore has, so that the aws
// CLI does not know them. internal/ecrapi tests them with AWS's client for Go.
func newer() []string {
	return []string{"DescribeReplicationBackfillResults", "ListReplicationBackfills", "StartReplicationBackfill", "StopReplicationBackfill"}
}

// TestEveryOperationHasStory keeps the stories complete: whoever offers a new
// operation tells what it is for.
func TestEveryOperationHasStory(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories found: %v", err)
	}
	var told strings.Builder
	for _, path := range stories {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		told.Write(text)
	}
	for _, door := range []struct {
		file, table, services string
		least                 int
	}{
		{"../../internal/ecrapi/routes.go", "route", "ecr", 30},
		{"../../internal/iamapi/routes.go", "action", "sts|iam", 70},
	} {
		operations := mapKeys(t, door.file, door.table)
		if len(operations) < door.least {
			t.Errorf("%s: found only %d operations (%v), so this test reads it wrong", door.file, len(operations), operations)
		}
		for _, name := range operations {
			if strings.HasPrefix(name, "Berth") || slices.Contains(newer(), name) {
				continue // operations of our own, and newer ones, which the AWS CLI does not know
			}
			command := regexp.MustCompile(`(?m)^(! )?aws (` + door.services + `) ` + kebab(name) + `( |$)`)
			if !command.MatchString(told.String()) {
				t.Errorf("no story in testdata uses %s (aws %s %s)", name, door.services, kebab(name))
			}
		}
	}
}

// mapKeys lists the keys of the literals of type map[string]elem in a Go file.
func mapKeys(t *testing.T, file, elem string) (keys []string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		literal, ok := n.(*ast.CompositeLit)
		if !ok || !isMapTo(literal.Type, elem) {
			return true
		}
		for _, e := range literal.Elts {
			if pair, ok := e.(*ast.KeyValueExpr); ok {
				if key, ok := pair.Key.(*ast.BasicLit); ok && key.Kind == token.STRING {
					name, err := strconv.Unquote(key.Value)
					if err != nil {
						t.Fatal(err)
					}
					keys = append(keys, name)
				}
			}
		}
		return true
	})
	slices.Sort(keys)
	return keys
}

func isMapTo(e ast.Expr, elem string) bool {
	m, ok := e.(*ast.MapType)
	if !ok {
		return false
	}
	value, ok := m.Value.(*ast.Ident)
	return ok && value.Name == elem
}

// kebab is the name of an operation on the command line: GetDownloadUrlForLayer
// becomes get-download-url-for-layer, ListMFADevices list-mfa-devices.
func kebab(name string) string {
	var b strings.Builder
	upper := func(i int) bool { return name[i] >= 'A' && name[i] <= 'Z' }
	for i, r := range name {
		if i > 0 && upper(i) && (!upper(i-1) || i+1 < len(name) && !upper(i+1)) {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}
