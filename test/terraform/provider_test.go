package terraform_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// untested are the resources and data sources of ECR that the provider has and no test of this package uses yet.
func untested() []string { return nil }

// A providerCase is a resource of the provider: two bodies, the action by which the second changes the first, and the
// name by which an import finds it.
type providerCase struct {
	resource      string
	first, second string
	action, id    string
}

// providerCases are all of one configuration. What they refer to stands in providerData.
func providerCases() []providerCase {
	registryPolicy := func(action string) string {
		return `
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Partner"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::123456789012:root" }
      Action    = ["ecr:` + action + `"]
      Resource  = ["arn:aws:ecr:` + region + `:` + account + `:repository/*"]
    }]
  })`
	}
	repositoryPolicy := func(action string) string {
		return `
  repository = aws_ecr_repository.this.name
  policy     = jsonencode({ Version = "2012-10-17", Statement = [{ Sid = "Pull", Effect = "Allow", Principal = "*", Action = ["ecr:` + action + `"] }] })`
	}
	lifecycle := func(document string) string {
		return `
  repository = aws_ecr_repository.this.name
  policy     = data.aws_ecr_lifecycle_policy_document.` + document + `.json`
	}
	cacheRule := func(secret string) string {
		return `
  ecr_repository_prefix      = "hub"
  upstream_registry_url      = "registry-1.docker.io"
  upstream_repository_prefix = "library"
  credential_arn             = "arn:aws:secretsmanager:` + region + `:` + account + `:secret:ecr-pullthroughcache/` + secret + `"`
	}
	scanning := func(filter string) string {
		return `
  scan_type = "BASIC"

  rule {
    scan_frequency = "SCAN_ON_PUSH"
    repository_filter {
      filter      = "` + filter + `"
      filter_type = "WILDCARD"
    }
  }`
	}
	replication := func(to, filter string) string {
		return `
  replication_configuration {
    rule {
      destination {
        region      = "` + to + `"
        registry_id = "` + account + `"
      }
      repository_filter {
        filter      = "` + filter + `"
        filter_type = "PREFIX_MATCH"
      }
    }
  }`
	}
	return []providerCase{
		{"aws_ecr_repository", `
  name = "app"
  tags = { Team = "blue" }`, `
  name                 = "app"
  image_tag_mutability = "IMMUTABLE"
  tags                 = { Team = "green", Cost = "lab" }

  image_scanning_configuration {
    scan_on_push = true
  }`, "update", "app"},
		{"aws_ecr_repository_policy", repositoryPolicy("BatchGetImage"), repositoryPolicy("ListImages"), "update", "app"},
		{"aws_ecr_lifecycle_policy", lifecycle("untagged"), lifecycle("tagged"), "replace", "app"},
		{"aws_ecr_pull_through_cache_rule", cacheRule("first"), cacheRule("second"), "update", "hub"},
		{"aws_ecr_registry_policy", registryPolicy("CreateRepository"), registryPolicy("ReplicateImage"), "update", account},
		{"aws_ecr_registry_scanning_configuration", scanning("*"), scanning("prod*"), "update", account},
		{"aws_ecr_replication_configuration", replication("eu-west-1", "prod"), replication("eu-central-1", "team"), "update", account},
		{"aws_ecr_account_setting", `
  name  = "BASIC_SCAN_TYPE_VERSION"
  value = "AWS_NATIVE"`, `
  name  = "REGISTRY_POLICY_SCOPE"
  value = "V2"`, "replace", "BASIC_SCAN_TYPE_VERSION"},
	}
}

// providerData are the data sources that need no image.
const providerData = `
data "aws_ecr_authorization_token" "here" {}

data "aws_ecr_repositories" "all" {
  depends_on = [aws_ecr_repository.this]
}

data "aws_ecr_repository" "app" {
  name = aws_ecr_repository.this.name
}

data "aws_ecr_pull_through_cache_rule" "hub" {
  ecr_repository_prefix = aws_ecr_pull_through_cache_rule.this.ecr_repository_prefix
}

data "aws_ecr_lifecycle_policy_document" "untagged" {
  rule {
    priority    = 1
    description = "untagged for two weeks"
    selection {
      tag_status   = "untagged"
      count_type   = "sinceImagePushed"
      count_unit   = "days"
      count_number = 14
    }
  }
}

data "aws_ecr_lifecycle_policy_document" "tagged" {
  rule {
    priority = 1
    selection {
      tag_status       = "tagged"
      tag_pattern_list = ["prod*"]
      count_type       = "imageCountMoreThan"
      count_number     = 100
    }
  }
}

output "read" {
  value = {
    user     = data.aws_ecr_authorization_token.here.user_name
    names    = data.aws_ecr_repositories.all.names
    url      = data.aws_ecr_repository.app.repository_url
    arn      = data.aws_ecr_repository.app.arn
    tags     = data.aws_ecr_repository.app.tags
    latest   = data.aws_ecr_repository.app.most_recent_image_tags
    upstream = data.aws_ecr_pull_through_cache_rule.hub.upstream_registry_url
    secret   = data.aws_ecr_pull_through_cache_rule.hub.credential_arn
    registry = data.aws_ecr_pull_through_cache_rule.hub.registry_id
  }
}
`

// providerImages are those that read an image.
const providerImages = `
data "aws_ecr_image" "tagged" {
  repository_name = aws_ecr_repository.this.name
  image_tag       = "v1"
}

data "aws_ecr_image" "latest" {
  repository_name = aws_ecr_repository.this.name
  most_recent     = true
}

output "images" {
  value = [for i in [data.aws_ecr_image.tagged, data.aws_ecr_image.latest] : [i.image_digest, i.image_tags, i.image_uri, i.registry_id]]
}
`

// testProvider applies every resource of ECR that the provider has, changes it, gives it up and imports it again, and
// destroys it; and it reads every data source.
func testProvider(t *testing.T, l *lab) {
	b := l.newBench(t)
	b.server.Secret("ecr-pullthroughcache/first", `{"username":"u","accessToken":"1"}`)
	b.server.Secret("ecr-pullthroughcache/second", `{"username":"u","accessToken":"2"}`)
	cases := providerCases()
	configuration := func(body func(providerCase) string, more string) string {
		var text strings.Builder
		for _, c := range cases {
			text.WriteString("resource \"" + c.resource + "\" \"this\" {" + body(c) + "\n}\n\n")
		}
		return text.String() + providerData + more
	}
	first := func(c providerCase) string { return c.first }
	second := func(c providerCase) string { return c.second }
	b.write("main.tf", configuration(first, ""))
	b.tf(0, "init")
	knows(b)
	same(t, "counts of terraform apply", b.apply().counts, counts{Add: len(cases)})
	b.converged()
	want := map[string]any{
		"user": "AWS", "names": []any{"app"}, "url": registry + "/app", "arn": "arn:aws:ecr:" + region + ":" + account + ":repository/app",
		"tags": map[string]any{"Team": "blue"}, "latest": []any{}, "upstream": "registry-1.docker.io", "registry": account,
		"secret": "arn:aws:secretsmanager:" + region + ":" + account + ":secret:ecr-pullthroughcache/first",
	}
	same(t, "what the data sources read", output(b, "read"), want)

	forget, imports := []string{"state", "rm"}, ""
	for _, c := range cases {
		forget = append(forget, c.resource+".this")
		imports += "import {\n  to = " + c.resource + ".this\n  id = \"" + c.id + "\"\n}\n\n"
	}
	b.tf(0, forget...)
	b.write("imports.tf", imports)
	same(t, "counts of terraform apply with imports", b.apply().counts, counts{})
	if err := os.Remove(filepath.Join(b.dir, "imports.tf")); err != nil {
		t.Fatal(err)
	}
	b.converged()

	image := push(t, b.server, "app", "v1")
	b.write("main.tf", configuration(second, providerImages))
	actions := map[string]string{}
	for _, c := range cases {
		actions[c.resource+".this"] = c.action
	}
	got := b.apply().actions
	maps.DeleteFunc(got, func(at, action string) bool { return action == "read" })
	same(t, "the actions of terraform apply", got, actions)
	b.converged()
	want["tags"] = map[string]any{"Team": "green", "Cost": "lab"}
	want["latest"] = []any{"v1"}
	want["secret"] = "arn:aws:secretsmanager:" + region + ":" + account + ":secret:ecr-pullthroughcache/second"
	same(t, "what the data sources read", output(b, "read"), want)
	one := []any{image, []any{"v1"}, registry + "/app@" + image, account}
	same(t, "what the data sources read of images", output(b, "images"), []any{one, one})
	b.write("main.tf", configuration(second, "")) // without the images, of which the refresh before destroy would ask

	_, err := b.server.ECR().BatchDeleteImage(t.Context(), &ecr.BatchDeleteImageInput{
		RepositoryName: aws.String("app"), ImageIds: []types.ImageIdentifier{{ImageDigest: &image}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.tf(0, "destroy", "-auto-approve")
	cleared(b)
}

func output(b *bench, name string) (v any) {
	b.Helper()
	if err := json.Unmarshal([]byte(b.tf(0, "output", "-json", name).Stdout), &v); err != nil {
		b.Fatal(err)
	}
	return v
}

// cleared checks that the registry is as it was before anything was applied.
func cleared(b *bench) {
	b.Helper()
	if rest := read(b, b.server); !rest.empty() {
		b.Errorf("terraform destroy leaves %s", indented(b, rest))
	}
	ctx, client := b.Context(), b.server.ECR()
	_, err := client.GetRegistryPolicy(ctx, &ecr.GetRegistryPolicyInput{})
	if !missing[*types.RegistryPolicyNotFoundException](b, err) {
		b.Error("terraform destroy leaves the policy of the registry")
	}
	scanning, err := client.GetRegistryScanningConfiguration(ctx, &ecr.GetRegistryScanningConfigurationInput{})
	if err != nil || scanning.ScanningConfiguration.ScanType != types.ScanTypeBasic || len(scanning.ScanningConfiguration.Rules) > 0 {
		b.Errorf("terraform destroy leaves the scanning configuration %+v, %v", scanning, err)
	}
	settings, err := client.DescribeRegistry(ctx, &ecr.DescribeRegistryInput{})
	if err != nil || len(settings.ReplicationConfiguration.Rules) > 0 {
		b.Errorf("terraform destroy leaves the replication configuration %+v, %v", settings, err)
	}
}

// knows compares what the provider has for ECR with what the tests use.
func knows(b *bench) {
	b.Helper()
	var schemas struct {
		Providers map[string]struct {
			Resources   map[string]struct{} `json:"resource_schemas"`
			DataSources map[string]struct{} `json:"data_source_schemas"`
			Ephemeral   map[string]struct{} `json:"ephemeral_resource_schemas"`
		} `json:"provider_schemas"`
	}
	if err := json.Unmarshal([]byte(b.tf(0, "providers", "schema", "-json").Stdout), &schemas); err != nil {
		b.Fatal(err)
	}
	offered := map[string]bool{}
	for _, p := range schemas.Providers {
		for kind, names := range map[string]map[string]struct{}{"resource": p.Resources, "data": p.DataSources, "ephemeral": p.Ephemeral} {
			for name := range names {
				if strings.HasPrefix(name, "aws_ecr_") {
					offered[kind+" "+name] = true
				}
			}
		}
	}
	if len(offered) < 16 {
		b.Errorf("the provider has only %v for ECR, so this test reads its schema wrong", slices.Sorted(maps.Keys(offered)))
	}
	used := usedByTests(b)
	for name := range offered {
		if used[name] == slices.Contains(untested(), name) {
			b.Errorf("%s: used by a test: %t, listed as untested: %t", name, used[name], !used[name])
		}
	}
	for _, name := range untested() {
		if !offered[name] {
			b.Errorf("%s is listed as untested and the provider has not got it", name)
		}
	}
}

// usedByTests are the blocks of ECR in the configurations of this package's tests, "resource aws_ecr_repository" and so on.
func usedByTests(b *bench) map[string]bool {
	b.Helper()
	used := map[string]bool{}
	for _, c := range providerCases() {
		used["resource "+c.resource] = true
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		b.Fatal(err)
	}
	block := regexp.MustCompile(`(?m)^(resource|data|ephemeral) "(aws_ecr_\w+)" "`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			b.Fatal(err)
		}
		for _, m := range block.FindAllStringSubmatch(string(text), -1) {
			used[m[1]+" "+m[2]] = true
		}
	}
	return used
}
