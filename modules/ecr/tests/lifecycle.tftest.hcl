# The lifecycle document, found by priority: the order of the list means nothing to ECR.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  repositories = {
    "aa" = {}
    "bb" = { max_image_count = 1, untagged_days = 365 }
  }
}

run "every_repository_has_both_rules" {
  command = plan

  assert {
    condition     = keys(aws_ecr_lifecycle_policy.this) == ["aa", "bb"]
    error_message = "one policy per repository"
  }
  assert {
    condition     = alltrue([for name, p in aws_ecr_lifecycle_policy.this : p.repository == name])
    error_message = "each policy belongs to its own repository"
  }
  assert {
    condition     = alltrue([for p in aws_ecr_lifecycle_policy.this : toset(jsondecode(p.policy).rules[*].rulePriority) == toset([1, 2]) && length(jsondecode(p.policy).rules) == 2])
    error_message = "exactly two rules, priorities 1 and 2"
  }
}

run "untagged_images_are_priority_1" {
  command = plan

  assert {
    condition = jsonencode(one([for r in jsondecode(aws_ecr_lifecycle_policy.this["aa"].policy).rules : r if r.rulePriority == 1])) == jsonencode({
      rulePriority = 1
      description  = "Expire untagged images after 7 days"
      selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
      action       = { type = "expire" }
    })
    error_message = "rule 1 of aa"
  }
  assert {
    condition     = one([for r in jsondecode(aws_ecr_lifecycle_policy.this["bb"].policy).rules : r.selection.countNumber if r.rulePriority == 1]) == 365
    error_message = "rule 1 of bb counts its own days"
  }
}

run "keep_n_is_priority_2_and_selects_any" {
  command = plan

  assert {
    condition = jsonencode(one([for r in jsondecode(aws_ecr_lifecycle_policy.this["aa"].policy).rules : r if r.rulePriority == 2])) == jsonencode({
      rulePriority = 2
      description  = "Keep last 30 images"
      selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = 30 }
      action       = { type = "expire" }
    })
    error_message = "rule 2 of aa"
  }
  assert {
    condition     = one([for r in jsondecode(aws_ecr_lifecycle_policy.this["bb"].policy).rules : r.selection.countNumber if r.rulePriority == 2]) == 1
    error_message = "rule 2 of bb keeps its own number"
  }
  assert {
    condition = alltrue(flatten([
      for p in aws_ecr_lifecycle_policy.this : [
        for r in jsondecode(p.policy).rules :
        r.rulePriority == max(jsondecode(p.policy).rules[*].rulePriority...) if r.selection.tagStatus == "any"
      ]
    ]))
    error_message = "ECR demands the largest priority for tagStatus any"
  }
}
