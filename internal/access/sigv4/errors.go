package sigv4

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Error is a refusal in the words of AWS. The two protocols name the same
// exception differently, so both names are here and the door picks its own.
//
// The HTTP status of the JSON names is 400, which published ECR, DynamoDB and
// EMR output confirms (the common-errors page says 403; the services answer
// 400). The Query names carry 403, except IncompleteSignature with 400.
//
// Not confirmed for ECR are the texts on presigned queries (S3's words), on
// unsigned X-Amz-* headers (S3's words) and on the end of a presigned link (the
// header form's words); those on our own bounds are ours.
type Error struct {
	// Code is the exception of the JSON protocols, "InvalidSignatureException".
	Code string
	// QueryCode is the code of the Query protocol (STS, IAM), "SignatureDoesNotMatch".
	QueryCode string
	// Status and QueryStatus are the HTTP statuses that go with them.
	Status, QueryStatus int
	// Message is AWS's text in the JSON protocols.
	Message string
	// QueryMessage is the text in the Query protocol, nearly always the same.
	QueryMessage string
}

// Error returns the JSON name and the text.
func (e *Error) Error() string { return e.Code + ": " + e.Message }

// Is lets errors.Is match by code: errors.Is(err, &Error{Code: "…"}).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

func missingToken() *Error {
	return &Error{
		Code: "MissingAuthenticationTokenException", QueryCode: "MissingAuthenticationToken",
		Status: http.StatusBadRequest, QueryStatus: http.StatusForbidden,
		Message: "Missing Authentication Token", QueryMessage: "Request is missing Authentication Token",
	}
}

// Throttled refuses a source that has failed too often.
func Throttled() *Error {
	return &Error{
		Code: "ThrottlingException", QueryCode: "Throttling",
		Status: http.StatusBadRequest, QueryStatus: http.StatusBadRequest,
		Message: "Rate exceeded", QueryMessage: "Rate exceeded",
	}
}

// IsWrong reports whether an error says that credentials are wrong: a key that is
// not known, or a signature that it did not make.
func IsWrong(err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.Code == unrecognizedClient().Code || e.Code == invalidSignature("").Code)
}

func incomplete(format string, args ...any) *Error {
	text := fmt.Sprintf(format, args...)
	return &Error{
		Code: "IncompleteSignatureException", QueryCode: "IncompleteSignature",
		Status: http.StatusBadRequest, QueryStatus: http.StatusBadRequest,
		Message: text, QueryMessage: text,
	}
}

func invalidSignature(format string, args ...any) *Error {
	text := fmt.Sprintf(format, args...)
	return &Error{
		Code: "InvalidSignatureException", QueryCode: "SignatureDoesNotMatch",
		Status: http.StatusBadRequest, QueryStatus: http.StatusForbidden,
		Message: text, QueryMessage: text,
	}
}

func unrecognizedClient() *Error {
	const text = "The security token included in the request is invalid."
	return &Error{
		Code: "UnrecognizedClientException", QueryCode: "InvalidClientTokenId",
		Status: http.StatusBadRequest, QueryStatus: http.StatusForbidden,
		Message: text, QueryMessage: text,
	}
}

func expiredToken() *Error {
	const text = "The security token included in the request is expired"
	return &Error{
		Code: "ExpiredTokenException", QueryCode: "ExpiredToken",
		Status: http.StatusBadRequest, QueryStatus: http.StatusForbidden,
		Message: text, QueryMessage: text,
	}
}

// mismatch is AWS's general answer to a wrong signature. Some services append
// the canonical request they computed; it is left out on purpose, since it
// repeats the caller's headers into logs.
func mismatch() *Error {
	return invalidSignature("The request signature we calculated does not match the signature you provided. " +
		"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
}

func signatureExpired(signed, now time.Time) *Error {
	oldest := now.Add(-maxSkew)
	return invalidSignature("Signature expired: %s is now earlier than %s (%s - 15 min.)",
		stamp(signed), stamp(oldest), stamp(now))
}

func presignExpired(signed time.Time, lifetime time.Duration, now time.Time) *Error {
	return invalidSignature("Signature expired: %s is now earlier than %s (%s - %d min.)",
		stamp(signed), stamp(now.Add(-lifetime)), stamp(now), int(lifetime.Minutes()))
}

func notYetCurrent(signed, now time.Time) *Error {
	return invalidSignature("Signature not yet current: %s is still later than %s (%s + 15 min.)",
		stamp(signed), stamp(now.Add(maxSkew)), stamp(now))
}

// AWS ends the scope sentences with a blank, and joins several of them.

func wrongRegion(region string) string {
	return fmt.Sprintf("Credential should be scoped to a valid region, not '%s'. ", region)
}

func wrongService(want []string) string {
	return fmt.Sprintf("Credential should be scoped to correct service: '%s'. ", strings.Join(want, "', '"))
}

func wrongTerminator(got string) string {
	return fmt.Sprintf("Credential should be scoped with a valid terminator: '%s', not '%s'. ", terminator, got)
}

func wrongDate(scope string, signed time.Time) string {
	return fmt.Sprintf("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "+
		"'%s' != '%s', from '%s'. ", scope, signed.Format(dateOnly), stamp(signed))
}

// fingerprint is how AWS names an Authorization header in an error without
// repeating it.
func fingerprint(header string) string {
	sum := sha256.Sum256([]byte(header))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func stamp(t time.Time) string { return t.UTC().Format(isoBasic) }
