package hclload

import (
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/agext/levenshtein"
	"github.com/hashicorp/hcl/v2"
)

// maxShown bounds how many problems one error prints: after that a reader fixes some and runs again.
const maxShown = 10

// Error is a problem in the configuration, or several of them. Its text has one line for each problem, in the form
// `FILE:LINE:COLUMN: what is wrong; what to do`.
type Error struct {
	Diags hcl.Diagnostics
}

// Error implements error.
func (e *Error) Error() string {
	var lines []string
	seen := map[string]bool{}
	for _, d := range e.Diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		line := formatDiag(d)
		if !seen[line] {
			seen[line] = true
			lines = append(lines, line)
		}
	}
	if len(lines) > maxShown {
		rest := len(lines) - maxShown
		lines = append(lines[:maxShown], fmt.Sprintf("and %d more", rest))
	}
	return strings.Join(lines, "\n")
}

// asError turns diagnostics into an error, nil when there is no error among them.
func asError(diags hcl.Diagnostics) error {
	if !diags.HasErrors() {
		return nil
	}
	return &Error{Diags: diags}
}

func formatDiag(d *hcl.Diagnostic) string {
	var b strings.Builder
	if d.Subject != nil {
		b.WriteString(position(*d.Subject))
		b.WriteString(": ")
	}
	b.WriteString(lowerFirst(oneLine(d.Summary)))
	if detail := strings.TrimSuffix(oneLine(d.Detail), "."); detail != "" {
		b.WriteString(": ")
		b.WriteString(detail)
	}
	return b.String()
}

// position renders the start of a range as FILE:LINE:COLUMN.
func position(r hcl.Range) string {
	return fmt.Sprintf("%s:%d:%d", r.Filename, r.Start.Line, r.Start.Column)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// lowerFirst lower-cases the first letter, except for words written in capitals (such as "KMS").
func lowerFirst(s string) string {
	first, n := utf8.DecodeRuneInString(s)
	second, _ := utf8.DecodeRuneInString(s[n:])
	if n == 0 || unicode.IsUpper(second) {
		return s
	}
	return string(unicode.ToLower(first)) + s[n:]
}

// problem builds one diagnostic from a sentence.
func problem(r hcl.Range, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagError, Summary: fmt.Sprintf(format, args...), Subject: &r}
}

// warning builds one diagnostic that does not stop the work.
func warning(r hcl.Range, format string, args ...any) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: hcl.DiagWarning, Summary: fmt.Sprintf(format, args...), Subject: &r}
}

// suggest returns ` (did you mean "x"?)` for the known name nearest to got, or nothing when none is near.
func suggest(got string, known []string) string {
	sorted := append([]string(nil), known...)
	sort.Strings(sorted)
	best, bestDistance := "", 0
	for _, name := range sorted {
		d := levenshtein.Distance(got, name, nil)
		if limit := max(2, len(name)/3); d > limit || d >= len(name) {
			continue
		}
		if best == "" || d < bestDistance {
			best, bestDistance = name, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// listed renders names for a sentence: "a, b or c".
func listed(names []string) string {
	sorted := append([]string(nil), names...)
	sort.Strings(sorted)
	switch len(sorted) {
	case 0:
		return "none"
	case 1:
		return sorted[0]
	}
	return strings.Join(sorted[:len(sorted)-1], ", ") + " or " + sorted[len(sorted)-1]
}
