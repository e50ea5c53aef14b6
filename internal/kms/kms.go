// Package kms is the contract for keys that encrypt keys.
//
// Bytes at rest are sealed under data keys, and data keys are wrapped by keys
// that live elsewhere: the master key of the installation, or the KMS key of a
// repository. This package says what such a place must offer; the packages
// below it are such places: a keyring file (keyring), the built-in service
// (local), AWS KMS (aws) and HashiCorp Vault's transit engine (vault).
//
// # Guarantees
//
//   - What one context wrapped, no other context unwraps.
//   - A key that is disabled, scheduled for deletion or gone unwraps nothing
//     from then on; how soon "then" is, each provider says.
package kms

import (
	"context"
	"time"
)

// A Context is bound to what is wrapped: it must be the same to unwrap it (AWS
// KMS Developer Guide, "Encryption context"). It is not secret.
type Context map[string]string

// A Wrapper encrypts keys under one key-encryption key. The methods fail with
// an [Error], or with another error when the key's place cannot be reached.
type Wrapper interface {
	// Wrap encrypts a key of at most 4096 bytes.
	Wrap(ctx context.Context, key []byte, c Context) ([]byte, error)
	Unwrap(ctx context.Context, wrapped []byte, c Context) ([]byte, error)
}

// A Provider holds the KMS keys that repositories name.
type Provider interface {
	// Resolve gives the ARN of the key that a request from an account and region
	// names by id, alias, key ARN or alias ARN, provided that it can encrypt now.
	// alias/aws/ecr is made when it does not exist. It fails with an [Error].
	Resolve(ctx context.Context, account, region, name string) (arn string, err error)
	// Key is the key with an ARN. That it exists is found out when it is used.
	Key(arn string) Wrapper
	// CacheFor is how long an unwrapped key may be used without asking again: a
	// key that is disabled works on for so long.
	CacheFor() time.Duration
}

// Codes of an [Error], as AWS KMS names its exceptions (KMS API reference,
// "Encrypt", "Decrypt" and "DescribeKey", section Errors).
const (
	NotFound       = "NotFoundException"
	Disabled       = "DisabledException"
	InvalidState   = "KMSInvalidStateException"
	InvalidARN     = "InvalidArnException"
	InvalidCipher  = "InvalidCiphertextException"
	InvalidUsage   = "InvalidKeyUsageException"
	AccessDenied   = "AccessDeniedException"
	KeyUnavailable = "KeyUnavailableException"
)

// An Error is a refusal by the key's place.
type Error struct {
	Code    string
	Message string
	Err     error // what lies behind, for logs
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap gives what lies behind.
func (e *Error) Unwrap() error { return e.Err }
