// Package registry is the domain: every rule of the registry, once, for every
// door (the ECR API and the OCI Distribution API).
//
// # Guarantees
//
//   - A rule that depends on what is stored is decided inside the transaction
//     that acts on it. Two pushes of one new immutable tag have one winner.
//   - Bytes are durable before a row names them; rows are committed before a
//     method returns success.
//   - A blob is reached only through the membership of the repository asked.
//   - Methods either do all they say or nothing.
//   - Every refusal is an [*Error] with ECR's own sentence. Any other error is
//     a fault of the server.
//
// The package knows no HTTP and no SQL, and it does not authorise: the doors ask
// package access before they call it.
package registry
