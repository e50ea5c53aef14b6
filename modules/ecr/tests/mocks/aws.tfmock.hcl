# What the AWS provider would answer. A run that needs other values overrides them.

mock_resource "aws_ecr_repository" {
  defaults = {
    arn            = "arn:aws:ecr:ap-southeast-1:123456789012:repository/some-name"
    registry_id    = "123456789012"
    repository_url = "123456789012.dkr.ecr.ap-southeast-1.amazonaws.com/some-name"
  }
}

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "210987654321"
  }
}

mock_data "aws_service" {
  defaults = {
    region = "eu-west-3"
  }
}

mock_data "aws_partition" {
  defaults = {
    dns_suffix = "amazonaws.com"
  }
}
