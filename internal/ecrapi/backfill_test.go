package ecrapi_test

import (
	"errors"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
)

// AWS's own client drives backfills; the aws CLI does not know them yet.
func TestBackfillsOfTheAPI(t *testing.T) {
	c := newClient(t)
	client, ctx := c.ECR(), t.Context()
	to := &types.ReplicationDestination{Region: aws.String("eu-west-1"), RegistryId: aws.String("000000000000")}
	_, err := client.StartReplicationBackfill(ctx, &ecr.StartReplicationBackfillInput{Destination: to})
	var invalid *types.InvalidParameterException
	if !errors.As(err, &invalid) {
		t.Errorf("a destination that is not configured: %v", err)
	}
	_, err = client.PutReplicationConfiguration(ctx, &ecr.PutReplicationConfigurationInput{ReplicationConfiguration: &types.ReplicationConfiguration{
		Rules: []types.ReplicationRule{{Destinations: []types.ReplicationDestination{*to}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	started, err := client.StartReplicationBackfill(ctx, &ecr.StartReplicationBackfillInput{Destination: to})
	if err != nil || started.Status != types.ReplicationBackfillStatusPreparing || *started.Destination.Region != "eu-west-1" || *started.RegistryId != "000000000000" || started.StartedAt == nil {
		t.Fatalf("started %+v, %v", started, err)
	}
	_, err = client.StartReplicationBackfill(ctx, &ecr.StartReplicationBackfillInput{Destination: to})
	var running *types.ReplicationBackfillInProgressException
	if !errors.As(err, &running) {
		t.Errorf("a second one: %v", err)
	}
	id := started.ReplicationBackfillId
	described, err := client.DescribeReplicationBackfillResults(ctx, &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: id})
	if err != nil || described.Status != types.ReplicationBackfillStatusPreparing || *described.Progress.TotalReplicationCount != 0 || len(described.Results) != 0 || described.EndedAt != nil {
		t.Errorf("described %+v, %v", described, err)
	}
	_, err = client.DescribeReplicationBackfillResults(ctx, &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: id, NextToken: aws.String("x")})
	if !errors.As(err, &invalid) {
		t.Errorf("a page that is not there: %v", err)
	}
	stopped, err := client.StopReplicationBackfill(ctx, &ecr.StopReplicationBackfillInput{ReplicationBackfillId: id})
	if err != nil || stopped.Status != types.ReplicationBackfillStatusStopped || *stopped.ReplicationBackfillId != *id {
		t.Errorf("stopped %+v, %v", stopped, err)
	}
	_, err = client.StopReplicationBackfill(ctx, &ecr.StopReplicationBackfillInput{ReplicationBackfillId: id})
	var ended *types.ReplicationBackfillInvalidStatusException
	if !errors.As(err, &ended) {
		t.Errorf("stopped again: %v", err)
	}
	if _, err := client.StartReplicationBackfill(ctx, &ecr.StartReplicationBackfillInput{Destination: to}); err != nil {
		t.Fatal(err)
	}
	var statuses []types.ReplicationBackfillStatus
	pages := ecr.NewListReplicationBackfillsPaginator(client, &ecr.ListReplicationBackfillsInput{MaxResults: aws.Int32(1)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Backfills {
			statuses = append(statuses, b.Status)
			if (b.EndedAt != nil) != (b.Status == types.ReplicationBackfillStatusStopped) || b.Progress == nil || *b.Destination.RegistryId != "000000000000" {
				t.Errorf("listed %+v", b)
			}
		}
	}
	if len(statuses) != 2 || statuses[0] != types.ReplicationBackfillStatusPreparing || statuses[1] != types.ReplicationBackfillStatusStopped {
		t.Errorf("listed %v", statuses)
	}
	_, err = client.DescribeReplicationBackfillResults(ctx, &ecr.DescribeReplicationBackfillResultsInput{ReplicationBackfillId: aws.String("none")})
	var missing *types.ReplicationBackfillNotFoundException
	if !errors.As(err, &missing) {
		t.Errorf("one that is not there: %v", err)
	}
}

// Nothing copies or signs images yet, and so nothing says that it does.
func TestStatusesOfImages(t *testing.T) {
	c := newClient(t)
	c.create("app")
	d := push(c, "app", "v1")
	c.call("PutReplicationConfiguration", `{"replicationConfiguration":{"rules":[{"destinations":[{"region":"eu-west-1","registryId":"000000000000"}]}]}}`).ok()
	for operation, member := range map[string]string{"DescribeImageReplicationStatus": "replicationStatuses", "DescribeImageSigningStatus": "signingStatuses"} {
		out := c.call(operation, `{"repositoryName":"app","imageId":{"imageTag":"v1"}}`).ok()
		id, _ := out["imageId"].(map[string]any)
		if list, ok := out[member].([]any); !ok || len(list) != 0 || id["imageDigest"] != d || id["imageTag"] != "v1" || out["repositoryName"] != "app" {
			t.Errorf("%s: %v", operation, out)
		}
		c.call(operation, `{"repositoryName":"app","imageId":{"imageTag":"v2"}}`).refused(400, "ImageNotFoundException", "imageTag:'v2'")
		c.call(operation, `{"repositoryName":"app","imageId":{}}`).refused(400, "InvalidParameterException", "both tag and digest cannot be null")
	}
}
