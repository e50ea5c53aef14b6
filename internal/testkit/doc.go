// Package testkit holds what the tests share: it finds the real clients (docker, skopeo, crane, terraform, aws, ...),
// runs them with a deadline, starts a private docker daemon, and builds images, indexes and artifacts byte by byte.
//
// It guarantees three things.
//
//   - A missing client skips the test with one line that says what to do, and fails it when BERTH_REQUIRE_ALL=1 is set,
//     so that continuous integration never passes by skipping.
//   - What it starts it ends, by process group, and what it writes lies below a temporary directory of the test.
//   - The environments that it builds let no setting of the developer's own AWS, Terraform or docker configuration in.
//
// The content builders write OCI image-spec structures with encoding/json and nothing else; no registry client takes
// part, so that a fault of a client's library cannot hide a fault of ours.
//
// Only tests import this package.
package testkit
