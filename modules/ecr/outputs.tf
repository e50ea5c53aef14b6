output "repository_urls" {
  description = "Map of repository names to URLs"
  value       = { for name, r in aws_ecr_repository.this : name => r.repository_url }
}

output "repository_arns" {
  description = "Map of repository names to ARNs"
  value       = { for name, r in aws_ecr_repository.this : name => r.arn }
}

output "repository_registry_ids" {
  description = "Map of repository names to registry IDs"
  value       = { for name, r in aws_ecr_repository.this : name => r.registry_id }
}

output "flowise_server_url" {
  description = "ECR URL for flowise-server, null without such a repository"
  value       = try(aws_ecr_repository.this["flowise-server"].repository_url, null)
}

output "flowise_ui_url" {
  description = "ECR URL for flowise-ui, null without such a repository"
  value       = try(aws_ecr_repository.this["flowise-ui"].repository_url, null)
}

output "docker_login_command" {
  description = "Command to authenticate Docker with ECR"
  value       = "aws ecr get-login-password --region ${local.registry_region} | docker login --username AWS --password-stdin ${local.registry_host}"
}

# A repository knows its registry's host and region best: it is right in every partition, and for a registry that
# is not AWS. Only a module without repositories has to ask the provider.
locals {
  first_repository = try(values(aws_ecr_repository.this)[0], null)

  registry_host = local.first_repository != null ? split("/", local.first_repository.repository_url)[0] : join(".", [
    data.aws_caller_identity.current[0].account_id, "dkr.ecr", data.aws_service.ecr[0].region, data.aws_partition.current[0].dns_suffix,
  ])
  registry_region = local.first_repository != null ? split(":", local.first_repository.arn)[3] : data.aws_service.ecr[0].region
}

data "aws_caller_identity" "current" {
  count = length(var.repositories) == 0 ? 1 : 0
}

# Why not aws_region: its name and later its id became deprecated in provider 6, and region does not exist in 5.
# aws_service has a region in both.
data "aws_service" "ecr" {
  count = length(var.repositories) == 0 ? 1 : 0

  service_id = "ecr"
}

data "aws_partition" "current" {
  count = length(var.repositories) == 0 ? 1 : 0
}
