package findings

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Report is the result of one scan of one image.
type Report struct {
	Registry   string    `json:"registry,omitempty"` // host, where it is known
	Repository string    `json:"repository"`
	Tag        string    `json:"tag,omitempty"`
	Digest     string    `json:"digest"`
	ScanType   string    `json:"scanType"` // BASIC or ENHANCED
	Scanned    time.Time `json:"scannedAt,omitzero"`
	// Advisories is when the newest advisory was changed that the scan knew; zero
	// when it is not known.
	Advisories time.Time `json:"advisoriesUpdatedAt,omitzero"`
	// Warnings say why there may be more than what was found.
	Warnings []string  `json:"warnings,omitempty"`
	Findings []Finding `json:"findings"`
	// Suppressed are the findings that a VEX statement takes out.
	Suppressed []Suppressed `json:"suppressed"`
	// Packages are all that are installed. Nil when they were not asked for.
	Packages []Package `json:"packages,omitempty"`
}

// A Finding is a vulnerability of a package in an image.
type Finding struct {
	ID          string   `json:"id"` // of the CVE, or of the advisory when it has none
	Related     []string `json:"related,omitempty"`
	Severity    string   `json:"severity"`
	Score       float64  `json:"score,omitempty"`  // of CVSS; 0: none
	Vector      string   `json:"vector,omitempty"` // of CVSS
	EPSS        float64  `json:"epss,omitempty"`   // likelihood of exploitation within 30 days, 0 to 1; 0: unknown
	Percentile  float64  `json:"epssPercentile,omitempty"`
	Exploited   string   `json:"exploitedSince,omitempty"` // day since when CISA lists it as exploited
	Package     string   `json:"package"`
	Version     string   `json:"version"`
	Fixed       string   `json:"fixedVersion,omitempty"` // empty: none is known
	Path        string   `json:"path,omitempty"`
	PURL        string   `json:"purl,omitempty"` // where the packages are known
	Title       string   `json:"title,omitempty"`
	Description string   `json:"description,omitempty"`
	URL         string   `json:"url,omitempty"`
}

// A Suppressed finding is one that somebody says does not matter here.
type Suppressed struct {
	Finding
	Status string `json:"status"` // of OpenVEX: not_affected or fixed
	Reason string `json:"reason"`
	Source string `json:"source"` // who says so, in which document
}

// A Package is one that is installed in an image.
type Package struct {
	Ecosystem string `json:"ecosystem"` // of OSV, with the release
	Name      string `json:"name"`      // as it is installed
	Version   string `json:"version"`
	Arch      string `json:"arch,omitempty"`
	Manager   string `json:"manager,omitempty"`
	Path      string `json:"path,omitempty"`
	Layer     string `json:"layer,omitempty"`
	PURL      string `json:"purl,omitempty"`
}

// severityNames are those of the ECR API, the mildest first (API_ImageScanFinding).
// Enhanced scanning says UNTRIAGED for UNDEFINED.
func severityNames() []string {
	return []string{"UNDEFINED", "INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"}
}

// rank orders severities; an unknown word is UNDEFINED.
func rank(severity string) int { return max(slices.Index(severityNames(), severity), 0) }

// ParseSeverity reads a severity that a policy names.
func ParseSeverity(text string) (string, error) {
	s := strings.ToUpper(text)
	if s == "UNTRIAGED" {
		s = "UNDEFINED"
	}
	if !slices.Contains(severityNames(), s) {
		return "", fmt.Errorf("%q is no severity: use one of %s", text, strings.Join(severityNames(), ", "))
	}
	return s, nil
}

// AtLeast counts the findings of a severity or a worse one.
func AtLeast(list []Finding, severity string) (n int) {
	for _, f := range list {
		if rank(f.Severity) >= rank(severity) {
			n++
		}
	}
	return n
}

// Sort puts the worst findings first, and packages by their names.
func (r *Report) Sort() {
	slices.SortFunc(r.Findings, compare)
	slices.SortFunc(r.Suppressed, func(a, b Suppressed) int { return compare(a.Finding, b.Finding) })
	slices.SortFunc(r.Packages, func(a, b Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), strings.Compare(a.Path, b.Path), strings.Compare(a.Arch, b.Arch))
	})
}

func compare(a, b Finding) int {
	return cmp.Or(rank(b.Severity)-rank(a.Severity), cmp.Compare(b.Score, a.Score), strings.Compare(a.ID, b.ID),
		strings.Compare(a.Package, b.Package), strings.Compare(a.Version, b.Version), strings.Compare(a.Path, b.Path))
}

// Name is how people refer to the image.
func (r *Report) Name() string {
	name := r.Repository
	if r.Registry != "" {
		name = r.Registry + "/" + name
	}
	if r.Tag != "" {
		return name + ":" + r.Tag
	}
	return name + "@" + r.Digest
}

// Locate gives findings the URLs of the packages that they are about.
func (r *Report) Locate() {
	type key struct{ name, version, path string }
	at, anywhere := map[key]string{}, map[key]string{}
	for _, p := range r.Packages {
		at[key{p.Name, p.Version, p.Path}] = p.PURL
		anywhere[key{p.Name, p.Version, ""}] = p.PURL
	}
	for i, f := range r.Findings {
		r.Findings[i].PURL = cmp.Or(at[key{f.Package, f.Version, f.Path}], anywhere[key{f.Package, f.Version, ""}])
	}
}

// A Diff is what changed from one image to another.
type Diff struct {
	From string `json:"from"`
	To   string `json:"to"`
	// Warnings are those of both.
	Warnings []string `json:"warnings,omitempty"`
	// New are the findings that only the second image has.
	New       []Finding `json:"new"`
	Fixed     []Finding `json:"fixed"`
	Unchanged []Finding `json:"unchanged"`
}

// Compare says what is new in the second of two images and what is gone. A
// vulnerability of a package is the same one in another version or at another
// place: an update that does not fix it changes nothing.
func Compare(a, b *Report) Diff {
	type key struct{ id, pkg string }
	in := func(r *Report) map[key]bool {
		out := map[key]bool{}
		for _, f := range r.Findings {
			out[key{f.ID, f.Package}] = true
		}
		return out
	}
	before, after := in(a), in(b)
	d := Diff{From: a.Name(), To: b.Name(), New: []Finding{}, Fixed: []Finding{}, Unchanged: []Finding{}}
	for _, r := range []*Report{a, b} {
		for _, w := range r.Warnings {
			d.Warnings = append(d.Warnings, r.Name()+": "+w)
		}
	}
	for _, f := range b.Findings {
		if before[key{f.ID, f.Package}] {
			d.Unchanged = append(d.Unchanged, f)
		} else {
			d.New = append(d.New, f)
		}
	}
	for _, f := range a.Findings {
		if !after[key{f.ID, f.Package}] {
			d.Fixed = append(d.Fixed, f)
		}
	}
	return d
}
