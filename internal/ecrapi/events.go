package ecrapi

import (
	"context"

	"berth/internal/ecr"
	"berth/internal/registry"
)

// eventsOutput is what BerthListEvents answers.
type eventsOutput struct {
	RegistryID string              `json:"registryId"`
	Events     []registry.Envelope `json:"events"`
	NextToken  string              `json:"nextToken"` // always: where to go on
}

// listEvents tells the events of a registry after a token, or the newest ones.
// ECR has no such operation.
func listEvents(d *Door, ctx context.Context, c call, in *ecr.ListReplicationBackfillsInput) (any, error) {
	list, next, err := d.Registry.Events(ctx, c.scope, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := eventsOutput{RegistryID: c.scope.Account, Events: []registry.Envelope{}, NextToken: next}
	for _, e := range list {
		out.Events = append(out.Events, registry.EnvelopeOf(e))
	}
	return out, nil
}

// A deadEvent is an event that was given up for a sink.
type deadEvent struct {
	Sink     string            `json:"sink"`
	Attempts int               `json:"attempts"`
	Reason   string            `json:"reason"`
	DeadAt   ecr.Time          `json:"deadAt"`
	Event    registry.Envelope `json:"event"`
}

// deadEventsOutput is what BerthListDeadEvents answers.
type deadEventsOutput struct {
	RegistryID string      `json:"registryId"`
	Events     []deadEvent `json:"events"`
	NextToken  string      `json:"nextToken,omitempty"`
}

// listDeadEvents tells a page of the events of a registry that were given up.
func listDeadEvents(d *Door, ctx context.Context, c call, in *ecr.ListReplicationBackfillsInput) (any, error) {
	list, next, err := d.Registry.DeadEvents(ctx, c.scope, in.NextToken, pageSize(in.MaxResults))
	if err != nil {
		return nil, err
	}
	out := deadEventsOutput{RegistryID: c.scope.Account, Events: []deadEvent{}, NextToken: next}
	for _, v := range list {
		out.Events = append(out.Events, deadEvent{Sink: v.Sink, Attempts: v.Attempts, Reason: v.Error, DeadAt: ecr.At(v.DeadAt), Event: registry.EnvelopeOf(v.Event)})
	}
	return out, nil
}

// retryDeadEvents has all of them delivered again.
func retryDeadEvents(d *Door, ctx context.Context, c call, _ *ecr.DescribeRegistryInput) (any, error) {
	n, err := d.Registry.RetryDeadEvents(ctx, c.scope)
	if err != nil {
		return nil, err
	}
	return map[string]any{"registryId": c.scope.Account, "retried": n}, nil
}
