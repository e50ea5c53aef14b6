mock_provider "aws" {
  source = "./tests/mocks"
}

run "maps_are_keyed_by_name_and_flowise_urls_are_found" {
  variables {
    repositories = {
      "flowise-server" = {}
      "flowise-ui"     = {}
      "team/other"     = {}
    }
  }

  override_resource {
    target = aws_ecr_repository.this["flowise-ui"]
    values = {
      arn            = "arn:aws:ecr:ap-southeast-1:123456789012:repository/flowise-ui"
      registry_id    = "999999999999"
      repository_url = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/flowise-ui"
    }
  }

  assert {
    condition = (
      keys(output.repository_urls) == ["flowise-server", "flowise-ui", "team/other"]
      && keys(output.repository_arns) == keys(output.repository_urls)
      && keys(output.repository_registry_ids) == keys(output.repository_urls)
    )
    error_message = "one entry per repository, keyed by its name"
  }
  assert {
    condition = (
      output.repository_urls["flowise-ui"] == "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/flowise-ui"
      && output.repository_arns["flowise-ui"] == "arn:aws:ecr:ap-southeast-1:123456789012:repository/flowise-ui"
      && output.repository_registry_ids["flowise-ui"] == "999999999999"
      && output.repository_registry_ids["team/other"] == "123456789012"
    )
    error_message = "each entry is its repository's own"
  }
  assert {
    condition     = output.flowise_server_url == output.repository_urls["flowise-server"] && output.flowise_ui_url == output.repository_urls["flowise-ui"]
    error_message = "the flowise outputs are the two repositories' URLs"
  }
  assert {
    condition     = output.docker_login_command == "aws ecr get-login-password --region ap-southeast-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.ap-southeast-1.amazonaws.com"
    error_message = "one line, host and region from a repository: ${output.docker_login_command}"
  }
  assert {
    condition     = length(data.aws_caller_identity.current) + length(data.aws_service.ecr) + length(data.aws_partition.current) == 0
    error_message = "no data source is read when there is a repository to ask"
  }
}

run "flowise_urls_are_null_without_the_repositories" {
  variables {
    repositories = { "app" = {} }
  }

  assert {
    condition     = output.flowise_server_url == null && output.flowise_ui_url == null
    error_message = "absent repositories give null, not an error"
  }
}

run "one_flowise_url_is_null_when_only_the_other_exists" {
  variables {
    repositories = { "flowise-ui" = {} }
  }

  assert {
    condition     = output.flowise_server_url == null && output.flowise_ui_url == output.repository_urls["flowise-ui"]
    error_message = "each flowise output stands alone"
  }
}

run "a_registry_that_is_not_aws" {
  variables {
    repositories = { "app" = {} }
  }

  override_resource {
    target = aws_ecr_repository.this["app"]
    values = {
      arn            = "arn:aws:ecr:us-east-1:000000000000:repository/app"
      registry_id    = "000000000000"
      repository_url = "127.0.0.1:5050/app"
    }
  }

  assert {
    condition     = output.docker_login_command == "aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin 127.0.0.1:5050"
    error_message = "host with its port, region from the ARN: ${output.docker_login_command}"
  }
}

run "the_module_with_nothing_set" {
  assert {
    condition     = length(aws_ecr_repository.this) + length(aws_ecr_lifecycle_policy.this) + length(aws_ecr_repository_policy.this) + length(aws_ecr_pull_through_cache_rule.this) == 0
    error_message = "no input, no resource"
  }
  assert {
    condition     = length(output.repository_urls) + length(output.repository_arns) + length(output.repository_registry_ids) == 0
    error_message = "empty maps"
  }
  assert {
    condition     = output.flowise_server_url == null && output.flowise_ui_url == null
    error_message = "null URLs"
  }
  assert {
    condition     = output.docker_login_command == "aws ecr get-login-password --region eu-west-3 | docker login --username AWS --password-stdin 210987654321.dkr.ecr.eu-west-3.amazonaws.com"
    error_message = "caller, region and partition stand in for a repository: ${output.docker_login_command}"
  }
}
