package metatest

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"berth/internal/meta"
)

// lifecycleRuns: a record begins, goes on and ends; the last ones are kept.
func lifecycleRuns(t *testing.T, db *meta.DB) {
	repo := insertImages(t, db, "app", "a")[0].RepositoryID
	run := meta.LifecycleRun{StartedAt: at(1), Policy: "{}", Expired: 1, Bytes: 9, Freed: 4, Report: "[1]"}
	update(t, db, func(tx *meta.Tx) error { return tx.AddLifecycleRun(repo, &run) })
	run.Expired, run.Archived, run.Failed, run.Bytes, run.Freed, run.FinishedAt = 2, 3, 4, 10, 5, at(2)
	silent := run
	silent.Report = ""
	update(t, db, func(tx *meta.Tx) error { return tx.SaveLifecycleRun(silent) })
	want := func(all ...meta.LifecycleRun) {
		t.Helper()
		view(t, db, func(tx *meta.Tx) error {
			got, err := tx.LifecycleRuns(repo)
			if !reflect.DeepEqual(got, all) {
				t.Errorf("recorded\n%+v, want\n%+v", got, all)
			}
			return err
		})
	}
	want(run)
	run.Report = "[1,2]"
	update(t, db, func(tx *meta.Tx) error { return tx.SaveLifecycleRun(run) })
	want(run)
	first := run
	update(t, db, func(tx *meta.Tx) error {
		for i := range 20 {
			run = meta.LifecycleRun{StartedAt: at(int64(10 + i)), Report: "[]"}
			if err := tx.AddLifecycleRun(repo, &run); err != nil {
				return err
			}
		}
		return tx.SaveLifecycleRun(first) // of a record that is gone
	})
	view(t, db, func(tx *meta.Tx) error {
		got, err := tx.LifecycleRuns(repo)
		if len(got) != 20 || !reflect.DeepEqual(got[0], run) || !got[19].StartedAt.Equal(at(10)) {
			t.Errorf("%d records, the first %+v", len(got), got[0])
		}
		return err
	})
}

// bytesOnlyOf: a blob goes with the last image that lists it, wherever that is.
func bytesOnlyOf(t *testing.T, db *meta.DB) {
	own, other := insertImages(t, db, "app", "a", "b"), insertImages(t, db, "other", "c")[0]
	image := map[string]meta.Image{"a": own[0], "b": own[1], "c": other}
	update(t, db, func(tx *meta.Tx) error {
		for i, blob := range []struct {
			digest string
			of     []string
		}{{"mine", []string{"a"}}, {"ours", []string{"a", "b"}}, {"across", []string{"a", "c"}}, {"lying", []string{"b"}}} {
			b := meta.Blob{Domain: "d", Digest: blob.digest, Size: int64(1) << (10 * i), Location: blob.digest}
			b, err := tx.EnsureBlob(b)
			if err != nil {
				return err
			}
			for _, name := range blob.of {
				m := image[name]
				if err := errors.Join(tx.AddMember(m.RepositoryID, b, at(1)),
					tx.InsertReference(m, meta.Reference{Kind: meta.RefBlob, Digest: blob.digest})); err != nil {
					return err
				}
			}
		}
		return nil
	})
	want := func(name string, bytes int64) {
		t.Helper()
		view(t, db, func(tx *meta.Tx) error {
			got, err := tx.BytesOnlyOf(image[name].ID)
			if got != bytes {
				t.Errorf("the end of %s gives back %d bytes, want %d", name, got, bytes)
			}
			return err
		})
	}
	view(t, db, func(tx *meta.Tx) error {
		n, err := tx.Unreferenced(own[0].RepositoryID)
		if n != 0 {
			t.Errorf("%d bytes are unreferenced", n)
		}
		return err
	})
	want("a", 1)
	want("b", 1<<30)
	want("c", 0)
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteImage(image["b"].ID) })
	want("a", 1+1<<10)
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteImage(image["c"].ID) })
	want("a", 1+1<<10+1<<20)
	update(t, db, func(tx *meta.Tx) error {
		return tx.InsertUpload(meta.Upload{ID: "u", RepositoryID: other.RepositoryID, Algorithm: "sha256", Size: 7, State: []byte{}, CreatedAt: at(1), UpdatedAt: at(1)})
	})
	view(t, db, func(tx *meta.Tx) error {
		first, err := tx.Unreferenced(own[0].RepositoryID)
		second, err2 := tx.Unreferenced(other.RepositoryID)
		if first != 1<<30 || second != 1<<20+7 {
			t.Errorf("%d and %d bytes are unreferenced", first, second)
		}
		return errors.Join(err, err2)
	})
}

// lifecycleNeeds: what a sweep asks for is right, and in indexes.
func lifecycleNeeds(t *testing.T, db *meta.DB) {
	images := insertImages(t, db, "app", "a", "b", "c") // pushed at 1, 2 and 3
	repo := images[0].RepositoryID
	update(t, db, func(tx *meta.Tx) error { return tx.DeleteTag(repo, "b") })
	fillOthers(t, db)
	var plans []string
	traced := db.Wrap(func(inner meta.Backend) meta.Backend {
		return &tracer{Backend: inner, plans: &plans, prefix: explain(db)}
	})
	for _, tc := range []struct {
		filter meta.TagFilter
		before int64
		any    bool
		count  int // of the filter
	}{
		{meta.AnyTag, 1, false, 3}, {meta.AnyTag, 2, true, 3}, {meta.Tagged, 1, false, 2}, {meta.Tagged, 2, true, 2},
		{meta.Untagged, 2, false, 1}, {meta.Untagged, 3, true, 1},
	} {
		view(t, traced, func(tx *meta.Tx) error {
			older, err := tx.AnyPushedBefore(repo, tc.filter, at(tc.before))
			more, err2 := tx.MoreImagesThan(repo, tc.filter, tc.count-1)
			most, err3 := tx.MoreImagesThan(repo, tc.filter, tc.count)
			if older != tc.any || !more || most {
				t.Errorf("%+v: %v, more than one fewer: %v, more: %v", tc, older, more, most)
			}
			return errors.Join(err, err2, err3)
		})
	}
	if len(plans) != 18 {
		t.Errorf("%d statements were explained", len(plans))
	}
	for _, plan := range plans {
		for line := range strings.Lines(plan) {
			line = strings.TrimSpace(line)
			reads := strings.Contains(line, "SCAN") || strings.Contains(line, "SEARCH") || strings.Contains(line, "Scan")
			if reads && !strings.Contains(line, "COVERING INDEX") && !strings.Contains(line, "Index Only Scan") && line != "SCAN CONSTANT ROW" {
				t.Errorf("it reads rows:\n%s", plan)
			}
		}
	}
}

// fillOthers makes the tables large enough that the planner has a choice.
func fillOthers(t *testing.T, db *meta.DB) {
	t.Helper()
	for r := range 20 {
		names := make([]string, 100)
		for i := range names {
			names[i] = fmt.Sprintf("%03d", i)
		}
		insertImages(t, db, fmt.Sprintf("other/%d", r), names...)
	}
	db.Wrap(func(inner meta.Backend) meta.Backend {
		err := inner.Update(t.Context(), func(q meta.Querier) error { _, err := q.Exec("ANALYZE"); return err })
		if err != nil {
			t.Fatal(err)
		}
		return inner
	})
}

// explain is what makes a statement tell how it is run: a database of this
// process alone is SQLite.
func explain(db *meta.DB) string {
	if _, sole := db.KeysVersion(); sole {
		return "EXPLAIN QUERY PLAN "
	}
	return "EXPLAIN "
}

// A tracer explains every statement of a view that gives one row.
type tracer struct {
	meta.Backend
	plans  *[]string
	prefix string
}

func (e *tracer) View(ctx context.Context, fn func(meta.Querier) error) error {
	return e.Backend.View(ctx, func(q meta.Querier) error {
		return fn(&tracedQuerier{Querier: q, tracer: e})
	})
}

type tracedQuerier struct {
	meta.Querier
	*tracer
}

func (q *tracedQuerier) QueryRow(query string, args ...any) *sql.Row {
	rows, err := q.Query(q.prefix+query, args...)
	if err != nil {
		*q.plans = append(*q.plans, err.Error())
		return q.Querier.QueryRow(query, args...)
	}
	var plan strings.Builder
	for rows.Next() {
		columns, _ := rows.Columns()
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			fmt.Fprintln(&plan, err)
		}
		fmt.Fprintln(&plan, *values[len(values)-1].(*any))
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		fmt.Fprintln(&plan, err)
	}
	*q.plans = append(*q.plans, plan.String())
	return q.Querier.QueryRow(query, args...)
}
