package apierr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go"
)

func TestExplain(t *testing.T) {
	op := func(err error) error {
		return &smithy.OperationError{ServiceID: "ECR", OperationName: "CreateRepository", Err: err}
	}
	sent := func(err error) error {
		return op(&url.Error{Op: "Post", URL: "http://127.0.0.1:5050/", Err: &net.OpError{Op: "dial", Net: "tcp", Err: err}})
	}
	refused := &types.RepositoryNotFoundException{Message: aws.String("The repository\n is gone")}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"not of the SDK":     {errors.New("x"), "x"},
		"refused":            {op(refused), "ECR:CreateRepository was refused: RepositoryNotFoundException: The repository is gone"},
		"wrapped":            {fmt.Errorf("context: %w", op(refused)), "ECR:CreateRepository was refused: RepositoryNotFoundException: The repository is gone"},
		"nothing listens":    {sent(syscall.ECONNREFUSED), "nothing listens at http://127.0.0.1:5050: start the registry with berth serve, or check --endpoint and AWS_ENDPOINT_URL"},
		"reset":              {sent(syscall.ECONNRESET), "cannot reach http://127.0.0.1:5050: connection reset by peer"},
		"unknown host":       {sent(&net.DNSError{Name: "r.invalid", Err: "no such host"}), "cannot find the host r.invalid of the registry: check --endpoint, AWS_ENDPOINT_URL and the region"},
		"interrupted":        {sent(context.Canceled), "interrupted"},
		"too long":           {op(context.DeadlineExceeded), "ECR:CreateRepository took too long: try again"},
		"no credentials":     {op(errors.New("get identity: get credentials: failed to refresh cached credentials")), `no AWS credentials were found: run eval "$(berth env)" for a local registry, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY`},
		"anything else":      {op(errors.New("odd")), "ECR:CreateRepository failed: odd"},
		"no URL to be named": {op(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}), "nothing listens at the registry: start the registry with berth serve, or check --endpoint and AWS_ENDPOINT_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			got := Explain(c.err)
			if got.Error() != c.want {
				t.Errorf("\n got %s\nwant %s", got, c.want)
			}
			if !errors.Is(got, c.err) && !errors.Is(c.err, got) {
				t.Error("the original error is lost")
			}
		})
	}
	if err := Explain(nil); err != nil {
		t.Error(err)
	}
	var notFound *types.RepositoryNotFoundException
	if !errors.As(Explain(op(refused)), &notFound) {
		t.Error("the exception is not reachable")
	}
}
