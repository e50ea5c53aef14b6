package module

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"berth/internal/module/desired"
	"berth/internal/module/ecrtest"
	"berth/modules"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clientOf speaks to a registry in memory.
func clientOf(reg *ecrtest.Registry) *Client {
	return &Client{ecr: reg, sts: reg, region: ecrtest.Region}
}

// write puts files into a directory project/env, so that the derived stack id is always the same.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	project := filepath.Join(t.TempDir(), "project")
	dir := filepath.Join(project, "env")
	if err := os.MkdirAll(filepath.Join(project, ".git"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func stackOf(t testing.TB, body string) *Stack {
	t.Helper()
	return stackWith(t, body, LoadOptions{})
}

func stackWith(t testing.TB, body string, opt LoadOptions) *Stack {
	t.Helper()
	opt.BuiltinModule = modules.FS
	s, err := Load(write(t, map[string]string{"main.tf": body}), opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seed(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../test/fixtures/seed", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func mustPlan(t testing.TB, s *Stack, c *Client, opt PlanOptions) *Plan {
	t.Helper()
	p, err := s.Plan(context.Background(), c, opt)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustApply(t testing.TB, s *Stack, c *Client, opt PlanOptions) Result {
	t.Helper()
	n, err := c.Apply(context.Background(), mustPlan(t, s, c, opt), nil)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run with -update and look at the difference\n%s", path, got)
	}
}

func text(t testing.TB, p *Plan) string {
	t.Helper()
	var b bytes.Buffer
	if err := p.WriteText(&b, false); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const changed = `module "ecr" {
  source = "./modules/ecr"
  repositories = {
    "app-backend" = {
      image_tag_mutability = "MUTABLE"
      scan_on_push         = false
      max_image_count      = 60
      untagged_days        = 3
      tags                 = { Team = "payments" }
      repository_policy    = jsonencode({ Statement = [{ Sid = "Pull", Effect = "Allow", Principal = "*", Action = "ecr:BatchGetImage" }] })
    }
  }
  encryption_type          = "KMS"
  kms_key_arn              = "arn:aws:kms:ap-southeast-1:123456789012:key/yyyyy"
  pull_through_cache_rules = { "docker-hub" = { upstream_registry_url = "quay.io" } }
}`

func TestPlansOfTheSeed(t *testing.T) {
	for _, c := range []struct {
		name, file string
		want       Result
	}{{"basic", "basic-example.hcl", Result{Added: 4}}, {"advanced", "advanced-example.hcl", Result{Added: 5}}} {
		t.Run(c.name, func(t *testing.T) {
			reg := ecrtest.New()
			client := clientOf(reg)
			s := stackOf(t, seed(t, c.file))
			p := mustPlan(t, s, client, PlanOptions{})
			if p.Counts() != c.want {
				t.Errorf("counts %+v, want %+v", p.Counts(), c.want)
			}
			golden(t, c.name+".txt", text(t, p))
			b, err := json.MarshalIndent(p, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, c.name+".json", string(b)+"\n")
			if n := mustApply(t, s, client, PlanOptions{}); n != c.want {
				t.Errorf("applied %+v", n)
			}
			second := mustPlan(t, s, client, PlanOptions{})
			if second.HasChanges() || second.Summary() != "No changes. Your infrastructure matches the configuration." {
				t.Errorf("the second plan: %s", text(t, second))
			}
			destroy, err := s.PlanDestroy(context.Background(), client, PlanOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if n, err := client.Apply(context.Background(), destroy, nil); err != nil || n != (Result{Destroyed: c.want.Added}) {
				t.Errorf("destroyed %+v, %v", n, err)
			}
			if len(reg.Names())+len(reg.Prefixes()) != 0 {
				t.Errorf("left: %q %q", reg.Names(), reg.Prefixes())
			}
		})
	}
}

func TestPlanOfChanges(t *testing.T) {
	reg := ecrtest.New()
	client := clientOf(reg)
	mustApply(t, stackOf(t, seed(t, "advanced-example.hcl")), client, PlanOptions{})
	reg.Change("app-frontend", func(r *ecrtest.Repository) { r.Images = 2 })
	p := mustPlan(t, stackOf(t, changed), client, PlanOptions{})
	golden(t, "replace.txt", text(t, p))
	if len(p.Blockers()) != 3 {
		t.Errorf("blockers %q", p.Blockers())
	}
	same := strings.Replace(strings.Replace(changed, "yyyyy", "xxxxx", 1), "quay.io", "registry-1.docker.io", 1)
	p = mustPlan(t, stackOf(t, same), client, PlanOptions{})
	golden(t, "update.txt", text(t, p))
	var colored bytes.Buffer
	if err := p.WriteText(&colored, true); err != nil || !strings.Contains(colored.String(), "\x1b[33m~\x1b[0m resource") {
		t.Errorf("no colour in %q", colored.String())
	}
}

// With a policy, every attribute of a repository changes in one apply, and the registry then is what was asked for.
func TestEveryAttributeChanges(t *testing.T) {
	reg := ecrtest.New()
	client := clientOf(reg)
	body := strings.Replace(changed, `    "app-backend" = {`, `    "app-frontend" = {}
    "app-backend" = {`, 1)
	mustApply(t, stackOf(t, seed(t, "advanced-example.hcl")), client, PlanOptions{})
	allow := PlanOptions{AllowReplace: []string{
		`module.ecr.aws_ecr_repository.this["app-backend"]`, `module.ecr.aws_ecr_repository.this["app-frontend"]`,
		`module.ecr.aws_ecr_pull_through_cache_rule.this["docker-hub"]`,
	}}
	if n := mustApply(t, stackOf(t, body), client, allow); n != (Result{Added: 6, Destroyed: 5}) {
		t.Errorf("applied %+v", n)
	}
	r, _ := reg.Repository("app-backend")
	if r.ImageTagMutability != "MUTABLE" || r.ImageScanningConfiguration.ScanOnPush || r.Tags["Team"] != "payments" ||
		!strings.Contains(r.Lifecycle, "Keep last 60 images") || !strings.Contains(r.Policy, "BatchGetImage") || !strings.HasSuffix(*r.EncryptionConfiguration.KmsKey, "yyyyy") {
		t.Errorf("repository %+v", r)
	}
	if p := mustPlan(t, stackOf(t, body), client, PlanOptions{}); p.HasChanges() {
		t.Error(text(t, p))
	}
}

func TestStackIDs(t *testing.T) {
	body := `module "ecr" {
  source       = "./modules/ecr"
  for_each     = toset(["a", "b c"])
  repositories = { "r-${replace(each.key, " ", "")}" = {} }
}`
	for _, c := range []struct {
		name, body string
		want       map[string]string
	}{
		{"", `module "ecr" {
  source       = "./modules/ecr"
  repositories = { r0 = {} }
}`, map[string]string{"r0": "project/env:ecr"}},
		{"prod", `module "ecr" {
  source       = "./modules/ecr"
  repositories = { r0 = {} }
}`, map[string]string{"r0": "prod:ecr"}},
		{"", body, map[string]string{"r-a": "project/env:ecr:a", "r-bc": "project/env:ecr:b c"}},
		{"prod", body, map[string]string{"r-a": "prod:ecr:a", "r-bc": "prod:ecr:b c"}},
	} {
		reg := ecrtest.New()
		mustApply(t, stackWith(t, c.body, LoadOptions{Stack: c.name}), clientOf(reg), PlanOptions{})
		got := map[string]string{}
		for _, name := range reg.Names() {
			r, _ := reg.Repository(name)
			got[name] = r.Tags[desired.OwnerTag]
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("--stack %q: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestPlaceOfRepository(t *testing.T) {
	root := filepath.Join(t.TempDir(), "infra")
	deep := filepath.Join(root, "environments", "dev")
	for _, dir := range []string{deep, filepath.Join(root, ".git")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := placeOf(deep); err != nil || !slices.Equal(got, []string{"infra", "environments", "dev"}) {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := placeOf(root); err != nil || !slices.Equal(got, []string{"infra"}) {
		t.Errorf("%q, %v", got, err)
	}
}

// Two configurations with the same label in one registry do not touch each other's repositories.
func TestStacksAreApart(t *testing.T) {
	reg := ecrtest.New()
	client := clientOf(reg)
	mustApply(t, stackOf(t, seed(t, "basic-example.hcl")), client, PlanOptions{})
	dir := filepath.Join(t.TempDir(), "project", "other")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(seed(t, "advanced-example.hcl")), 0o644); err != nil {
		t.Fatal(err)
	}
	other, err := Load(dir, LoadOptions{BuiltinModule: modules.FS})
	if err != nil {
		t.Fatal(err)
	}
	if n := mustApply(t, other, client, PlanOptions{}); n != (Result{Added: 5}) {
		t.Errorf("applied %+v", n)
	}
	if len(reg.Names()) != 4 {
		t.Errorf("repositories %q", reg.Names())
	}
}

func TestAdoption(t *testing.T) {
	reg := ecrtest.New()
	client := clientOf(reg)
	s := stackOf(t, seed(t, "basic-example.hcl"))
	mustApply(t, s, client, PlanOptions{})
	reg.Change("flowise-ui", func(r *ecrtest.Repository) { delete(r.Tags, desired.OwnerTag) })
	if _, err := s.Plan(context.Background(), client, PlanOptions{}); err == nil || !strings.Contains(err.Error(), `repository "flowise-ui" exists but is not managed by stack "project/env"`) {
		t.Fatalf("error %v", err)
	}
	destroy, err := s.PlanDestroy(context.Background(), client, PlanOptions{})
	if err != nil || destroy.Counts() != (Result{Destroyed: 2}) {
		t.Fatalf("destroy %+v, %v", destroy, err)
	}
	if n := mustApply(t, s, client, PlanOptions{Adopt: true}); n != (Result{Changed: 1}) {
		t.Errorf("adopted %+v", n)
	}
	if p := mustPlan(t, s, client, PlanOptions{}); p.HasChanges() {
		t.Error(text(t, p))
	}
}

func TestOutputs(t *testing.T) {
	reg := ecrtest.New()
	client := clientOf(reg)
	s := stackOf(t, seed(t, "basic-example.hcl"))
	mustApply(t, s, client, PlanOptions{})
	out, err := s.Outputs(context.Background(), client)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := out.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "outputs.txt", b.String())
	j, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "outputs.json", string(j)+"\n")
	login := "aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin 127.0.0.1:5050"
	if got, err := out.Raw("docker_login_command"); err != nil || got != login {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := out.Text("flowise_ui_url"); err != nil || got != `"127.0.0.1:5050/flowise-ui"` {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := out.Raw("repository_urls"); err == nil {
		t.Error("a map has no raw form")
	}
	if _, err := out.JSON("nope"); err == nil || !strings.Contains(err.Error(), `there is no output "nope": the outputs with a value are docker_login_command, `) {
		t.Error(err)
	}
}

// Without repositories the host follows from the account and the region, as in outputs.tf; absent flowise
// repositories give null, which is not printed.
func TestOutputsWithoutRepositories(t *testing.T) {
	s := stackOf(t, `module "ecr" {
  source = "./modules/ecr"
}
output "login" { value = module.ecr.docker_login_command }
output "ui" { value = module.ecr.flowise_ui_url }`)
	out, err := s.Outputs(context.Background(), clientOf(ecrtest.New()))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(out.Names(), []string{"login"}) {
		t.Errorf("names %q", out.Names())
	}
	want := "aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.us-east-1.amazonaws.com"
	if got, err := out.Raw("login"); err != nil || got != want {
		t.Errorf("%q, %v", got, err)
	}
}

// An output that picks a repository which is still to be created does not stop the plan.
func TestOutputsBeforeTheFirstApply(t *testing.T) {
	s := stackOf(t, `module "ecr" {
  source       = "./modules/ecr"
  repositories = { app = {} }
}
output "app" { value = module.ecr.repository_urls["app"] }`)
	reg := ecrtest.New()
	if out, err := s.Outputs(context.Background(), clientOf(reg)); err != nil || len(out.Names()) != 0 {
		t.Errorf("%q, %v", out.Names(), err)
	}
	mustApply(t, s, clientOf(reg), PlanOptions{})
	out, err := s.Outputs(context.Background(), clientOf(reg))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := out.Raw("app"); err != nil || got != "127.0.0.1:5050/app" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestModuleWarnings(t *testing.T) {
	s := stackOf(t, seed(t, "advanced-example.hcl"))
	p := mustPlan(t, s, clientOf(ecrtest.New()), PlanOptions{})
	if len(p.Warnings()) == 0 || !strings.Contains(p.Warnings()[0], "credential_arn") {
		t.Errorf("warnings %q", p.Warnings())
	}
	onAWS := clientOf(ecrtest.New())
	onAWS.aws = true
	if _, err := s.Plan(context.Background(), onAWS, PlanOptions{}); err == nil || !strings.Contains(err.Error(), `"docker-hub" (registry-1.docker.io)`) {
		t.Errorf("AWS would refuse it, but: %v", err)
	}
}

func TestAllowedAccounts(t *testing.T) {
	s := stackOf(t, `provider "aws" {
  region              = "us-east-1"
  allowed_account_ids = ["210987654321"]
}
module "ecr" {
  source = "./modules/ecr"
}`)
	if s.ClientOptions().Region != "us-east-1" {
		t.Errorf("options %+v", s.ClientOptions())
	}
	_, err := s.Plan(context.Background(), clientOf(ecrtest.New()), PlanOptions{})
	if err == nil || !strings.Contains(err.Error(), "account 123456789012 is not among allowed_account_ids") {
		t.Error(err)
	}
}

// A plan lists once, reads each repository's tags once, and policies only of repositories in question.
func TestCallsOfAPlan(t *testing.T) {
	reg := ecrtest.New()
	reg.PageSize = 1000
	client := clientOf(reg)
	mustApply(t, stackOf(t, seed(t, "basic-example.hcl")), client, PlanOptions{})
	reg.Change("flowise-ui", func(r *ecrtest.Repository) { r.Tags[desired.OwnerTag] = "someone else" })
	reg.ResetCalls()
	s := stackOf(t, `module "ecr" {
  source       = "./modules/ecr"
  repositories = { flowise-server = {} }
}`)
	mustPlan(t, s, client, PlanOptions{})
	got := reg.Calls()
	slices.Sort(got)
	want := []string{
		"DescribeRepositories", "GetLifecyclePolicy flowise-server", "GetRepositoryPolicy flowise-server",
		"ListTagsForResource flowise-server", "ListTagsForResource flowise-ui",
	}
	if !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

// An instance that is gone from for_each takes its repositories along, whatever its block is called now.
func TestRemovedInstance(t *testing.T) {
	reg := ecrtest.New()
	client := clientOf(reg)
	body := func(label, keys string) string {
		return "module \"" + label + "\" {\n  source = \"./modules/ecr\"\n  for_each = toset([" + keys + "])\n  repositories = { \"team-${each.key}\" = {} }\n}\n"
	}
	mustApply(t, stackOf(t, body("teams", `"a", "b"`)), client, PlanOptions{})
	p := mustPlan(t, stackOf(t, body("teams", `"a"`)), client, PlanOptions{})
	if p.Counts() != (Result{Destroyed: 2}) || !strings.Contains(text(t, p), `# module.teams["b"].aws_ecr_repository.this["team-b"] will be destroyed`) {
		t.Error(text(t, p))
	}
	if n := mustApply(t, stackOf(t, body("renamed", `"a"`)), client, PlanOptions{}); n != (Result{Changed: 1, Destroyed: 2}) {
		t.Errorf("applied %+v", n)
	}
	if !slices.Equal(reg.Names(), []string{"team-a"}) {
		t.Errorf("repositories %q", reg.Names())
	}
}
