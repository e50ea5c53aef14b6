# What the module refuses at plan time, one run per rule. The edges of each rule, and that its message names the keys at
# fault and no others, are tested by the Go tests beside the module: a test file cannot look into a message.

mock_provider "aws" {
  source = "./tests/mocks"
}

run "null_is_not_a_repository" {
  command = plan
  variables {
    repositories = { "app" = null }
  }
  expect_failures = [var.repositories]
}

run "a_name_in_upper_case" {
  command = plan
  variables {
    repositories = { "Bad/UPPER" = {} }
  }
  expect_failures = [var.repositories]
}

run "mutability_in_lower_case" {
  command = plan
  variables {
    repositories = { "app" = { image_tag_mutability = "immutable" } }
  }
  expect_failures = [var.repositories]
}

run "keep_no_image" {
  command = plan
  variables {
    repositories = { "app" = { max_image_count = 0 } }
  }
  expect_failures = [var.repositories]
}

run "no_days" {
  command = plan
  variables {
    repositories = { "app" = { untagged_days = 0 } }
  }
  expect_failures = [var.repositories]
}

run "an_empty_policy" {
  command = plan
  variables {
    repositories = { "app" = { repository_policy = "" } }
  }
  expect_failures = [var.repositories]
}

run "an_unknown_encryption" {
  command = plan
  variables {
    encryption_type = "aes256"
  }
  expect_failures = [var.encryption_type]
}

run "a_bare_key_id" {
  command = plan
  variables {
    kms_key_arn = "1234abcd-12ab-34cd-56ef-1234567890ab"
  }
  expect_failures = [var.kms_key_arn]
}

run "a_bare_alias" {
  command = plan
  variables {
    kms_key_arn = "alias/mine"
  }
  expect_failures = [var.kms_key_arn]
}

run "null_is_not_a_rule" {
  command = plan
  variables {
    pull_through_cache_rules = { "hub" = null }
  }
  expect_failures = [var.pull_through_cache_rules]
}

run "a_prefix_in_upper_case" {
  command = plan
  variables {
    pull_through_cache_rules = { "Hub" = { upstream_registry_url = "quay.io" } }
  }
  expect_failures = [var.pull_through_cache_rules]
}

run "an_upstream_with_a_scheme" {
  command = plan
  variables {
    pull_through_cache_rules = { "quay" = { upstream_registry_url = "https://quay.io" } }
  }
  expect_failures = [var.pull_through_cache_rules]
}

run "a_secret_with_another_name" {
  command = plan
  variables {
    pull_through_cache_rules = { "hub" = { upstream_registry_url = "registry-1.docker.io", credential_arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:docker" } }
  }
  expect_failures = [var.pull_through_cache_rules]
}

run "a_role_that_is_a_user" {
  command = plan
  variables {
    pull_through_cache_rules = { "ecr" = { upstream_registry_url = "123456789012.dkr.ecr.eu-west-3.amazonaws.com", custom_role_arn = "arn:aws:iam::123456789012:user/x" } }
  }
  expect_failures = [var.pull_through_cache_rules]
}

run "an_upstream_prefix_in_upper_case" {
  command = plan
  variables {
    pull_through_cache_rules = { "ecr" = { upstream_registry_url = "123456789012.dkr.ecr.eu-west-3.amazonaws.com", upstream_repository_prefix = "Team" } }
  }
  expect_failures = [var.pull_through_cache_rules]
}

# The edges that must stay legal.
run "the_longest_and_the_shortest_names" {
  command = plan
  variables {
    repositories             = { (join("", [for i in range(256) : "x"])) = {}, "ab" = { max_image_count = 1, untagged_days = 1 } }
    pull_through_cache_rules = { "abcdefghijklmnopqrstuvwxyz1234" = { upstream_registry_url = "quay.io" }, "qq" = { upstream_registry_url = "quay.io" } }
  }
  assert {
    condition     = length(aws_ecr_repository.this) == 2 && length(aws_ecr_pull_through_cache_rule.this) == 2
    error_message = "both ends of the length are legal"
  }
}
