package vulndb

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/scan/advisory"
)

// A Keeper is where an import goes: a [DB], or one behind the API of a running
// server.
type Keeper interface {
	// Status lists what is known, by ecosystem.
	Status(ctx context.Context) ([]Set, error)
	// Put takes one part of an import after another.
	Put(ctx context.Context, p Part) (Answer, error)
}

// A Part is some records of an import.
type Part struct {
	State   State // of the answer before; of the first part without sets
	Records []Record
	Last    bool // the import is whole, and replaces what is known
}

// A Record is the text of an OSV record, or of a piece of a feed, and where it lay.
type Record struct {
	Name string `json:"name"`
	Text string `json:"text"`
	Feed string `json:"feed,omitempty"` // meta.FeedEPSS or meta.FeedKEV; empty: an OSV record
}

// A State is how far an import is. Who imports hands it on from part to part, so
// that the server keeps nothing and any replica takes the next one.
type State struct {
	Source string           `json:"source"`         // where the records come from, for people
	Only   string           `json:"only,omitempty"` // the one ecosystem to take; empty: all
	Sets   map[string]Begun `json:"sets,omitempty"` // by ecosystem
}

// Begun is a set that is being loaded.
type Begun struct {
	ID        int64     `json:"id"`
	Records   int       `json:"records"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// An Answer is what became of a part.
type Answer struct {
	State  State  `json:"state"`
	Report Report `json:"report"` // of this part; Sets after the last one
}

// PartSize bounds the text of a part, in bytes, unless one record is larger.
const PartSize = 2 << 20

// Import reads a file or a directory: OSV records (.json), and archives of them
// (.zip), such as the all.zip of each ecosystem that OSV publishes; the scores of
// EPSS (.csv, .csv.gz) and the catalogue KEV of CISA (.json). progress
// hears how many records were read; it may be nil.
func Import(ctx context.Context, to Keeper, name, source string, progress func(int)) (Report, error) {
	return read(ctx, to, name, State{Source: source}, progress)
}

func read(ctx context.Context, to Keeper, name string, state State, progress func(int)) (Report, error) {
	r := &reader{ctx: ctx, to: to, part: Part{State: state}, progress: progress}
	err := r.path(name)
	if err == nil && len(r.part.Records) > 0 {
		err = r.send()
	}
	if err == nil && r.report.Records == 0 {
		err = fmt.Errorf("%s has no OSV record that can be read: give a .json or .zip file of OSV, the scores of EPSS, the catalogue of CISA, or a directory of them", name)
		if len(r.report.Problems) > 0 {
			err = fmt.Errorf("%w (%s)", err, r.report.Problems[0])
		}
	}
	if err == nil {
		r.part.Last = true
		err = r.send()
	}
	return r.report, err
}

// A reader finds records in files and sends them in parts.
type reader struct {
	ctx      context.Context
	to       Keeper
	part     Part
	size     int
	report   Report
	progress func(int)
}

func (r *reader) send() error {
	answer, err := r.to.Put(r.ctx, r.part)
	if err != nil {
		return err
	}
	r.report.add(answer.Report)
	r.part = Part{State: answer.State}
	r.size = 0
	if r.progress != nil {
		r.progress(r.report.Records)
	}
	return nil
}

func (r *reader) path(name string) error {
	info, err := os.Stat(name)
	if err != nil {
		return fmt.Errorf("open the advisories: %w", err)
	}
	if !info.IsDir() {
		return r.file(name)
	}
	return filepath.WalkDir(name, func(p string, d fs.DirEntry, err error) error {
		ext := strings.ToLower(filepath.Ext(p))
		if err != nil || d.IsDir() || ext != ".json" && ext != ".zip" && !isCSV(p) {
			return err
		}
		return r.file(p)
	})
}

func isCSV(name string) bool {
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".csv") || strings.HasSuffix(name, ".csv.gz")
}

func (r *reader) file(name string) error {
	if isCSV(name) {
		return r.epss(name)
	}
	if strings.EqualFold(filepath.Ext(name), ".zip") {
		return r.zip(name)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	return r.record(name, f)
}

func (r *reader) zip(name string) error {
	z, err := zip.OpenReader(name)
	if err != nil {
		return fmt.Errorf("open the archive %s: %w", name, err)
	}
	defer func() { _ = z.Close() }() // only read
	for _, f := range z.File {
		if !strings.EqualFold(filepath.Ext(f.Name), ".json") {
			continue
		}
		text, err := f.Open()
		if err != nil {
			return fmt.Errorf("read %s in %s: %w", f.Name, name, err)
		}
		err = errors.Join(r.record(name+":"+f.Name, text), text.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// record takes one OSV record.
func (r *reader) record(name string, from io.Reader) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(from, advisory.MaxRecord+1))
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if len(text) > advisory.MaxRecord {
		r.report.skip(fmt.Sprintf("%s is longer than %d bytes", name, advisory.MaxRecord))
		return nil
	}
	rec := Record{Name: name, Text: string(text)}
	if isKEV(text) {
		rec.Feed = meta.FeedKEV
	}
	return r.take(rec)
}

// take adds a record to the part that is sent next.
func (r *reader) take(rec Record) error {
	if r.size > 0 && r.size+len(rec.Text) > PartSize {
		if err := r.send(); err != nil {
			return err
		}
	}
	r.part.Records = append(r.part.Records, rec)
	r.size += len(rec.Text) + len(rec.Name)
	return nil
}

// skip counts what could not be read.
func (r *Report) skip(problem string) {
	r.Skipped++
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, problem)
	}
}

// add counts what a part of an import did.
func (r *Report) add(p Report) {
	r.Records, r.Withdrawn, r.Skipped = r.Records+p.Records, r.Withdrawn+p.Withdrawn, r.Skipped+p.Skipped
	r.Problems = append(r.Problems, p.Problems[:min(len(p.Problems), max(maxProblems-len(r.Problems), 0))]...)
	r.Sets = append(r.Sets, p.Sets...)
}
