// Package secrets keeps secrets as AWS Secrets Manager does, as far as users of
// ECR need it: names, values in versions, stages that name them, and the time in
// which a deletion can be taken back.
//
// # Guarantees
//
//   - A value is stored sealed only: under a key of its own, which the master key
//     wraps, or the KMS key that the secret names. It is bound to its secret and
//     version.
//   - AWSCURRENT names exactly one version, from the first value on, and
//     AWSPREVIOUS the one that had it before.
//   - A secret that was deleted gives no value, and its name stays taken until it
//     is gone.
//   - A refusal is an [*Error] with the code and sentence of AWS.
//
// The package does not authorise: its door does.
package secrets
