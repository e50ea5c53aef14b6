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
  source = "../../modules/ecr"

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
