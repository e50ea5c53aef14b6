# Development: tags may move, few images are kept, untagged ones go quickly.

repositories = {
  "flowise-server" = {
    image_tag_mutability = "MUTABLE"
    scan_on_push         = true
    max_image_count      = 20
    untagged_days        = 3
    repository_policy    = null # JSON text; see examples/cross-account
    tags = {
      Component = "server"
    }
  }
  "flowise-ui" = {
    image_tag_mutability = "MUTABLE"
    scan_on_push         = true
    max_image_count      = 20
    untagged_days        = 3
    repository_policy    = null # JSON text; see examples/cross-account
    tags = {
      Component = "ui"
    }
  }
}

# Encryption with a key that the registry owns.
encryption_type = "AES256"
kms_key_arn     = null

# A repository that still holds images is not destroyed.
force_delete = false

common_tags = {
  Environment = "dev"
  ManagedBy   = "terraform"
}

# docker pull <registry>/quay/<namespace>/<image> fetches from quay.io once, then from the cache.
pull_through_cache_rules = {
  "quay" = {
    upstream_registry_url = "quay.io"
  }
}
