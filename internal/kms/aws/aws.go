// Package aws keeps keys in AWS KMS, or in anything that speaks its protocol.
//
// # Guarantees
//
//   - Keys never leave KMS: they wrap and unwrap there, by Encrypt and Decrypt,
//     and a value is unwrapped by no key but the one that is named.
//   - Refusals are *[kms.Error] with the code of KMS. A service that cannot be
//     reached is another error, which may pass.
//   - A key that is disabled works on for [CacheFor] where its users cache.
//
// alias/aws/ecr is AWS's own business: its DescribeKey makes it, and its policy
// lets nobody but ECR use it, so that wrapping with it is refused there.
package aws

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	service "github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"berth/internal/kms"
)

// CacheFor is how long an unwrapped key may be used without asking AWS again:
// each question costs money and a round trip.
const CacheFor = 10 * time.Second

// Provider is AWS KMS with the credentials of a configuration.
type Provider struct {
	config   aws.Config
	endpoint string
}

// New makes a provider. An empty endpoint is AWS's own of each region.
func New(config aws.Config, endpoint string) *Provider {
	return &Provider{config: config, endpoint: endpoint}
}

// CacheFor implements [kms.Provider].
func (*Provider) CacheFor() time.Duration { return CacheFor }

// client speaks to KMS in a region; an empty one is the configuration's.
func (p *Provider) client(region string) *service.Client {
	return service.NewFromConfig(p.config, func(o *service.Options) {
		if region != "" {
			o.Region = region
		}
		if p.endpoint != "" {
			o.BaseEndpoint = aws.String(p.endpoint)
		}
	})
}

// Resolve implements [kms.Provider] by DescribeKey. The account is that of the
// credentials; a key of another one is named by its ARN.
func (p *Provider) Resolve(ctx context.Context, _, region, name string) (string, error) {
	out, err := p.client(region).DescribeKey(ctx, &service.DescribeKeyInput{KeyId: aws.String(name)})
	if err != nil {
		return "", refusal(err)
	}
	m := out.KeyMetadata
	if m == nil || m.Arn == nil {
		return "", errors.New("DescribeKey of " + name + " answers no key")
	}
	arn := *m.Arn
	switch {
	case m.KeyUsage != types.KeyUsageTypeEncryptDecrypt || m.KeySpec != types.KeySpecSymmetricDefault:
		return "", &kms.Error{Code: kms.InvalidUsage, Message: arn + " is not a symmetric encryption key."}
	case m.KeyState == types.KeyStateEnabled:
		return arn, nil
	case m.KeyState == types.KeyStateDisabled:
		return "", &kms.Error{Code: kms.Disabled, Message: arn + " is disabled."}
	case m.KeyState == types.KeyStatePendingDeletion:
		return "", &kms.Error{Code: kms.InvalidState, Message: arn + " is pending deletion."}
	}
	return "", &kms.Error{Code: kms.InvalidState, Message: arn + " is in the state " + string(m.KeyState) + "."}
}

// Key implements [kms.Provider]. The region is the ARN's.
func (p *Provider) Key(arn string) kms.Wrapper {
	region := ""
	if parts := strings.SplitN(arn, ":", 6); len(parts) == 6 {
		region = parts[3]
	}
	return key{p.client(region), arn}
}

type key struct {
	client *service.Client
	arn    string
}

// Wrap implements [kms.Wrapper].
func (k key) Wrap(ctx context.Context, plain []byte, c kms.Context) ([]byte, error) {
	out, err := k.client.Encrypt(ctx, &service.EncryptInput{KeyId: &k.arn, Plaintext: plain, EncryptionContext: c})
	if err != nil {
		return nil, refusal(err)
	}
	return out.CiphertextBlob, nil
}

// Unwrap implements [kms.Wrapper].
func (k key) Unwrap(ctx context.Context, wrapped []byte, c kms.Context) ([]byte, error) {
	out, err := k.client.Decrypt(ctx, &service.DecryptInput{KeyId: &k.arn, CiphertextBlob: wrapped, EncryptionContext: c})
	if err != nil {
		return nil, refusal(err)
	}
	return out.Plaintext, nil
}

// refusal is the *kms.Error of what KMS itself refused.
func refusal(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	code := api.ErrorCode()
	switch code {
	case kms.NotFound, kms.Disabled, kms.InvalidState, kms.InvalidARN, kms.InvalidCipher, kms.InvalidUsage, kms.AccessDenied, kms.KeyUnavailable:
	case "IncorrectKeyException": // KMS tells apart what callers need not
		code = kms.InvalidCipher
	default:
		return err
	}
	return &kms.Error{Code: code, Message: api.ErrorMessage(), Err: err}
}
