package terraform_test

import (
	"testing"
)

// testIAM makes users, roles and policies, changes them, and destroys them.
func testIAM(t *testing.T, l *lab) {
	b := l.newBench(t)
	main := func(action, owner string) string {
		return `
module "ecr" {
  source = "./modules/ecr"

  repositories = { app = {} }
}

locals {
  pull = jsonencode({
    Version = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = ["` + action + `"], Resource = "*" }]
  })
}

resource "aws_iam_user" "ci" {
  name          = "ci"
  path          = "/build/"
  force_destroy = true
  tags          = { Owner = "` + owner + `" }
}

resource "aws_iam_access_key" "ci" {
  user = aws_iam_user.ci.name
}

resource "aws_iam_user_policy" "ci" {
  name   = "pull"
  user   = aws_iam_user.ci.name
  policy = local.pull
}

resource "aws_iam_policy" "pull" {
  name        = "pull"
  description = "Pulls images"
  policy      = local.pull
  tags        = { Owner = "` + owner + `" }
}

resource "aws_iam_user_policy_attachment" "ci" {
  user       = aws_iam_user.ci.name
  policy_arn = aws_iam_policy.pull.arn
}

resource "aws_iam_role" "deploy" {
  name                 = "deploy"
  max_session_duration = 7200
  permissions_boundary = aws_iam_policy.pull.arn
  tags                 = { Owner = "` + owner + `" }
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Action = "sts:AssumeRole", Principal = { AWS = aws_iam_user.ci.arn } }]
  })
}

resource "aws_iam_role_policy" "deploy" {
  name   = "pull"
  role   = aws_iam_role.deploy.id
  policy = local.pull
}

resource "aws_iam_role_policy_attachment" "deploy" {
  role       = aws_iam_role.deploy.name
  policy_arn = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPowerUser"
}

resource "aws_iam_openid_connect_provider" "github" {
  url             = "https://token.actions.githubusercontent.com"
  client_id_list  = ["sts.amazonaws.com"]
  thumbprint_list = ["6938fd4d98bab03faadb97b34396831e3780aea1"]
}

output "key" {
  value = aws_iam_access_key.ci.id
}
`
	}
	b.write("main.tf", main("ecr:BatchGetImage", "a"))
	b.tf(0, "init")
	same(t, "counts of terraform apply", b.apply().counts, counts{Add: 11})
	b.converged()
	b.write("main.tf", main("ecr:GetDownloadUrlForLayer", "b"))
	same(t, "counts of terraform apply", b.apply().counts, counts{Change: 5})
	b.converged()
	b.tf(0, "destroy", "-auto-approve")
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("terraform destroy leaves %s", indented(t, rest))
	}
}
