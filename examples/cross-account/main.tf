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
    "shared-app" = {
      repository_policy = jsonencode({
        Version = "2012-10-17"
        Statement = [
          {
            Sid    = "AllowCrossAccountPull"
            Effect = "Allow"
            Principal = {
              AWS = "arn:aws:iam::123456789012:root"
            }
            Action = [
              "ecr:GetDownloadUrlForLayer",
              "ecr:BatchGetImage",
              "ecr:BatchCheckLayerAvailability"
            ]
          }
        ]
      })
    }
  }

  common_tags = {
    ManagedBy = "terraform"
  }
}
