// Package manifest reads image manifests, indexes and artifacts: what a
// registry must know of them, and nothing of what it must not trust.
//
// # Guarantees
//
//   - [Parse] is pure, never panics and never changes a byte: the digest of a
//     manifest is always that of the bytes as received.
//   - A document is what its media type says and nothing else. One that has
//     the members of both an image and an index, or whose own mediaType
//     differs from the declared one, is refused (CVE-2021-41190).
//   - Every digest it returns is well formed and of a supported algorithm.
package manifest
