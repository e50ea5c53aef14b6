package advisory

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Record is what Berth keeps of an OSV record.
type Record struct {
	ID         string      `json:"id"`
	Modified   time.Time   `json:"modified"`
	Published  time.Time   `json:"published,omitzero"`
	Withdrawn  time.Time   `json:"withdrawn,omitzero"`
	Aliases    []string    `json:"aliases,omitempty"`
	Upstream   []string    `json:"upstream,omitempty"` // what a distribution's record is about
	Related    []string    `json:"related,omitempty"`
	Summary    string      `json:"summary,omitempty"`
	Details    string      `json:"details,omitempty"`
	Severity   []Severity  `json:"severity,omitempty"`
	References []Reference `json:"references,omitempty"`
	Affected   []Affected  `json:"affected,omitempty"`
	Database   struct {
		Severity string `json:"severity,omitempty"` // a word, in records of GitHub
	} `json:"database_specific,omitzero"`
}

// A Severity is a CVSS vector, or a word of a distribution.
type Severity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

// A Reference leads to more about a vulnerability.
type Reference struct {
	Type string `json:"type"`
	URL  string `json:"url"`
}

// Affected is a package and the versions of it that have the vulnerability.
type Affected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
	} `json:"package"`
	Ranges    []Range    `json:"ranges,omitempty"`
	Versions  []string   `json:"versions,omitempty"`
	Severity  []Severity `json:"severity,omitempty"`
	Ecosystem struct {
		Urgency  string `json:"urgency,omitempty"`  // of Debian
		Severity string `json:"severity,omitempty"` // of other distributions
	} `json:"ecosystem_specific,omitzero"`
}

// A Range is versions between events.
type Range struct {
	Type   string  `json:"type"` // SEMVER, ECOSYSTEM; GIT is of no use here
	Events []Event `json:"events"`
}

// An Event has one of its fields.
type Event struct {
	Introduced   string `json:"introduced,omitempty"` // "0" is before every version
	Fixed        string `json:"fixed,omitempty"`
	LastAffected string `json:"last_affected,omitempty"`
	Limit        string `json:"limit,omitempty"`
}

// MaxRecord is how long an OSV record may be, in bytes.
const MaxRecord = 16 << 20

// maxDetails and maxReferences bound what findings repeat for every package.
const (
	maxDetails    = 1024 // bytes
	maxReferences = 20
)

// Parse reads an OSV record. Its text is cut to what findings show.
func Parse(b []byte) (Record, error) {
	var r Record
	if len(b) > MaxRecord {
		return r, fmt.Errorf("the record is longer than %d bytes", MaxRecord)
	}
	// Other databases put other types there; what is no text says nothing here.
	if err := json.Unmarshal(b, &r); err != nil {
		var wrong *json.UnmarshalTypeError
		if !errors.As(err, &wrong) || !strings.Contains(wrong.Field, "_specific") {
			return r, fmt.Errorf("read an OSV record: %w", err)
		}
	}
	if r.ID == "" {
		return r, errors.New("the record has no id, so it is no OSV record")
	}
	r.Details = cut(r.Details, maxDetails)
	r.References = r.References[:min(len(r.References), maxReferences)]
	return r, nil
}

// cut shortens a text at a rune.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	const ellipsis = "…"
	return strings.ToValidUTF8(s[:limit-len(ellipsis)], "") + ellipsis
}

// Ecosystem is an OSV ecosystem without its release: "Debian" of "Debian:12".
func Ecosystem(full string) string {
	base, _, _ := strings.Cut(full, ":")
	return base
}

// A Key is a package that a record is about.
type Key struct{ Ecosystem, Package string }

// Split gives what a record says about each package, by ecosystem without
// release. A withdrawn record says nothing.
func (r Record) Split() map[Key]Record {
	out := map[Key]Record{}
	if !r.Withdrawn.IsZero() {
		return out
	}
	for _, a := range r.Affected {
		if a.Package.Name == "" || a.Package.Ecosystem == "" {
			continue // it is about commits
		}
		k := Key{Ecosystem(a.Package.Ecosystem), a.Package.Name}
		part, ok := out[k]
		if !ok {
			part = r
			part.Affected = nil
		}
		part.Affected = append(part.Affected, a)
		out[k] = part
	}
	return out
}

// Names are the CVE names of a vulnerability, or the record's own id when it
// has none.
func (r Record) Names() []string {
	var out []string
	for _, list := range [][]string{{strings.TrimPrefix(r.ID, strings.SplitAfter(r.ID+"-", "-")[0])}, {r.ID}, r.Aliases, r.Upstream} {
		for _, name := range list {
			if strings.HasPrefix(name, "CVE-") && !slices.Contains(out, name) {
				out = append(out, name)
			}
		}
	}
	if len(out) == 0 {
		out = []string{r.ID}
	}
	return out
}
