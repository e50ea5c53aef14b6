# The inputs of the module, passed through. Defaults are left to the module: an absent or null value takes its default.

variable "repositories" {
  description = "Map of ECR repositories to create. The key is the repository name."
  type = map(object({
    image_tag_mutability = optional(string)
    scan_on_push         = optional(bool)
    max_image_count      = optional(number)
    untagged_days        = optional(number)
    repository_policy    = optional(string)
    tags                 = optional(map(string))
  }))
}

variable "encryption_type" {
  description = "Encryption at rest of every repository: AES256 or KMS."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "ARN of the KMS key, with encryption_type KMS only."
  type        = string
  default     = null
}

variable "force_delete" {
  description = "Delete a repository even if it contains images."
  type        = bool
  default     = null
}

variable "common_tags" {
  description = "Tags of every repository. A repository's own tags win."
  type        = map(string)
  default     = null
}

variable "pull_through_cache_rules" {
  description = "Pull through cache rules. The key is the repository prefix."
  type = map(object({
    upstream_registry_url      = string
    credential_arn             = optional(string)
    custom_role_arn            = optional(string)
    upstream_repository_prefix = optional(string)
  }))
  default = null
}
