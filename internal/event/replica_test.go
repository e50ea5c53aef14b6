package event_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"berth/internal/event"
	"berth/internal/meta"
	"berth/internal/meta/postgres"
	"berth/internal/testkit"
)

// TestReplicas: several servers on one PostgreSQL write and deliver at once. The
// sink gets each event, of each image in order, and who reads on from place to
// place meets each event once.
func TestReplicas(t *testing.T) {
	url := testkit.Postgres(t)
	var rigs []*rig
	for range 3 {
		db, err := postgres.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		rigs = append(rigs, onDB(t, db))
	}
	s := &fakeSink{name: "s"}
	for i, r := range rigs {
		r.run(fmt.Sprint("server ", i), event.Sink(s))
	}
	const each = 40
	var writers sync.WaitGroup
	for i, r := range rigs {
		for w := range 2 {
			image := fmt.Sprintf("image%d%d-", i, w)
			writers.Go(func() {
				for n := range each {
					err := r.db.Update(context.Background(), func(tx *meta.Tx) error {
						return tx.InsertEvent(meta.Event{UUID: fmt.Sprint(image, n), Scope: home, Repository: "app", Digest: image, At: r.clock(), Resources: "[]", Detail: "{}"})
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	var read []string
	after := int64(0)
	eventually(t, "the log has all", func() bool {
		err := rigs[2].db.View(t.Context(), func(tx *meta.Tx) error {
			list, err := tx.Events(home, after, 7)
			for _, e := range list {
				read, after = append(read, e.UUID), e.Position
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return len(read) == 6*each
	})
	writers.Wait()
	eventually(t, "the sink has all", func() bool { return len(s.taken()) >= 6*each })
	taken := s.taken()
	for i := range rigs {
		for w := range 2 {
			image := fmt.Sprintf("image%d%d-", i, w)
			var want []string
			for n := range each {
				want = append(want, fmt.Sprint(image, n))
			}
			if got := only(read, image); !slices.Equal(got, want) {
				t.Errorf("the log has %q", got)
			}
			if got := slices.Compact(only(taken, image)); !slices.Equal(got, want) {
				t.Errorf("the sink got %q", got)
			}
		}
	}
}
