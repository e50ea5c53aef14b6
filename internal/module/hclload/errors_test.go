package hclload

import (
	"strings"
	"testing"

	"berth/modules"
)

// Every mistake is one sentence that names file, line and column. In want, DIR is the directory.
func TestMistakes(t *testing.T) {
	call := func(body string) map[string]string {
		return map[string]string{"main.tf": "module \"ecr\" {\n  source = \"./modules/ecr\"\n" + body + "\n}\n"}
	}
	for name, c := range map[string]struct {
		files map[string]string
		opt   Options
		want  string
	}{
		"unknown attribute": {call("  repositories = {\n    \"app\" = {\n      scan_onpush = true\n    }\n  }"), Options{},
			`DIR/main.tf:5:7: repositories["app"] has no attribute "scan_onpush" (did you mean "scan_on_push"?)`},
		"unknown attribute without a near name": {call("  pull_through_cache_rules = { xx = { upstream_registry_url = \"quay.io\", bogus = 1 } }"), Options{},
			`DIR/main.tf:3:74: pull_through_cache_rules["xx"] has no attribute "bogus"; it knows credential_arn, custom_role_arn, upstream_registry_url or upstream_repository_prefix`},
		"unknown input": {call("  repositorys = {}"), Options{},
			`DIR/main.tf:3:3: module "ecr" has no input "repositorys" (did you mean "repositories"?)`},
		"wrong type": {call("  repositories = { app = { scan_on_push = \"yes\" } }"), Options{},
			`DIR/main.tf:3:43: repositories["app"].scan_on_push: a bool is required`},
		"missing attribute": {call("  pull_through_cache_rules = { xx = {} }"), Options{},
			`DIR/main.tf:3:37: pull_through_cache_rules["xx"] needs the attribute "upstream_registry_url"`},
		"validation of the module": {call("  repositories = { app = { image_tag_mutability = \"immutable\" } }"), Options{},
			`DIR/main.tf:3:18: invalid value for repositories: repositories: image_tag_mutability is "MUTABLE" or "IMMUTABLE" (upper case). Correct: "app" ("immutable")`},
		"validation with a name": {call("  repositories = { \"Bad/UPPER\" = {} }"), Options{},
			`DIR/main.tf:3:18: invalid value for repositories: repositories: a name has 2 to 256 characters`},
		"kms arn": {call("  kms_key_arn = \"alias/x\""), Options{},
			`DIR/main.tf:3:17: invalid value for kms_key_arn: kms_key_arn is null or the whole ARN of a key`},
		"syntax": {map[string]string{"main.tf": "module \"ecr\" {\n  source = \n}\n"}, Options{},
			`DIR/main.tf:2:12: invalid expression: `},
		"resource": {map[string]string{"main.tf": "resource \"aws_kms_key\" \"k\" {}\n"}, Options{},
			`DIR/main.tf:1:1: resource "aws_kms_key" "k" is not part of the ECR module, and berth manages nothing else: `},
		"data": {map[string]string{"main.tf": "data \"aws_vpc\" \"v\" {}\n"}, Options{},
			`DIR/main.tf:1:1: data "aws_vpc" "v" cannot be read by berth`},
		"import block": {map[string]string{"main.tf": "import {\n to = x\n id = \"y\"\n}\n"}, Options{},
			`DIR/main.tf:1:1: import blocks are not supported: remove it and pass --adopt`},
		"unknown block": {map[string]string{"main.tf": "modul \"ecr\" {}\n"}, Options{},
			`DIR/main.tf:1:1: unsupported block type`},
		"undeclared variable": {call("  force_delete = var.force"), Options{},
			`DIR/main.tf:3:21: unsupported attribute: This object does not have an attribute named "force"`},
		"cycle": {map[string]string{"main.tf": "locals {\n  a = local.b\n  b = local.a\n}\nmodule \"ecr\" {\n  source = \"./modules/ecr\"\n}\n"}, Options{},
			`DIR/main.tf:2:3: local.a refers to itself`},
		"remote source": {map[string]string{"main.tf": "module \"ecr\" {\n  source = \"terraform-aws-modules/ecr/aws\"\n}\n"}, Options{},
			`DIR/main.tf:2:12: module source "terraform-aws-modules/ecr/aws" is not a local path: `},
		"missing source": {map[string]string{"main.tf": "module \"x\" {\n  source = \"./modules/other\"\n}\n"}, Options{},
			`DIR/main.tf:2:12: module source "./modules/other" does not exist: there is no directory DIR/modules/other`},
		"another module": {map[string]string{"main.tf": "module \"x\" {\n  source = \"./m\"\n}\n", "m/main.tf": "variable \"repositories\" {}\n"}, Options{},
			`DIR/main.tf:2:12: the module at DIR/m is not the ECR module: it declares no variable "encryption_type"`},
		"no value": {map[string]string{"main.tf": "variable \"x\" {}\nmodule \"ecr\" {\n  source = \"./modules/ecr\"\n}\n"}, Options{},
			`DIR/main.tf:1:1: variable "x" has no value: set it in terraform.tfvars, with --var x=… or in TF_VAR_x`},
		"validation of the root": {map[string]string{"main.tf": "variable \"x\" {\n  default = 1\n  validation {\n    condition = var.x > 1\n    error_message = \"More than one, not ${var.x}.\"\n  }\n}\nmodule \"ecr\" {\n  source = \"./modules/ecr\"\n}\n"}, Options{},
			`DIR/main.tf:1:1: invalid value for x: More than one, not 1`},
		"flag of no variable": {call(""), Options{Assign: []Assignment{{Name: "nope", Value: "1"}}},
			`--var nope:1:1: there is no variable "nope"`},
		"flag of a wrong type": {map[string]string{"main.tf": variablesMain}, Options{Assign: []Assignment{{Name: "n", Value: "many"}}},
			`--var n:1:1: variable "n", n: a number is required`},
		"variables file that is missing": {call(""), Options{Assign: []Assignment{{File: "/nonexistent.tfvars"}}},
			`/nonexistent.tfvars:1:1: the variables file given by --var-file cannot be used`},
		"function in a variables file": {map[string]string{"main.tf": variablesMain, "terraform.tfvars": "name = upper(\"x\")\n"}, Options{},
			`DIR/terraform.tfvars:1:8: function calls not allowed`},
		"bare file with an unknown name": {map[string]string{"terraform.tfvars": "repository = {}\n"}, Options{},
			`DIR/terraform.tfvars:1:1: the module has no input "repository" (did you mean "repositories"?)`},
		"bare file with an unknown attribute": {map[string]string{"terraform.tfvars": "repositories = {\n  app = { max_image_cuont = 3 }\n}\n"}, Options{},
			`DIR/terraform.tfvars:2:11: repositories["app"] has no attribute "max_image_cuont" (did you mean "max_image_count"?)`},
		"unknown output": {map[string]string{"main.tf": "module \"ecr\" {\n  source = \"./modules/ecr\"\n}\noutput \"u\" {\n  value = module.ecr.repository_url\n}\n"}, Options{},
			`DIR/main.tf:5:21: unsupported attribute`},
		"input from a module": {map[string]string{"main.tf": "module \"a\" {\n  source = \"./modules/ecr\"\n}\nmodule \"ecr\" {\n  source = \"./modules/ecr\"\n  common_tags = { u = module.a.docker_login_command }\n}\n"}, Options{},
			`DIR/main.tf:6:17: common_tags of module "ecr" depends on the outputs of a module`},
		"assume role": {map[string]string{"main.tf": "provider \"aws\" {\n  assume_role {\n    role_arn = \"x\"\n  }\n}\nmodule \"ecr\" {\n  source = \"./modules/ecr\"\n}\n"}, Options{},
			`DIR/main.tf:2:3: assume_role of provider "aws" is not supported`},
		"provider setting": {map[string]string{"main.tf": "provider \"aws\" {\n  use_fips_endpoint = true\n}\nmodule \"ecr\" {\n  source = \"./modules/ecr\"\n}\n"}, Options{},
			`DIR/main.tf:2:3: use_fips_endpoint of provider "aws" is not supported`},
		"count": {call("  count = -1"), Options{}, `DIR/main.tf:3:11: count of module "ecr" must be a whole number from 0 to 1000`},
		"JSON syntax": {map[string]string{"main.tf.json": "{}"}, Options{},
			`DIR/main.tf.json: configuration in JSON syntax is not supported`},
		"override": {map[string]string{"main.tf": "", "x_override.tf": ""}, Options{},
			`DIR/x_override.tf: override files are not supported`},
		"nothing": {map[string]string{"README": ""}, Options{},
			`DIR has no .tf files and no terraform.tfvars: `},
		"no module": {map[string]string{"main.tf": "variable \"x\" {\n  default = 1\n}\n"}, Options{},
			`DIR calls no module: `},
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, c.files)
			c.opt.Builtin = modules.FS
			_, err := Load(dir, c.opt)
			if err == nil {
				t.Fatalf("no error; want %s", c.want)
			}
			got := strings.ReplaceAll(err.Error(), dir, "DIR")
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestPathThatDoesNotExist(t *testing.T) {
	_, err := Load("/nonexistent/dir", Options{})
	if err == nil || err.Error() != "cannot read /nonexistent/dir: no such file or directory" {
		t.Error(err)
	}
}

func TestSuggest(t *testing.T) {
	for got, want := range map[string]string{
		"scan_onpush": ` (did you mean "scan_on_push"?)`, "tag": ` (did you mean "tags"?)`, "zzzzzz": "", "": "",
	} {
		if hint := suggest(got, []string{"tags", "scan_on_push", "max_image_count"}); hint != want {
			t.Errorf("suggest(%q) = %q, want %q", got, hint, want)
		}
	}
}

// Loading never panics, and an error about a file says where in it.
func FuzzLoad(f *testing.F) {
	for _, name := range []string{"basic-example.hcl", "advanced-example.hcl", "cross-account-access.hcl", "pull-through-cache.hcl"} {
		f.Add(seed(f, name))
	}
	f.Add(variablesMain)
	f.Add("locals {\n a = local.b\n b = [for x in range(3) : x]\n}\nmodule \"m\" {\n source = \"./modules/ecr\"\n count = 2\n}\noutput \"o\" {\n value = module.m[0]\n}")
	f.Add("module \"m\" {\n source = \"./modules/ecr\"\n for_each = toset([\"a\"])\n repositories = { (each.key) = null }\n}")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, body string) {
		src := []source{{"fuzz.tf", []byte(body)}}
		opt := Options{Builtin: modules.FS}
		check := func(err error) {
			if err == nil || strings.Contains(err.Error(), "calls no module") {
				return
			}
			for line := range strings.SplitSeq(err.Error(), "\n") {
				if !strings.Contains(line, "fuzz.tf:") && !strings.Contains(line, "modules/ecr/") && !strings.HasPrefix(line, "and ") {
					t.Errorf("no position in %q", line)
				}
			}
		}
		if onlyAttributes(src) {
			_, err := loadBare(dir, src, opt)
			check(err)
			return
		}
		_, err := loadRoot(dir, &directory{config: src}, opt)
		check(err)
	})
}
