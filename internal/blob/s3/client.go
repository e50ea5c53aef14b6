package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"berth/internal/blob"
)

const (
	defaultAttempts = 3
	defaultRegion   = "us-east-1"
	maxBackoff      = 2 * time.Second
	idleConnections = 128 // kept to one host; the SDK keeps 10, and every other request would dial again
)

// newClient makes the SDK's client. It asks nobody but, for the keys, the standard chain.
func newClient(ctx context.Context, o Options) (*s3.Client, error) {
	var load []func(*config.LoadOptions) error
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.AccessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(o.AccessKeyID, o.SecretAccessKey, o.SessionToken)))
	}
	loaded, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration for S3: %w", err)
	}
	attempts := o.Attempts
	if attempts == 0 {
		attempts = defaultAttempts
	}
	backoff := o.backoff
	if backoff == 0 {
		backoff = maxBackoff
	}
	return s3.NewFromConfig(loaded, func(c *s3.Options) {
		if c.Region == "" {
			c.Region = defaultRegion
		}
		if o.Endpoint != "" {
			c.BaseEndpoint = aws.String(strings.TrimSuffix(o.Endpoint, "/"))
		}
		c.UsePathStyle = o.PathStyle
		c.HTTPClient = o.HTTPClient
		if c.HTTPClient == nil {
			c.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
				t.MaxIdleConnsPerHost = idleConnections
			})
		}
		c.Retryer = retry.NewStandard(func(r *retry.StandardOptions) {
			r.MaxAttempts, r.MaxBackoff = attempts, backoff
		})
		// The store gives a CRC-32C with every write. The SDK's own would come as a trailer of an encoding that
		// servers other than Amazon's often cannot read.
		c.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		c.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		c.DisableLogOutputChecksumValidationSkipped = true
		if c.BaseEndpoint == nil || strings.HasPrefix(*c.BaseEndpoint, "https:") {
			// TLS and the CRC protect the bytes; a SHA-256 over all of them would halve what a core can push.
			c.APIOptions = append(c.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
		}
	}), nil
}

// reach asks for the bucket and says what to do when it cannot be had.
func (s *Store) reach(ctx context.Context) error {
	limited, cancel := within(ctx, shortTime)
	defer cancel()
	_, err := s.client.HeadBucket(limited, &s3.HeadBucketInput{Bucket: &s.options.Bucket})
	if err == nil {
		return nil
	}
	where := "S3"
	if s.options.Endpoint != "" {
		where = s.options.Endpoint
	}
	var response *smithyhttp.ResponseError
	region := ""
	if errors.As(err, &response) && response.Response != nil {
		region = response.Response.Header.Get("X-Amz-Bucket-Region")
	}
	switch statusOf(err) {
	case http.StatusNotFound:
		return fmt.Errorf("the bucket %s does not exist at %s: create it, or correct the URL", s.options.Bucket, where)
	case http.StatusForbidden:
		return fmt.Errorf("%s refuses the bucket %s: check the access key and its right s3:ListBucket: %w", where, s.options.Bucket, err)
	case http.StatusMovedPermanently, http.StatusBadRequest:
		if region != "" && region != s.client.Options().Region {
			return fmt.Errorf("the bucket %s is in the region %s and not in %s: add region=%s to the URL",
				s.options.Bucket, region, s.client.Options().Region, region)
		}
	case 0:
		return fail(ctx, errors.Join(blob.ErrUnavailable, err), "reach the bucket %s at %s: check the endpoint, and that keys are configured",
			s.options.Bucket, where)
	}
	return fail(ctx, err, "reach the bucket %s at %s", s.options.Bucket, where)
}

// Check implements [blob.Checker]: it asks for the bucket.
func (s *Store) Check(ctx context.Context) error { return s.reach(ctx) }
