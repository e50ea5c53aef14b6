package findings

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Text writes the report as a table.
func (r *Report) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	p := printer{w: t}
	p.line("%s (%s)", r.Name(), r.Digest)
	p.line("scanned %s (%s), advisories of %s", day(r.Scanned), strings.ToLower(r.ScanType), day(r.Advisories))
	warn(&p, r.Warnings)
	p.line("%s", Summary(r.Findings))
	if len(r.Findings) > 0 {
		p.line("")
		p.line("SEVERITY\tVULNERABILITY\tPACKAGE\tVERSION\tFIXED IN\tPATH%s", exploitColumns(r.Findings))
	}
	for _, f := range r.Findings {
		line := row(f)
		if exploitColumns(r.Findings) != "" {
			line += "\t" + epss(f) + "\t" + cmp.Or(f.Exploited, "-")
		}
		p.line("%s", line)
	}
	if len(r.Suppressed) > 0 {
		p.line("")
		p.line("suppressed:")
	}
	for _, s := range r.Suppressed {
		p.line("%s\t%s (%s)", strings.Join([]string{s.Severity, s.ID, s.Package, s.Version, s.Status}, "\t"), s.Reason, s.Source)
	}
	return cmp.Or(p.err, t.Flush())
}

// Text writes what changed as tables.
func (d Diff) Text(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	p := printer{w: t}
	p.line("from %s to %s: %d new, %d fixed, %d unchanged", d.From, d.To, len(d.New), len(d.Fixed), len(d.Unchanged))
	warn(&p, d.Warnings)
	for _, part := range []struct {
		sign string
		list []Finding
	}{{"new", d.New}, {"fixed", d.Fixed}, {"unchanged", d.Unchanged}} {
		for _, f := range part.list {
			p.line("%s\t%s", part.sign, row(f))
		}
	}
	return cmp.Or(p.err, t.Flush())
}

// exploitColumns are those of what is known of exploitation, where something is.
func exploitColumns(list []Finding) string {
	for _, f := range list {
		if f.EPSS > 0 || f.Exploited != "" {
			return "\tEPSS\tEXPLOITED SINCE"
		}
	}
	return ""
}

func epss(f Finding) string {
	if f.EPSS == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f%%", 100*f.EPSS)
}

func warn(p *printer, warnings []string) {
	for _, w := range warnings {
		p.line("warning: %s", w)
	}
}

func row(f Finding) string {
	return strings.Join([]string{f.Severity, f.ID, f.Package, f.Version, cmp.Or(f.Fixed, "-"), cmp.Or(f.Path, "-")}, "\t")
}

// Summary counts findings by their severity, the worst first.
func Summary(list []Finding) string {
	counts := map[int]int{}
	for _, f := range list {
		counts[rank(f.Severity)]++
	}
	var parts []string
	names := severityNames()
	for i := len(names) - 1; i >= 0; i-- {
		if counts[i] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", counts[i], names[i]))
		}
	}
	if len(parts) == 0 {
		return "no findings"
	}
	return fmt.Sprintf("%d findings: %s", len(list), strings.Join(parts, ", "))
}

func day(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

// A printer keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}
