package depcheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// file is one Go source file of the module.
type file struct {
	path      string // slash-separated, from the root of the repository
	pkg       string // the directory: "internal/registry"
	test      bool   // ends in _test.go
	generated bool   // carries the mark of generated code
	lines     int
	syntax    *ast.File
	fset      *token.FileSet
}

const root = "../.."

// skipDirs are not source of this module: hidden directories, what tools download, the tools' own module.
func skipDir(name string) bool {
	return strings.HasPrefix(name, ".") && name != "." && name != ".ci" || name == "testdata" || name == "tools"
}

// walk calls visit with every ordinary file of the repository.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		switch {
		case entry.IsDir() && name != "." && skipDir(entry.Name()) && filepath.ToSlash(name) != "test/tools":
			return filepath.SkipDir
		case entry.Type().IsRegular():
			visit(filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses every Go file of the module.
func sources(t *testing.T) []file {
	t.Helper()
	fset := token.NewFileSet()
	var files []file
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") {
			return
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		syntax, err := parser.ParseFile(fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("parse: %v", err)
			return
		}
		files = append(files, file{
			path: name, pkg: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			generated: ast.IsGenerated(syntax), lines: strings.Count(string(data), "\n"), syntax: syntax, fset: fset,
		})
	})
	if len(files) == 0 {
		t.Fatal("no Go file was found")
	}
	return files
}

// imports returns the import paths of a file.
func (f file) imports(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, spec := range f.syntax.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatalf("%s: import %s: %v", f.path, spec.Path.Value, err)
		}
		paths = append(paths, p)
	}
	return paths
}

// within tells whether pkg is tree or lies below it.
func within(pkg, tree string) bool { return pkg == tree || strings.HasPrefix(pkg, tree+"/") }
