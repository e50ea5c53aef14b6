package conformance

import (
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
)

const sample = `<testsuites time="1" tests="6" failures="2" errors="1" skipped="2">
  <testsuite name="OCI Conformance Test" tests="6" failures="2" errors="1" skipped="2" time="1">
    <properties><property name="Config" value="registry: 127.0.0.1:1"></property></properties>
    <testcase name="OCI Conformance Test/ping" classname="" time="0.1" status="passed"></testcase>
    <testcase name="OCI Conformance Test/image/push/manifest" classname="" status="failure">
      <system-out>expected 201, received 500</system-out><system-err>PUT /v2/</system-err></testcase>
    <testcase name="OCI Conformance Test/image/list" classname="" status="error"><system-out>broken</system-out></testcase>
    <testcase name="OCI Conformance Test/sha512 blobs/mount/get" classname="" status="skipped">
      <system-out>registry does not
  support it</system-out></testcase>
    <testcase name="OCI Conformance Test/cancel" classname="" status="skipped"><system-err>disabled</system-err></testcase>
  </testsuite>
</testsuites>`

func TestProblemsListsEverythingThatDidNotPass(t *testing.T) {
	report, err := parse([]byte(sample))
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Cases) != 5 || report.Failures != 2 || report.Configuration != "registry: 127.0.0.1:1" || report.clean() {
		t.Fatalf("report = %+v", report)
	}
	got := report.problems([]Exception{{Pattern: "sha512 blobs/..."}, {Pattern: "tags/*"}})
	want := []string{
		"image/push/manifest ended with failure: expected 201, received 500\nPUT /v2/",
		"image/list ended with error: broken\n",
		"cancel was skipped: disabled",
		`the exception "tags/*" allows no skipped case any more: remove it`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	all := report.problems(nil)
	if !slices.Contains(all, "sha512 blobs/mount/get was skipped: registry does not support it") || len(all) != 4 {
		t.Errorf("without exceptions:\n%s", strings.Join(all, "\n"))
	}
}

func TestExceptionsNeverExcuseFailures(t *testing.T) {
	report := Report{Failures: 1, Cases: []Case{{Name: "a/b", Status: Failure, Reason: "wrong"}}}
	if got := report.problems([]Exception{{Pattern: "a/..."}}); len(got) != 2 {
		t.Errorf("problems = %q, want the failure and the idle exception", got)
	}
}

func TestGroupThatFailsByItselfIsAProblem(t *testing.T) {
	report := Report{Failures: 1, Cases: []Case{{Name: "a/b", Status: Passed}}}
	if got := report.problems(nil); len(got) != 1 || !strings.Contains(got[0], "a group failed by itself") {
		t.Errorf("problems = %q", got)
	}
}

func TestParseRefusesWhatIsNoReport(t *testing.T) {
	for name, text := range map[string]string{
		"empty":          "",
		"not xml":        "failed to load config",
		"other document": "<html></html>",
		"no case":        `<testsuites failures="0"></testsuites>`,
		"unknown status": strings.Replace(sample, `status="passed"`, `status="fine"`, 1),
		"no status":      strings.Replace(sample, `status="passed"`, ``, 1),
		"false count":    strings.ReplaceAll(sample, `failures="2"`, `failures="0"`),
	} {
		if report, err := parse([]byte(text)); err == nil {
			t.Errorf("%s: parsed as %+v", name, report)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`<testsuites failures="x"><testsuite><testcase status="passed"/></testsuite></testsuites>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		report, err := parse(data)
		if err != nil {
			return
		}
		// A report without a problem has no case that did not pass.
		if len(report.problems(nil)) == 0 && report.count(Passed) != len(report.Cases) {
			t.Errorf("%d of %d cases passed, and no problem is named", report.count(Passed), len(report.Cases))
		}
	})
}

// TestSuiteNoticesBrokenRegistry runs the real suite against a server that is no registry. It proves that a failing
// registry cannot pass, and that the suite takes every setting: a renamed variable would be ignored in silence.
func TestSuiteNoticesBrokenRegistry(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	t.Setenv("OCI_API_PUSH", "false")
	if slices.Contains(environment(nil), "OCI_API_PUSH=false") {
		t.Error("the suite's settings can be changed from outside")
	}
	if err := os.Unsetenv("OCI_API_PUSH"); err != nil {
		t.Fatal(err)
	}
	host := strings.TrimPrefix(server.URL, "http://")
	report := execute(t, Registry{Host: host}, nil)
	if report.clean() || len(report.problems(nil)) == 0 {
		t.Errorf("a server that knows no path passes: %d cases", len(report.Cases))
	}
	on := report.Configuration
	// Every switch appears in the suite's account of its settings; with all of them turned round, each must differ.
	turned := settings()
	for name, value := range turned {
		turned[name] = map[string]string{"true": "false", "false": "true"}[value]
	}
	// The suite itself panics when it has nothing to push.
	turned["OCI_DATA_IMAGE"], turned["OCI_API_PUSH"] = "true", "true"
	off := execute(t, Registry{Host: host}, turned).Configuration
	differ := 0
	offLines := strings.Split(off, "\n")
	for i, line := range strings.Split(on, "\n") {
		if (strings.HasSuffix(line, ": true") || strings.HasSuffix(line, ": false")) && i < len(offLines) && line != offLines[i] {
			differ++
		}
	}
	if want := len(turned) - 2; differ != want {
		t.Errorf("%d of %d switches reach the suite\n--- as set\n%s\n--- turned round\n%s", differ, want, on, off)
	}
}
