package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"berth/internal/blob"
)

// The error codes of S3 that the store acts on
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html), and those by which other servers say that they
// are full. NotFound is the SDK's name for a HEAD that is answered with 404: it has no body to read a code from.
func missingCodes() []string { return []string{"NoSuchKey", "NoSuchUpload", "NotFound"} }

func fullCodes() []string {
	return []string{"QuotaExceeded", "InsufficientStorage", "InsufficientCapacity", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded"}
}

// passingCodes are those that say "again, later" with a status below 500. BadDigest is one: the bytes were broken on
// their way.
func passingCodes() []string {
	return []string{"SlowDown", "RequestTimeout", "Throttling", "TooManyRequests", "BadDigest", "XAmzContentSHA256Mismatch",
		"XAmzContentChecksumMismatch", "OperationAborted", "ConditionalRequestConflict"}
}

// fail says what was being done when S3 or the way to it failed, and of which kind of the contract's errors that is.
// The end of the caller's own context is none of them.
func fail(ctx context.Context, err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, errors.Join(context.Cause(ctx), err))
	}
	if kind := kindOf(err); kind != nil && !errors.Is(err, kind) {
		return fmt.Errorf("%s: %w: %w", what, kind, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// kindOf finds the contract's error for one of the SDK; nil: none of them.
func kindOf(err error) error {
	code, status := codeOf(err), statusOf(err)
	switch {
	case slices.Contains(missingCodes(), code):
		return blob.ErrNotFound
	case slices.Contains(fullCodes(), code), status == http.StatusInsufficientStorage:
		return blob.ErrNoSpace
	case slices.Contains(passingCodes(), code), status >= http.StatusInternalServerError, status == http.StatusTooManyRequests:
		return blob.ErrUnavailable
	case code == "" && status < http.StatusBadRequest && brokeOff(err):
		return blob.ErrUnavailable
	}
	return nil
}

// brokeOff tells whether there was no answer, or one that ended early or made no sense.
func brokeOff(err error) bool {
	var call *smithy.OperationError
	var network net.Error
	return errors.As(err, &call) || errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// codeOf is the code of S3's error answer, or "" when there was no such answer.
func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// statusOf is the HTTP status of an answer that was an error, or 0.
func statusOf(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

func isMissing(err error) bool {
	return errors.Is(kindOf(err), blob.ErrNotFound) || errors.Is(err, blob.ErrNotFound)
}
