package terraform_test

import "testing"

// testSecret makes a secret, its value and the cache rule that uses it in one
// apply, changes the value, and takes all of it away.
func testSecret(t *testing.T, l *lab) {
	b := l.newBench(t)
	main := func(token string) string {
		return `
resource "aws_secretsmanager_secret" "hub" {
  name                    = "ecr-pullthroughcache/docker-hub"
  description             = "Docker Hub"
  recovery_window_in_days = 0
  tags                    = { Component = "registry" }
}

resource "aws_secretsmanager_secret_version" "hub" {
  secret_id     = aws_secretsmanager_secret.hub.id
  secret_string = jsonencode({ username = "alice", accessToken = "` + token + `" })
}

resource "aws_ecr_pull_through_cache_rule" "hub" {
  ecr_repository_prefix = "docker-hub"
  upstream_registry_url = "registry-1.docker.io"
  credential_arn        = aws_secretsmanager_secret.hub.arn
}

data "aws_secretsmanager_secret_version" "read" {
  secret_id  = aws_secretsmanager_secret.hub.id
  depends_on = [aws_secretsmanager_secret_version.hub]
}

output "value" {
  value     = data.aws_secretsmanager_secret_version.read.secret_string
  sensitive = true
}
`
	}
	b.write("versions.tf", `
terraform {
  required_providers {
    aws = { source = "hashicorp/aws" }
  }
}
`)
	b.write("main.tf", main("first"))
	b.tf(0, "init")
	same(t, "counts of terraform apply", b.apply().counts, counts{Add: 3})
	b.converged()
	same(t, "the value", b.tf(0, "output", "-raw", "value").Stdout, `{"accessToken":"first","username":"alice"}`)

	b.write("main.tf", main("second"))
	b.apply()
	b.converged()
	same(t, "the value", b.tf(0, "output", "-raw", "value").Stdout, `{"accessToken":"second","username":"alice"}`)

	b.tf(0, "destroy", "-auto-approve")
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("terraform destroy leaves %s", indented(t, rest))
	}
	b.apply() // the name is free at once
	b.tf(0, "destroy", "-auto-approve")
}
