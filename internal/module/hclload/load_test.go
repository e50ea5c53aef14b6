package hclload

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/zclconf/go-cty/cty"
	ctyjson "github.com/zclconf/go-cty/cty/json"

	"berth/modules"
)

// write puts files into a directory of their own.
func write(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
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

func load(t testing.TB, dir string, opt Options) (*Root, *Evaluated) {
	t.Helper()
	opt.Builtin = modules.FS
	r, err := Load(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.Evaluate(Facts{AccountID: "123456789012", CallerARN: "arn:aws:iam::123456789012:root", Region: "eu-west-1", Partition: "aws", DNSSuffix: "amazonaws.com"})
	if err != nil {
		t.Fatal(err)
	}
	return r, e
}

// asJSON renders a value for comparison.
func asJSON(t testing.TB, v cty.Value) string {
	t.Helper()
	b, err := ctyjson.Marshal(v, v.Type())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

const seedDir = "../../../test/fixtures/seed"

func seed(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(seedDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestSeedBasicExample(t *testing.T) {
	_, e := load(t, write(t, map[string]string{"main.tf": seed(t, "basic-example.hcl")}), Options{})
	if len(e.Instances) != 1 || e.Instances[0].Address != "module.ecr" {
		t.Fatalf("instances: %+v", e.Instances)
	}
	got := asJSON(t, e.Instances[0].Inputs["repositories"])
	one := `{"image_tag_mutability":"MUTABLE","max_image_count":30,"repository_policy":null,"scan_on_push":true,"tags":{},"untagged_days":7}`
	if want := `{"flowise-server":` + one + `,"flowise-ui":` + one + `}`; got != want {
		t.Errorf("repositories\n got %s\nwant %s", got, want)
	}
	if got := asJSON(t, e.Instances[0].Inputs["common_tags"]); got != `{"Environment":"dev","ManagedBy":"terraform"}` {
		t.Errorf("common_tags: %s", got)
	}
}

func TestSeedAdvancedExample(t *testing.T) {
	_, e := load(t, write(t, map[string]string{"main.tf": seed(t, "advanced-example.hcl")}), Options{})
	in := e.Instances[0].Inputs
	if got := in["kms_key_arn"].AsString(); got != "arn:aws:kms:ap-southeast-1:123456789012:key/xxxxx" {
		t.Errorf("kms_key_arn: %s", got)
	}
	if got := asJSON(t, in["repositories"].AsValueMap()["app-backend"]); !strings.Contains(got, `"image_tag_mutability":"IMMUTABLE"`) || !strings.Contains(got, `"untagged_days":3`) {
		t.Errorf("app-backend: %s", got)
	}
	if got := asJSON(t, in["pull_through_cache_rules"]); !strings.Contains(got, `"upstream_registry_url":"registry-1.docker.io"`) {
		t.Errorf("rules: %s", got)
	}
	if len(e.Instances[0].Failed) == 0 || e.Instances[0].Failed[0].Name != "pull_through_cache_credentials" {
		t.Errorf("the check about Docker Hub's credentials should fail: %+v", e.Instances[0].Failed)
	}
}

func TestSeedBareForms(t *testing.T) {
	for _, name := range []string{"terraform.tfvars", "main.tf", "x.auto.tfvars"} {
		t.Run(name, func(t *testing.T) {
			_, e := load(t, write(t, map[string]string{name: seed(t, "cross-account-access.hcl")}), Options{})
			policy := e.Instances[0].Inputs["repositories"].AsValueMap()["shared-app"].GetAttr("repository_policy").AsString()
			var doc struct {
				Statement []struct{ Sid string }
			}
			if err := json.Unmarshal([]byte(policy), &doc); err != nil || len(doc.Statement) != 1 || doc.Statement[0].Sid != "AllowCrossAccountPull" {
				t.Errorf("policy %s: %v", policy, err)
			}
		})
	}
	dir := write(t, map[string]string{"cache.tfvars": seed(t, "pull-through-cache.hcl")})
	_, e := load(t, filepath.Join(dir, "cache.tfvars"), Options{})
	if n := e.Instances[0].Inputs["pull_through_cache_rules"].LengthInt(); n != 3 {
		t.Errorf("%d rules, want 3", n)
	}
}

// The object of the documents is an expression, not a file, and holds the defaults of every attribute.
func TestSeedRepositoryObject(t *testing.T) {
	body := `module "ecr" {
  source = "./modules/ecr"
  repositories = { written = ` + strings.TrimSpace(seed(t, "repository-object.hcl")) + `
  empty = {} }
}`
	_, e := load(t, write(t, map[string]string{"main.tf": body}), Options{})
	repos := e.Instances[0].Inputs["repositories"].AsValueMap()
	if !repos["written"].RawEquals(repos["empty"]) {
		t.Errorf("written %#v\nempty %#v", repos["written"], repos["empty"])
	}
}

func TestEmptyModule(t *testing.T) {
	_, e := load(t, write(t, map[string]string{"main.tf": `module "ecr" { source = "./modules/ecr" }`}), Options{})
	if n := e.Instances[0].Inputs["repositories"].LengthInt(); n != 0 {
		t.Errorf("%d repositories", n)
	}
}

// Explicit nulls take the default, and texts convert to numbers and bools, as in Terraform.
func TestNullsAndConversions(t *testing.T) {
	_, e := load(t, write(t, map[string]string{"main.tf": `module "ecr" {
  source          = "./modules/ecr"
  encryption_type = null
  common_tags     = { n = 5, b = true }
  repositories = { "aa" = { scan_on_push = "false", max_image_count = "12", untagged_days = null, tags = null } }
}`}), Options{})
	in := e.Instances[0].Inputs
	if got := asJSON(t, in["repositories"]); got != `{"aa":{"image_tag_mutability":"MUTABLE","max_image_count":12,"repository_policy":null,"scan_on_push":false,"tags":{},"untagged_days":7}}` {
		t.Error(got)
	}
	if in["encryption_type"].AsString() != "AES256" || asJSON(t, in["common_tags"]) != `{"b":"true","n":"5"}` {
		t.Errorf("%#v %#v", in["encryption_type"], in["common_tags"])
	}
}

const variablesMain = `
variable "name" { default = "from-default" }
variable "n" {
  type    = number
  default = 1
}
variable "tags" {
  type    = map(string)
  default = {}
}
module "ecr" {
  source       = "./modules/ecr"
  repositories = { (var.name) = { max_image_count = var.n } }
  common_tags  = var.tags
}`

// https://developer.hashicorp.com/terraform/language/values/variables#variable-definition-precedence
func TestVariablePrecedence(t *testing.T) {
	files := map[string]string{"main.tf": variablesMain}
	var opt Options
	steps := []struct {
		want string
		add  func(dir string)
	}{
		{"from-default", func(string) {}},
		{"from-env", func(string) { opt.Environ = []string{"TF_VAR_name=from-env", "TF_VAR_unknown=x"} }},
		{"from-tfvars", func(string) { files["terraform.tfvars"] = `name = "from-tfvars"` }},
		{"from-json", func(string) { files["terraform.tfvars.json"] = `{"name": "from-json"}` }},
		{"from-auto-a", func(string) { files["a.auto.tfvars"] = `name = "from-auto-a"` }},
		{"from-auto-b", func(string) { files["b.auto.tfvars.json"] = `{"name": "from-auto-b"}` }},
		{"from-flag", func(string) { opt.Assign = append(opt.Assign, Assignment{Name: "name", Value: "from-flag"}) }},
		{"from-file", func(dir string) {
			path := filepath.Join(dir, "given.tfvars")
			if err := os.WriteFile(path, []byte(`name = "from-file"`), 0o644); err != nil {
				t.Fatal(err)
			}
			opt.Assign = append(opt.Assign, Assignment{File: path})
		}},
		{"from-last", func(string) { opt.Assign = append(opt.Assign, Assignment{Name: "name", Value: "from-last"}) }},
	}
	extra := t.TempDir()
	for _, step := range steps {
		step.add(extra)
		_, e := load(t, write(t, files), opt)
		repos := e.Instances[0].Inputs["repositories"].AsValueMap()
		if _, ok := repos[step.want]; !ok {
			t.Errorf("want repository %q, got %s", step.want, asJSON(t, e.Instances[0].Inputs["repositories"]))
		}
	}
}

func TestVariableFlagsAreParsedByType(t *testing.T) {
	_, e := load(t, write(t, map[string]string{"main.tf": variablesMain}), Options{Assign: []Assignment{
		{Name: "name", Value: `"quoted"`[1:7]}, {Name: "n", Value: "42"}, {Name: "tags", Value: `{ a = "b" }`},
	}})
	if got := asJSON(t, e.Instances[0].Inputs["common_tags"]); got != `{"a":"b"}` {
		t.Error(got)
	}
	if got := asJSON(t, e.Instances[0].Inputs["repositories"]); !strings.Contains(got, `"quoted":{`) || !strings.Contains(got, `"max_image_count":42`) {
		t.Error(got)
	}
}

func TestUndeclaredNameInVariablesFileWarns(t *testing.T) {
	dir := write(t, map[string]string{"main.tf": variablesMain, "terraform.tfvars": "nmae = \"x\"\n"})
	r, _ := load(t, dir, Options{})
	want := dir + `/terraform.tfvars:1:1: no variable "nmae" is declared (did you mean "name"?), so this value is not used`
	if !slices.Equal(r.Warnings(), []string{want}) {
		t.Errorf("got  %q\nwant %q", r.Warnings(), want)
	}
}

func TestForEachCountAndLocals(t *testing.T) {
	_, e := load(t, write(t, map[string]string{
		"a.tf": `
locals {
  full  = [for n in local.names : "team/${n}"]
  names = concat(["web"], local.more)
  more  = ["api"]
  seen  = module.teams["blue"].repository_urls
}
module "teams" {
  source       = "./modules/ecr"
  for_each     = { blue = 10, green = 20 }
  repositories = { for n in local.full : "${each.key}/${n}" => { max_image_count = each.value } }
}`,
		"b.tf": `
module "numbered" {
  source       = "./modules/ecr"
  count        = 2
  repositories = { "n${count.index}" = {} }
}
module "set" {
  source       = "./modules/ecr"
  for_each     = toset(["one"])
  repositories = { (each.value) = {} }
}`,
	}), Options{})
	var got []string
	for _, inst := range e.Instances {
		for name := range sortedElements(inst.Inputs["repositories"]) {
			got = append(got, inst.Address+" "+name)
		}
	}
	want := []string{
		`module.teams["blue"] blue/team/api`, `module.teams["blue"] blue/team/web`,
		`module.teams["green"] green/team/api`, `module.teams["green"] green/team/web`,
		`module.numbered[0] n0`, `module.numbered[1] n1`, `module.set["one"] one`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestDataSourcesAndProvider(t *testing.T) {
	r, e := load(t, write(t, map[string]string{"main.tf": `
terraform {
  required_version = ">= 1.3"
  backend "s3" {}
}
variable "region" { default = "ap-southeast-1" }
provider "aws" {
  region                      = var.region
  skip_credentials_validation = true
  allowed_account_ids         = ["123456789012"]
  endpoints { ecr = "http://127.0.0.1:5050" }
  default_tags { tags = { Owner = "platform" } }
}
provider "random" {}
data "aws_caller_identity" "me" {}
data "aws_region" "here" {}
data "aws_partition" "p" {}
locals { where = "${data.aws_partition.p.partition}-${data.aws_region.here.id}-${data.aws_caller_identity.me.account_id}" }
module "ecr" {
  source       = "./modules/ecr"
  repositories = { (local.where) = {} }
  providers    = { aws = aws }
}`}), Options{})
	if !r.NeedsIdentity() {
		t.Error("NeedsIdentity is false")
	}
	if _, ok := e.Instances[0].Inputs["repositories"].AsValueMap()["aws-eu-west-1-123456789012"]; !ok {
		t.Error(asJSON(t, e.Instances[0].Inputs["repositories"]))
	}
	p := e.Provider
	if p.Region != "ap-southeast-1" || p.ECREndpoint != "http://127.0.0.1:5050" || p.DefaultTags["Owner"] != "platform" || !slices.Equal(p.AllowedAccounts, []string{"123456789012"}) {
		t.Errorf("provider: %+v", p)
	}
}

func TestRootOutputs(t *testing.T) {
	r, e := load(t, write(t, map[string]string{"main.tf": `
module "ecr" {
  source       = "./modules/ecr"
  repositories = { app = {} }
}
locals { url = module.ecr.repository_urls["app"] }
output "url" { value = upper(local.url) }
output "hidden" {
  value     = "s"
  sensitive = true
}
`}), Options{})
	outputs, err := r.Outputs(Facts{}, e.Instances, map[string]cty.Value{"module.ecr": cty.ObjectVal(map[string]cty.Value{
		"repository_urls": cty.ObjectVal(map[string]cty.Value{"app": cty.StringVal("host/app")}),
	})})
	if err != nil {
		t.Fatal(err)
	}
	if len(outputs) != 2 || outputs[0].Name != "hidden" || !outputs[0].Sensitive || outputs[1].Value.AsString() != "HOST/APP" {
		t.Errorf("outputs: %#v", outputs)
	}
}

// A module of one's own is used when it exists, and a difference from the built-in one is mentioned.
func TestLocalModule(t *testing.T) {
	files := map[string]string{"main.tf": `module "ecr" {
  source = "./modules/ecr"
}`}
	for _, name := range []string{"main.tf", "variables.tf", "outputs.tf", "lifecycle.tf", "checks.tf", "versions.tf"} {
		b, err := modules.FS.ReadFile("ecr/" + name)
		if err != nil {
			t.Fatal(err)
		}
		files["modules/ecr/"+name] = string(b)
	}
	r, _ := load(t, write(t, files), Options{})
	if len(r.Warnings()) != 0 {
		t.Errorf("an equal copy warns: %q", r.Warnings())
	}
	files["modules/ecr/main.tf"] += "\n# changed\n"
	r, _ = load(t, write(t, files), Options{})
	if len(r.Warnings()) != 1 || !strings.Contains(r.Warnings()[0], "differ") {
		t.Errorf("a changed copy: %q", r.Warnings())
	}
	files["modules/ecr/variables.tf"] += "\nvariable \"extra\" {\n  default = 1\n}\n"
	files["main.tf"] = `module "ecr" {
  source = "./modules/ecr"
  extra  = 2
}`
	_, err := Load(write(t, files), Options{Builtin: modules.FS})
	if err == nil || !strings.Contains(err.Error(), `main.tf:3:12: input "extra" of the module at`) {
		t.Errorf("an unknown input: %v", err)
	}
}

func TestFunctions(t *testing.T) {
	dir := write(t, map[string]string{"f.txt": "body", "t.tpl": "hi ${name}%{ if on } on%{ endif }"})
	r := newRoot(dir, Options{})
	for expr, want := range map[string]string{
		`length("héllo")`:                           `5`,
		`length({a = 1, b = 2})`:                    `2`,
		`lookup({a = 1}, "a")`:                      `1`,
		`lookup({a = 1}, "b", 7)`:                   `7`,
		`replace("a1b2", "/[0-9]/", "x")`:           `"axbx"`,
		`replace("a.b", ".", "-")`:                  `"a-b"`,
		`alltrue([true, "true"])`:                   `true`,
		`anytrue([])`:                               `false`,
		`one([])`:                                   `null`,
		`one(["x"])`:                                `"x"`,
		`sum([1, 2, 3.5])`:                          `6.5`,
		`startswith("abc", "ab")`:                   `true`,
		`endswith("abc", "ab")`:                     `false`,
		`strcontains("abc", "b")`:                   `true`,
		`file("f.txt")`:                             `"body"`,
		`file("${path.module}/f.txt")`:              `"body"`,
		`fileexists("nope")`:                        `false`,
		`templatefile("t.tpl", {name="x",on=true})`: `"hi x on"`,
		`try(var.nope, "d")`:                        `"d"`,
		`can(regex("^a", "b"))`:                     `false`,
		`sha256("")`:                                `"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`,
		`base64decode(base64encode("x"))`:           `"x"`,
		`jsonencode({b = "<&>", a = [1]})`:          `"{\"a\":[1],\"b\":\"\\u003c\\u0026\\u003e\"}"`,
		`merge({a = 1}, null, {b = 2})`:             `{"a":1,"b":2}`,
		`nonsensitive(sensitive("x"))`:              `"x"`,
		`terraform.workspace`:                       `"default"`,
		`basename("a/b.txt")`:                       `"b.txt"`,
	} {
		t.Run(expr, func(t *testing.T) {
			file, diags := parseHCL(source{"x.tf", []byte("v = " + expr + "\n")})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			attrs, _ := file.Body.JustAttributes()
			v, diags := attrs["v"].Expr.Value(r.context(nil))
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if got := asJSON(t, v); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}
