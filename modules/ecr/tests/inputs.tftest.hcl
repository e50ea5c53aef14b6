# Defaults, conversions and what reaches the resources.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "an_empty_object_takes_every_default" {
  command = plan

  variables {
    repositories = { "app" = {} }
  }

  assert {
    condition     = keys(aws_ecr_repository.this) == ["app"] && aws_ecr_repository.this["app"].name == "app"
    error_message = "one repository named by its key"
  }
  assert {
    condition     = aws_ecr_repository.this["app"].image_tag_mutability == "MUTABLE"
    error_message = "image_tag_mutability defaults to MUTABLE"
  }
  assert {
    condition     = aws_ecr_repository.this["app"].image_scanning_configuration[0].scan_on_push == true
    error_message = "scan_on_push defaults to true"
  }
  assert {
    condition     = aws_ecr_repository.this["app"].force_delete == false
    error_message = "force_delete defaults to false"
  }
  assert {
    condition     = aws_ecr_repository.this["app"].encryption_configuration[0].encryption_type == "AES256"
    error_message = "encryption_type defaults to AES256"
  }
  assert {
    condition     = length(aws_ecr_repository.this["app"].tags) == 0
    error_message = "no tags by default"
  }
  assert {
    condition     = length(aws_ecr_repository_policy.this) == 0 && length(aws_ecr_pull_through_cache_rule.this) == 0
    error_message = "no policy and no cache rule by default"
  }
  assert {
    condition = alltrue([
      for r in jsondecode(aws_ecr_lifecycle_policy.this["app"].policy).rules :
      r.selection.countNumber == (r.rulePriority == 1 ? 7 : 30)
    ])
    error_message = "untagged_days defaults to 7, max_image_count to 30"
  }
}

run "null_means_the_default" {
  command = plan

  variables {
    repositories = {
      "app" = {
        image_tag_mutability = null
        scan_on_push         = null
        max_image_count      = null
        untagged_days        = null
        repository_policy    = null
        tags                 = null
      }
    }
    encryption_type          = null
    kms_key_arn              = null
    force_delete             = null
    common_tags              = null
    pull_through_cache_rules = null
  }

  assert {
    condition = (
      aws_ecr_repository.this["app"].image_tag_mutability == "MUTABLE"
      && aws_ecr_repository.this["app"].image_scanning_configuration[0].scan_on_push == true
      && aws_ecr_repository.this["app"].encryption_configuration[0].encryption_type == "AES256"
      && aws_ecr_repository.this["app"].force_delete == false
      && length(aws_ecr_repository.this["app"].tags) == 0
      && length(aws_ecr_repository_policy.this) == 0
      && strcontains(aws_ecr_lifecycle_policy.this["app"].policy, "after 7 days")
      && strcontains(aws_ecr_lifecycle_policy.this["app"].policy, "last 30 images")
    )
    error_message = "an attribute or input that is null takes its default"
  }
}

run "every_value_reaches_its_resource" {
  command = plan

  variables {
    repositories = {
      "team/app.v2_x-y" = {
        image_tag_mutability = "IMMUTABLE"
        scan_on_push         = false
        max_image_count      = "12"
        untagged_days        = 4
        repository_policy    = "{\"Version\":\"2012-10-17\"}"
      }
    }
    encryption_type = "KMS"
    kms_key_arn     = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef"
    force_delete    = true
    pull_through_cache_rules = {
      "hub" = {
        upstream_registry_url = "registry-1.docker.io"
        credential_arn        = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:ecr-pullthroughcache/hub-AbCdEf"
      }
      "other/ecr/" = {
        upstream_registry_url      = "123456789012.dkr.ecr.eu-west-3.amazonaws.com"
        custom_role_arn            = "arn:aws:iam::123456789012:role/service/pull"
        upstream_repository_prefix = "team"
      }
      "ROOT" = {
        upstream_registry_url = "public.ecr.aws"
      }
    }
  }

  assert {
    condition = (
      aws_ecr_repository.this["team/app.v2_x-y"].image_tag_mutability == "IMMUTABLE"
      && aws_ecr_repository.this["team/app.v2_x-y"].image_scanning_configuration[0].scan_on_push == false
      && aws_ecr_repository.this["team/app.v2_x-y"].force_delete == true
      && aws_ecr_repository.this["team/app.v2_x-y"].encryption_configuration[0].encryption_type == "KMS"
      && aws_ecr_repository.this["team/app.v2_x-y"].encryption_configuration[0].kms_key == var.kms_key_arn
    )
    error_message = "repository attributes"
  }
  assert {
    condition     = aws_ecr_repository_policy.this["team/app.v2_x-y"].repository == "team/app.v2_x-y" && aws_ecr_repository_policy.this["team/app.v2_x-y"].policy == "{\"Version\":\"2012-10-17\"}"
    error_message = "the policy belongs to its repository"
  }
  assert {
    condition     = strcontains(aws_ecr_lifecycle_policy.this["team/app.v2_x-y"].policy, "\"countNumber\":12,")
    error_message = "a number written as a string is a number"
  }
  assert {
    condition = (
      aws_ecr_pull_through_cache_rule.this["hub"].ecr_repository_prefix == "hub"
      && aws_ecr_pull_through_cache_rule.this["hub"].upstream_registry_url == "registry-1.docker.io"
      && aws_ecr_pull_through_cache_rule.this["hub"].credential_arn == var.pull_through_cache_rules["hub"].credential_arn
      && aws_ecr_pull_through_cache_rule.this["hub"].custom_role_arn == null
      && aws_ecr_pull_through_cache_rule.this["hub"].upstream_repository_prefix == null
      && aws_ecr_pull_through_cache_rule.this["other/ecr/"].custom_role_arn == "arn:aws:iam::123456789012:role/service/pull"
      && aws_ecr_pull_through_cache_rule.this["other/ecr/"].upstream_repository_prefix == "team"
      && aws_ecr_pull_through_cache_rule.this["ROOT"].upstream_registry_url == "public.ecr.aws"
    )
    error_message = "cache rule attributes"
  }
}

run "tags_of_the_repository_win" {
  command = plan

  variables {
    repositories = {
      "app"   = { tags = { Environment = "test", Component = "backend" } }
      "other" = {}
    }
    common_tags = { Environment = "dev", ManagedBy = "terraform" }
  }

  assert {
    condition     = aws_ecr_repository.this["app"].tags == tomap({ Environment = "test", Component = "backend", ManagedBy = "terraform" })
    error_message = "own tags are merged over the common ones"
  }
  assert {
    condition     = aws_ecr_repository.this["other"].tags == tomap({ Environment = "dev", ManagedBy = "terraform" })
    error_message = "common tags reach every repository"
  }
}

run "kms_without_a_key_is_the_aws_managed_key" {
  command = plan

  variables {
    repositories    = { "app" = {} }
    encryption_type = "KMS"
  }

  assert {
    condition     = aws_ecr_repository.this["app"].encryption_configuration[0].encryption_type == "KMS"
    error_message = "KMS with kms_key_arn null is legal"
  }
}
