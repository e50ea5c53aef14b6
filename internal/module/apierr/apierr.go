// Package apierr turns the errors of the AWS SDK, which name every layer they went through, into one sentence that
// says what was wrong and what to do. The original error stays reachable by errors.As.
package apierr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"syscall"

	"github.com/aws/smithy-go"
)

// explained has its own text and the original error below it.
type explained struct {
	text  string
	cause error
}

func (e *explained) Error() string { return e.text }
func (e *explained) Unwrap() error { return e.cause }

// Explain returns err with a readable text. Errors that do not come from the SDK are returned as they are.
func Explain(err error) error {
	var op *smithy.OperationError
	if !errors.As(err, &op) {
		return err
	}
	call := op.Service() + ":" + op.Operation()
	var api smithy.APIError
	var network *net.OpError
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return &explained{"interrupted", err}
	case errors.Is(err, context.DeadlineExceeded):
		return &explained{call + " took too long: try again", err}
	case errors.As(err, &api):
		return &explained{fmt.Sprintf("%s was refused: %s: %s", call, api.ErrorCode(), oneLine(api.ErrorMessage())), err}
	case errors.As(err, &dns):
		return &explained{fmt.Sprintf("cannot find the host %s of the registry: check --endpoint, AWS_ENDPOINT_URL and the region", dns.Name), err}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &explained{fmt.Sprintf("nothing listens at %s: start the registry with berth serve, or check --endpoint and AWS_ENDPOINT_URL", endpoint(err)), err}
	case errors.As(err, &network):
		return &explained{fmt.Sprintf("cannot reach %s: %v", endpoint(err), network.Err), err}
	case strings.Contains(err.Error(), "get credentials"):
		return &explained{"no AWS credentials were found: run eval \"$(berth env)\" for a local registry, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", err}
	}
	return &explained{fmt.Sprintf("%s failed: %v", call, op.Err), err}
}

// endpoint returns scheme and host of the request that failed.
func endpoint(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		if parsed, parseErr := url.Parse(u.URL); parseErr == nil && parsed.Host != "" {
			return parsed.Scheme + "://" + parsed.Host
		}
	}
	return "the registry"
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
