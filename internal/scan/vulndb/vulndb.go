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
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"berth/internal/meta"
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
}

// A DB is where advisories are kept.
type DB struct {
	Rows *meta.DB
	Now  func() time.Time
}

// Import reads a file or a directory: OSV records (.json), and archives of them
// (.zip), such as the all.zip of each ecosystem that OSV publishes. progress
// hears how many records were read; it may be nil.
func (db *DB) Import(ctx context.Context, name, source string, progress func(int)) (Report, error) {
	return db.load(&load{ctx: ctx, db: db, source: source, sets: map[string]*meta.AdvisorySet{}, progress: progress, begun: db.Now()}, name)
}

func (db *DB) load(im *load, name string) (Report, error) {
	err := im.path(name)
	if err == nil && im.report.Records == 0 {
		err = fmt.Errorf("%s has no OSV record that can be read: give a .json or .zip file of OSV, or a directory of them", name)
	}
	if err == nil {
		err = im.finish()
	}
	return im.report, err // what a failed import wrote, Clean deletes after a day
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

// A load is one import.
type load struct {
	ctx      context.Context
	db       *DB
	source   string
	only     string // an ecosystem; empty: all
	begun    time.Time
	sets     map[string]*meta.AdvisorySet
	rows     []row
	report   Report
	progress func(int)
}

func (im *load) path(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("open the advisories: %w", err)
	}
	if !info.IsDir() {
		return im.file(name)
	}
	return filepath.WalkDir(name, func(p string, d fs.DirEntry, err error) error {
		ext := strings.ToLower(filepath.Ext(p))
		if err != nil || d.IsDir() || ext != ".json" && ext != ".zip" {
			return err
		}
		return im.file(p)
	})
}

func (im *load) file(name string) error {
	if strings.EqualFold(filepath.Ext(name), ".zip") {
		return im.zip(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return im.record(name, f)
}

func (im *load) zip(name string) error {
	z, err := zip.OpenReader(name)
	if err != nil {
		return fmt.Errorf("open the archive %s: %w", name, err)
	}
	defer func() { _ = z.Close() }() // only read
	for _, f := range z.File {
		if !strings.EqualFold(filepath.Ext(f.Name), ".json") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("read %s in %s: %w", f.Name, name, err)
		}
		err = errors.Join(im.record(name+":"+f.Name, r), r.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// maxProblems is how many problems a report names.
const maxProblems = 10

// record takes one OSV record.
func (im *load) record(name string, r io.Reader) error {
	if err := im.ctx.Err(); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(r, advisory.MaxRecord+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	rec, err := advisory.Parse(text)
	if err != nil {
		im.report.Skipped++
		if len(im.report.Problems) < maxProblems {
			im.report.Problems = append(im.report.Problems, fmt.Sprintf("%s: %v", name, err))
		}
		return nil
	}
	im.report.Records++
	if im.progress != nil {
		im.progress(im.report.Records)
	}
	if !rec.Withdrawn.IsZero() {
		im.report.Withdrawn++
	}
	counted := map[string]bool{}
	for key, part := range rec.Split() {
		if im.only != "" && key.Ecosystem != im.only {
			continue
		}
		body, err := json.Marshal(part)
		if err != nil {
			return err
		}
		set := im.set(key.Ecosystem)
		if !counted[key.Ecosystem] {
			counted[key.Ecosystem] = true
			set.Records++
		}
		if rec.Modified.After(set.UpdatedAt) {
			set.UpdatedAt = rec.Modified
		}
		im.rows = append(im.rows, row{set: key.Ecosystem, pkg: key.Package, id: rec.ID, body: body})
	}
	if len(im.rows) >= batch {
		return im.flush()
	}
	return nil
}

func (im *load) set(ecosystem string) *meta.AdvisorySet {
	set, ok := im.sets[ecosystem]
	if !ok {
		set = &meta.AdvisorySet{Ecosystem: ecosystem, Source: im.source, LoadedAt: im.begun}
		im.sets[ecosystem] = set
	}
	return set
}

// flush writes the advisories that wait.
func (im *load) flush() error {
	made := map[string]int64{}
	err := im.db.Rows.Update(im.ctx, func(tx *meta.Tx) error {
		clear(made)
		for _, r := range im.rows {
			id := im.sets[r.set].ID
			if id == 0 {
				id = made[r.set]
			}
			if id == 0 {
				var err error
				if id, err = tx.InsertAdvisorySet(*im.sets[r.set]); err != nil {
					return err
				}
				made[r.set] = id
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
		im.sets[name].ID = id
	}
	im.rows = im.rows[:0]
	return nil
}

// finish puts the new sets in place of the old ones, all in one transaction.
func (im *load) finish() error {
	if err := im.flush(); err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(im.sets))
	err := im.db.Rows.Update(im.ctx, func(tx *meta.Tx) error {
		for _, name := range names {
			im.sets[name].LoadedAt = im.db.Now() // scans from now on know it
			if err := tx.ActivateAdvisorySet(*im.sets[name]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	im.report.Sets = []Set{}
	for _, name := range names {
		im.report.Sets = append(im.report.Sets, describe(*im.sets[name]))
	}
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
		out = append(out, describe(s))
	}
	return out, err
}

func describe(s meta.AdvisorySet) Set {
	return Set{Ecosystem: s.Ecosystem, Records: s.Records, Source: s.Source, UpdatedAt: s.UpdatedAt, LoadedAt: s.LoadedAt}
}
