// Package local is the built-in KMS: the part of AWS KMS that users of ECR
// need, on the metadata store and a master key.
//
// # Guarantees
//
//   - Key material is stored wrapped by the master key only, bound to its key
//     and to itself: a row that is copied to another key opens nothing.
//   - Keys have the states of AWS KMS. A disabled key, or one that is pending
//     deletion, neither encrypts nor decrypts from the moment at which the call
//     that made it so is answered; the package remembers no key.
//   - A key whose deletion date has passed does not exist, whether or not
//     [KMS.Sweep] has removed its rows yet.
//   - Rotation adds material; what older material encrypted stays readable.
//   - A ciphertext names its material, so it can be decrypted without naming the
//     key, and is bound to its key and encryption context.
//
// Refusals are *[kms.Error] with the exceptions and texts of AWS KMS where those
// are known (KMS API reference, KMS Developer Guide "Key states of AWS KMS
// keys"). The package does not look at key policies and permissions: whoever
// serves its operations does that. AWS managed keys are for services: what a
// user asks of them beyond reading is [ErrManaged].
package local
