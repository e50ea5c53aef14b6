package terraform_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/testkit"
)

// testUser does what a user does, with none of the shortcuts of the other tests: Terraform installs the provider and
// starts it in every run, and all that it knows of the registry are the lines that berth env prints.
func testUser(t *testing.T, l *lab) {
	b := l.newBench(t).at("examples/basic")
	env := slices.DeleteFunc(environment(t, b.server.Endpoint), func(pair string) bool { return strings.HasPrefix(pair, "AWS_") })
	shell := func(script string) string {
		t.Helper()
		return testkit.Command{
			Path: "/bin/sh", Args: []string{"-euc", script}, Dir: b.dir, Timeout: patience,
			Env: append(env, "DATA="+b.server.Data, "PATH="+filepath.Dir(l.berth)+":"+filepath.Dir(l.terraform)+":"+os.Getenv("PATH")),
		}.Run(t).Stdout
	}
	login := `eval "$(berth env --data "$DATA")"` + "\n"

	said := shell(login + `
		terraform init -no-color
		terraform apply -no-color -auto-approve
		terraform plan -no-color -detailed-exitcode
		eval "$(terraform output -raw docker_login_command | sed 's/^aws ecr get-login-password --region \([^ ]*\) .* \([^ ]*\)$/echo "region \1 host \2"/')"`)
	contains(t, "a user's commands", said,
		"Installed hashicorp/aws v", "Plan: 4 to add, 0 to change, 0 to destroy.", "Apply complete! Resources: 4 added, 0 changed, 0 destroyed.",
		`flowise_server_url = "`+registry+`/flowise-server"`, "No changes. Your infrastructure matches the configuration.",
		"region "+region+" host "+registry)
	same(t, "registry", read(t, b.server), exampleTable(t)["basic"].content)

	contains(t, "terraform destroy", shell(login+`terraform destroy -no-color -auto-approve`), "Destroy complete! Resources: 4 destroyed.")
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("terraform destroy leaves %s", indented(t, rest))
	}
}
