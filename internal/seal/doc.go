// Package seal keeps the keys under which everything that is pushed lies on
// disk and in the database.
//
//	blob key      <- data key, by HKDF-SHA256 (RFC 5869) over the name of the copy
//	text key      <- data key, by HKDF-SHA256; seals manifests and the state of uploads
//	data key      <- wrapped by the master key, or by the KMS key of the repository
//
// # Guarantees
//
//   - A data key belongs to one domain (an account and its encryption setting)
//     and opens nothing of another.
//   - Data keys are stored wrapped only. A KMS key that is disabled or gone
//     seals and opens nothing more, as soon as its provider says so.
//   - The youngest data key of a domain seals; the others open what they sealed.
//   - Text that was altered, or sealed for another purpose, does not open.
package seal
