# Warnings: each must fire for what Amazon ECR refuses, and stay silent otherwise (a check that fails without being
# expected fails the run).

mock_provider "aws" {
  source = "./tests/mocks"
}

run "silent_for_public_upstreams_and_for_credentials" {
  command = plan

  variables {
    pull_through_cache_rules = {
      "ecr-public" = { upstream_registry_url = "public.ecr.aws" }
      "kubernetes" = { upstream_registry_url = "registry.k8s.io" }
      "quay"       = { upstream_registry_url = "quay.io" }
      "china"      = { upstream_registry_url = "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn" }
      "docker-hub" = { upstream_registry_url = "registry-1.docker.io", credential_arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:ecr-pullthroughcache/a" }
      "github"     = { upstream_registry_url = "ghcr.io", credential_arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:ecr-pullthroughcache/b" }
      "gitlab"     = { upstream_registry_url = "registry.gitlab.com", credential_arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:ecr-pullthroughcache/c" }
      "azure"      = { upstream_registry_url = "mine.azurecr.io", credential_arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:ecr-pullthroughcache/d" }
      "chainguard" = { upstream_registry_url = "cgr.dev", credential_arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:ecr-pullthroughcache/e" }
    }
    repositories    = { "app" = {} }
    encryption_type = "KMS"
    kms_key_arn     = "arn:aws:kms:ap-southeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }
}

run "docker_hub_without_credentials" {
  command = plan
  variables {
    pull_through_cache_rules = { "docker-hub" = { upstream_registry_url = "registry-1.docker.io" } }
  }
  expect_failures = [check.pull_through_cache_credentials]
}

run "github_without_credentials" {
  command = plan
  variables {
    pull_through_cache_rules = { "github" = { upstream_registry_url = "ghcr.io" } }
  }
  expect_failures = [check.pull_through_cache_credentials]
}

run "azure_without_credentials" {
  command = plan
  variables {
    pull_through_cache_rules = { "azure" = { upstream_registry_url = "mine.azurecr.io" } }
  }
  expect_failures = [check.pull_through_cache_credentials]
}

run "gcr_is_not_supported" {
  command = plan
  variables {
    pull_through_cache_rules = { "gcr" = { upstream_registry_url = "gcr.io" } }
  }
  expect_failures = [check.pull_through_cache_upstreams]
}

run "nor_is_a_host_that_only_ends_like_one" {
  command = plan
  variables {
    pull_through_cache_rules = { "evil" = { upstream_registry_url = "notquay.io" } }
  }
  expect_failures = [check.pull_through_cache_upstreams]
}

run "a_key_whose_id_is_no_uuid" {
  command = plan
  variables {
    encryption_type = "KMS"
    kms_key_arn     = "arn:aws:kms:ap-southeast-1:123456789012:key/xxxxx"
  }
  expect_failures = [check.kms_key_id]
}

run "an_alias" {
  command = plan
  variables {
    encryption_type = "KMS"
    kms_key_arn     = "arn:aws:kms:ap-southeast-1:123456789012:alias/mine"
  }
  expect_failures = [check.kms_key_id]
}

run "aes256_with_a_key_is_an_error" {
  command = plan
  variables {
    repositories = { "app" = {} }
    kms_key_arn  = "arn:aws:kms:ap-southeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
  }
  expect_failures = [aws_ecr_repository.this["app"]]
}
