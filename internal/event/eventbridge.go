package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge"
	"github.com/aws/aws-sdk-go-v2/service/eventbridge/types"

	"berth/internal/meta"
)

// maxEntries is how many events PutEvents takes (API_PutEvents).
const maxEntries = 10

// bridgeSink puts events on a bus of EventBridge, or of what speaks its API.
type bridgeSink struct {
	name, bus, prefix string
	client            *eventbridge.Client
}

// awsConfig is the AWS configuration of the server's environment for a region.
func awsConfig(ctx context.Context, t Target) (aws.Config, error) {
	c, err := config.LoadDefaultConfig(ctx, config.WithRegion(t.url.Query().Get("region")))
	if err != nil {
		return c, fmt.Errorf("load the AWS configuration for the sink %s: %w", t.Name(), err)
	}
	return c, nil
}

func openBridge(ctx context.Context, t Target) (Sink, error) {
	c, err := awsConfig(ctx, t)
	if err != nil {
		return nil, err
	}
	q := t.url.Query()
	prefix := q.Get("source-prefix")
	if prefix == "" {
		prefix = "berth."
	}
	return &bridgeSink{name: t.Name(), bus: t.url.Host, prefix: prefix, client: eventbridge.NewFromConfig(c, func(o *eventbridge.Options) {
		o.RetryMaxAttempts = 1 // the outbox tries again
		if endpoint := q.Get("endpoint"); endpoint != "" {
			o.BaseEndpoint = &endpoint
		}
	})}, nil
}

func (b *bridgeSink) Name() string { return b.name }

func (b *bridgeSink) Batch() int { return maxEntries }

// Deliver puts the events with one request. EventBridge gives events an id, an
// account and a region of its own, and so the detail tells ours.
func (b *bridgeSink) Deliver(ctx context.Context, events []meta.Event) []error {
	entries := make([]types.PutEventsRequestEntry, len(events))
	for i, e := range events {
		detail, err := bridgeDetail(e)
		var resources []string
		if err == nil {
			err = json.Unmarshal([]byte(e.Resources), &resources)
		}
		if err != nil {
			return all(len(events), fmt.Errorf("read the event %s: %w", e.UUID, err))
		}
		entries[i] = types.PutEventsRequestEntry{
			EventBusName: &b.bus, Source: aws.String(b.source(e.Source)), DetailType: &e.Type, Detail: &detail, Time: &e.At, Resources: resources,
		}
	}
	out, err := b.client.PutEvents(ctx, &eventbridge.PutEventsInput{Entries: entries})
	if err == nil && len(out.Entries) != len(events) {
		err = errors.New("EventBridge answered PutEvents without a result for each event")
	}
	if err != nil {
		return all(len(events), err)
	}
	results := make([]error, len(events))
	for i, r := range out.Entries {
		says := aws.ToString(r.ErrorCode) + ": " + aws.ToString(r.ErrorMessage)
		switch aws.ToString(r.ErrorCode) {
		case "":
		case "ThrottlingException", "InternalFailure", "InternalException":
			results[i] = errors.New("EventBridge does not take events now: " + says)
		default:
			results[i] = &RefusedError{says}
		}
	}
	return results
}

// source is the source of an event as the bus gets it: customers of AWS may not
// send events whose source begins with "aws." (API_PutEventsRequestEntry).
func (b *bridgeSink) source(s string) string {
	if rest, ok := strings.CutPrefix(s, "aws."); ok {
		return b.prefix + rest
	}
	return s
}

// bridgeDetail is the detail of an event with the member "berth", which says
// what EventBridge replaces.
func bridgeDetail(e meta.Event) (string, error) {
	var detail map[string]json.RawMessage
	if err := json.Unmarshal([]byte(e.Detail), &detail); err != nil {
		return "", err
	}
	own, err := json.Marshal(map[string]string{"id": e.UUID, "account": e.Scope.Account, "region": e.Scope.Region})
	if err != nil {
		return "", err
	}
	detail["berth"] = own
	out, err := json.Marshal(detail)
	return string(out), err
}
