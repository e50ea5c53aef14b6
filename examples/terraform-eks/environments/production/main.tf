terraform {
  required_version = ">= 1.5.0"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.100, < 7.0"
    }
  }
}

# Region, credentials and endpoint come from the environment (AWS_REGION, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, …), so
# that the same files work against Berth and against AWS.
provider "aws" {}

module "ecr" {
  source = "../../../../modules/ecr"

  repositories             = var.repositories
  encryption_type          = var.encryption_type
  kms_key_arn              = var.kms_key_arn
  force_delete             = var.force_delete
  common_tags              = var.common_tags
  pull_through_cache_rules = var.pull_through_cache_rules
}
