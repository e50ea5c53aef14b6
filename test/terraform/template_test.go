package terraform_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// testTemplates makes creation templates, changes them, takes one over from the registry, and destroys them. The
// provider does not know the use CREATE_ON_PUSH yet.
func testTemplates(t *testing.T, l *lab) {
	b := l.newBench(t)
	main := func(full string) string {
		return `
module "ecr" {
  source = "./modules/ecr"

  repositories = { app = {} }
}

resource "aws_ecr_repository_creation_template" "root" {
  prefix      = "ROOT"
  applied_for = ["PULL_THROUGH_CACHE"]
}

resource "aws_ecr_repository_creation_template" "team" {
  prefix      = "team"
` + full + `
}

data "aws_ecr_repository_creation_template" "team" {
  prefix = aws_ecr_repository_creation_template.team.prefix
}

output "template" {
  value = "${data.aws_ecr_repository_creation_template.team.registry_id} ${data.aws_ecr_repository_creation_template.team.image_tag_mutability} ${join(",", data.aws_ecr_repository_creation_template.team.applied_for)}"
}
`
	}
	const (
		every = `
  applied_for          = ["PULL_THROUGH_CACHE", "REPLICATION"]
  description          = "Of the teams"
  image_tag_mutability = "IMMUTABLE"
  custom_role_arn      = "arn:aws:iam::111122223333:role/creator"

  encryption_configuration {
    encryption_type = "AES256"
  }

  resource_tags = { Cost = "lab" }

  repository_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Sid = "Pull", Effect = "Allow", Principal = "*", Action = ["ecr:BatchGetImage"] }]
  })

  lifecycle_policy = jsonencode({
    rules = [{
      rulePriority = 1
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 14 }
      action       = { type = "expire" }
    }]
  })
`
		few = `
  applied_for = ["REPLICATION"]
`
	)
	b.write("main.tf", main(few))
	b.tf(0, "init")
	client := b.server.ECR()
	_, err := client.CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: aws.String("team"), AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForReplication},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.tf(0, "import", "aws_ecr_repository_creation_template.team", "team")
	same(t, "counts of terraform apply", b.apply().counts, counts{Add: 3})
	b.converged()
	same(t, "the data source", b.tf(0, "output", "-raw", "template").Stdout, account+" MUTABLE REPLICATION")
	b.write("main.tf", main(every))
	same(t, "counts of terraform apply", b.apply().counts, counts{Change: 1})
	b.converged()
	same(t, "the data source", b.tf(0, "output", "-raw", "template").Stdout, account+" IMMUTABLE PULL_THROUGH_CACHE,REPLICATION")
	b.write("main.tf", main(few)) // what is not named any more is removed
	same(t, "counts of terraform apply", b.apply().counts, counts{Change: 1})
	b.converged()
	same(t, "the data source", b.tf(0, "output", "-raw", "template").Stdout, account+" MUTABLE REPLICATION")
	b.tf(0, "destroy", "-auto-approve")
	if rest := read(t, b.server); !rest.empty() {
		t.Errorf("terraform destroy leaves %s", indented(t, rest))
	}
	left, err := client.DescribeRepositoryCreationTemplates(t.Context(), &ecr.DescribeRepositoryCreationTemplatesInput{})
	if err != nil || len(left.RepositoryCreationTemplates) != 0 {
		t.Errorf("terraform destroy leaves the templates %+v, %v", left, err)
	}
}
