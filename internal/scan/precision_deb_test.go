package scan

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"berth/internal/testkit"
)

// TestPrecisionOfRealPackages makes images of packages as Debian ships them: apt downloads them, and dpkg itself writes
// its database. Each is given a version right before and right at the boundary of each advisory.
func TestPrecisionOfRealPackages(t *testing.T) {
	t.Parallel()
	download, tool, dpkg := testkit.Tool(t, "apt-get"), testkit.Tool(t, "dpkg-deb"), testkit.Tool(t, "dpkg")
	all, s := records(t), matcher(t)
	for binary, source := range map[string]string{"libssl3": "openssl", "zlib1g": "zlib"} {
		t.Run(binary, func(t *testing.T) {
			dir := t.TempDir()
			res, err := testkit.Command{Path: download, Args: []string{"download", binary}, Dir: dir, Env: []string{"PATH=" + os.Getenv("PATH")}}.Try(t.Context())
			debs, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
			if err != nil || res.ExitCode != 0 || len(debs) != 1 {
				testkit.Missing(t, "needs the package %s of Debian: apt-get download fails: %s", binary, res.Stderr)
			}
			unpacked := filepath.Join(dir, "unpacked")
			testkit.Run(t, tool, "-R", debs[0], unpacked)
			control, err := os.ReadFile(filepath.Join(unpacked, "DEBIAN", "control"))
			if err != nil {
				t.Fatal(err)
			}
			hits := 0
			for _, r := range all {
				for _, a := range r.Affected {
					if a.Package.Ecosystem != "Debian:12" || a.Package.Name != source {
						continue
					}
					fixed := fixedIn(t, a)
					for version, vulnerable := range map[string]bool{fixed + "~": true, fixed: false} {
						root := installed(t, tool, dpkg, unpacked, string(control), version)
						found := strings.Fields(scanOf(t, s, root, binary, version))
						if slices.Contains(found, r.Upstream[0]) != vulnerable {
							t.Errorf("%s %s: found %v, and %s is fixed in %s", binary, version, found, r.Upstream[0], fixed)
						}
						hits++
					}
				}
			}
			if hits == 0 {
				t.Errorf("no advisory is about %s", source)
			}
		})
	}
}

// installed is the root of a Debian 12 with one package in it, of a version.
func installed(t *testing.T, tool, dpkg, unpacked, control, version string) (root string) {
	t.Helper()
	lines := strings.Split(control, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "Version: ") {
			lines[i] = "Version: " + version
		}
	}
	if err := os.WriteFile(filepath.Join(unpacked, "DEBIAN", "control"), []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	deb, root := filepath.Join(dir, "package.deb"), filepath.Join(dir, "root")
	for _, name := range []string{"var/lib/dpkg/updates", "var/lib/dpkg/info", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"var/lib/dpkg/status": "", "etc/os-release": "ID=debian\nVERSION_ID=\"12\"\nVERSION_CODENAME=bookworm\n"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Run(t, tool, "-b", "-Znone", "--root-owner-group", unpacked, deb)
	testkit.Run(t, dpkg, "--root="+root, "--force-not-root", "--force-depends", "--force-bad-path", "--log="+filepath.Join(dir, "log"), "--unpack", deb)
	// dpkg runs the scripts of a package when that is set up, not here: for what is read, it is installed.
	status := filepath.Join(root, "var/lib/dpkg/status")
	text, err := os.ReadFile(status)
	if err == nil {
		err = os.WriteFile(status, bytes.ReplaceAll(text, []byte("install ok unpacked"), []byte("install ok installed")), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// scanOf scans the root as the one layer of an image, and expects one package in it.
func scanOf(t *testing.T, s *Scanner, root, binary, version string) string {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.AddFS(os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	inv := inventoryOf(t, &layer)
	if len(inv.Packages) != 1 || !strings.Contains(fmt.Sprint(inv.Packages[0]), version) {
		t.Fatalf("%s %s is read as %+v", binary, version, inv.Packages)
	}
	return foundIn(t, s, inv)
}
