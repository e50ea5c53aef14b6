// Package conformance runs the conformance suite of the OCI Distribution Specification
// (https://github.com/opencontainers/distribution-spec/tree/main/conformance) against a registry and judges its report
// more strictly than the suite itself does: a skipped case is a failure too, unless it stands in an explicit list of
// exceptions with the reason, and so is an exception that no case needs any more.
//
// The suite is a program of its own, built by "make tools" at the version in test/tools/go-tools.txt. Every API and
// every kind of content that it knows is switched on, but for those that ECR refuses by design; see [settings].
package conformance
