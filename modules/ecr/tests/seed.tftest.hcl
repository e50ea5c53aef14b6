# The module calls of the seed document, word for word.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "basic_example" {
  command = plan

  variables {
    repositories = {
      "flowise-server" = {
        scan_on_push    = true
        max_image_count = 30
      }
      "flowise-ui" = {
        scan_on_push    = true
        max_image_count = 30
      }
    }

    common_tags = {
      Environment = "dev"
      ManagedBy   = "terraform"
    }
  }

  assert {
    condition     = length(aws_ecr_repository.this) == 2 && length(aws_ecr_lifecycle_policy.this) == 2 && length(aws_ecr_repository_policy.this) == 0 && length(aws_ecr_pull_through_cache_rule.this) == 0
    error_message = "4 to add"
  }
  assert {
    condition     = alltrue([for r in aws_ecr_repository.this : r.tags == tomap({ Environment = "dev", ManagedBy = "terraform" })])
    error_message = "both carry the common tags"
  }
}

run "advanced_example" {
  command = plan

  variables {
    repositories = {
      "app-backend" = {
        image_tag_mutability = "IMMUTABLE" # Production: prevent tag overwrites
        scan_on_push         = true
        max_image_count      = 50
        untagged_days        = 3
        tags = {
          Component = "backend"
        }
      }
      "app-frontend" = {
        image_tag_mutability = "MUTABLE" # Dev: allow tag updates
        scan_on_push         = true
        max_image_count      = 20
        untagged_days        = 7
        tags = {
          Component = "frontend"
        }
      }
    }

    encryption_type = "KMS"
    kms_key_arn     = "arn:aws:kms:ap-southeast-1:123456789012:key/xxxxx"

    pull_through_cache_rules = {
      "docker-hub" = {
        upstream_registry_url = "registry-1.docker.io"
      }
    }

    common_tags = {
      Environment = "production"
      ManagedBy   = "terraform"
    }
  }

  # AWS would refuse both, so both are warned about; neither is an error.
  expect_failures = [check.pull_through_cache_credentials, check.kms_key_id]

  assert {
    condition     = length(aws_ecr_repository.this) == 2 && length(aws_ecr_lifecycle_policy.this) == 2 && length(aws_ecr_repository_policy.this) == 0 && length(aws_ecr_pull_through_cache_rule.this) == 1
    error_message = "5 to add"
  }
  assert {
    condition     = aws_ecr_repository.this["app-backend"].image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this["app-frontend"].image_tag_mutability == "MUTABLE"
    error_message = "mutability is per repository"
  }
  assert {
    condition     = alltrue([for r in aws_ecr_repository.this : r.encryption_configuration[0].kms_key == "arn:aws:kms:ap-southeast-1:123456789012:key/xxxxx"])
    error_message = "the seed's key is accepted and used by both"
  }
  assert {
    condition     = aws_ecr_repository.this["app-backend"].tags == tomap({ Component = "backend", Environment = "production", ManagedBy = "terraform" })
    error_message = "own and common tags"
  }
}

run "cross_account_access" {
  command = plan

  variables {
    repositories = {
      "shared-app" = {
        repository_policy = "{\"Statement\":[{\"Action\":[\"ecr:GetDownloadUrlForLayer\",\"ecr:BatchGetImage\",\"ecr:BatchCheckLayerAvailability\"],\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"arn:aws:iam::123456789012:root\"},\"Sid\":\"AllowCrossAccountPull\"}],\"Version\":\"2012-10-17\"}"
      }
      "private-app" = {}
    }
  }

  assert {
    condition     = keys(aws_ecr_repository_policy.this) == ["shared-app"]
    error_message = "only the repository with a policy has one"
  }
  assert {
    condition     = jsondecode(aws_ecr_repository_policy.this["shared-app"].policy).Statement[0].Principal.AWS == "arn:aws:iam::123456789012:root"
    error_message = "the policy is passed as it is"
  }
}

run "pull_through_cache" {
  command = plan

  variables {
    pull_through_cache_rules = {
      "docker-hub" = {
        upstream_registry_url = "registry-1.docker.io"
      }
      "quay" = {
        upstream_registry_url = "quay.io"
      }
      "gcr" = {
        upstream_registry_url = "gcr.io"
      }
    }
  }

  expect_failures = [check.pull_through_cache_credentials, check.pull_through_cache_upstreams]

  assert {
    condition = { for prefix, r in aws_ecr_pull_through_cache_rule.this : prefix => r.upstream_registry_url } == {
      "docker-hub" = "registry-1.docker.io"
      "quay"       = "quay.io"
      "gcr"        = "gcr.io"
    }
    error_message = "all three rules are planned"
  }
}

run "development_profile" {
  command = plan

  variables {
    repositories = {
      "app" = { image_tag_mutability = "MUTABLE", scan_on_push = true, max_image_count = 20, untagged_days = 3 }
    }
  }

  assert {
    condition     = aws_ecr_repository.this["app"].image_tag_mutability == "MUTABLE" && aws_ecr_repository.this["app"].image_scanning_configuration[0].scan_on_push
    error_message = "tags may move, every push is scanned"
  }
  assert {
    condition     = { for r in jsondecode(aws_ecr_lifecycle_policy.this["app"].policy).rules : r.selection.tagStatus => r.selection.countNumber } == { untagged = 3, any = 20 }
    error_message = "untagged go after 3 days, 20 are kept"
  }
}

run "production_profile" {
  command = plan

  variables {
    repositories = {
      "app" = { image_tag_mutability = "IMMUTABLE", scan_on_push = true, max_image_count = 100, untagged_days = 1 }
    }
    encryption_type = "KMS"
  }

  assert {
    condition     = aws_ecr_repository.this["app"].image_tag_mutability == "IMMUTABLE" && aws_ecr_repository.this["app"].image_scanning_configuration[0].scan_on_push
    error_message = "tags never move, every push is scanned"
  }
  assert {
    condition     = { for r in jsondecode(aws_ecr_lifecycle_policy.this["app"].policy).rules : r.selection.tagStatus => r.selection.countNumber } == { untagged = 1, any = 100 }
    error_message = "untagged go after 1 day, 100 are kept"
  }
}
