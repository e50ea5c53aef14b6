# Production: a tag never moves, many images are kept for rollback, untagged ones go after a day.

repositories = {
  "flowise-server" = {
    image_tag_mutability = "IMMUTABLE"
    scan_on_push         = true
    max_image_count      = 100
    untagged_days        = 1
    repository_policy    = null # JSON text; see examples/cross-account
    tags = {
      Component = "server"
    }
  }
  "flowise-ui" = {
    image_tag_mutability = "IMMUTABLE"
    scan_on_push         = true
    max_image_count      = 100
    untagged_days        = 1
    repository_policy    = null # JSON text; see examples/cross-account
    tags = {
      Component = "ui"
    }
  }
}

# Encryption with KMS. null means the AWS managed key aws/ecr; write the ARN of your own key to control who may use it.
encryption_type = "KMS"
kms_key_arn     = null

# A repository that still holds images is not destroyed.
force_delete = false

common_tags = {
  Environment = "production"
  ManagedBy   = "terraform"
}

# Production pulls only what was pushed to it.
pull_through_cache_rules = {}
