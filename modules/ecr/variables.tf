# Every error names the key at fault: with a map of repositories, "invalid value" alone helps nobody.
#
# Conditions wrap their test in try(…, false) so that a null object fails only the validation that is about null.

variable "repositories" {
  description = "Map of ECR repositories to create. The key is the repository name."
  type = map(object({
    image_tag_mutability = optional(string, "MUTABLE")
    scan_on_push         = optional(bool, true)
    max_image_count      = optional(number, 30)
    untagged_days        = optional(number, 7)
    repository_policy    = optional(string)
    tags                 = optional(map(string), {})
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length([for name, r in var.repositories : name if r == null]) == 0
    error_message = "repositories: null is not a repository, write {} for the defaults: ${join(", ", [for name, r in var.repositories : "\"${name}\"" if r == null])}."
  }

  # The length and the pattern are ECR's own (CreateRepository, repositoryName).
  validation {
    condition = length([
      for name, r in var.repositories : name
      if length(name) < 2 || length(name) > 256 || !can(regex("^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$", name))
    ]) == 0
    error_message = "repositories: a name has 2 to 256 characters: lower-case letters and digits, joined by single '.', '_', '-' or '/'. Rename: ${join(", ", [
      for name, r in var.repositories : "\"${name}\""
      if length(name) < 2 || length(name) > 256 || !can(regex("^(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*$", name))
    ])}."
  }

  validation {
    condition = length([
      for name, r in var.repositories : name
      if try(!contains(["MUTABLE", "IMMUTABLE"], r.image_tag_mutability), false)
    ]) == 0
    error_message = "repositories: image_tag_mutability is \"MUTABLE\" or \"IMMUTABLE\" (upper case). Correct: ${join(", ", [
      for name, r in var.repositories : "\"${name}\" (\"${r.image_tag_mutability}\")"
      if try(!contains(["MUTABLE", "IMMUTABLE"], r.image_tag_mutability), false)
    ])}."
  }

  validation {
    condition = length([
      for name, r in var.repositories : name
      if try(r.max_image_count < 1 || floor(r.max_image_count) != r.max_image_count, false)
    ]) == 0
    error_message = "repositories: max_image_count is a whole number, 1 or more. Correct: ${join(", ", [
      for name, r in var.repositories : "\"${name}\" (${r.max_image_count})"
      if try(r.max_image_count < 1 || floor(r.max_image_count) != r.max_image_count, false)
    ])}."
  }

  validation {
    condition = length([
      for name, r in var.repositories : name
      if try(r.untagged_days < 1 || floor(r.untagged_days) != r.untagged_days, false)
    ]) == 0
    error_message = "repositories: untagged_days is a whole number of days, 1 or more. Correct: ${join(", ", [
      for name, r in var.repositories : "\"${name}\" (${r.untagged_days})"
      if try(r.untagged_days < 1 || floor(r.untagged_days) != r.untagged_days, false)
    ])}."
  }

  # keys() accepts an object only, so a JSON list, string or number fails here as an empty string does.
  validation {
    condition = length([
      for name, r in var.repositories : name
      if try(r.repository_policy != null, false) && try(length(keys(jsondecode(r.repository_policy))) == 0, true)
    ]) == 0
    error_message = "repositories: repository_policy is null or a JSON policy object, best written with jsonencode({ … }). Correct: ${join(", ", [
      for name, r in var.repositories : "\"${name}\""
      if try(r.repository_policy != null, false) && try(length(keys(jsondecode(r.repository_policy))) == 0, true)
    ])}."
  }
}

variable "encryption_type" {
  description = "Encryption at rest of every repository: AES256 or KMS. A change replaces the repositories."
  type        = string
  default     = "AES256"
  nullable    = false

  validation {
    condition     = contains(["AES256", "KMS"], var.encryption_type)
    error_message = "encryption_type is \"AES256\" or \"KMS\", not \"${var.encryption_type}\"."
  }
}

variable "kms_key_arn" {
  description = "ARN of the KMS key, with encryption_type KMS only. null with KMS means the AWS managed key aws/ecr. A change replaces the repositories."
  type        = string
  default     = null

  # An ARN, not a bare key id or alias name: the API answers with an ARN, and Terraform would see a difference for ever.
  validation {
    condition     = var.kms_key_arn == null ? true : can(regex("^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/.+$", var.kms_key_arn))
    error_message = "kms_key_arn is null or the whole ARN of a key, as in arn:aws:kms:ap-southeast-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab."
  }
}

variable "force_delete" {
  description = "Delete a repository even if it contains images. Must be applied before the apply that removes the repository."
  type        = bool
  default     = false
  nullable    = false
}

variable "common_tags" {
  description = "Tags of every repository. A repository's own tags win."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "pull_through_cache_rules" {
  description = "Pull through cache rules. The key is the repository prefix under which the upstream's images appear."
  type = map(object({
    upstream_registry_url      = string
    credential_arn             = optional(string)
    custom_role_arn            = optional(string)
    upstream_repository_prefix = optional(string)
  }))
  default  = {}
  nullable = false

  validation {
    condition     = length([for prefix, r in var.pull_through_cache_rules : prefix if r == null]) == 0
    error_message = "pull_through_cache_rules: a rule needs at least upstream_registry_url: ${join(", ", [for prefix, r in var.pull_through_cache_rules : "\"${prefix}\"" if r == null])}."
  }

  # The length and the pattern are ECR's own (CreatePullThroughCacheRule, ecrRepositoryPrefix).
  validation {
    condition = length([
      for prefix, r in var.pull_through_cache_rules : prefix
      if length(prefix) < 2 || length(prefix) > 30 || !can(regex("^(?:(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*/?|ROOT)$", prefix))
    ]) == 0
    error_message = "pull_through_cache_rules: a prefix is ROOT or has 2 to 30 characters: lower-case letters and digits, joined by single '.', '_', '-' or '/'. Rename: ${join(", ", [
      for prefix, r in var.pull_through_cache_rules : "\"${prefix}\""
      if length(prefix) < 2 || length(prefix) > 30 || !can(regex("^(?:(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*/?|ROOT)$", prefix))
    ])}."
  }

  validation {
    condition = length([
      for prefix, r in var.pull_through_cache_rules : prefix
      if r == null ? false : !can(regex("^[^/\\s]+$", r.upstream_registry_url))
    ]) == 0
    error_message = "pull_through_cache_rules: upstream_registry_url is a host such as quay.io, without a scheme or a path. Correct: ${join(", ", [
      for prefix, r in var.pull_through_cache_rules : "\"${prefix}\""
      if r == null ? false : !can(regex("^[^/\\s]+$", r.upstream_registry_url))
    ])}."
  }

  # ECR reads only secrets whose name starts with ecr-pullthroughcache/.
  validation {
    condition = length([
      for prefix, r in var.pull_through_cache_rules : prefix
      if try(r.credential_arn != null, false) && !can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:ecr-pullthroughcache/[a-zA-Z0-9/_+=.@-]+$", r.credential_arn))
    ]) == 0
    error_message = "pull_through_cache_rules: credential_arn is null or the ARN of a Secrets Manager secret whose name starts with ecr-pullthroughcache/. Correct: ${join(", ", [
      for prefix, r in var.pull_through_cache_rules : "\"${prefix}\""
      if try(r.credential_arn != null, false) && !can(regex("^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:ecr-pullthroughcache/[a-zA-Z0-9/_+=.@-]+$", r.credential_arn))
    ])}."
  }

  validation {
    condition = length([
      for prefix, r in var.pull_through_cache_rules : prefix
      if try(r.custom_role_arn != null, false) && !can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", r.custom_role_arn))
    ]) == 0
    error_message = "pull_through_cache_rules: custom_role_arn is null or the ARN of an IAM role. Correct: ${join(", ", [
      for prefix, r in var.pull_through_cache_rules : "\"${prefix}\""
      if try(r.custom_role_arn != null, false) && !can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", r.custom_role_arn))
    ])}."
  }

  validation {
    condition = length([
      for prefix, r in var.pull_through_cache_rules : prefix
      if try(r.upstream_repository_prefix != null, false) && !can(regex("^(?:(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*/?|ROOT)$", r.upstream_repository_prefix))
    ]) == 0
    error_message = "pull_through_cache_rules: upstream_repository_prefix is null, ROOT or a repository prefix of lower-case letters and digits, joined by single '.', '_', '-' or '/'. Correct: ${join(", ", [
      for prefix, r in var.pull_through_cache_rules : "\"${prefix}\""
      if try(r.upstream_repository_prefix != null, false) && !can(regex("^(?:(?:[a-z0-9]+(?:[._-][a-z0-9]+)*/)*[a-z0-9]+(?:[._-][a-z0-9]+)*/?|ROOT)$", r.upstream_repository_prefix))
    ])}."
  }
}
