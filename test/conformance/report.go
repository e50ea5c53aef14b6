package conformance

import (
	"encoding/xml"
	"fmt"
	"path"
	"strings"
)

// Status is how one case ended, in the words of the suite's junit.xml.
type Status string

// The four ways a case ends. A case that the configuration switches off counts as skipped.
const (
	Passed  Status = "passed"
	Skipped Status = "skipped"
	Failure Status = "failure" // the registry deviates from the specification
	Error   Status = "error"   // the suite itself went wrong
)

// Case is one leaf of the suite's tree of tests.
type Case struct {
	Name   string // the path of its names, without the suite's own: "sha256 blobs/post only/blob-post-only"
	Status Status
	Reason string // why it did not pass, one reason per line
	Log    string // the requests and responses, secrets redacted by the suite
}

// Report is the outcome of one run.
type Report struct {
	Cases []Case
	// Failures, Errors and Skipped count nodes of the tree. They exceed the cases of that status when a group fails by
	// itself and not through one of its cases.
	Failures, Errors, Skipped int
	// Configuration is the suite's own account of its settings, as YAML.
	Configuration string
}

// Exception allows cases to be skipped.
type Exception struct {
	Pattern string // matches a case's name as [path.Match] does; a trailing "/..." matches everything below
	Reason  string // why Berth does not support it, and where the documentation says so
}

const suiteName = "OCI Conformance Test"

// parse reads the suite's junit.xml. It refuses a report without cases, with a status it does not know, or whose
// counts are smaller than what it lists: such a report must not pass for a good one.
func parse(data []byte) (Report, error) {
	var document struct {
		XMLName  xml.Name `xml:"testsuites"`
		Failures int      `xml:"failures,attr"`
		Errors   int      `xml:"errors,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Suites   []struct {
			Properties []struct {
				Name  string `xml:"name,attr"`
				Value string `xml:"value,attr"`
			} `xml:"properties>property"`
			Cases []struct {
				Name   string `xml:"name,attr"`
				Status Status `xml:"status,attr"`
				Reason string `xml:"system-out"`
				Log    string `xml:"system-err"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(data, &document); err != nil {
		return Report{}, fmt.Errorf("read the suite's report: %w", err)
	}
	report := Report{Failures: document.Failures, Errors: document.Errors, Skipped: document.Skipped}
	for _, suite := range document.Suites {
		for _, property := range suite.Properties {
			if property.Name == "Config" {
				report.Configuration = property.Value
			}
		}
		for _, c := range suite.Cases {
			switch c.Status {
			case Passed, Skipped, Failure, Error:
			default:
				return Report{}, fmt.Errorf("read the suite's report: case %q has the unknown status %q", c.Name, c.Status)
			}
			name := strings.TrimPrefix(c.Name, suiteName+"/")
			report.Cases = append(report.Cases, Case{name, c.Status, strings.TrimSpace(c.Reason), strings.TrimSpace(c.Log)})
		}
	}
	if len(report.Cases) == 0 {
		return Report{}, fmt.Errorf("read the suite's report: it holds no case")
	}
	if report.count(Failure) > report.Failures || report.count(Error) > report.Errors {
		return Report{}, fmt.Errorf("read the suite's report: it counts %d failures and %d errors but lists %d and %d",
			report.Failures, report.Errors, report.count(Failure), report.count(Error))
	}
	return report, nil
}

func (r Report) count(status Status) int {
	n := 0
	for _, c := range r.Cases {
		if c.Status == status {
			n++
		}
	}
	return n
}

// clean tells whether the suite itself calls the run a success.
func (r Report) clean() bool { return r.Failures == 0 && r.Errors == 0 }

// logsShown is how many failed cases are told with their requests; the first ones usually explain the others.
const logsShown = 5

// problems lists what stands between the report and a pass, worst first: cases that failed, groups that failed by
// themselves, skips that no exception allows, exceptions that match no skipped case.
func (r Report) problems(exceptions []Exception) []string {
	var failed, skipped, unused []string
	used := make([]bool, len(exceptions))
	for _, c := range r.Cases {
		switch c.Status {
		case Passed:
		case Skipped:
			if i := allowedBy(exceptions, c.Name); i >= 0 {
				used[i] = true
			} else {
				skipped = append(skipped, fmt.Sprintf("%s was skipped: %s", c.Name, oneLine(c.Reason, c.Log)))
			}
		default:
			text := fmt.Sprintf("%s ended with %s: %s", c.Name, c.Status, c.Reason)
			if len(failed) < logsShown {
				text += "\n" + cut(c.Log, 4000)
			}
			failed = append(failed, text)
		}
	}
	if r.Failures+r.Errors > 0 && len(failed) == 0 {
		failed = append(failed, fmt.Sprintf("%d failures and %d errors are counted but no case failed: "+
			"a group failed by itself, see report.html (go test -artifacts keeps it)", r.Failures, r.Errors))
	}
	for i, exception := range exceptions {
		if !used[i] {
			unused = append(unused, fmt.Sprintf("the exception %q allows no skipped case any more: remove it", exception.Pattern))
		}
	}
	return append(append(failed, skipped...), unused...)
}

func allowedBy(exceptions []Exception, name string) int {
	for i, exception := range exceptions {
		if below, ok := strings.CutSuffix(exception.Pattern, "/..."); ok {
			if strings.HasPrefix(name, below+"/") {
				return i
			}
			continue
		}
		if matched, err := path.Match(exception.Pattern, name); err == nil && matched {
			return i
		}
	}
	return -1
}

// oneLine returns the reason of a skip. The suite writes it into the log when it skips before the first request.
func oneLine(reason, log string) string {
	if reason == "" {
		reason = cut(log, 300)
	}
	return strings.Join(strings.Fields(reason), " ")
}

func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return text[:limit] + "\n[...]"
}
