package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/smithy-go"
	"github.com/spf13/cobra"
)

// registryFlags name a registry and who asks it.
type registryFlags struct{ endpoint, region, profile string }

func (f *registryFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.endpoint, "endpoint", "", "URL of the registry (default: AWS_ENDPOINT_URL_ECR, AWS_ENDPOINT_URL, else AWS itself)")
	flags.StringVar(&f.region, "region", "", "region of the registry (default: AWS_REGION)")
	flags.StringVar(&f.profile, "profile", "", "profile of the AWS configuration files (default: AWS_PROFILE)")
}

func (f *registryFlags) client(ctx context.Context) (*ecr.Client, error) {
	return ecrClient(ctx, f.endpoint, f.region, f.profile)
}

// ecrClient is a client of the registry that flags name, Berth or Amazon ECR, with the credentials of the user's AWS
// configuration. What is empty comes from that configuration.
func ecrClient(ctx context.Context, endpoint, region, profile string) (*ecr.Client, error) {
	settings := []func(*config.LoadOptions) error{config.WithSharedConfigProfile(profile), config.WithRegion(region)}
	if endpoint != "" {
		settings = append(settings, config.WithBaseEndpoint(endpoint))
	}
	cfg, err := config.LoadDefaultConfig(ctx, settings...)
	if err != nil {
		return nil, fmt.Errorf("the AWS configuration cannot be used: %w", err)
	}
	if cfg.Region == "" {
		return nil, errors.New(`no region is set: pass --region, set AWS_REGION, or run eval "$(berth env)" for a local registry`)
	}
	return ecr.NewFromConfig(cfg), nil
}

// errNotBerth says that a registry has none of our own operations.
var errNotBerth = errors.New("the registry is not a Berth, or an older one: Amazon ECR has no such operation")

// callOwn asks for an operation that ECR does not have, so that the SDK does not know it. errNotBerth: nor does the registry.
func callOwn(ctx context.Context, client *ecr.Client, operation string, in, out any) error {
	o := client.Options()
	if o.BaseEndpoint == nil {
		return errNotBerth
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(*o.BaseEndpoint, "/")+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921."+operation)
	keys, err := o.Credentials.Retrieve(ctx)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(sum[:]), "ecr", o.Region, time.Now()); err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	resp, err := o.HTTPClient.Do(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read the answer of the registry: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return json.Unmarshal(text, out)
	}
	var refused struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(text, &refused); err != nil {
		return fmt.Errorf("the registry answered %s and no JSON", resp.Status)
	}
	if strings.HasSuffix(refused.Type, "UnknownOperationException") {
		return errNotBerth
	}
	return &smithy.GenericAPIError{Code: refused.Type, Message: refused.Message}
}
