package secrets

import "fmt"

// Codes of an [Error] (Secrets Manager API reference, "Common errors").
const (
	NotFound          = "ResourceNotFoundException"
	Exists            = "ResourceExistsException"
	InvalidRequest    = "InvalidRequestException"
	InvalidParameter  = "InvalidParameterException"
	LimitExceeded     = "LimitExceededException"
	DecryptionFailure = "DecryptionFailure"
	EncryptionFailure = "EncryptionFailure"
)

// An Error is a refusal in the words of AWS.
type Error struct {
	Code    string
	Message string
	Err     error // what lies behind, for logs
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Unwrap gives what lies behind.
func (e *Error) Unwrap() error { return e.Err }

func refuse(code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func notFound() error { return refuse(NotFound, "Secrets Manager can't find the specified secret.") }

func deleted() error {
	return refuse(InvalidRequest, "You can't perform this operation on the secret because it was marked for deletion.")
}
