package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"berth/internal/server"
	"berth/internal/server/servertest"
)

// console runs commands of this program against one server, in a directory of its own.
type console struct {
	t      *testing.T
	dir    string
	stdin  io.Reader
	stdout string
	stderr string
}

// newConsole points the standard AWS variables at a fresh registry, as eval "$(berth env)" does.
func newConsole(t *testing.T) (*console, *servertest.Server) {
	t.Helper()
	return newConsoleOn(t, server.Config{CreateKMSKeys: true})
}

// newConsoleOn is newConsole with a configuration.
func newConsoleOn(t *testing.T, cfg server.Config) (*console, *servertest.Server) {
	t.Helper()
	s := servertest.StartWith(t, cfg)
	for _, pair := range s.Env() {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_ECR", "AWS_ENDPOINT_URL_STS", "AWS_CA_BUNDLE"} {
		t.Setenv(name, "")
	}
	return &console{t: t, dir: t.TempDir()}, s
}

func (c *console) write(name, body string) {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// run runs a command line, and returns its exit code.
func (c *console) run(args ...string) int {
	c.t.Helper()
	var out, errs bytes.Buffer
	in := c.stdin
	if in == nil {
		in = strings.NewReader("")
	}
	env := &environment{stdout: &out, stderr: &errs, stdin: in, getenv: os.Getenv, workdir: c.dir}
	code := run(context.Background(), env, args)
	c.stdout, c.stderr, c.stdin = out.String(), errs.String(), nil
	return code
}

// ok runs a command line that must exit with code.
func (c *console) ok(code int, args ...string) {
	c.t.Helper()
	if got := c.run(args...); got != code {
		c.t.Fatalf("berth %s exited with %d, want %d\n%s\n%s", strings.Join(args, " "), got, code, c.stdout, c.stderr)
	}
}

func (c *console) says(parts ...string) {
	c.t.Helper()
	for _, part := range parts {
		if !strings.Contains(c.stdout+c.stderr, part) {
			c.t.Errorf("%q is not in\n%s\n%s", part, c.stdout, c.stderr)
		}
	}
}

func example(name string) string { return filepath.Join("..", "..", "examples", name) }

// abs makes a path independent of the working directory of the console.
func abs(t *testing.T, path string) string {
	t.Helper()
	a, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestExamplesFromPlanToDestroy(t *testing.T) {
	c, _ := newConsole(t)
	for _, e := range []struct{ name, plan, destroyed string }{
		{"basic", "Plan: 4 to add, 0 to change, 0 to destroy.", "4 destroyed"},
		{"advanced", "Plan: 5 to add, 0 to change, 0 to destroy.", "5 destroyed"},
		{"cross-account", "Plan: 3 to add, 0 to change, 0 to destroy.", "3 destroyed"},
		{"pull-through-cache", "Plan: 3 to add, 0 to change, 0 to destroy.", "3 destroyed"},
		{"terraform-eks/environments/dev", "to add, 0 to change, 0 to destroy.", "destroyed"},
		{"terraform-eks/environments/production", "to add, 0 to change, 0 to destroy.", "destroyed"},
	} {
		t.Run(e.name, func(t *testing.T) {
			c.t = t
			dir := abs(t, example(e.name))
			c.ok(2, "plan", dir, "--detailed-exitcode")
			c.says(e.plan)
			c.ok(0, "apply", dir, "--auto-approve")
			c.says("Apply complete! Resources: ", " added, 0 changed, 0 destroyed.", "docker_login_command = \"aws ecr get-login-password")
			c.ok(0, "plan", dir, "--detailed-exitcode")
			c.says("No changes. Your infrastructure matches the configuration.")
			c.ok(0, "destroy", dir, "--auto-approve")
			c.says("Destroy complete! Resources: ", e.destroyed)
			c.ok(0, "destroy", dir)
			c.says("No changes. No objects need to be destroyed.", "Destroy complete! Resources: 0 destroyed.")
		})
	}
}

// The bare form of the documents, and a variables file of an example, without a module block.
func TestBareVariablesFile(t *testing.T) {
	c, _ := newConsole(t)
	body, err := os.ReadFile(filepath.Join("..", "..", "test", "fixtures", "seed", "cross-account-access.hcl"))
	if err != nil {
		t.Fatal(err)
	}
	c.write("terraform.tfvars", string(body))
	c.ok(0, "apply", "terraform.tfvars", "--auto-approve")
	c.says(`module.ecr.aws_ecr_repository_policy.this["shared-app"]: Creation complete`, "3 added")
	c.ok(0, "plan", "--detailed-exitcode")
	c.ok(0, "output", "repository_urls")
	c.says(`/shared-app"`)
	c.write("terraform.tfvars", "repositories = { shared-app = { max_image_count = 3, scan_on_psh = true } }\n")
	c.ok(1, "plan")
	c.says(`terraform.tfvars:1:54: repositories["shared-app"] has no attribute "scan_on_psh" (did you mean "scan_on_push"?)`)
}

const oneRepository = `
variable "days" {
  type    = number
  default = 7
}
module "ecr" {
  source       = "./modules/ecr"
  repositories = { app = { untagged_days = var.days } }
}
`

func TestApproval(t *testing.T) {
	c, _ := newConsole(t)
	c.write("main.tf", oneRepository)
	c.ok(1, "apply")
	c.says("Only 'yes' will be accepted to approve.", "Error: nobody can approve, because standard input has ended: pass --auto-approve")
	c.stdin = strings.NewReader("y\n")
	c.ok(1, "apply")
	c.says("not approved, so nothing was changed")
	c.ok(2, "plan", "--detailed-exitcode")
	c.stdin = strings.NewReader("yes\n")
	c.ok(0, "apply")
	c.says("Apply complete! Resources: 2 added, 0 changed, 0 destroyed.")
	c.stdin = strings.NewReader("no\n")
	c.ok(1, "destroy")
	c.ok(0, "plan", "--detailed-exitcode")
	c.stdin = strings.NewReader("yes") // without a line feed
	c.ok(0, "destroy")
}

func TestVariablesOnTheCommandLine(t *testing.T) {
	c, s := newConsole(t)
	c.write("main.tf", oneRepository)
	c.write("x.tfvars", "days = 9\n")
	c.ok(0, "apply", "--auto-approve", "--var", "days=8", "--var-file", "x.tfvars")
	c.ok(0, "plan", "--detailed-exitcode", "--var", "days=9")
	c.ok(2, "plan", "--detailed-exitcode", "--var-file", "x.tfvars", "--var", "days=8")
	c.says(`~ description  = "Expire untagged images after 9 days" -> "Expire untagged images after 8 days"`)
	t.Setenv("TF_VAR_days", "9")
	c.ok(0, "plan", "--detailed-exitcode")
	c.ok(1, "plan", "--var", "days")
	c.says(`--var "days" has no value: write --var NAME=VALUE`)
	c.ok(1, "plan", "--var", "dais=1")
	c.says(`there is no variable "dais" (did you mean "days"?)`)
	if !strings.HasPrefix(s.Endpoint, "http://127.0.0.1:") {
		t.Errorf("endpoint %s", s.Endpoint)
	}
}

func TestPlanJSON(t *testing.T) {
	c, _ := newConsole(t)
	c.write("main.tf", oneRepository+"output \"url\" { value = module.ecr.repository_urls[\"app\"] }\n")
	c.ok(0, "plan", "--json")
	var p struct {
		FormatVersion   string `json:"format_version"`
		ResourceChanges []struct {
			Address string `json:"address"`
			Change  struct {
				Actions []string `json:"actions"`
			} `json:"change"`
		} `json:"resource_changes"`
		OutputChanges map[string]struct {
			Actions      []string `json:"actions"`
			AfterUnknown any      `json:"after_unknown"`
		} `json:"output_changes"`
	}
	if err := json.Unmarshal([]byte(c.stdout), &p); err != nil {
		t.Fatal(err)
	}
	if p.FormatVersion != "1.2" || len(p.ResourceChanges) != 2 || p.ResourceChanges[1].Address != `module.ecr.aws_ecr_repository.this["app"]` || p.ResourceChanges[1].Change.Actions[0] != "create" {
		t.Errorf("plan %+v", p)
	}
	if o := p.OutputChanges["url"]; o.AfterUnknown != true || o.Actions[0] != "create" {
		t.Errorf("outputs %+v", p.OutputChanges)
	}
	c.ok(1, "apply", "--json")
	c.says("--json leaves no room for a question: pass --auto-approve with it")
	c.ok(0, "apply", "--json", "--auto-approve")
	var applied struct {
		Result  map[string]int
		Outputs map[string]struct{ Value string }
	}
	if err := json.Unmarshal([]byte(c.stdout), &applied); err != nil || applied.Result["added"] != 2 || !strings.HasSuffix(applied.Outputs["url"].Value, "/app") {
		t.Errorf("%+v, %v", applied, err)
	}
}

func TestOutputCommand(t *testing.T) {
	c, s := newConsole(t)
	c.write("main.tf", oneRepository)
	c.ok(0, "output")
	c.says("repository_urls = {}")
	c.ok(0, "apply", "--auto-approve")
	c.ok(0, "output", "--raw", "docker_login_command")
	if want := "aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin " + s.Host; c.stdout != want {
		t.Errorf("got %q, want %q", c.stdout, want)
	}
	c.ok(0, "output", ".", "repository_registry_ids", "--json")
	if c.stdout != `{"app":"000000000000"}`+"\n" {
		t.Errorf("got %q", c.stdout)
	}
	c.ok(0, "output", "docker_login_command")
	if !strings.HasPrefix(c.stdout, `"aws ecr`) {
		t.Errorf("got %q", c.stdout)
	}
	c.ok(1, "output", "flowise_ui_url")
	c.says(`there is no output "flowise_ui_url"`)
	c.ok(1, "output", "--raw")
	c.says("--raw prints a single output: name it")
	c.ok(1, "output", "--raw", "--json", "x")
}

// An encryption change replaces, which needs an agreement; images stop it unless force_delete is set.
func TestReplacementOnTheCommandLine(t *testing.T) {
	c, _ := newConsole(t)
	c.write("main.tf", oneRepository)
	c.ok(0, "apply", "--auto-approve")
	c.write("main.tf", strings.Replace(oneRepository, "repositories", "encryption_type = \"KMS\"\n  kms_key_arn = \"arn:aws:kms:us-east-1:000000000000:key/1234abcd-12ab-34cd-56ef-1234567890ab\"\n  repositories", 1))
	c.ok(1, "apply", "--auto-approve")
	c.says("must be replaced", "# forces replacement", "Apply will refuse this plan:", "--allow-replace 'module.ecr.aws_ecr_repository.this[\"app\"]'")
	c.ok(0, "apply", "--auto-approve", "--allow-replace", `module.ecr.aws_ecr_repository.this["app"]`)
	c.says("Apply complete! Resources: 2 added, 0 changed, 2 destroyed.")
	c.ok(0, "plan", "--detailed-exitcode")
}

func TestForeignRepositoriesOnTheCommandLine(t *testing.T) {
	c, s := newConsole(t)
	s.CreateRepositories("app")
	c.write("main.tf", oneRepository)
	c.ok(1, "plan")
	c.says(`repository "app" exists but is not managed by stack`, "pass --adopt to take it over")
	c.ok(0, "destroy", "--auto-approve")
	c.says(`Note: repository "app" stays, because it is not managed by stack`)
	c.ok(0, "apply", "--adopt", "--auto-approve", "--stack", "mine")
	c.ok(0, "plan", "--detailed-exitcode", "--stack", "mine")
	c.ok(1, "plan")
	c.says(`pass --stack "mine" if this configuration is that stack`)
	t.Setenv("BERTH_STACK", "mine")
	c.ok(0, "destroy", "--auto-approve")
	c.says("Destroy complete! Resources: 2 destroyed.")
}

func TestRegistryThatIsNotThere(t *testing.T) {
	c, s := newConsole(t)
	c.write("main.tf", oneRepository)
	s.Stop()
	c.ok(1, "plan")
	want := regexp.MustCompile(`^Error: cannot list the repositories: nothing listens at http://127\.0\.0\.1:\d+: start the registry with berth serve, or check --endpoint and AWS_ENDPOINT_URL\n$`)
	if !want.MatchString(c.stderr) {
		t.Errorf("got %q", c.stderr)
	}
	c.ok(1, "plan", "--endpoint", "localhost")
	c.says(`the endpoint "localhost" is not a URL`)
}

// Flags win over the environment; a wrong key is AWS's own exception.
func TestEndpointFlagAndWrongKey(t *testing.T) {
	c, s := newConsole(t)
	c.write("main.tf", oneRepository)
	t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
	c.ok(0, "plan", "--endpoint", s.Endpoint, "--region", "eu-central-1")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "wrong")
	c.ok(1, "plan", "--endpoint", s.Endpoint)
	c.says("Error: cannot list the repositories: ECR:DescribeRepositories was refused: InvalidSignatureException: The request signature we calculated does not match")
}

func TestNoColourOutsideATerminal(t *testing.T) {
	c, _ := newConsole(t)
	c.write("main.tf", oneRepository)
	c.ok(0, "plan")
	if strings.Contains(c.stdout, "\x1b") {
		t.Errorf("%q", c.stdout)
	}
	tty, err := os.OpenFile("/dev/null", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tty.Close(); err != nil {
			t.Error(err)
		}
	})
	env := &environment{getenv: func(name string) string { return map[string]string{"NO_COLOR": "1"}[name] }}
	if useColor(env, tty) {
		t.Error("NO_COLOR is not respected")
	}
}
