// Package desired turns the inputs of the ECR module into the state that it asks for. It is pure: the same inputs give
// the same state, and nothing is read or written.
//
// It mirrors the resources of modules/ecr: one repository, one lifecycle policy and, when given, one repository policy
// for each entry of repositories, and one pull-through cache rule for each entry of pull_through_cache_rules.
package desired
