// Package collect gives back the bytes that nobody refers to, while pushes and
// pulls go on.
//
// # How
//
//	membership: no image of the repository lists the blob, and its lease is over  -> membership ends
//	blob:       no repository has it                                              -> row dead, copy to the trash
//	trash:      for the time of grace, and still no row names the copy            -> bytes gone
//
// Each step is decided again inside the transaction that takes it, for one
// blob at a time. A copy that was pushed again meanwhile has another name, so
// nothing that comes late can be hit.
//
// # Guarantees
//
//   - A blob that was uploaded, mounted or reported as there within the lease
//     stays.
//   - No transaction is longer than a batch, and none waits for the blob store.
//   - One server collects at a time; one that dies hands over when its claim
//     runs out, and nothing has to be undone.
//   - Bytes stay while a backup runs.
package collect
