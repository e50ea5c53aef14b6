// Package upload receives blobs: sessions that last over many requests, and
// blobs that come whole.
//
// # Guarantees
//
//   - Bytes are hashed once, while they are written; no upload path reads them
//     back (but for a digest algorithm that the session could not foresee).
//   - A session's whole state is its row: offset, hash and the blob store's state, sealed. It continues
//     after a restart, at the offset last acknowledged or later; bytes beyond
//     the row are dropped.
//   - A blob is acknowledged only after its bytes are durable and the rows that
//     lead to them are committed, in that order.
//   - A failed write changes nothing: the session stays as it was.
package upload
