# Two rules per repository. ECR demands that a rule for tagStatus "any" has the largest rulePriority, so the rule for
# untagged images comes first. With untagged_days = 7 and max_image_count = 30 the document is (key order is free):
#
#   {"rules":[
#     {"rulePriority":1,"description":"Expire untagged images after 7 days",
#      "selection":{"tagStatus":"untagged","countType":"sinceImagePushed","countUnit":"days","countNumber":7},
#      "action":{"type":"expire"}},
#     {"rulePriority":2,"description":"Keep last 30 images",
#      "selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":30},
#      "action":{"type":"expire"}}]}
resource "aws_ecr_lifecycle_policy" "this" {
  for_each = var.repositories

  repository = aws_ecr_repository.this[each.key].name

  policy = jsonencode({
    rules = [
      {
        rulePriority = 1
        description  = "Expire untagged images after ${each.value.untagged_days} days"
        selection = {
          tagStatus   = "untagged"
          countType   = "sinceImagePushed"
          countUnit   = "days"
          countNumber = each.value.untagged_days
        }
        action = {
          type = "expire"
        }
      },
      {
        rulePriority = 2
        description  = "Keep last ${each.value.max_image_count} images"
        selection = {
          tagStatus   = "any"
          countType   = "imageCountMoreThan"
          countNumber = each.value.max_image_count
        }
        action = {
          type = "expire"
        }
      },
    ]
  })

  lifecycle {
    # A repository that is replaced starts without a policy, and its name does not tell that it is a new one.
    replace_triggered_by = [aws_ecr_repository.this[each.key].arn]
  }
}
