package ecrapi

import (
	"context"

	"berth/internal/ecr"
	"berth/internal/meta"
	"berth/internal/registry"
)

// startReplicationBackfill queues a backfill (API_StartReplicationBackfill), which
// replication will take up when it comes. See [registry.Registry.StartBackfill].
func startReplicationBackfill(d *Door, ctx context.Context, c call, in *ecr.StartReplicationBackfillInput) (any, error) {
	b, err := d.Registry.StartBackfill(ctx, c.scope, registry.Destination{Region: in.Destination.Region, Account: in.Destination.RegistryID})
	if err != nil {
		return nil, err
	}
	return &ecr.StartReplicationBackfillOutput{
		ReplicationBackfillID: b.ID, RegistryID: c.scope.Account, Destination: wireDestination(b),
		Status: ecr.ReplicationBackfillStatus(b.Status), StartedAt: ecr.At(b.StartedAt),
	}, nil
}

func stopReplicationBackfill(d *Door, ctx context.Context, c call, in *ecr.StopReplicationBackfillInput) (any, error) {
	b, err := d.Registry.StopBackfill(ctx, c.scope, in.ReplicationBackfillID)
	if err != nil {
		return nil, err
	}
	return &ecr.StopReplicationBackfillOutput{
		ReplicationBackfillID: b.ID, RegistryID: c.scope.Account, Destination: wireDestination(b),
		Status: ecr.ReplicationBackfillStatus(b.Status), StartedAt: ecr.At(b.StartedAt),
	}, nil
}

// defaultBackfills is the page size of ListReplicationBackfills when maxResults
// is absent (API_ListReplicationBackfills).
const defaultBackfills = 25

func listReplicationBackfills(d *Door, ctx context.Context, c call, in *ecr.ListReplicationBackfillsInput) (any, error) {
	limit := defaultBackfills
	if in.MaxResults != nil {
		limit = int(*in.MaxResults)
	}
	list, next, err := d.Registry.Backfills(ctx, c.scope, in.NextToken, limit)
	if err != nil {
		return nil, err
	}
	out := &ecr.ListReplicationBackfillsOutput{RegistryID: c.scope.Account, Backfills: []ecr.ReplicationBackfillSummary{}, NextToken: next}
	for _, b := range list {
		out.Backfills = append(out.Backfills, ecr.ReplicationBackfillSummary{
			ReplicationBackfillID: b.ID, Destination: wireDestination(b), Status: ecr.ReplicationBackfillStatus(b.Status),
			FailureCode: b.FailureCode, Progress: wireProgress(b), StartedAt: ecr.At(b.StartedAt), EndedAt: ecr.At(b.EndedAt),
		})
	}
	return out, nil
}

// describeReplicationBackfillResults tells how far a backfill is
// (API_DescribeReplicationBackfillResults). Results of single images are of
// backfills that copied some, of which there are none before replication comes;
// so there is no next page of them either.
func describeReplicationBackfillResults(d *Door, ctx context.Context, c call, in *ecr.DescribeReplicationBackfillResultsInput) (any, error) {
	b, err := d.Registry.Backfill(ctx, c.scope, in.ReplicationBackfillID)
	if err != nil {
		return nil, err
	}
	if in.NextToken != "" {
		return nil, noSuchPage()
	}
	return &ecr.DescribeReplicationBackfillResultsOutput{
		RegistryID: c.scope.Account, ReplicationBackfillID: b.ID, Destination: wireDestination(b),
		Status: ecr.ReplicationBackfillStatus(b.Status), FailureCode: b.FailureCode, Progress: wireProgress(b),
		Results: []ecr.ReplicationBackfillResult{}, StartedAt: ecr.At(b.StartedAt), EndedAt: ecr.At(b.EndedAt),
	}, nil
}

func wireDestination(b meta.Backfill) *ecr.ReplicationDestination {
	return &ecr.ReplicationDestination{Region: b.Destination.Region, RegistryID: b.Destination.Account}
}

func wireProgress(b meta.Backfill) *ecr.ReplicationBackfillProgress {
	total, completed, failed := int32(b.Total), int32(b.Completed), int32(b.Failed)
	return &ecr.ReplicationBackfillProgress{
		TotalReplicationCount: &total, CompletedReplicationCount: &completed, FailedReplicationCount: &failed,
	}
}

// noSuchPage refuses a token that this listing never gave.
func noSuchPage() error {
	return ecr.NewException(ecr.CodeInvalidParameter, "Invalid parameter at 'NextToken' failed to satisfy constraint: 'Invalid next token provided'")
}
