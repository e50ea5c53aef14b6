package terraform_test

import (
	"os"
	"path/filepath"
	"testing"
)

func snippet(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repositoryRoot, "test/fixtures/seed", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// testSeed uses every snippet of the seed document as it is written there, in a root module of its own that has
// nothing else: no provider block, no outputs.
func testSeed(t *testing.T, l *lab) {
	examples := exampleTable(t)
	both := content{
		Repositories: map[string]repository{
			"plain":      repo("plain"),
			"shared-app": repo("shared-app", policy(t, crossAccountPolicy)),
		},
		Rules: examples["pull-through-cache"].content.Rules,
	}
	for _, c := range []struct {
		name, text string
		want       example
	}{
		{"basic", snippet(t, "basic-example.hcl"), examples["basic"]},
		{"advanced", snippet(t, "advanced-example.hcl"), examples["advanced"]},
		{"fragments", "module \"policies\" {\n  source = \"./modules/ecr\"\n\n" + snippet(t, "cross-account-access.hcl") + "}\n" +
			"module \"cache\" {\n  source = \"./modules/ecr\"\n\n" + snippet(t, "pull-through-cache.hcl") + "}\n" +
			"module \"object\" {\n  source       = \"./modules/ecr\"\n  repositories = { plain = " + snippet(t, "repository-object.hcl") + "}\n}\n",
			example{counts: counts{Add: 8}, content: both, warnings: examples["pull-through-cache"].warnings}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := l.newBench(t)
			other := newServer(t)
			b.write("main.tf", c.text)
			b.tf(0, "init")

			applied := b.apply()
			same(t, "counts of terraform apply", applied.counts, c.want.counts)
			for _, want := range c.want.warnings {
				contains(t, "terraform apply's warnings", joined(applied.warnings), want)
			}
			same(t, "registry after terraform apply", read(t, b.server), c.want.content)
			b.converged()

			same(t, "counts of berth apply", b.appliedNatively(other), c.want.counts)
			native := read(t, other)
			native.owners()
			same(t, "registry after berth apply", native, c.want.content)
			b.native(other, 0, "plan", ".", "--detailed-exitcode")

			b.tf(0, "destroy", "-auto-approve")
			if rest := read(t, b.server); !rest.empty() {
				t.Errorf("terraform destroy leaves %s", indented(t, rest))
			}
		})
	}
}

// testEmpty applies the module with nothing set: no resources, and all six outputs have an answer.
func testEmpty(t *testing.T, l *lab) {
	b := l.newBench(t)
	outputs, err := os.ReadFile(filepath.Join(b.dir, "examples/basic/outputs.tf"))
	if err != nil {
		t.Fatal(err)
	}
	b.write("main.tf", "module \"ecr\" {\n  source = \"./modules/ecr\"\n}\n")
	b.write("outputs.tf", string(outputs))
	b.tf(0, "init")
	same(t, "counts of terraform apply", b.apply().counts, counts{})
	b.converged()
	b.native(b.server, 0, "plan", ".", "--detailed-exitcode")
	b.sameOutputs(b.server)
	all := parse(t, b.tf(0, "output", "-json").Stdout)
	value := func(typ any, v any) any { return map[string]any{"sensitive": false, "type": typ, "value": v} }
	none := value([]any{"object", map[string]any{}}, map[string]any{})
	same(t, "outputs", all, map[string]any{
		"repository_urls": none, "repository_arns": none, "repository_registry_ids": none,
		// Null outputs are not stored: terraform output has no flowise_server_url and no flowise_ui_url.
		"docker_login_command": value("string", "aws ecr get-login-password --region "+region+
			" | docker login --username AWS --password-stdin "+account+".dkr.ecr."+region+".amazonaws.com"),
	})
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("an empty module made %s", indented(t, rest))
	}
}
