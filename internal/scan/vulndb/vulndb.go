// Package vulndb keeps the advisories of the vulnerability database: it reads
// OSV records from files, archives or a URL and puts them into rows.
//
// # Guarantees
//
//   - An import replaces what is known of each ecosystem that it has records of,
//     all at once: scans see the set before or the set after, and one that
//     fails changes nothing.
//   - A record that cannot be read is counted and named, and does not stop the
//     others; an import without a single record fails.
//   - Records that were withdrawn are not kept.
package vulndb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/scan/advisory"
)

// A Report says what an import did.
type Report struct {
	Records   int      `json:"records"` // that were read
	Withdrawn int      `json:"withdrawn"`
	Skipped   int      `json:"skipped"`            // that could not be read
	Problems  []string `json:"problems,omitempty"` // of the first of them
	Sets      []Set    `json:"sets"`
}

// A Set is the advisories of one ecosystem.
type Set struct {
	Ecosystem string    `json:"ecosystem"`
	Records   int       `json:"records"`
	Source    string    `json:"source"`
	UpdatedAt time.Time `json:"updatedAt"` // when the newest of them was changed
	LoadedAt  time.Time `json:"loadedAt"`
	Stale     bool      `json:"stale"` // UpdatedAt is too long ago (registry.AdvisoriesStaleAfter)
}

// A DB keeps advisories in rows.
type DB struct {
	Rows *meta.DB
	Now  func() time.Time
}

// batch is how many advisories one transaction writes, so that pushes get their
// turn in between.
const batch = 500

// A row is an advisory that waits to be written.
type row struct {
	set     string
	pkg, id string
	body    []byte
}

// A load is one part of an import at work.
type load struct {
	ctx    context.Context
	db     *DB
	state  State
	rows   []row
	report Report
}

// Put implements [Keeper]: it writes the records aside, and after the last part
// puts the new sets in place of the old ones.
func (db *DB) Put(ctx context.Context, p Part) (Answer, error) {
	im := &load{ctx: ctx, db: db, state: p.State}
	if im.state.Sets == nil {
		im.state.Sets = map[string]Begun{}
	}
	for _, r := range p.Records {
		take := im.record
		if r.Feed != "" {
			take = im.feed
		}
		if err := take(r); err != nil {
			return Answer{}, err
		}
	}
	err := im.flush()
	if err == nil && p.Last {
		err = im.finish()
	}
	return Answer{im.state, im.report}, err // what a failed import wrote, Clean deletes after a day
}

// maxProblems is how many problems a report names.
const maxProblems = 10

// record takes one OSV record.
func (im *load) record(r Record) error {
	rec, err := advisory.Parse([]byte(r.Text))
	if err != nil {
		im.report.skip(fmt.Sprintf("%s: %v", r.Name, err))
		return nil
	}
	im.report.Records++
	if !rec.Withdrawn.IsZero() {
		im.report.Withdrawn++
	}
	counted := map[string]bool{}
	for key, part := range rec.Split() {
		if im.state.Only != "" && key.Ecosystem != im.state.Only {
			continue
		}
		body, err := json.Marshal(part)
		if err != nil {
			return err
		}
		set := im.state.Sets[key.Ecosystem]
		if !counted[key.Ecosystem] {
			counted[key.Ecosystem] = true
			set.Records++
		}
		if rec.Modified.After(set.UpdatedAt) {
			set.UpdatedAt = rec.Modified
		}
		im.state.Sets[key.Ecosystem] = set
		im.rows = append(im.rows, row{set: key.Ecosystem, pkg: key.Package, id: rec.ID, body: body})
	}
	if len(im.rows) >= batch {
		return im.flush()
	}
	return nil
}

// ErrOtherImport says that a set is not one that this import began.
var ErrOtherImport = errors.New("the import was given up, or is not one of this database: begin it again")

// flush writes the advisories that wait.
func (im *load) flush() error {
	made := map[string]int64{}
	err := im.db.Rows.Update(im.ctx, func(tx *meta.Tx) error {
		clear(made)
		known := map[string]bool{}
		for _, r := range im.rows {
			id := im.state.Sets[r.set].ID
			if id == 0 {
				id = made[r.set]
			}
			switch {
			case id == 0:
				var err error
				if id, err = tx.InsertAdvisorySet(meta.AdvisorySet{Ecosystem: r.set, Source: im.state.Source, LoadedAt: im.db.Now()}); err != nil {
					return err
				}
				made[r.set] = id
			case !known[r.set] && made[r.set] == 0:
				if err := im.own(tx, r.set); err != nil {
					return err
				}
				known[r.set] = true
			}
			if err := tx.PutAdvisory(id, r.pkg, r.id, r.body); err != nil {
				return fmt.Errorf("keep the advisory %s: %w", r.id, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for name, id := range made {
		set := im.state.Sets[name]
		set.ID = id
		im.state.Sets[name] = set
	}
	im.rows = im.rows[:0]
	return nil
}

// own refuses a set that is not being loaded: parts of imports come from outside.
func (im *load) own(tx *meta.Tx, name string) error {
	set, err := tx.AdvisorySet(im.state.Sets[name].ID)
	if errors.Is(err, meta.ErrNotFound) || err == nil && (set.State != meta.AdvisoriesLoading || set.Ecosystem != name) {
		return ErrOtherImport
	}
	return err
}

// finish puts the new sets in place of the old ones, all in one transaction.
func (im *load) finish() error {
	names := slices.Sorted(maps.Keys(im.state.Sets))
	var sets []Set
	err := im.db.Rows.Update(im.ctx, func(tx *meta.Tx) error {
		sets = []Set{}
		for _, name := range names {
			if err := im.own(tx, name); err != nil {
				return err
			}
			b := im.state.Sets[name]
			set := meta.AdvisorySet{ // scans from now on know it
				ID: b.ID, Ecosystem: name, Source: im.state.Source, UpdatedAt: b.UpdatedAt, Records: b.Records, LoadedAt: im.db.Now(),
			}
			if err := tx.ActivateAdvisorySet(set); err != nil {
				return err
			}
			sets = append(sets, im.db.describe(set))
		}
		return nil
	})
	if err != nil {
		return err
	}
	im.report.Sets = sets
	return im.db.Clean(im.ctx)
}

// unfinished is how old an import is that nobody can be at any more.
const unfinished = 24 * time.Hour

// Clean deletes what is not used any more, in small steps.
func (db *DB) Clean(ctx context.Context) error {
	for more := true; more; {
		err := db.Rows.Update(ctx, func(tx *meta.Tx) (err error) {
			more, err = tx.DropAdvisories(db.Now().Add(-unfinished), batch)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Status lists what is known, by ecosystem.
func (db *DB) Status(ctx context.Context) ([]Set, error) {
	var sets []meta.AdvisorySet
	err := db.Rows.Read(ctx, func(tx *meta.Tx) (err error) {
		sets, err = tx.AdvisorySets(meta.AdvisoriesActive)
		return err
	})
	out := make([]Set, 0, len(sets))
	for _, s := range sets {
		out = append(out, db.describe(s))
	}
	return out, err
}

func (db *DB) describe(s meta.AdvisorySet) Set {
	return Set{
		Ecosystem: s.Ecosystem, Records: s.Records, Source: s.Source, UpdatedAt: s.UpdatedAt, LoadedAt: s.LoadedAt,
		Stale: db.Now().Sub(s.UpdatedAt) >= registry.AdvisoriesStaleAfter,
	}
}
