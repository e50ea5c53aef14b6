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

  # Use KMS encryption
  encryption_type = "KMS"
  kms_key_arn     = "arn:aws:kms:ap-southeast-1:123456789012:key/xxxxx"

  # Pull through cache for Docker Hub
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
