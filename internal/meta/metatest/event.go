package metatest

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"berth/internal/meta"
)

func eventOf(digest string, n int64) meta.Event {
	return meta.Event{
		UUID: fmt.Sprint("u", n), Scope: home, Source: "aws.ecr", Type: "ECR Image Action", Repository: "app", Digest: digest, At: at(n),
		Resources: "[]", Detail: fmt.Sprintf(`{"n":%d}`, n),
	}
}

func insertEvents(t *testing.T, db *meta.DB, list ...meta.Event) {
	t.Helper()
	update(t, db, func(tx *meta.Tx) error {
		for _, e := range list {
			if err := tx.InsertEvent(e); err != nil {
				return err
			}
		}
		return nil
	})
}

func placeEvents(t *testing.T, db *meta.DB, now time.Time, sinks ...string) (n int) {
	t.Helper()
	update(t, db, func(tx *meta.Tx) (err error) {
		n, err = tx.PlaceEvents(sinks, now, 100)
		return err
	})
	return n
}

// due lists the details of what is due.
func due(t *testing.T, db *meta.DB, sink string, now time.Time) (out []string) {
	t.Helper()
	view(t, db, func(tx *meta.Tx) error {
		list, err := tx.DueDeliveries(sink, now, 100)
		out = nil
		for _, d := range list {
			out = append(out, d.Detail)
		}
		if err == nil {
			var some bool
			if some, err = tx.HasDueDeliveries(sink, now); some != (len(out) > 0) {
				t.Errorf("HasDueDeliveries says %t of %d", some, len(out))
			}
		}
		return err
	})
	return out
}

func wantDue(t *testing.T, db *meta.DB, sink string, now time.Time, want ...string) {
	t.Helper()
	if got := due(t, db, sink, now); !reflect.DeepEqual(got, want) {
		t.Errorf("due to %s: %q, want %q", sink, got, want)
	}
}

// eventLog: events get places in the order in which they were written, are read
// on from a place, and go when they are old, but for the last.
func eventLog(t *testing.T, db *meta.DB) {
	other := eventOf("aa", 3)
	other.Scope.Region = "eu-west-1"
	insertEvents(t, db, eventOf("aa", 1), eventOf("bb", 2), other, eventOf("aa", 4))
	view(t, db, func(tx *meta.Tx) error {
		fresh, err := tx.HasFreshEvents()
		if list, lerr := tx.Events(home, 0, 10); err != nil || lerr != nil || !fresh || len(list) != 0 {
			t.Errorf("before they have places: %t, %d, %v, %v", fresh, len(list), err, lerr)
		}
		return err
	})
	if n := placeEvents(t, db, at(5)); n != 4 {
		t.Errorf("placed %d", n)
	}
	insertEvents(t, db, eventOf("cc", 6))
	if n, again := placeEvents(t, db, at(7)), placeEvents(t, db, at(7)); n != 1 || again != 0 {
		t.Errorf("placed %d and then %d", n, again)
	}
	view(t, db, func(tx *meta.Tx) error {
		list, err := tx.Events(home, 1, 2)
		if err != nil || len(list) != 2 || list[0].Position != 2 || list[1].Position != 4 {
			t.Fatalf("read on: %+v, %v", list, err)
		}
		want := eventOf("bb", 2)
		want.ID, want.Position = list[0].ID, 2
		if list[0] != want {
			t.Errorf("read %+v, want %+v", list[0], want)
		}
		latest, err := tx.LatestEvents(home, 2)
		if err != nil || len(latest) != 2 || latest[0].Position != 5 || latest[1].Position != 4 {
			t.Errorf("the latest: %+v, %v", latest, err)
		}
		return err
	})
	update(t, db, func(tx *meta.Tx) error {
		deleted, lost, err := tx.DeleteEvents(at(100), 3)
		more, _, err2 := tx.DeleteEvents(at(100), 3)
		last, err3 := tx.LastEvent()
		if err2 != nil || err3 != nil || deleted != 3 || lost != 0 || more != 1 || last != 5 {
			t.Errorf("deleted %d and %d, the last is %d: %v, %v", deleted, more, last, err2, err3)
		}
		return err
	})
}

// eventDeliveries: each sink has a queue of its own; of one image the next event
// waits for the one before, and others do not.
func eventDeliveries(t *testing.T, db *meta.DB) {
	insertEvents(t, db, eventOf("aa", 1), eventOf("aa", 2), eventOf("bb", 3))
	placeEvents(t, db, at(4), "s", "other")
	wantDue(t, db, "s", at(5), `{"n":1}`, `{"n":3}`)
	update(t, db, func(tx *meta.Tx) error { return tx.PostponeDelivery("s", 1, at(10), "does not work", time.Time{}) })
	wantDue(t, db, "s", at(9), `{"n":3}`)
	wantDue(t, db, "s", at(10), `{"n":1}`, `{"n":3}`)
	update(t, db, func(tx *meta.Tx) error { return tx.PostponeDelivery("s", 1, at(20), "still not", time.Time{}) })
	update(t, db, func(tx *meta.Tx) error { return tx.HurryDeliveries("s") })
	wantDue(t, db, "s", at(11), `{"n":1}`, `{"n":3}`)
	update(t, db, func(tx *meta.Tx) error { return tx.Delivered("s", 1) })
	wantDue(t, db, "s", at(11), `{"n":2}`, `{"n":3}`)
	wantDue(t, db, "other", at(11), `{"n":1}`, `{"n":3}`)

	// What was given up holds up nothing, is listed, and can be tried again.
	update(t, db, func(tx *meta.Tx) error { return tx.PostponeDelivery("other", 1, at(20), "gone", at(12)) })
	wantDue(t, db, "other", at(12), `{"n":2}`, `{"n":3}`)
	view(t, db, func(tx *meta.Tx) error {
		list, err := tx.DeadDeliveries(home, "", 0, 10)
		if err != nil || len(list) != 1 || list[0].Sink != "other" || list[0].Error != "gone" || list[0].Attempts != 1 || list[0].DeadAt != at(12) || list[0].UUID != "u1" {
			t.Errorf("dead: %+v, %v", list, err)
		}
		rest, err := tx.DeadDeliveries(home, "other", 1, 10)
		if err != nil || len(rest) != 0 {
			t.Errorf("dead after the last: %+v, %v", rest, err)
		}
		return err
	})
	elsewhere := home
	elsewhere.Account = "111111111111"
	for scope, want := range map[meta.Scope]int64{elsewhere: 0, home: 1} {
		update(t, db, func(tx *meta.Tx) error {
			n, err := tx.RetryDeadDeliveries(scope, at(13))
			if n != want {
				t.Errorf("%d of %v are tried again", n, scope)
			}
			return err
		})
	}
	wantDue(t, db, "other", at(13), `{"n":1}`, `{"n":3}`)

	// What is too old is given up, but for what was queued again; deleting an
	// event says how many deliveries are lost.
	update(t, db, func(tx *meta.Tx) error {
		n, err := tx.BuryDeliveries(at(10), at(14))
		if n != 4 {
			t.Errorf("%d were given up", n)
		}
		return err
	})
	wantDue(t, db, "other", at(14), `{"n":1}`)
	update(t, db, func(tx *meta.Tx) error {
		deleted, lost, err := tx.DeleteEvents(at(2), 10)
		if deleted != 1 || lost != 1 {
			t.Errorf("deleted %d, lost %d", deleted, lost)
		}
		return err
	})
	wantDue(t, db, "other", at(14))
}

// reportedFindings: what a sink was told of an image, until it is told that it
// is over.
func reportedFindings(t *testing.T, db *meta.DB) {
	e := eventOf("aa", 1)
	for _, want := range [][]byte{[]byte("one"), []byte("two"), nil} {
		update(t, db, func(tx *meta.Tx) error { return tx.PutReportedFindings("s", e, want) })
		view(t, db, func(tx *meta.Tx) error {
			got, err := tx.ReportedFindings("s", e)
			if string(got) != string(want) || (got == nil) != (want == nil) {
				t.Errorf("read %q, want %q", got, want)
			}
			none, nerr := tx.ReportedFindings("s", eventOf("bb", 2))
			if none != nil || nerr != nil {
				t.Errorf("of another image: %q, %v", none, nerr)
			}
			return err
		})
	}
}
