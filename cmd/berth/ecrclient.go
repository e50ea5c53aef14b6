package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

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
