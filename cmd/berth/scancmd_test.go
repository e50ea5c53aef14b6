package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"berth/internal/testkit"
)

// TestScanCommand scans images that nobody scanned before, in every format,
// compares two, lets a VEX document speak, and pushes a bill of materials.
func TestScanCommand(t *testing.T) {
	t.Parallel()
	bin := buildBinary(t)
	data := filepath.Join(t.TempDir(), "data")
	p, err := launch(bin, t.TempDir(), os.Environ(), []string{"serve", "--listen", "127.0.0.1:0", "--data", data})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.kill() }()
	if _, err := p.await(`listening on (\S+)`); err != nil {
		t.Fatal(err)
	}
	r, err := connect(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	aws := testkit.Tool(t, "aws")
	env := withoutKeys(append(testkit.AWSEnv(t, r.endpoint, "", "", "us-east-1"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(data, "credentials")))
	(&scanned{t: t, aws: aws, env: env}).cli("create-repository", "--repository-name", "app/api")
	// Over the API of the running server; what --data opens is the same.
	vulndb := func(code int, args ...string) string {
		t.Helper()
		res, err := testkit.Command{Path: bin, Args: append([]string{"vulndb"}, args...), Env: env, Timeout: patience * 4}.Try(t.Context())
		if err != nil || res.ExitCode != code {
			t.Fatalf("vulndb %v: code %d, want %d: %v: %s%s", args, res.ExitCode, code, err, res.Stdout, res.Stderr)
		}
		return res.Stdout + res.Stderr
	}
	if out := vulndb(0, "import", "../../internal/scan/testdata/advisories"); !strings.HasPrefix(out, "imported 12 records (0 withdrawn), skipped 0\n") {
		t.Errorf("imported: %s", out)
	}
	if out := vulndb(0, "status"); out != vulndb(0, "status", "--data", data) || !strings.Contains(out, "Debian: 4 advisories") || !strings.Contains(out, "; stale: update or import them\n") {
		t.Errorf("status: %s", out)
	}
	vulndb(1, "import", "../../internal/scan/doc.go")
	feeds := t.TempDir()
	for name, text := range map[string]string{
		"epss.csv": "#model_version:v2025.03.14,score_date:2026-11-24T12:00:00Z\ncve,epss,percentile\nCVE-2022-0778,0.0712,0.93\nCVE-2023-0286,0.88415,0.995\n",
		"kev.json": `{"title":"CISA Catalog of Known Exploited Vulnerabilities","catalogVersion":"2026.11.20","dateReleased":"2026-11-20T15:00:24.3484Z","count":1,"vulnerabilities":[{"cveID":"CVE-2022-0778","dateAdded":"2026-11-03"}]}`,
	} {
		if err := os.WriteFile(filepath.Join(feeds, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out := vulndb(0, "import", feeds); !strings.Contains(out, "imported 3 records") || !strings.Contains(out, "EPSS: 2 scores as of 2026-11-24T12:00:00Z") || !strings.Contains(out, "KEV: 1 exploited vulnerabilities as of 2026-11-20") {
		t.Errorf("imported: %s", out)
	}
	vulndb(1, "status", "--data", data, "--endpoint", r.endpoint)
	dpkg := func(openssl string) testkit.Content {
		return imageOf(t, layerOf(t, tree{
			"etc/os-release": {text: debian},
			"var/lib/dpkg/status": {text: "Package: libssl1.1\nStatus: install ok installed\nMaintainer: Debian\nArchitecture: amd64\nSource: openssl\nVersion: " + openssl + "\n\n" +
				"Package: coreutils\nStatus: install ok installed\nMaintainer: Debian\nArchitecture: amd64\nVersion: 8.32-4\n\n"},
		}))
	}
	for tag, openssl := range map[string]string{"v1": "1.1.1k-1+deb11u1", "v2": "1.1.1n-0+deb11u4"} {
		if err := r.push(t.Context(), "app/api", tag, dpkg(openssl)); err != nil {
			t.Fatal(err)
		}
	}
	run := func(code int, args ...string) (string, string) {
		t.Helper()
		res, err := testkit.Command{Path: bin, Args: append([]string{"scan"}, args...), Env: env, Timeout: patience * 4}.Try(t.Context())
		if err != nil || res.ExitCode != code {
			t.Fatalf("scan %v: code %d, want %d: %v: %s%s", args, res.ExitCode, code, err, res.Stdout, res.Stderr)
		}
		return res.Stdout, res.Stderr
	}

	out, stderr := run(2, "app/api:v1", "--fail-on", "high")
	for _, want := range []string{"3 findings: 2 HIGH, 1 INFORMATIONAL", "warning: Its advisories are stale: the newest is of 20", "CVE-2022-0778", "1.1.1k-1+deb11u2"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	if stderr != "policy failed: 2 findings are HIGH or worse\n" {
		t.Errorf("said %q", stderr)
	}
	for _, want := range []string{"EPSS   EXPLOITED SINCE", "7.1%   2026-11-03", "88.4%  -"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	attributes := (&scanned{t: t, aws: aws, env: env}).cli("describe-image-scan-findings", "--repository-name", "app/api", "--image-id", "imageTag=v1",
		"--query", "imageScanFindings.findings[?name=='CVE-2022-0778'].attributes[]", "--output", "json")
	for _, want := range []string{`"EPSS_SCORE"`, `"0.0712"`, `"EPSS_PERCENTILE"`, `"0.93"`, `"KEV_DATE_ADDED"`, `"2026-11-03"`} {
		if !strings.Contains(attributes, want) {
			t.Errorf("the attributes lack %s: %s", want, attributes)
		}
	}
	run(0, "app/api:v1", "--fail-on", "critical")
	run(0, "app/api:v2", "--fail-on", "high")
	_, stderr = run(1, "app/api:none")
	if !strings.Contains(stderr, "ImageNotFoundException") {
		t.Errorf("of no image: %s", stderr)
	}
	run(1, "app/api", "--fail-on", "high")
	run(1, "app/api:v1", "--format", "yaml")

	out, stderr = run(2, "diff", "app/api:v2", "app/api:v1", "--fail-on", "high")
	if !strings.HasPrefix(out, "from app/api:v2 to app/api:v1: 2 new, 0 fixed, 1 unchanged\n") || !strings.Contains(stderr, "2 new findings") {
		t.Errorf("the difference is %s%s", out, stderr)
	}
	out, _ = run(0, "diff", "app/api:v1", "app/api:v2", "--fail-on", "low", "--format", "json")
	var d struct{ New, Fixed, Unchanged []struct{ ID string } }
	if err := json.Unmarshal([]byte(out), &d); err != nil || len(d.New) != 0 || len(d.Fixed) != 2 || len(d.Unchanged) != 1 {
		t.Errorf("the difference is %s: %v", out, err)
	}

	vex := filepath.Join(t.TempDir(), "vex.json")
	text := `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/vex/1","author":"security@example.com","timestamp":"2026-01-01T00:00:00Z","version":1,
		"statements":[{"vulnerability":{"name":"CVE-2022-0778"},"products":[{"@id":"pkg:deb/debian/libssl1.1"}],"status":"not_affected","justification":"vulnerable_code_not_in_execute_path"},
		{"vulnerability":{"name":"CVE-2023-0286"},"products":[{"@id":"app/api"}],"status":"not_affected","impact_statement":"No CRLs are read."}]}`
	if err := os.WriteFile(vex, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = run(0, "app/api:v1", "--fail-on", "high", "--vex", vex)
	if !strings.Contains(out, "1 findings: 1 INFORMATIONAL") || !strings.Contains(out, "vulnerable_code_not_in_execute_path (security@example.com in vex.json)") ||
		!strings.Contains(out, "No CRLs are read.") {
		t.Errorf("suppressed:\n%s", out)
	}

	out, _ = run(0, "app/api:v1", "--format", "sarif", "--vex", vex)
	var log struct {
		Version string
		Runs    []struct {
			Results []struct {
				RuleID       string
				Level        string
				Suppressions []any
			}
		}
	}
	if err := json.Unmarshal([]byte(out), &log); err != nil || log.Version != "2.1.0" || len(log.Runs) != 1 || len(log.Runs[0].Results) != 3 || len(log.Runs[0].Results[2].Suppressions) != 1 {
		t.Errorf("SARIF: %v %s", err, out)
	}
	out, _ = run(0, "app/api:v1", "--format", "spdx")
	var doc v2_3.Document
	if err := json.Unmarshal([]byte(out), &doc); err != nil || len(doc.Packages) != 3 || doc.SPDXVersion != "SPDX-2.3" {
		t.Errorf("SPDX: %v %s", err, out)
	}

	out, stderr = run(0, "app/api:v1", "--format", "cyclonedx", "--push-sbom")
	var bom cdx.BOM
	if err := cdx.NewBOMDecoder(strings.NewReader(out), cdx.BOMFileFormatJSON).Decode(&bom); err != nil || len(*bom.Components) != 2 || len(*bom.Vulnerabilities) != 3 {
		t.Errorf("CycloneDX: %v %s", err, out)
	}
	if !strings.HasPrefix(stderr, "pushed app/api@sha256:") {
		t.Errorf("pushed: %s", stderr)
	}
	res, err := testkit.Command{Path: aws, Env: env, Args: []string{"ecr", "describe-images", "--repository-name", "app/api", "--output", "json",
		"--query", "imageDetails[?artifactMediaType=='application/vnd.cyclonedx+json'].subjectManifestDigest"}}.Try(t.Context())
	if err != nil || !bytes.Contains([]byte(res.Stdout), []byte("sha256:")) {
		t.Errorf("the artifact is not described: %v %s%s", err, res.Stdout, res.Stderr)
	}
	if code, err := p.signal(syscall.SIGINT, patience); code != 0 || err != nil {
		t.Errorf("ended with %d: %v", code, err)
	}
}

func withoutKeys(env []string) (out []string) {
	for _, v := range env {
		if !strings.HasPrefix(v, "AWS_ACCESS_KEY_ID=") && !strings.HasPrefix(v, "AWS_SECRET_ACCESS_KEY=") {
			out = append(out, v)
		}
	}
	return out
}
