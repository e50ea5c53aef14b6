resource "aws_ecr_repository" "this" {
  for_each = var.repositories

  name                 = each.key
  image_tag_mutability = each.value.image_tag_mutability
  force_delete         = var.force_delete

  image_scanning_configuration {
    scan_on_push = each.value.scan_on_push
  }

  encryption_configuration {
    encryption_type = var.encryption_type
    kms_key         = var.kms_key_arn
  }

  tags = merge(var.common_tags, each.value.tags)

  lifecycle {
    # Two variables together: a validation may look at another variable only since Terraform 1.9.
    # The conditional (not ||) keeps the answer known while the key is still to be created.
    precondition {
      condition     = var.encryption_type == "KMS" ? true : var.kms_key_arn == null
      error_message = "Repository \"${each.key}\": kms_key_arn has no effect with encryption_type \"${var.encryption_type}\". Set encryption_type = \"KMS\" or remove kms_key_arn."
    }
  }
}

resource "aws_ecr_repository_policy" "this" {
  for_each = { for name, r in var.repositories : name => r.repository_policy if r.repository_policy != null }

  repository = aws_ecr_repository.this[each.key].name
  policy     = each.value

  lifecycle {
    # A repository that is replaced starts without a policy, and its name does not tell that it is a new one.
    replace_triggered_by = [aws_ecr_repository.this[each.key].arn]
  }
}

resource "aws_ecr_pull_through_cache_rule" "this" {
  for_each = var.pull_through_cache_rules

  ecr_repository_prefix      = each.key
  upstream_registry_url      = each.value.upstream_registry_url
  credential_arn             = each.value.credential_arn
  custom_role_arn            = each.value.custom_role_arn
  upstream_repository_prefix = each.value.upstream_repository_prefix
}
