# Warnings, never errors: Amazon ECR refuses these settings, other registries with the same API (Berth) accept them, and
# the module cannot know which one it is talking to.

locals {
  # Hosts from which Amazon ECR pulls through only with credentials.
  upstreams_with_login = "^(registry-1\\.docker\\.io|ghcr\\.io|registry\\.gitlab\\.com|cgr\\.dev|[a-z0-9-]+\\.azurecr\\.io)$"

  # Hosts it knows besides: public ones, and another Amazon ECR.
  upstreams_without_login = "^(public\\.ecr\\.aws|registry\\.k8s\\.io|quay\\.io|[0-9]{12}\\.dkr[.-]ecr(-fips)?\\.[a-z0-9.-]+)$"

  rules_without_credentials = [
    for prefix, r in var.pull_through_cache_rules : "\"${prefix}\" (${r.upstream_registry_url})"
    if r.credential_arn == null && can(regex(local.upstreams_with_login, r.upstream_registry_url))
  ]

  rules_of_unknown_upstreams = [
    for prefix, r in var.pull_through_cache_rules : "\"${prefix}\" (${r.upstream_registry_url})"
    if !can(regex(local.upstreams_with_login, r.upstream_registry_url)) && !can(regex(local.upstreams_without_login, r.upstream_registry_url))
  ]
}

check "pull_through_cache_credentials" {
  assert {
    condition     = length(local.rules_without_credentials) == 0
    error_message = "pull_through_cache_rules without credential_arn: ${join(", ", local.rules_without_credentials)}. Berth accepts that. Amazon ECR refuses it when it is applied: there, set credential_arn to a Secrets Manager secret whose name starts with ecr-pullthroughcache/."
  }
}

check "pull_through_cache_upstreams" {
  assert {
    condition     = length(local.rules_of_unknown_upstreams) == 0
    error_message = "pull_through_cache_rules with an upstream that Amazon ECR does not support: ${join(", ", local.rules_of_unknown_upstreams)}. Berth accepts that. Amazon ECR refuses it when it is applied: it supports public.ecr.aws, registry.k8s.io, quay.io, registry-1.docker.io, ghcr.io, registry.gitlab.com, cgr.dev, *.azurecr.io and other Amazon ECR registries."
  }
}

check "kms_key_id" {
  assert {
    condition     = var.kms_key_arn == null ? true : can(regex(":key/(mrk-[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$", var.kms_key_arn))
    error_message = "kms_key_arn does not end in the id of a KMS key (a UUID, or mrk- and 32 hexadecimal digits). Berth accepts that. AWS knows no key of another name, and for an alias it answers with the ARN of the key, so that every later plan would replace the repositories."
  }
}
