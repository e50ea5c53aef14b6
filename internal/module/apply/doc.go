// Package apply carries out a plan through the ECR API.
//
// Repositories are handled in parallel, each in an order in which a failure in the middle leaves nothing unprotected:
// create, tag mutability, scanning, tags, repository policy, and the lifecycle policy last, so that nothing expires
// before the settings that guard it are there. What is deleted loses its lifecycle policy only together with the
// repository itself. A lifecycle policy is changed with one Put, never deleted and written anew.
//
// A failure stops what belongs to the same repository; the others go on, and the next run picks up what is left: there
// is no state to repair.
package apply
