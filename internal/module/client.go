package module

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"berth/internal/module/apierr"
	"berth/internal/module/apply"
	"berth/internal/module/hclload"
	"berth/internal/module/live"
)

// ClientOptions says which registry to speak to, and as whom. Empty fields are found in the standard way of AWS:
// environment variables (AWS_ENDPOINT_URL_ECR, AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, …), the shared
// configuration files and profiles, then the role of the machine.
// https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html
type ClientOptions struct {
	Endpoint        string // of every service, such as http://127.0.0.1:5050
	STSEndpoint     string // of STS when it is another one
	Region          string
	Profile         string
	AccessKeyID     string
	SecretAccessKey string
	SessionToken    string
	CABundle        string // PEM file of certificates to trust in place of the system's
}

// registryAPI is all that the engine needs of the ECR API.
type registryAPI interface {
	live.API
	apply.API
}

// identityAPI is all that it needs of STS.
type identityAPI interface {
	GetCallerIdentity(ctx context.Context, in *sts.GetCallerIdentityInput, opts ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

// Client speaks to one registry. It is safe for concurrent use.
type Client struct {
	ecr    registryAPI
	sdk    *ecr.Client // the same, with all operations
	sts    identityAPI
	region string
	aws    bool // the registry is Amazon ECR itself

	mu    sync.Mutex
	facts *hclload.Facts // once they are known
}

// Attempts of a call that fails for a reason that may pass, such as throttling, and the longest pause between two.
const (
	maxAttempts = 6
	maxBackoff  = 5 * time.Second
)

// NewClient prepares a client. Nothing is sent. The error says what is missing or malformed.
func NewClient(ctx context.Context, opt ClientOptions) (*Client, error) {
	if opt.Endpoint != "" {
		u, err := url.Parse(opt.Endpoint)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return nil, fmt.Errorf("the endpoint %q is not a URL: write it as http://127.0.0.1:5050", opt.Endpoint)
		}
	}
	if (opt.AccessKeyID == "") != (opt.SecretAccessKey == "") {
		return nil, errors.New("an access key id needs its secret, and the other way round: give both or neither")
	}
	settings := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer { return newRetryer() }),
	}
	if opt.Region != "" {
		settings = append(settings, config.WithRegion(opt.Region))
	}
	if opt.Profile != "" {
		settings = append(settings, config.WithSharedConfigProfile(opt.Profile))
	}
	if opt.Endpoint != "" {
		settings = append(settings, config.WithBaseEndpoint(opt.Endpoint))
	}
	if opt.AccessKeyID != "" {
		settings = append(settings, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(opt.AccessKeyID, opt.SecretAccessKey, opt.SessionToken)))
	}
	if opt.CABundle != "" {
		bundle, err := os.ReadFile(opt.CABundle)
		if err != nil {
			return nil, fmt.Errorf("read the certificates to trust: %w", err)
		}
		// A reader is read once, and the configuration is loaded twice.
		settings = append(settings, func(o *config.LoadOptions) error { o.CustomCABundle = bytes.NewReader(bundle); return nil })
	}
	cfg, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return nil, fmt.Errorf("the AWS configuration cannot be used: %w", err)
	}
	registry := ecr.NewFromConfig(cfg)
	endpoint := aws.ToString(registry.Options().BaseEndpoint)
	if isLoopback(endpoint) {
		// A machine role cannot be meant for a registry on this machine, and asking for one takes seconds.
		settings = append(settings, config.WithEC2IMDSClientEnableState(imds.ClientDisabled))
		if cfg, err = config.LoadDefaultConfig(ctx, settings...); err != nil {
			return nil, fmt.Errorf("the AWS configuration cannot be used: %w", err)
		}
		registry = ecr.NewFromConfig(cfg)
	}
	if cfg.Region == "" {
		return nil, errors.New("no region is set: pass --region, set AWS_REGION, or run eval \"$(berth env)\" for a local registry")
	}
	identity := sts.NewFromConfig(cfg, func(o *sts.Options) {
		if opt.STSEndpoint != "" {
			o.BaseEndpoint = aws.String(opt.STSEndpoint)
		}
	})
	return &Client{ecr: registry, sdk: registry, sts: identity, region: cfg.Region, aws: isAWS(endpoint)}, nil
}

// newRetryer repeats what the SDK would repeat, except when nothing listens: waiting does not start a registry.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff = maxAttempts, maxBackoff
		refused := retry.IsErrorRetryableFunc(func(err error) aws.Ternary {
			if errors.Is(err, syscall.ECONNREFUSED) {
				return aws.FalseTernary
			}
			return aws.UnknownTernary
		})
		o.Retryables = append([]retry.IsErrorRetryable{refused}, o.Retryables...)
	})
}

func hostOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

func isLoopback(endpoint string) bool {
	host := hostOf(endpoint)
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// isAWS says whether an endpoint, empty for the default one, is a part of AWS.
func isAWS(endpoint string) bool {
	host := hostOf(endpoint)
	return endpoint == "" || strings.HasSuffix(host, ".amazonaws.com") || strings.HasSuffix(host, ".amazonaws.com.cn") || strings.HasSuffix(host, ".api.aws")
}

// identity asks who is calling, once.
func (c *Client) identity(ctx context.Context) (hclload.Facts, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.facts != nil {
		return *c.facts, nil
	}
	out, err := c.sts.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return hclload.Facts{}, fmt.Errorf("cannot find out who is calling: %w", apierr.Explain(err))
	}
	facts := hclload.Facts{
		AccountID: aws.ToString(out.Account), CallerARN: aws.ToString(out.Arn), UserID: aws.ToString(out.UserId), Region: c.region,
	}
	facts.Partition, facts.DNSSuffix = "aws", "amazonaws.com"
	if parts := strings.Split(facts.CallerARN, ":"); len(parts) > 1 && parts[1] != "" {
		facts.Partition = parts[1]
	}
	if facts.Partition == "aws-cn" {
		facts.DNSSuffix = "amazonaws.com.cn"
	}
	c.facts = &facts
	return facts, nil
}

// interface check: the SDK's client is what the engine is written against.
var _ registryAPI = (*ecr.Client)(nil)
