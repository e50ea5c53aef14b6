package registry_test

import (
	"fmt"
	"testing"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
)

func (b *bench) destinations(regions ...string) {
	b.t.Helper()
	var rule registry.ReplicationRule
	for _, r := range regions {
		rule.Destinations = append(rule.Destinations, registry.Destination{Region: r, Account: scope.Account})
	}
	if err := b.SetReplication(b.t.Context(), scope, []registry.ReplicationRule{rule}); err != nil {
		b.t.Fatal(err)
	}
}

func to(region string) registry.Destination {
	return registry.Destination{Region: region, Account: scope.Account}
}

// A backfill waits until it is stopped, one to each region, and is forgotten 90
// days after its end.
func TestBackfillLives(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	_, err := b.StartBackfill(ctx, scope, to("eu-west-1"))
	wantRefusal(t, err, registry.InvalidParameter, "Invalid parameter at 'destination' failed to satisfy constraint: 'The destination must be part of the replication configuration of the registry'")
	b.destinations("eu-west-1", "eu-west-2")
	started, err := b.StartBackfill(ctx, scope, to("eu-west-1"))
	if err != nil || started.Status != "PREPARING" || started.Total+started.Completed+started.Failed != 0 || !started.EndedAt.IsZero() || started.Destination.Region != "eu-west-1" {
		t.Fatalf("started %+v, %v", started, err)
	}
	_, err = b.StartBackfill(ctx, scope, to("eu-west-1"))
	wantRefusal(t, err, registry.BackfillInProgress, "The replication backfill with id '"+started.ID+"' to the region eu-west-1 is in progress in the registry with id '123456789012'")
	_, err = b.StartBackfill(ctx, scope, registry.Destination{Region: "eu-west-1", Account: "111122223333"})
	wantRefusal(t, err, registry.InvalidParameter, "")
	if _, err := b.StartBackfill(ctx, scope, to("eu-west-2")); err != nil {
		t.Error(err)
	}
	b.advance(time.Minute)
	stopped, err := b.StopBackfill(ctx, scope, started.ID)
	if err != nil || stopped.Status != "STOPPED" || !stopped.EndedAt.Equal(b.clock()) {
		t.Errorf("stopped %+v, %v", stopped, err)
	}
	_, err = b.StopBackfill(ctx, scope, started.ID)
	wantRefusal(t, err, registry.BackfillInvalidStatus, "The replication backfill with id '"+started.ID+"' in the registry with id '123456789012' has ended with the status STOPPED")
	if found, err := b.Backfill(ctx, scope, started.ID); err != nil || found.Status != "STOPPED" {
		t.Errorf("found %+v, %v", found, err)
	}
	elsewhere := meta.Scope{Account: scope.Account, Region: "eu-west-1"}
	for _, s := range []meta.Scope{scope, elsewhere} {
		id := "nothing"
		if s == elsewhere {
			id = started.ID
		}
		_, err = b.Backfill(ctx, s, id)
		wantRefusal(t, err, registry.BackfillNotFound, "The replication backfill with id '"+id+"' was not found in the registry with id '123456789012'")
		_, err = b.StopBackfill(ctx, s, id)
		wantRefusal(t, err, registry.BackfillNotFound, "")
	}
	b.advance(90*24*time.Hour + time.Second)
	_, err = b.Backfill(ctx, scope, started.ID)
	wantRefusal(t, err, registry.BackfillNotFound, "")
	if list, _, err := b.Backfills(ctx, scope, "", 10); err != nil || len(list) != 1 {
		t.Errorf("listed %+v, %v", list, err)
	}
	if _, err := b.StartBackfill(ctx, scope, to("eu-west-1")); err != nil {
		t.Errorf("a second one after the first: %v", err)
	}
}

func TestBackfillsAreBoundedAndPaged(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	var regions []string
	for i := range 11 {
		regions = append(regions, fmt.Sprintf("eu-west-%d", i))
	}
	b.destinations(regions...)
	for _, r := range regions[:10] {
		if _, err := b.StartBackfill(ctx, scope, to(r)); err != nil {
			t.Fatal(err)
		}
		b.advance(time.Second)
	}
	_, err := b.StartBackfill(ctx, scope, to(regions[10]))
	wantRefusal(t, err, registry.LimitExceeded, "The registry with id '123456789012' has the maximum of 10 replication backfills in progress")
	var got []string
	var last string
	for cursor := ""; ; {
		page, next, err := b.Backfills(ctx, scope, cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range page {
			got = append(got, one.Destination.Region)
		}
		if next == "" {
			break
		}
		last, cursor = next, next
	}
	if fmt.Sprint(got) != "[eu-west-9 eu-west-8 eu-west-7 eu-west-6 eu-west-5 eu-west-4 eu-west-3 eu-west-2 eu-west-1 eu-west-0]" {
		t.Errorf("listed %v", got)
	}
	for s, cursor := range map[meta.Scope]string{scope: "forged", {Account: scope.Account, Region: "eu-west-1"}: last} {
		_, _, err := b.Backfills(ctx, s, cursor, 3)
		wantRefusal(t, err, registry.InvalidParameter, "Invalid parameter at 'NextToken' failed to satisfy constraint: 'Invalid next token provided'")
	}
}
