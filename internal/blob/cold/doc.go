// Package cold is a blob store that also reads copies which were moved for the
// archive: compressed with zstd, or in a second store.
//
// Pushes know nothing of it: what is staged and committed goes to the main store
// as it came. Whoever moves a copy writes a new one with [Write] and lets the row
// of the blob name it; from then on every reader finds it where it is, and reads
// what was pushed. A reader of a compressed copy gets the bytes in their order;
// one that seeks backwards begins anew.
//
// # Guarantees
//
//   - Bytes that come out are as many as were pushed, or the read fails with
//     [blob.ErrDamaged]: a compressed copy carries a checksum of its own, and the
//     store below vouches for what it holds.
//   - A copy in the second store is never looked for in the main one, nor the
//     other way around.
package cold
