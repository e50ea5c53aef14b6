package terraform_test

import (
	"testing"
)

// testRegistrySettings applies what concerns a registry as a whole, changes it and
// destroys it, and reads back what data sources offer.
func testRegistrySettings(t *testing.T, l *lab) {
	b := l.newBench(t)
	main := func(action, filter, region string) string {
		return `
module "ecr" {
  source = "./modules/ecr"

  repositories = { app = {} }
}

data "aws_caller_identity" "here" {}

data "aws_ecr_authorization_token" "here" {}

data "aws_ecr_repository" "app" {
  name       = "app"
  depends_on = [module.ecr]
}

data "aws_ecr_repositories" "all" {
  depends_on = [module.ecr]
}

resource "aws_ecr_registry_policy" "this" {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Partner"
      Effect    = "Allow"
      Principal = { AWS = "arn:aws:iam::111122223333:root" }
      Action    = ["ecr:` + action + `"]
      Resource  = ["arn:aws:ecr:us-east-1:${data.aws_caller_identity.here.account_id}:repository/*"]
    }]
  })
}

resource "aws_ecr_registry_scanning_configuration" "this" {
  scan_type = "BASIC"

  rule {
    scan_frequency = "SCAN_ON_PUSH"
    repository_filter {
      filter      = "` + filter + `"
      filter_type = "WILDCARD"
    }
  }
}

resource "aws_ecr_replication_configuration" "this" {
  replication_configuration {
    rule {
      destination {
        region      = "` + region + `"
        registry_id = data.aws_caller_identity.here.account_id
      }
    }
  }
}

resource "aws_ecr_account_setting" "scan" {
  name  = "BASIC_SCAN_TYPE_VERSION"
  value = "AWS_NATIVE"
}

output "user" {
  value = data.aws_ecr_authorization_token.here.user_name
}

output "url" {
  value = data.aws_ecr_repository.app.repository_url
}

output "names" {
  value = data.aws_ecr_repositories.all.names
}
`
	}
	b.write("main.tf", main("CreateRepository", "*", "eu-west-1"))
	b.tf(0, "init")
	same(t, "counts of terraform apply", b.apply().counts, counts{Add: 6})
	b.converged()
	b.write("main.tf", main("ReplicateImage", "prod*", "eu-central-1"))
	same(t, "counts of terraform apply", b.apply().counts, counts{Change: 3})
	b.converged()
	b.tf(0, "destroy", "-auto-approve")
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("terraform destroy leaves %s", indented(t, rest))
	}
}
