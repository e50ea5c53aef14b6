// Package live reads from a registry, through the ECR API alone, what a plan has to know: repositories with their tags
// and policies, and pull-through cache rules.
//
// Repositories are listed with one paged DescribeRepositories; tags and policies are read in parallel. A repository
// that disappears between two calls is left out, as if it had been gone before the first one.
package live
