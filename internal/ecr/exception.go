package ecr

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
)

// Codes of exceptions that any AWS JSON service may answer and the service model therefore does not list. Names: the
// common errors page of the ECR API reference, and for signatures what AWS JSON services send.
const (
	CodeAccessDenied               = "AccessDeniedException"
	CodeExpiredToken               = "ExpiredTokenException"
	CodeIncompleteSignature        = "IncompleteSignatureException"
	CodeInvalidSignature           = "InvalidSignatureException"
	CodeMissingAuthenticationToken = "MissingAuthenticationTokenException"
	CodeUnrecognizedClient         = "UnrecognizedClientException"
	CodeThrottling                 = "ThrottlingException"
	CodeSerialization              = "SerializationException"
	CodeUnknownOperation           = "UnknownOperationException"
	CodeRequestEntityTooLarge      = "RequestEntityTooLargeException"
	CodeInternalFailure            = "InternalFailure"
	CodeServiceUnavailable         = "ServiceUnavailable"
)

// Exception is an error of the API as it goes over the wire.
type Exception struct {
	Type    string         // the code, for example CodeRepositoryNotFound
	Message string         // for people
	Status  int            // the HTTP status
	Extra   map[string]any // further members of the exception, such as kmsError; may be nil
}

// NewException is the exception of that code with its HTTP status: the model's, or the one that the common errors have.
// A code known to neither is a fault of the client, 400.
func NewException(code, message string) *Exception {
	return &Exception{Type: code, Message: message, Status: statusOf(code)}
}

// statusOf knows the statuses that differ from 400. Authentication and authorisation errors are 400 too: the reference
// page lists 403, but ECR answers 400 for them, as the logs of its clients show (upmc-enterprises/registry-creds#24).
func statusOf(code string) int {
	if status, ok := modelledStatus(code); ok {
		return status
	}
	switch code {
	case CodeUnknownOperation:
		return http.StatusNotFound
	case CodeRequestEntityTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeInternalFailure:
		return http.StatusInternalServerError
	case CodeServiceUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusBadRequest
}

// Error is the code and the message, as AWS clients print them.
func (e *Exception) Error() string { return e.Type + ": " + e.Message }

// Body renders the exception as an AWS JSON 1.1 error body: __type, message, then Extra sorted by name. Extra cannot
// replace the first two. The error is that of an Extra value that JSON cannot hold.
func (e *Exception) Body() ([]byte, error) {
	var b bytes.Buffer
	write := func(name string, value any) error {
		text, err := Encode(value)
		if err != nil {
			return fmt.Errorf("render member %q of %s: %w", name, e.Type, err)
		}
		key, err := Encode(name)
		if err != nil {
			return err
		}
		sep := byte(',')
		if b.Len() == 0 {
			sep = '{'
		}
		b.WriteByte(sep)
		b.Write(key)
		b.WriteByte(':')
		b.Write(text)
		return nil
	}
	if err := write("__type", e.Type); err != nil {
		return nil, err
	}
	if err := write("message", e.Message); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(e.Extra)) {
		if name == "__type" || name == "message" {
			continue
		}
		if err := write(name, e.Extra[name]); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Encode renders an output (or any value) as a JSON response body: no trailing newline, and <, > and & as themselves,
// as AWS writes them in policy texts and manifests.
func Encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
