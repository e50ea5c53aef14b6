package terraform_test

import (
	"net/http"
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
		terraform plan -no-color -detailed-exitcode`)
	contains(t, "a user's commands", said,
		"Installed hashicorp/aws v", "Plan: 4 to add, 0 to change, 0 to destroy.", "Apply complete! Resources: 4 added, 0 changed, 0 destroyed.",
		`flowise_server_url = "`+registry+`/flowise-server"`, "No changes. Your infrastructure matches the configuration.")
	same(t, "registry", read(t, b.server), exampleTable(t)["basic"].content)

	// The command of the last output, with a docker that shows what it is given: the password opens the registry.
	testkit.Tool(t, "aws")
	given := shell(login + `
		docker() { printf '%s\n' "$*"; cat; }
		eval "$(terraform output -raw docker_login_command)"`)
	arguments, password, _ := strings.Cut(given, "\n")
	same(t, "arguments of docker", arguments, "login --username AWS --password-stdin "+registry)
	for given, want := range map[string]int{strings.TrimSpace(password): http.StatusOK, "wrong": http.StatusUnauthorized} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.Endpoint+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("AWS", given)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != want {
			t.Errorf("a login is answered with %s, expected %d", resp.Status, want)
		}
	}

	contains(t, "terraform destroy", shell(login+`terraform destroy -no-color -auto-approve`), "Destroy complete! Resources: 4 destroyed.")
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("terraform destroy leaves %s", indented(t, rest))
	}
}
