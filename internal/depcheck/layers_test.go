package depcheck

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// layer is a set of package trees that may import only what stands in layers below it, and within each tree itself.
// Two trees of one layer do not know each other.
type layer struct {
	name  string
	trees []string
}

// layers draws docs/design.md section 3 from the ground up. A tree that does not exist yet keeps its place. The
// longest matching tree counts, so internal/blob/file may stand higher than internal/blob.
var layers = []layer{
	{"what a thing is and which rules it has: contracts and pure functions", []string{
		"internal/access", "internal/blob", "internal/cost", "internal/dial", "internal/ecr", "internal/kms", "internal/lifecycle", "internal/manifest",
		"internal/meta",
	}},
	{"bytes and rows: implementations of the contracts, and what is made of both", []string{
		"internal/blob/file", "internal/blob/s3", "internal/blob/cold", "internal/blob/blobtest",
		"internal/meta/sqlite", "internal/meta/postgres", "internal/meta/metatest",
		"internal/kms/keyring", "internal/kms/local", "internal/kms/aws", "internal/kms/vault",
		"internal/collect", "internal/iam", "internal/oidc", "internal/seal", "internal/secrets", "internal/trail", "internal/upload", "internal/upstream",
	}},
	{"what looks after bytes and rows, and what logs in elsewhere", []string{"internal/audit", "internal/upstream/ecrlogin"}},
	{"the domain: every rule once, for both doors", []string{"internal/registry"}},
	{"background work", []string{"internal/event", "internal/replicate", "internal/scan", "internal/pullthrough"}},
	{"what doors share", []string{"internal/awsjson"}},
	{"the doors", []string{"internal/console", "internal/ecrapi", "internal/iamapi", "internal/kmsapi", "internal/ociapi", "internal/secretsapi"}},
	{"the wiring", []string{"internal/server"}},
	{"the command", []string{"cmd/berth"}},
}

// island is a tree that stands beside the layers: it imports nothing of ours but itself and what is listed, and
// only the layers listed may import it.
type island struct {
	tree    string
	imports []string // our packages that it may import
	usedBy  []string // trees that may import it; tests always may
	why     string
}

var islands = []island{
	{"modules", nil, []string{"cmd/berth", "internal/module"}, "the Terraform module's own files, embedded"},
	{"internal/module", []string{"modules"}, []string{"cmd/berth"},
		"the native engine speaks only the ECR API, so that it works against AWS itself"},
	{"internal/impact", []string{"internal/cost"}, []string{"cmd/berth"}, "what a plan does to images, of AWS or of Berth"},
	{"internal/findings", nil, []string{"cmd/berth"}, "what the ECR API said about an image, of AWS or of Berth"},
	{"internal/login", nil, []string{"cmd/berth"}, "a client of the registry, as docker's own helpers are"},
	{"internal/gen", nil, nil, "code generators, run by go generate"},
	{"internal/server/servertest", []string{"internal/server"}, []string{"test"}, "a running server for tests"},
	{"internal/module/ecrtest", nil, nil, "an ECR for the engine's tests"},
	{"internal/ecr/ecrtest", []string{"internal/ecr"}, []string{"test"}, "values of the service model, right and wrong, for tests"},
	{"internal/testkit", nil, []string{"test"}, "only tests may link it"},
	{"internal/depcheck", nil, nil, "only tests"},
	{"test", []string{"internal/testkit", "internal/server"}, nil, "only tests"},
	{"test/bench", []string{"internal/meta"}, nil, "measures any registry from outside, and only fills a database faster than pushes can"},
	{"examples", nil, nil, "configurations that users copy"},
}

// forbidden lists imports that a tree may not have although the layers would allow them. "net/http" stands for all of
// it but the status codes: numbers of the protocol are facts, and the one table of errors holds them.
var forbidden = []struct {
	trees, imports []string
	why            string
	except         []string // trees within that may all the same
}{
	{
		[]string{"internal/cost", "internal/impact", "internal/lifecycle", "internal/manifest", "internal/access/policy", "internal/access/token", "internal/access/webidentity", "internal/module/plan", "internal/module/desired"},
		[]string{"os", "os/exec", "net", "net/http", "database/sql", "syscall", "log", "log/slog", "io/ioutil"},
		"pure: the same input gives the same answer, and a preview can write nothing", nil,
	},
	{
		[]string{"internal/registry", "internal/upload", "internal/collect", "internal/audit", "internal/blob", "internal/meta", "internal/ecr",
			"internal/kms/envelope", "internal/kms/keyring", "internal/kms/local"},
		[]string{"net/http", "net/http/httptest", "net/http/httputil"},
		"no HTTP below the doors", []string{"internal/blob/s3"}, // where it is the way to the bytes
	},
	{
		[]string{"internal/audit", "internal/registry", "internal/ecrapi", "internal/ociapi", "internal/iamapi", "internal/kmsapi", "internal/console",
			"internal/kms"},
		[]string{"database/sql"},
		"no SQL outside the metadata store", nil,
	},
	{
		[]string{"internal/access/sigv4"},
		[]string{"os", "os/exec", "database/sql", "syscall"},
		"a request is judged by what it says, nothing else", nil,
	},
}

// place returns the layer's index of a package, or -1 and its island, or -1 and nil.
func place(pkg string) (level int, tree string, isle *island) {
	level = -1
	for i, l := range layers {
		for _, candidate := range l.trees {
			if within(pkg, candidate) && len(candidate) > len(tree) {
				level, tree, isle = i, candidate, nil
			}
		}
	}
	for i := range islands {
		if candidate := islands[i].tree; within(pkg, candidate) && len(candidate) > len(tree) {
			level, tree, isle = -1, candidate, &islands[i]
		}
	}
	return level, tree, isle
}

// mayImport tells why one of our packages may not import another, or "".
func mayImport(from, to string) string {
	fromLevel, fromTree, fromIsle := place(from)
	toLevel, toTree, toIsle := place(to)
	switch {
	case toTree == "":
		return "which has no place in layers_test.go"
	case fromTree == toTree:
		return ""
	case fromIsle != nil:
		if slices.ContainsFunc(fromIsle.imports, func(tree string) bool { return within(to, tree) }) {
			return ""
		}
		return "but " + fromIsle.tree + " stands alone: " + fromIsle.why
	case toIsle != nil:
		if slices.ContainsFunc(toIsle.usedBy, func(tree string) bool { return within(from, tree) }) {
			return ""
		}
		return "but only " + strings.Join(toIsle.usedBy, ", ") + " may: " + toIsle.why
	case fromLevel < toLevel:
		return "but imports point downwards: " + toTree + " belongs to " + layers[toLevel].name
	case fromLevel == toLevel:
		return "but both belong to " + layers[toLevel].name
	}
	return ""
}

func TestEveryPackageHasItsPlace(t *testing.T) {
	for _, f := range sources(t) {
		if _, tree, _ := place(f.pkg); tree == "" {
			t.Errorf("%s: the package has no place in internal/depcheck/layers_test.go: add it, and draw it in docs/design.md section 3", f.path)
		}
	}
}

func TestImportsPointDownwards(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || strings.HasSuffix(f.pkg, "test") {
			continue // tests may wire what they like; the product links none of it, see TestTestCodeIsNotLinked
		}
		for _, imported := range f.imports(t) {
			to, ours := strings.CutPrefix(imported, "berth/")
			if !ours {
				continue
			}
			if why := mayImport(f.pkg, to); why != "" {
				t.Errorf("%s imports %s, %s", f.path, to, why)
			}
		}
	}
}

func TestForbiddenImports(t *testing.T) {
	for _, f := range sources(t) {
		if f.test || strings.HasSuffix(f.pkg, "test") {
			continue
		}
		for _, rule := range forbidden {
			covers := func(tree string) bool { return within(f.pkg, tree) }
			if !slices.ContainsFunc(rule.trees, covers) || slices.ContainsFunc(rule.except, covers) {
				continue
			}
			for _, imported := range f.imports(t) {
				if !slices.Contains(rule.imports, imported) || imported == "net/http" && onlyStatusCodes(f.syntax) {
					continue
				}
				if imported == "database/sql" && within(f.pkg, "internal/meta") {
					continue
				}
				t.Errorf("%s imports %s, but %s", f.path, imported, rule.why)
			}
		}
	}
}

// onlyStatusCodes tells whether a file uses nothing of net/http but the Status constants.
func onlyStatusCodes(syntax *ast.File) bool {
	only := true
	ast.Inspect(syntax, func(node ast.Node) bool {
		if selector, ok := node.(*ast.SelectorExpr); ok {
			if pkg, ok := selector.X.(*ast.Ident); ok && pkg.Name == "http" && !strings.HasPrefix(selector.Sel.Name, "Status") {
				only = false
			}
		}
		return only
	})
	return only
}

// TestRulesCatchViolations keeps the checker itself honest.
func TestRulesCatchViolations(t *testing.T) {
	for _, c := range []struct {
		from, to string
		allowed  bool
	}{
		{"internal/registry", "internal/meta", true},
		{"internal/registry", "internal/ociapi", false},
		{"internal/registry", "internal/scan", false},
		{"internal/ociapi", "internal/ecrapi", false},
		{"internal/blob/file", "internal/blob", true},
		{"internal/blob", "internal/blob/file", false},
		{"internal/access/policy", "internal/access", true},
		{"internal/access", "internal/access/policy", true},
		{"internal/lifecycle", "internal/meta", false},
		{"internal/module/apply", "internal/module/plan", true},
		{"internal/module", "internal/registry", false},
		{"internal/module", "internal/meta", false},
		{"internal/module", "internal/blob", false},
		{"internal/module/apply", "internal/ecr", false},
		{"internal/server", "internal/module", false},
		{"internal/server", "internal/blob/s3", true},
		{"internal/server", "internal/testkit", false},
		{"cmd/berth", "internal/module", true},
		{"cmd/berth", "internal/server", true},
		{"internal/meta", "cmd/berth", false},
		{"internal/registry", "internal/unheardof", false},
	} {
		if why := mayImport(c.from, c.to); (why == "") != c.allowed {
			t.Errorf("%s importing %s: allowed=%t (%s), want %t", c.from, c.to, why == "", why, c.allowed)
		}
	}
}
