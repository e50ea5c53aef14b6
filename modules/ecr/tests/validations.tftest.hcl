# What the module refuses at plan time. That each message names the key at fault is tested in ../../module_test.go:
# a test file cannot look into a message.

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

run "a_name_of_one_character" {
  command = plan
  variables {
    repositories = { "a" = {} }
  }
  expect_failures = [var.repositories]
}

run "a_name_of_257_characters" {
  command = plan
  variables {
    repositories = { (join("", [for i in range(257) : "x"])) = {} }
  }
  expect_failures = [var.repositories]
}

run "a_name_with_a_leading_slash" {
  command = plan
  variables {
    repositories = { "/app" = {} }
  }
  expect_failures = [var.repositories]
}

run "a_name_with_two_separators_in_a_row" {
  command = plan
  variables {
    repositories = { "my--app" = {} }
  }
  expect_failures = [var.repositories]
}

run "a_name_that_climbs" {
  command = plan
  variables {
    repositories = { "../app" = {} }
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

run "keep_half_an_image" {
  command = plan
  variables {
    repositories = { "app" = { max_image_count = 1.5 } }
  }
  expect_failures = [var.repositories]
}

run "negative_days" {
  command = plan
  variables {
    repositories = { "app" = { untagged_days = -1 } }
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

run "half_a_day" {
  command = plan
  variables {
    repositories = { "app" = { untagged_days = 0.5 } }
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

run "a_policy_that_is_not_json" {
  command = plan
  variables {
    repositories = { "app" = { repository_policy = "{" } }
  }
  expect_failures = [var.repositories]
}

run "a_policy_that_is_a_list" {
  command = plan
  variables {
    repositories = { "app" = { repository_policy = "[]" } }
  }
  expect_failures = [var.repositories]
}

run "a_policy_that_is_null_in_json" {
  command = plan
  variables {
    repositories = { "app" = { repository_policy = "null" } }
  }
  expect_failures = [var.repositories]
}

run "a_policy_without_members" {
  command = plan
  variables {
    repositories = { "app" = { repository_policy = "{}" } }
  }
  expect_failures = [var.repositories]
}

run "one_bad_repository_among_good_ones" {
  command = plan
  variables {
    repositories = { "good" = {}, "bad" = { max_image_count = -3 }, "fine" = {} }
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

run "an_empty_key" {
  command = plan
  variables {
    kms_key_arn = ""
  }
  expect_failures = [var.kms_key_arn]
}

run "an_arn_of_another_service" {
  command = plan
  variables {
    kms_key_arn = "arn:aws:s3:::bucket"
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

run "a_prefix_of_one_character" {
  command = plan
  variables {
    pull_through_cache_rules = { "q" = { upstream_registry_url = "quay.io" } }
  }
  expect_failures = [var.pull_through_cache_rules]
}

run "a_prefix_of_31_characters" {
  command = plan
  variables {
    pull_through_cache_rules = { "abcdefghijklmnopqrstuvwxyz12345" = { upstream_registry_url = "quay.io" } }
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

run "an_upstream_with_a_path" {
  command = plan
  variables {
    pull_through_cache_rules = { "quay" = { upstream_registry_url = "quay.io/team" } }
  }
  expect_failures = [var.pull_through_cache_rules]
}

run "an_empty_upstream" {
  command = plan
  variables {
    pull_through_cache_rules = { "quay" = { upstream_registry_url = "" } }
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
