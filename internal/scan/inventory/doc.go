// Package inventory finds the packages in an image: what distributions and
// languages have installed there, and where.
//
// # Guarantees
//
//   - Layers are read as streams, once, from the topmost to the base. Nothing is
//     unpacked: only files in which packages are found are held, in memory.
//   - What a layer above replaces or deletes (whiteouts and opaque directories,
//     OCI image-spec "layer.md") is not found.
//   - Whatever the bytes are, reading them ends: with packages, or with an error
//     that says what is wrong. [Limits] bound entries, bytes and memory.
//     Extractors are other people's code, so callers run this package in a
//     process of its own all the same.
//
// Packages are found by the extractors of github.com/google/osv-scalibr. RPM
// databases alone pass through one temporary file, because their readers
// (SQLite, Berkeley DB, NDB) want one.
package inventory
