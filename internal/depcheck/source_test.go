package depcheck

import (
	"go/ast"
	"go/build/constraint"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// maxLines is how long a file of Go may be that people write.
const maxLines = 600

func TestFilesAreShort(t *testing.T) {
	for _, f := range sources(t) {
		if !f.generated && f.lines > maxLines {
			t.Errorf("%s has %d lines, more than %d: split it by what it is about", f.path, f.lines, maxLines)
		}
	}
}

// TestNoInitAndNoBuildTags: wiring is explicit, and there is one program, not one per combination of tags. File name
// suffixes such as _windows.go stay allowed for what only one system has.
func TestNoInitAndNoBuildTags(t *testing.T) {
	for _, f := range sources(t) {
		for _, declaration := range f.syntax.Decls {
			if fn, ok := declaration.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init hides wiring: call it from where it is needed", f.fset.Position(fn.Pos()))
			}
		}
		for _, group := range f.syntax.Comments {
			for _, comment := range group.List {
				if constraint.IsGoBuild(comment.Text) && comment.Pos() < f.syntax.Package && !onlySystems(comment.Text) {
					t.Errorf("%s: features are not chosen by build tags: %s", f.fset.Position(comment.Pos()), comment.Text)
				}
			}
		}
	}
}

// onlySystems tells whether a build constraint speaks of operating systems only.
func onlySystems(text string) bool {
	expression, err := constraint.Parse(text)
	if err != nil {
		return false
	}
	only := true
	expression.Eval(func(tag string) bool {
		switch tag {
		case "unix", "linux", "darwin", "windows", "freebsd", "openbsd", "netbsd":
		default:
			only = false
		}
		return true
	})
	// Eval stops early at "or", so look at the other side as well.
	expression.Eval(func(tag string) bool {
		switch tag {
		case "unix", "linux", "darwin", "windows", "freebsd", "openbsd", "netbsd":
		default:
			only = false
		}
		return false
	})
	return only
}

// machinePath finds absolute paths that exist on one machine only. Its own text is written so that it does not match.
var machinePath = regexp.MustCompile(`/(?:root/(?:go|\.cache|\.pyenv)|work/(?:main|shared)|home/[a-z]+/(?:go|src|work)|Users/[A-Za-z]+)(?:/|\b)`)

func TestNoPathsOfOneMachine(t *testing.T) {
	for text, want := range map[string]bool{
		"see /work" + "/main/go.mod": true, "/root" + "/go/pkg": true, "/home" + "/ann/src/x": true,
		"/var/lib/berth": false, "framework/mainline": false, "$HOME/go": false, "/root" + "/.docker/config.json": false,
	} {
		if machinePath.MatchString(text) != want {
			t.Errorf("the pattern on %q: %t, want %t", text, !want, want)
		}
	}
	walk(t, func(name string) {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 4<<20 || strings.ContainsRune(string(data[:min(len(data), 8000)]), 0) {
			return // not text
		}
		for i, line := range strings.Split(string(data), "\n") {
			if found := machinePath.FindString(line); found != "" {
				t.Errorf("%s:%d: %s is a path of one machine", name, i+1, found)
			}
		}
	})
}

// TestChangeFragmentsCanBeReleased: a release is no moment to find that somebody's fragment has no kind.
func TestChangeFragmentsCanBeReleased(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(root, "changes", "unreleased", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if filepath.Base(name) == "TEMPLATE" {
			continue
		}
		if filepath.Ext(name) != ".md" {
			t.Errorf("%s: a fragment's name ends in .md, else no release takes it", name)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		kind, text, _ := strings.Cut(string(data), "\n")
		switch kind {
		case "Added", "Changed", "Fixed", "Removed", "Security":
		default:
			t.Errorf("%s begins with %q: the first line is Added, Changed, Fixed, Removed or Security", name, kind)
		}
		if strings.TrimSpace(text) == "" {
			t.Errorf("%s has no text", name)
		}
	}
}
