// Package audit looks after an installation's bytes and rows: it compares them
// with each other, reads everything again from time to time, copies everything
// out and back in, and seals everything anew under other keys.
//
// # Guarantees
//
//   - Everything works beside servers that push, pull and collect. Whatever was
//     found wrong is looked at again in the transaction that changes it.
//   - Pages are bounded and no transaction waits for the blob store.
//   - Bytes are called damaged when they were read and are wrong, or when the
//     store says that they are not there; never because a key or the store
//     could not be reached.
//   - A check without Repair writes nothing.
//   - Everything can be broken off at any point and begun again. Work that must
//     not be done twice at a time is under a claim.
package audit
