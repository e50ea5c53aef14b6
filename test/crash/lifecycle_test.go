package crash

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// keepOne leaves the newest image, whatever its tags are.
const keepOne = `{"rules":[{"rulePriority":1,"selection":{"tagStatus":"any","countType":"imageCountMoreThan","countNumber":1},"action":{"type":"expire"}}]}`

// runPolicy lets a policy act right after a preview of it: what the preview listed goes, all of it or, when the server
// dies, nothing. An image that the preview did not list never does.
func runPolicy(_ testing.TB, ctx context.Context, c *client) error {
	_, err := c.ECR.PutLifecyclePolicy(ctx, &ecr.PutLifecyclePolicyInput{RepositoryName: &c.repository, LifecyclePolicyText: aws.String(keepOne)})
	if err != nil {
		return err
	}
	expiring, err := c.preview(ctx)
	if err != nil {
		return err
	}
	if len(expiring) != len(c.now.images)-1 {
		return fmt.Errorf("the preview lists %d of %d images", len(expiring), len(c.now.images))
	}
	return c.try(func() error {
		_, err := c.ECR.GetLifecyclePolicy(ctx, &ecr.GetLifecyclePolicyInput{RepositoryName: &c.repository}, asOwn("BerthRunLifecyclePolicy"))
		return err
	}, func(s *state) {
		for d := range expiring {
			delete(s.images, d)
			maps.DeleteFunc(s.tags, func(_, to string) bool { return to == d })
		}
	})
}

// preview lists the digests that the policy of the repository acts on.
func (c *client) preview(ctx context.Context) (map[string]bool, error) {
	if _, err := c.ECR.StartLifecyclePolicyPreview(ctx, &ecr.StartLifecyclePolicyPreviewInput{RepositoryName: &c.repository}); err != nil {
		return nil, err
	}
	out, err := c.ECR.GetLifecyclePolicyPreview(ctx, &ecr.GetLifecyclePolicyPreviewInput{RepositoryName: &c.repository})
	if err != nil {
		return nil, err
	}
	if out.Status != types.LifecyclePolicyPreviewStatusComplete {
		return nil, fmt.Errorf("the preview is %s", out.Status)
	}
	digests := map[string]bool{}
	for _, r := range out.PreviewResults {
		digests[*r.ImageDigest] = true
	}
	return digests, nil
}

// dropPolicy takes the policy away that a scenario left, so that the next one finds none.
func (c *client) dropPolicy(ctx context.Context) error {
	_, err := c.ECR.DeleteLifecyclePolicy(ctx, &ecr.DeleteLifecyclePolicyInput{RepositoryName: &c.repository})
	var none *types.LifecyclePolicyNotFoundException
	if errors.As(err, &none) {
		return nil
	}
	return err
}

// asOwn sends a request as one of our own operations, which the SDK does not know.
func asOwn(operation string) func(*ecr.Options) {
	return ecr.WithAPIOptions(func(stack *middleware.Stack) error {
		return stack.Build.Add(middleware.BuildMiddlewareFunc("own operation",
			func(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
				if req, ok := in.Request.(*smithyhttp.Request); ok {
					req.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921."+operation)
				}
				return next.HandleBuild(ctx, in)
			}), middleware.After)
	})
}
