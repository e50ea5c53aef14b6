output "repository_urls" {
  description = "Map of repository names to URLs"
  value       = module.ecr.repository_urls
}

output "repository_arns" {
  description = "Map of repository names to ARNs"
  value       = module.ecr.repository_arns
}

output "repository_registry_ids" {
  description = "Map of repository names to registry IDs"
  value       = module.ecr.repository_registry_ids
}

output "flowise_server_url" {
  description = "ECR URL for flowise-server, null without such a repository"
  value       = module.ecr.flowise_server_url
}

output "flowise_ui_url" {
  description = "ECR URL for flowise-ui, null without such a repository"
  value       = module.ecr.flowise_ui_url
}

output "docker_login_command" {
  description = "Command to authenticate Docker with ECR"
  value       = module.ecr.docker_login_command
}
