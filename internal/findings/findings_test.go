package findings

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

func report() *Report {
	return &Report{
		Registry: "r.example.com", Repository: "app/api", Tag: "v1", Digest: "sha256:" + strings.Repeat("a", 64), ScanType: "BASIC", Scanned: time.Unix(1700000000, 0),
		Findings: []Finding{
			{ID: "CVE-1", Severity: "LOW", Package: "zlib1g", Version: "1", PURL: "pkg:deb/debian/zlib1g@1?arch=amd64"},
			{ID: "CVE-2", Severity: "CRITICAL", Package: "lodash", Version: "4.17.11", Fixed: "4.17.12", Path: "a b/package.json", PURL: "pkg:npm/lodash@4.17.11", Related: []string{"GHSA-x"}},
		},
	}
}

func TestVEXSuppressesWhatItIsAbout(t *testing.T) {
	statement := func(s string) string {
		return `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"x","author":"ann","statements":[` + s + `]}`
	}
	not := `"status":"not_affected","justification":"component_not_present"`
	for name, c := range map[string]struct {
		statements string
		left       int
	}{
		"package of any version":    {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"pkg:npm/lodash"}],` + not + `}`, 1},
		"package of this version":   {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"pkg:npm/lodash@4.17.11"}],` + not + `}`, 1},
		"package of another":        {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"pkg:npm/lodash@4.17.12"}],` + not + `}`, 2},
		"package of another type":   {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"pkg:gem/lodash"}],` + not + `}`, 2},
		"another vulnerability":     {`{"vulnerability":{"name":"CVE-3"},"products":[{"@id":"app/api"}],` + not + `}`, 2},
		"by an alias":               {`{"vulnerability":{"name":"GHSA-x"},"products":[{"@id":"app/api"}],` + not + `}`, 1},
		"by a URL":                  {`{"vulnerability":{"@id":"https://nvd.nist.gov/vuln/detail/CVE-2"},"products":[{"@id":"app/api:v1"}],` + not + `}`, 1},
		"another tag":               {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api:v2"}],` + not + `}`, 2},
		"image by digest":           {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"pkg:oci/api@sha256%3A` + strings.Repeat("a", 64) + `"}],` + not + `}`, 1},
		"image by another digest":   {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"pkg:oci/api@sha256%3A` + strings.Repeat("b", 64) + `"}],` + not + `}`, 2},
		"a subcomponent":            {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api","subcomponents":[{"@id":"pkg:npm/lodash"}]}],` + not + `}`, 1},
		"another subcomponent":      {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api","subcomponents":[{"@id":"pkg:npm/left-pad"}]}],` + not + `}`, 2},
		"affected":                  {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api"}],"status":"affected"}`, 2},
		"affected after all, later": {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api"}],` + not + `},{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api"}],"status":"affected"}`, 2},
		"fixed":                     {`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api"}],"status":"fixed"}`, 1},
	} {
		v, err := ParseVEX([]byte(statement(c.statements)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := report()
		r.Apply(v, "vex.json")
		if len(r.Findings) != c.left || len(r.Suppressed) != 2-c.left {
			t.Errorf("%s: %d findings are left, want %d", name, len(r.Findings), c.left)
		}
		for _, s := range r.Suppressed {
			if s.ID != "CVE-2" || s.Reason == "" || s.Source != "ann in vex.json" {
				t.Errorf("%s: suppressed %+v", name, s)
			}
		}
	}
	for _, bad := range []string{
		`[]`, `{"@context":"https://example.com"}`,
		statement(`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api"}],"status":"not_affected"}`),
		statement(`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api"}],"status":"harmless"}`),
		statement(`{"vulnerability":{"name":"CVE-2"},"products":[{"@id":"app/api"}],"status":"not_affected","justification":"because"}`),
		statement(`{"vulnerability":{"name":"CVE-2"},"status":"fixed"}`),
		statement(`{"products":[{"@id":"app/api"}],"status":"fixed"}`),
	} {
		if _, err := ParseVEX([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestCompareGoesByVulnerabilityAndPackage(t *testing.T) {
	a, b := report(), report()
	b.Findings[1].Version = "4.17.10" // another version, as vulnerable as the first
	b.Findings[0] = Finding{ID: "CVE-1", Severity: "LOW", Package: "minizip", Version: "1"}
	d := Compare(a, b)
	if len(d.New) != 1 || d.New[0].Package != "minizip" || len(d.Fixed) != 1 || d.Fixed[0].Package != "zlib1g" || len(d.Unchanged) != 1 {
		t.Errorf("the difference is %+v", d)
	}
}

func TestSeverities(t *testing.T) {
	list := report().Findings
	for severity, want := range map[string]int{"undefined": 2, "low": 2, "Medium": 1, "CRITICAL": 1} {
		s, err := ParseSeverity(severity)
		if err != nil || AtLeast(list, s) != want {
			t.Errorf("%s: %d, %v; want %d", severity, AtLeast(list, s), err, want)
		}
	}
	if _, err := ParseSeverity("worse"); err == nil {
		t.Error("accepted a severity that is none")
	}
}

func TestSameReportSameBytes(t *testing.T) {
	for name, write := range map[string]func(*Report, *bytes.Buffer) error{
		"cyclonedx": func(r *Report, b *bytes.Buffer) error { return r.CycloneDX(b, "v1.0.0") },
		"spdx":      func(r *Report, b *bytes.Buffer) error { return r.SPDX(b, "v1.0.0") },
	} {
		var out [2]bytes.Buffer
		for i := range out {
			r := report()
			// Two packages of one name and place must not share an identifier.
			r.Packages = []Package{{Name: "a", Version: "1", Path: "x"}, {Name: "a", Version: "1", Path: "x"}}
			if err := write(r, &out[i]); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(out[0].Bytes(), out[1].Bytes()) {
			t.Errorf("%s differs from one time to the next", name)
		}
		if name == "cyclonedx" && !strings.Contains(out[0].String(), `"bom-ref": "a@1#x#2"`) {
			t.Errorf("two components share a name:\n%s", out[0].String())
		}
	}
}

// What a scan did not know is said in every form of its result.
func TestWarningsAreInEveryForm(t *testing.T) {
	r := report()
	r.Warnings = []string{"No advisories were known of npm."}
	var table, cyclone, spdx, diff bytes.Buffer
	sarif, err := json.Marshal(r.SARIF("v1.0.0"))
	if err := errors.Join(err, r.Text(&table), r.CycloneDX(&cyclone, "v1.0.0"), r.SPDX(&spdx, "v1.0.0"), Compare(report(), r).Text(&diff)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ out, want string }{
		"table":     {table.String(), "\nwarning: No advisories were known of npm.\n"},
		"diff":      {diff.String(), "\nwarning: r.example.com/app/api:v1: No advisories were known of npm.\n"},
		"sarif":     {string(sarif), `"toolExecutionNotifications":[{"level":"warning","message":{"text":"No advisories were known of npm."}}]`},
		"cyclonedx": {cyclone.String(), `"value": "No advisories were known of npm."`},
		"spdx":      {spdx.String(), `"comment": "No advisories were known of npm."`},
	} {
		if !strings.Contains(c.out, c.want) {
			t.Errorf("%s lacks %q:\n%s", name, c.want, c.out)
		}
	}
}
