package scan

import (
	"archive/tar"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/meta/sqlite"
	"berth/internal/scan/advisory"
	"berth/internal/scan/inventory"
	"berth/internal/scan/vulndb"
	"berth/internal/testkit"
)

const shipped = "testdata/advisories"

// matcher knows the advisories that are shipped.
func matcher(t testing.TB) *Scanner {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "meta.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := vulndb.Import(t.Context(), &vulndb.DB{Rows: db, Now: time.Now}, shipped, "tests", nil); err != nil {
		t.Fatal(err)
	}
	return New(Options{DB: db})
}

// found scans an image of one layer: the vulnerabilities, sorted.
func found(t *testing.T, s *Scanner, files map[string]string) string {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))})
		if err == nil {
			_, err = io.WriteString(w, files[name])
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	inv := inventoryOf(t, &layer)
	if len(inv.Packages) != 1 {
		t.Fatalf("read %+v", inv)
	}
	return foundIn(t, s, inv)
}

// inventoryOf reads an image of one layer.
func inventoryOf(t *testing.T, layer io.Reader) inventory.Inventory {
	t.Helper()
	layers := []inventory.Layer{{Digest: "one", Bytes: layer}}
	inv, err := inventory.Read(t.Context(), func() (inventory.Layer, error) {
		if len(layers) == 0 {
			return inventory.Layer{}, io.EOF
		}
		l := layers[0]
		layers = nil
		return l, nil
	}, inventory.DefaultLimits)
	if err != nil || len(inv.Warnings) > 0 {
		t.Fatalf("read %+v, %v", inv, err)
	}
	return inv
}

// foundIn lists the vulnerabilities of what is installed, sorted.
func foundIn(t *testing.T, s *Scanner, inv inventory.Inventory) string {
	t.Helper()
	list, _, err := s.match(t.Context(), inv.Packages)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range list {
		names = append(names, f.Name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// records are the advisories that are shipped.
func records(t *testing.T) (out []advisory.Record) {
	t.Helper()
	files, err := filepath.Glob(shipped + "/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		var r advisory.Record
		if err := errors.Join(err, json.Unmarshal(text, &r)); err != nil {
			t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

// fixedIn is the version that ends the one range of a distribution's record.
func fixedIn(t *testing.T, a advisory.Affected) (version string) {
	t.Helper()
	if len(a.Ranges) != 1 || a.Ranges[0].Events[0].Introduced != "0" {
		t.Fatalf("%+v is not what this test knows", a)
	}
	for _, e := range a.Ranges[0].Events {
		version = cmp.Or(version, e.Fixed)
	}
	return version
}

// TestPrecisionOnDebian makes images of what dpkg says is installed on this
// machine, with versions on either side of every boundary of every shipped
// advisory of Debian, as near as Debian's order has one. What must be found,
// dpkg itself decides.
func TestPrecisionOnDebian(t *testing.T) {
	t.Parallel()
	dpkg, query := testkit.Tool(t, "dpkg"), testkit.Tool(t, "dpkg-query")
	older := func(v, than string) bool {
		res, err := testkit.Command{Path: dpkg, Args: []string{"--compare-versions", v, "lt", than}}.Try(t.Context())
		if err != nil || res.ExitCode > 1 {
			t.Fatalf("%v: %s", err, res.Stderr)
		}
		return res.ExitCode == 0
	}
	binaries := map[string]string{"openssl": "libssl3", "zlib": "zlib1g", "coreutils": "coreutils"}
	releases := map[string]string{"11": "bullseye", "12": "bookworm", "13": "trixie"}
	all, s := records(t), matcher(t)
	versions := map[string][]string{} // by source package
	for _, r := range all {
		for _, a := range r.Affected {
			if advisory.Ecosystem(a.Package.Ecosystem) != "Debian" {
				continue
			}
			list := versions[a.Package.Name]
			if fixed := fixedIn(t, a); fixed != "" {
				list = append(list, fixed+"~", fixed, fixed+"+b1")
			}
			versions[a.Package.Name] = list
		}
	}
	if len(versions) != len(binaries) {
		t.Fatalf("advisories are shipped about %v", slices.Sorted(maps.Keys(versions)))
	}
	images, hits := 0, 0
	for source, list := range versions {
		stanza := testkit.Run(t, query, "--status", binaries[source])
		line := regexp.MustCompile(`(?m)^Version: (.*)$`)
		installed := line.FindStringSubmatch(stanza)
		if installed == nil {
			t.Fatalf("dpkg says of %s: %s", binaries[source], stanza)
		}
		stanza = strings.TrimSpace(stanza) + "\n\n"
		list = append(list, installed[1], "0", "99:1-1")
		for _, version := range slices.Compact(slices.Sorted(slices.Values(list))) {
			for release, codename := range releases {
				var want []string
				for _, r := range all {
					for _, a := range r.Affected {
						if a.Package.Ecosystem != "Debian:"+release || a.Package.Name != source {
							continue
						}
						if fixed := fixedIn(t, a); fixed == "" || older(version, fixed) {
							want = append(want, r.Upstream[0])
						}
					}
				}
				slices.Sort(want)
				text := line.ReplaceAllLiteralString(stanza, "Version: "+version)
				for _, place := range []string{"var/lib/dpkg/status", "var/lib/dpkg/status.d/" + binaries[source]} {
					got := found(t, s, map[string]string{
						"etc/os-release": "ID=debian\nVERSION_ID=\"" + release + "\"\nVERSION_CODENAME=" + codename + "\n", place: text,
					})
					if got != strings.Join(want, " ") {
						t.Errorf("%s %s of Debian %s in %s: found %q, want %q", source, version, release, place, got, want)
					}
					images++
					hits += len(want)
				}
			}
		}
	}
	if t.Logf("%d images, %d findings", images, hits); hits == 0 || hits == images {
		t.Error("the versions lie on one side")
	}
}

// TestPrecisionOnAlpine does so with entries of the database of apk, in the form
// of Alpine's own images. There is no apk here to ask, so the order of versions is
// written out.
func TestPrecisionOnAlpine(t *testing.T) {
	t.Parallel()
	s := matcher(t)
	covered := map[string]bool{}
	for _, c := range []struct {
		release, origin, name, fixed string
		cve                          string
		below, above                 []string
	}{
		{"3.15", "zlib", "zlib", "1.2.12-r2", "CVE-2022-37434", []string{"1.2.11-r3", "1.2.12_rc9-r2", "1.2.12-r0", "1.2.12-r1"}, []string{"1.2.12-r3", "1.2.12-r10", "1.2.12_p1-r0", "1.2.13-r0", "1.10.0-r0"}},
		{"3.16", "zlib", "zlib", "1.2.12-r2", "CVE-2022-37434", []string{"1.2.9-r9", "1.2.12-r1"}, []string{"1.2.12-r3", "1.2.13-r0"}},
		{"3.18", "openssl", "libcrypto3", "3.1.4-r0", "CVE-2023-5363", []string{"3.1.3-r0", "3.1.3-r9", "3.1.4_rc1-r0", "3.1.4_beta2-r5"}, []string{"3.1.4-r1", "3.1.4-r10", "3.1.10-r0", "3.2.0-r0"}},
		{"3.18", "openssl", "libssl3", "3.1.4-r0", "CVE-2023-5363", []string{"3.1.3-r0"}, []string{"3.1.4-r5"}},
		{"3.19", "openssl", "libssl3", "", "", nil, []string{"3.1.3-r0"}}, // no advisory is about this release
		{"3.17", "zlib", "zlib", "", "", nil, []string{"1.2.11-r3"}},
	} {
		covered[c.cve+" Alpine:v"+c.release+" "+c.origin+" "+c.fixed] = true
		ask := func(version, want string) {
			t.Helper()
			got := found(t, s, map[string]string{
				"etc/os-release": "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=" + c.release + ".4\n", "etc/alpine-release": c.release + ".4\n",
				"lib/apk/db/installed": fmt.Sprintf("C:Q1ekuTMDhUDLPKQsHzpw7AxvRJVwU=\nP:%s\nV:%s\nA:x86_64\nS:53959\nI:110592\nT:A library\nU:https://example.com/\nL:Zlib\no:%s\nm:A <a@example.com>\nt:1660000000\nc:%040d\n\n", c.name, version, c.origin, 1),
			})
			if got != want {
				t.Errorf("%s %s of Alpine %s: found %q, want %q", c.name, version, c.release, got, want)
			}
		}
		for _, v := range c.below {
			ask(v, c.cve)
		}
		for _, v := range append(c.above, c.fixed) {
			if v != "" {
				ask(v, "")
			}
		}
	}
	for _, r := range records(t) {
		for _, a := range r.Affected {
			if advisory.Ecosystem(a.Package.Ecosystem) != "Alpine" {
				continue
			}
			if key := r.Names()[0] + " " + a.Package.Ecosystem + " " + a.Package.Name + " " + fixedIn(t, a); !covered[key] {
				t.Errorf("%s is not tested", key)
			}
		}
	}
}
