package conformance

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/testkit"
)

// The two repositories that the suite pushes to; both must exist, with mutable tags, unless the registry creates them
// on push. The second is the source and target of mounts.
const (
	Repository1 = "conformance/repo1"
	Repository2 = "conformance/repo2"
)

// suiteTimeout bounds one run, which takes ten seconds on an idle machine.
const suiteTimeout = 10 * time.Minute

// leastCases is how many cases the suite reports at the pinned version with these settings when all pass: 793, rounded
// down. (A registry that skips some gets more, for what the suite tries instead.) A report with fewer cases comes from
// a run that ended early or left a part out.
const leastCases = 790

// Registry is what the suite runs against.
type Registry struct {
	// Host is the host and port that serve the OCI Distribution API under /v2/, in plain HTTP.
	Host string
	// User and Password are the Basic credentials; both empty means anonymous.
	User, Password string
}

// Run runs the whole suite against the registry and fails the test for every case that fails, errs, or is skipped
// without standing among the exceptions. It skips the test when the suite is not installed. The registry keeps what the
// suite leaves behind.
func Run(t *testing.T, registry Registry, exceptions []Exception) {
	t.Helper()
	report := execute(t, registry, nil)
	t.Logf("the suite ran %d cases: %d passed", len(report.Cases), report.count(Passed))
	problems := report.problems(exceptions)
	if len(report.Cases) < leastCases {
		problems = append(problems, fmt.Sprintf("only %d cases were run, expected at least %d", len(report.Cases), leastCases))
	}
	for _, problem := range problems {
		t.Error(problem)
	}
}

// settings returns what is switched on and off beyond the suite's defaults, by the suite's own variable names.
func settings() map[string]string {
	return map[string]string{
		// Features of the 1.1 text that the suite leaves off because the text only recommends them.
		"OCI_API_BLOBS_DIGEST_HEADER":     "true", // Docker-Content-Digest on blobs
		"OCI_API_MANIFESTS_DIGEST_HEADER": "true", // and on manifests
		"OCI_API_BLOBS_UPLOAD_CANCEL":     "true", // DELETE of an upload session
		// Accepted into the specification after 1.1: PUT by digest with ?tag=a&tag=b.
		"OCI_API_MANIFESTS_TAG_PARAM": "true",
		// On by default, and named here so that a change of the defaults cannot switch them off unseen.
		"OCI_API_PING":                  "true",
		"OCI_API_PULL":                  "true",
		"OCI_API_PUSH":                  "true",
		"OCI_API_BLOBS_ATOMIC":          "true", // a deleted blob is gone at once
		"OCI_API_BLOBS_DELETE":          "true",
		"OCI_API_BLOBS_MOUNT_ANONYMOUS": "true", // mount without from=
		"OCI_API_MANIFESTS_ATOMIC":      "true",
		"OCI_API_MANIFESTS_DELETE":      "true",
		"OCI_API_TAGS_ATOMIC":           "true",
		"OCI_API_TAGS_DELETE":           "true",
		"OCI_API_TAGS_LIST":             "true",
		"OCI_API_REFERRER":              "true",
		"OCI_DATA_IMAGE":                "true",
		"OCI_DATA_INDEX":                "true",
		"OCI_DATA_INDEX_LIST":           "true", // an index in an index
		"OCI_DATA_ARTIFACT":             "true",
		"OCI_DATA_SUBJECT":              "true",
		"OCI_DATA_SUBJECT_MISSING":      "true", // a referrer pushed before its subject
		"OCI_DATA_ARTIFACT_LIST":        "true",
		"OCI_DATA_SUBJECT_LIST":         "true",
		"OCI_DATA_DATA_FIELD":           "true", // content inlined in a descriptor
		"OCI_DATA_NONDISTRIBUTABLE":     "true", // layers that were never pushed, of the types that allow it
		"OCI_DATA_CUSTOM_FIELDS":        "true",
		"OCI_DATA_NO_LAYERS":            "true",
		"OCI_DATA_EMPTY_BLOB":           "true",
		"OCI_DATA_SHA512":               "true",
		// ECR refuses manifests whose layers or children were not pushed: LayersNotFoundException,
		// ReferencedImagesNotFoundException (API reference, PutImage).
		"OCI_DATA_SPARSE": "false",
	}
}

// execute runs the suite with the settings, changed by more, and reads its report. The test ends when the suite
// cannot run or leaves no report; failed cases are the report's matter.
func execute(t *testing.T, registry Registry, more map[string]string) Report {
	t.Helper()
	program := testkit.Tool(t, "conformance")
	results, err := os.MkdirTemp(t.ArtifactDir(), "results-")
	if err != nil {
		t.Fatalf("make a directory for the suite's report: %v", err)
	}
	variables := settings()
	maps.Copy(variables, map[string]string{
		"OCI_VERSION":     "1.1",
		"OCI_REGISTRY":    registry.Host,
		"OCI_TLS":         "disabled",
		"OCI_USERNAME":    registry.User,
		"OCI_PASSWORD":    registry.Password,
		"OCI_REPO1":       Repository1,
		"OCI_REPO2":       Repository2,
		"OCI_RESULTS_DIR": results,
		"OCI_LOG":         "error", // the report holds the reasons
	})
	maps.Copy(variables, more)

	result, err := testkit.Command{
		Path:    program,
		Dir:     t.TempDir(), // the suite reads oci-conformance.yaml from its working directory
		Env:     environment(variables),
		Timeout: suiteTimeout,
	}.Try(t.Context())
	if err != nil {
		t.Fatalf("run the suite: %v\n%s%s", err, result.Stdout, result.Stderr)
	}
	if result.ExitCode > 1 {
		t.Fatalf("the suite itself broke (status %d)\n%s%s", result.ExitCode, result.Stdout, result.Stderr)
	}
	// The suite ends with status 0 when it cannot read its configuration, so the report decides.
	data, err := os.ReadFile(filepath.Join(results, "junit.xml"))
	if err != nil {
		t.Fatalf("the suite left no report (status %d): %v\n%s%s", result.ExitCode, err, result.Stdout, result.Stderr)
	}
	report, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if (result.ExitCode == 0) != report.clean() {
		t.Fatalf("the suite ended with status %d, which its report contradicts: %d failures, %d errors",
			result.ExitCode, report.Failures, report.Errors)
	}
	return report
}

// environment is the test's own without any OCI_ variable, plus the given ones.
func environment(variables map[string]string) []string {
	env := slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "OCI_") })
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		env = append(env, name+"="+variables[name])
	}
	return env
}
