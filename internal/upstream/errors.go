package upstream

import (
	"errors"
	"fmt"
	"time"
)

// A Kind is what went wrong with an upstream.
type Kind int

// The kinds.
const (
	NotFound    Kind = iota + 1 // the registry does not have it
	Denied                      // the registry does not give it to this caller
	TooMany                     // too much was asked of the registry
	Unavailable                 // the registry cannot be reached, or fails
	Forbidden                   // this client does not go where the registry leads
	Malformed                   // the answer is not one of a registry
)

// An Error is what an upstream did not give, and why, in a sentence that names
// the host and has no secret in it.
type Error struct {
	Kind    Kind
	Host    string
	Message string
	Retry   time.Duration // of TooMany: for how long the registry wants to be left alone
	Err     error
}

func (e *Error) Error() string { return "the upstream registry " + e.Host + " " + e.Message }

// Unwrap gives what lies behind.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether err is an [Error] of that kind.
func Is(err error, k Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == k
}

func fail(k Kind, host string, err error, format string, args ...any) *Error {
	return &Error{Kind: k, Host: host, Message: fmt.Sprintf(format, args...), Err: err}
}
