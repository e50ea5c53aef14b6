package advisory_test

import (
	"os"
	"path/filepath"
	"testing"

	"berth/internal/scan/advisory"
)

func record(t *testing.T, id string) advisory.Record {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "advisories", id+".json"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := advisory.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestBoundaries has versions on either side of the boundaries of real
// advisories.
func TestBoundaries(t *testing.T) {
	for _, c := range []struct {
		id, ecosystem, name, version, fixed string
		hit                                 bool
	}{
		{"DEBIAN-CVE-2022-0778", "Debian:11", "openssl", "1.1.1k-1+deb11u1", "1.1.1k-1+deb11u2", true},
		{"DEBIAN-CVE-2022-0778", "Debian:11", "openssl", "1.1.1k-1+deb11u2", "", false},
		{"DEBIAN-CVE-2022-0778", "Debian:12", "openssl", "1.1.1k-1+deb11u2", "1.1.1n-1", true},
		{"DEBIAN-CVE-2022-0778", "Debian:13", "openssl", "1.0.0-1", "", false},
		{"DEBIAN-CVE-2022-0778", "Debian", "openssl", "1.0.0-1", "", false},
		{"DEBIAN-CVE-2022-37434", "Debian:11", "zlib", "1:1.2.11.dfsg-2+deb11u1", "1:1.2.11.dfsg-2+deb11u2", true},
		{"DEBIAN-CVE-2022-37434", "Debian:11", "zlib", "1:1.2.11.dfsg-2+deb11u2", "", false},
		{"DEBIAN-CVE-2016-2781", "Debian:11", "coreutils", "9.9-1", "", true},
		{"ALPINE-CVE-2022-37434", "Alpine:v3.16", "zlib", "1.2.12-r1", "1.2.12-r2", true},
		{"ALPINE-CVE-2022-37434", "Alpine:v3.16", "zlib", "1.2.12-r2", "", false},
		{"ALPINE-CVE-2022-37434", "Alpine:v3.17", "zlib", "1.2.11-r0", "", false},
		{"ALPINE-CVE-2023-5363", "Alpine:v3.18", "openssl", "3.1.3-r0", "3.1.4-r0", true},
		{"ALPINE-CVE-2023-5363", "Alpine:v3.18", "openssl", "3.1.4-r0", "", false},
		{"GHSA-jfh8-c2jp-5v3q", "Maven", "org.apache.logging.log4j:log4j-core", "2.14.1", "2.15.0", true},
		{"GHSA-jfh8-c2jp-5v3q", "Maven", "org.apache.logging.log4j:log4j-core", "2.15.0", "", false},
		{"GHSA-jfh8-c2jp-5v3q", "Maven", "org.apache.logging.log4j:log4j-core", "2.12.2", "", false},
		{"GHSA-jfh8-c2jp-5v3q", "Maven", "org.apache.logging.log4j:log4j-core", "2.12.1", "2.12.2", true},
		{"GHSA-jfh8-c2jp-5v3q", "Maven", "org.apache.logging.log4j:log4j-core", "2.0-beta8", "", false},
		{"GHSA-35jh-r3h4-6jhm", "npm", "lodash", "4.17.20", "4.17.21", true},
		{"GHSA-35jh-r3h4-6jhm", "npm", "lodash", "4.17.21", "", false},
		{"GHSA-35jh-r3h4-6jhm", "PyPI", "lodash", "4.17.20", "", false},
		{"GHSA-x84v-xcm2-53pg", "PyPI", "requests", "2.19.1", "2.20.0", true},
		{"GHSA-x84v-xcm2-53pg", "PyPI", "requests", "2.20.0", "", false},
		{"GO-2022-1059", "Go", "golang.org/x/text", "0.3.7", "0.3.8", true},
		{"GO-2022-1059", "Go", "golang.org/x/text", "0.3.8-0.20211004125949-5bd84dd9b33b", "0.3.8", true},
		{"GO-2022-1059", "Go", "golang.org/x/text", "0.3.8", "", false},
		{"GO-2022-1059", "Go", "golang.org/x/text", "(devel)", "", false},
	} {
		m, hit := record(t, c.id).Match(c.ecosystem, c.name, c.version)
		if hit != c.hit || hit && m.Fixed != c.fixed {
			t.Errorf("%s on %s %s of %s: %t, fixed in %q", c.id, c.name, c.version, c.ecosystem, hit, m.Fixed)
		}
	}
}

// TestEvents evaluates what OSV's events may be.
func TestEvents(t *testing.T) {
	const head = `{"id":"X","affected":[{"package":{"ecosystem":"npm","name":"p"},`
	for _, c := range []struct {
		affected, version string
		hit               bool
	}{
		{`"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"last_affected":"1.2.0"}]}]}]}`, "1.2.0", true},
		{`"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"last_affected":"1.2.0"}]}]}]}`, "1.2.1", false},
		{`"ranges":[{"type":"SEMVER","events":[{"fixed":"2.0.0"},{"introduced":"3.0.0"},{"introduced":"0"}]}]}]}`, "2.5.0", false},
		{`"ranges":[{"type":"SEMVER","events":[{"fixed":"2.0.0"},{"introduced":"3.0.0"},{"introduced":"0"}]}]}]}`, "3.0.0", true},
		{`"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"limit":"2.0.0"}]}]}]}`, "2.0.0", false},
		{`"ranges":[{"type":"GIT","events":[{"introduced":"0"}]}]}]}`, "1.0.0", false},
		{`"versions":["1.0.0"]}]}`, "1.0.0", true},
		{`"versions":["1.0.0"]}]}`, "1.0.1", false},
	} {
		r, err := advisory.Parse([]byte(head + c.affected))
		if err != nil {
			t.Fatal(err)
		}
		if _, hit := r.Match("npm", "p", c.version); hit != c.hit {
			t.Errorf("%s: %s is affected: %t", c.affected, c.version, hit)
		}
	}
}

func TestRate(t *testing.T) {
	for _, c := range []struct {
		record, level, version string
		score                  float64
	}{
		{`{"id":"X","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H"}]}`, "CRITICAL", "3.1", 10},
		{`{"id":"X","severity":[{"type":"CVSS_V3","score":"CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}]}`, "HIGH", "3.0", 7.5},
		{`{"id":"X","severity":[{"type":"CVSS_V2","score":"AV:N/AC:L/Au:N/C:C/I:C/A:C"}]}`, "HIGH", "2.0", 10},
		{`{"id":"X","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"},{"type":"CVSS_V4","score":"CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:N/VI:N/VA:N/SC:N/SI:N/SA:N"}]}`, "INFORMATIONAL", "4.0", 0},
		{`{"id":"X","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/nonsense"}],"database_specific":{"severity":"MODERATE"}}`, "MEDIUM", "", 0},
		{`{"id":"X","severity":[{"type":"Ubuntu","score":"negligible"}]}`, "INFORMATIONAL", "", 0},
		{`{"id":"X","database_specific":{"severity":7}}`, "UNDEFINED", "", 0},
	} {
		r, err := advisory.Parse([]byte(c.record))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Rate(advisory.Affected{}); got.Level != c.level || got.Version != c.version || got.Score != c.score {
			t.Errorf("%s is %+v", c.record, got)
		}
	}
	var a advisory.Affected
	a.Ecosystem.Urgency = "unimportant"
	if got := (advisory.Record{ID: "X"}).Rate(a); got.Level != advisory.Informational {
		t.Errorf("unimportant is %+v", got)
	}
}

func TestReleasesOfDistributions(t *testing.T) {
	for _, c := range []struct {
		record, image string
		hit           bool
	}{
		{"Ubuntu:22.04:LTS", "Ubuntu:22.04", true}, {"Ubuntu:Pro:22.04:LTS", "Ubuntu:22.04", false}, {"Ubuntu:24.04:LTS", "Ubuntu:22.04", false},
		{"Red Hat:enterprise_linux:9::baseos", "Red Hat:enterprise_linux:9", true}, {"Red Hat:enterprise_linux:9.2::x", "Red Hat:enterprise_linux:9", true},
		{"Red Hat:enterprise_linux:8::baseos", "Red Hat:enterprise_linux:9", false}, {"Rocky Linux:9", "Rocky Linux:9", true}, {"Wolfi", "Wolfi", true},
	} {
		r := advisory.Record{ID: "X", Affected: []advisory.Affected{{Versions: []string{"1.0"}}}}
		r.Affected[0].Package.Ecosystem, r.Affected[0].Package.Name = c.record, "p"
		if _, hit := r.Match(c.image, "p", "1.0"); hit != c.hit {
			t.Errorf("a record for %s is about %s: %t", c.record, c.image, hit)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"X","affected":[{"package":{"ecosystem":"Debian:11","name":"p"},"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"1:2-3"}]}]}]}`), "1.0-1")
	f.Fuzz(func(_ *testing.T, text []byte, version string) {
		r, err := advisory.Parse(text)
		if err != nil {
			return
		}
		for key, part := range r.Split() {
			for _, a := range part.Affected {
				part.Rate(a)
			}
			part.Match(key.Ecosystem, key.Package, version)
		}
	})
}
