package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/image-spec/specs-go"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/testkit"
)

// TestScansFindVulnerabilities pushes an image with vulnerable packages of many
// kinds to a repository of the module's example settings, and reads with the
// aws CLI what the scan on push found. The advisories are real ones; versions
// lie on either side of their boundaries.
func TestScansFindVulnerabilities(t *testing.T) {
	t.Parallel()
	aws, bin := testkit.Tool(t, "aws"), buildBinary(t)
	data := filepath.Join(t.TempDir(), "data")
	p, err := launch(bin, t.TempDir(), os.Environ(), []string{"serve", "--listen", "127.0.0.1:0", "--data", data})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.kill() }()
	if _, err := p.await(`listening on (\S+)`); err != nil {
		t.Fatal(err)
	}
	advisories := testkit.Run(t, bin, "vulndb", "import", "../../internal/scan/testdata/advisories", "--data", data)
	if !strings.HasPrefix(advisories, "imported 12 records (0 withdrawn), skipped 0\n") {
		t.Errorf("imported: %s", advisories)
	}
	r, err := connect(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	s := &scanned{t: t, aws: aws, env: append(testkit.AWSEnv(t, r.endpoint, "", "", "us-east-1"),
		"AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(data, "credentials"), "AWS_MAX_ATTEMPTS=1")}
	s.env = slices.DeleteFunc(s.env, func(v string) bool {
		return strings.HasPrefix(v, "AWS_ACCESS_KEY_ID=") || strings.HasPrefix(v, "AWS_SECRET_ACCESS_KEY=")
	})

	s.cli("create-repository", "--repository-name", "app/api", "--image-scanning-configuration", "scanOnPush=true")
	if err := r.push(t.Context(), "app/api", "v1", vulnerableImage(t)); err != nil {
		t.Fatal(err)
	}
	s.cli("wait", "image-scan-complete", "--repository-name", "app/api", "--image-id", "imageTag=v1")
	basic := []string{
		"CVE-2022-0778 HIGH libssl1.1 1.1.1k-1+deb11u1 1.1.1k-1+deb11u2",
		"CVE-2023-0286 HIGH libssl1.1 1.1.1k-1+deb11u1 1.1.1n-0+deb11u4",
		"CVE-2016-2781 INFORMATIONAL coreutils 8.32-4 ",
	}
	s.found("app/api", basic)
	s.prints("HIGH 2 INFORMATIONAL 1", "describe-images", "--repository-name", "app/api", "--image-ids", "imageTag=v1",
		"--query", "imageDetails[0].imageScanFindingsSummary.findingSeverityCounts.['HIGH',to_string(HIGH),'INFORMATIONAL',to_string(INFORMATIONAL)][]", "--output", "text")

	// By hand, once in a day; another image waits for nothing.
	s.refused("LimitExceededException", "start-image-scan", "--repository-name", "app/api", "--image-id", "imageTag=v1")
	s.cli("put-registry-scanning-configuration", "--scan-type", "ENHANCED", "--rules",
		`[{"scanFrequency":"CONTINUOUS_SCAN","repositoryFilters":[{"filter":"app","filterType":"WILDCARD"}]}]`)
	s.refused("ScanNotFoundException", "describe-image-scan-findings", "--repository-name", "app/api", "--image-id", "imageTag=v1")
	s.cli("create-repository", "--repository-name", "app/web")
	if err := r.push(t.Context(), "app/web", "v1", vulnerableImage(t)); err != nil {
		t.Fatal(err)
	}
	s.status("app/web", "v1", "ACTIVE")
	s.found("app/web", append([]string{
		"CVE-2021-44228 CRITICAL org.apache.logging.log4j:log4j-core 2.14.1 2.15.0",
		"CVE-2019-10744 CRITICAL lodash 4.17.11 4.17.12",
		"CVE-2021-23337 HIGH lodash 4.17.11 4.17.21",
		"CVE-2022-32149 HIGH golang.org/x/text 0.3.7 0.3.8",
	}, basic...))

	// What is known tomorrow is found in what was pushed today.
	newer := filepath.Join(t.TempDir(), "new.json")
	record := `{"id":"DEBIAN-CVE-2099-1","modified":"2099-01-01T00:00:00Z","upstream":["CVE-2099-1"],"affected":[{"package":{"ecosystem":"Debian:11","name":"zlib"},
		"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"}]}],"ecosystem_specific":{"urgency":"medium"}}]}`
	if err := os.WriteFile(newer, []byte(record), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Run(t, bin, "vulndb", "import", newer, "--data", data)
	s.eventually("the new advisory", func() bool {
		return slices.Contains(s.findings("app/web"), "CVE-2099-1 MEDIUM zlib1g 1:1.2.11.dfsg-2+deb11u2 ")
	})
	if code, err := p.signal(syscall.SIGINT, patience); code != 0 || err != nil {
		t.Errorf("ended with %d: %v", code, err)
	}
}

// TestHostileImagesFail ends the scans of layers that are not what they seem,
// while the registry goes on.
func TestHostileImagesFail(t *testing.T) {
	t.Parallel()
	aws, bin := testkit.Tool(t, "aws"), buildBinary(t)
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
	s := &scanned{t: t, aws: aws, env: append(testkit.AWSEnv(t, r.endpoint, "", "", "us-east-1"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(data, "credentials"), "AWS_MAX_ATTEMPTS=1")}
	s.env = slices.DeleteFunc(s.env, func(v string) bool {
		return strings.HasPrefix(v, "AWS_ACCESS_KEY_ID=") || strings.HasPrefix(v, "AWS_SECRET_ACCESS_KEY=")
	})
	s.cli("create-repository", "--repository-name", "evil", "--image-scanning-configuration", "scanOnPush=true")
	whole := layerOf(t, tree{"etc/os-release": {text: debian}})
	for tag, c := range map[string]struct{ layer, says string }{
		"scratch":   {layerOf(t, tree{"app": {text: "x"}}), "UnsupportedImageError: The operating system and/or package manager are not supported."},
		"truncated": {whole[:len(whole)/2], "no whole tar archive"},
		"garbage":   {strings.Repeat("garbage", 1000), "no whole tar archive"},
		"loop":      {layerOf(t, tree{"etc/os-release": {link: "os-release"}, "var/lib/dpkg": {link: "../lib/dpkg"}}), "UnsupportedImageError"},
		"database":  {layerOf(t, tree{"var/lib/rpm/rpmdb.sqlite": {text: "SQLite format 3\x00 not really"}}), "the package database var/lib/rpm/rpmdb.sqlite cannot be read"},
	} {
		if err := r.push(t.Context(), "evil", tag, imageOf(t, c.layer)); err != nil {
			t.Fatal(err)
		}
		s.status("evil", tag, "FAILED")
		out := s.cli("describe-image-scan-findings", "--repository-name", "evil", "--image-id", "imageTag="+tag, "--query", "imageScanStatus.description", "--output", "text")
		if !strings.Contains(out, c.says) {
			t.Errorf("%s: %s, want %s", tag, out, c.says)
		}
	}
	if _, err := p.signal(syscall.SIGINT, patience); err != nil {
		t.Error(err)
	}
}

// scanned asks a registry with the aws CLI.
type scanned struct {
	t   *testing.T
	aws string
	env []string
}

func (s *scanned) try(args ...string) (string, string, error) {
	res, err := testkit.Command{Path: s.aws, Args: append([]string{"ecr"}, args...), Env: s.env, Timeout: 2 * time.Minute}.Try(s.t.Context())
	return strings.TrimSpace(res.Stdout), res.Stderr, err
}

func (s *scanned) cli(args ...string) string {
	s.t.Helper()
	out, stderr, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("aws ecr %s: %v: %s", strings.Join(args, " "), err, stderr)
	}
	return out
}

func (s *scanned) refused(code string, args ...string) {
	s.t.Helper()
	if _, stderr, err := s.try(args...); err != nil || !strings.Contains(stderr, code) {
		s.t.Errorf("aws ecr %s: %v: %s; want %s", strings.Join(args, " "), err, stderr, code)
	}
}

func (s *scanned) prints(want string, args ...string) {
	s.t.Helper()
	if got := strings.Join(strings.Fields(s.cli(args...)), " "); got != want {
		s.t.Errorf("aws ecr %s: %s, want %s", strings.Join(args, " "), got, want)
	}
}

func (s *scanned) eventually(what string, ok func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(2 * patience); !ok(); {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s did not come", what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (s *scanned) status(repository, tag, want string) {
	s.t.Helper()
	s.eventually(want+" of "+tag, func() bool {
		return s.cli("describe-images", "--repository-name", repository, "--image-ids", "imageTag="+tag, "--query", "imageDetails[0].imageScanStatus.status", "--output", "text") == want
	})
}

// findings lists what was found, read in small pages.
func (s *scanned) findings(repository string) (out []string) {
	s.t.Helper()
	var page struct {
		ImageScanFindings struct {
			Findings []struct {
				Name, Severity string
				Attributes     []struct{ Key, Value string }
			}
			EnhancedFindings []struct {
				Severity                    string
				PackageVulnerabilityDetails struct {
					VulnerabilityID    string
					VulnerablePackages []struct {
						Name, Version, Release, FixedInVersion string
						Epoch                                  *int
					}
				}
			}
		}
	}
	text := s.cli("describe-image-scan-findings", "--repository-name", repository, "--image-id", "imageTag=v1", "--page-size", "2", "--output", "json")
	if err := json.Unmarshal([]byte(text), &page); err != nil {
		s.t.Fatal(err)
	}
	for _, f := range page.ImageScanFindings.Findings {
		is := map[string]string{}
		for _, a := range f.Attributes {
			is[a.Key] = a.Value
		}
		out = append(out, strings.Join([]string{f.Name, f.Severity, is["package_name"], is["package_version"], is["fixed_version"]}, " "))
	}
	for _, f := range page.ImageScanFindings.EnhancedFindings {
		p := f.PackageVulnerabilityDetails.VulnerablePackages[0]
		if p.Release != "" {
			p.Version += "-" + p.Release
		}
		if p.Epoch != nil {
			p.Version = fmt.Sprint(*p.Epoch) + ":" + p.Version
		}
		out = append(out, strings.Join([]string{f.PackageVulnerabilityDetails.VulnerabilityID, f.Severity, p.Name, p.Version,
			strings.ReplaceAll(p.FixedInVersion, "NotAvailable", "")}, " "))
	}
	return out
}

func (s *scanned) found(repository string, want []string) {
	s.t.Helper()
	got := s.findings(repository)
	slices.Sort(got)
	want = slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		s.t.Errorf("%s: found\n%s\nwant\n%s", repository, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A node is a file, or a symbolic link.
type node struct {
	text, link string
	mode       int64
}

type tree map[string]node

// layerOf is a compressed layer with these files.
func layerOf(t *testing.T, files tree) string {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		n := files[name]
		h := &tar.Header{Name: name, Mode: max(n.mode, 0o644), Size: int64(len(n.text)), Typeflag: tar.TypeReg}
		if n.link != "" {
			h.Typeflag, h.Linkname = tar.TypeSymlink, n.link
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, n.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// imageOf is an image of compressed layers.
func imageOf(t *testing.T, layers ...string) testkit.Content {
	t.Helper()
	m := v1.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: v1.MediaTypeImageManifest}
	config := testkit.NewBlob(v1.MediaTypeImageConfig, []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`))
	m.Config = config.Descriptor
	out := testkit.Content{Blobs: []testkit.Blob{config}}
	for _, l := range layers {
		b := testkit.NewBlob(v1.MediaTypeImageLayerGzip, []byte(l))
		m.Layers, out.Blobs = append(m.Layers, b.Descriptor), append(out.Blobs, b)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	out.Root = testkit.NewBlob(m.MediaType, text)
	return out
}

const debian = "ID=debian\nVERSION_ID=\"11\"\nVERSION_CODENAME=bullseye\nPRETTY_NAME=\"Debian GNU/Linux 11 (bullseye)\"\n"

// vulnerableImage has packages of Debian, of Java, npm and Go, and one of Python
// that its topmost layer deletes.
func vulnerableImage(t *testing.T) testkit.Content {
	t.Helper()
	stanza := func(name, source, version string) string {
		return "Package: " + name + "\nStatus: install ok installed\nMaintainer: Debian\nArchitecture: amd64\nSource: " + source + "\nVersion: " + version + "\n\n"
	}
	base := layerOf(t, tree{
		"etc/os-release":     {link: "../usr/lib/os-release"},
		"usr/lib/os-release": {text: debian},
		"var/lib/dpkg/status": {text: stanza("libssl1.1", "openssl", "1.1.1k-1+deb11u1") + stanza("coreutils", "coreutils", "8.32-4") +
			stanza("zlib1g", "zlib", "1:1.2.11.dfsg-2+deb11u2")},
	})
	var jar bytes.Buffer
	z := zip.NewWriter(&jar)
	w, err := z.Create("META-INF/maven/org.apache.logging.log4j/log4j-core/pom.properties")
	if err == nil {
		_, err = io.WriteString(w, "version=2.14.1\ngroupId=org.apache.logging.log4j\nartifactId=log4j-core\n")
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	app := layerOf(t, tree{
		"app/log4j-core.jar":    {text: jar.String()},
		"app/package-lock.json": {text: `{"name":"app","lockfileVersion":3,"packages":{"":{"name":"app"},"node_modules/lodash":{"version":"4.17.11","resolved":"https://registry.npmjs.org/lodash/-/lodash-4.17.11.tgz"}}}`},
		"app/server":            {text: goProgram(t), mode: 0o755},
		"usr/lib/python3/dist-packages/requests-2.19.0.dist-info/METADATA": {text: "Metadata-Version: 2.1\nName: requests\nVersion: 2.19.0\n"},
	})
	return imageOf(t, base, app, layerOf(t, tree{"usr/lib/python3/dist-packages/.wh.requests-2.19.0.dist-info": {}}))
}

// goProgram builds a program that says it has golang.org/x/text v0.3.7, which
// comes from a module proxy in a directory.
func goProgram(t *testing.T) string {
	t.Helper()
	proxy, src := t.TempDir(), t.TempDir()
	versions := filepath.Join(proxy, "golang.org", "x", "text", "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		t.Fatal(err)
	}
	var module bytes.Buffer
	z := zip.NewWriter(&module)
	for name, text := range map[string]string{"go.mod": "module golang.org/x/text\n", "language/language.go": "package language\n\nfunc Name() string { return \"und\" }\n"} {
		w, err := z.Create("golang.org/x/text@v0.3.7/" + name)
		if err == nil {
			_, err = io.WriteString(w, text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(versions, "list"):        "v0.3.7\n",
		filepath.Join(versions, "v0.3.7.info"): `{"Version":"v0.3.7","Time":"2021-08-01T00:00:00Z"}`,
		filepath.Join(versions, "v0.3.7.mod"):  "module golang.org/x/text\n",
		filepath.Join(versions, "v0.3.7.zip"):  module.String(),
		filepath.Join(src, "go.mod"):           "module example.com/server\n\ngo 1.21\n\nrequire golang.org/x/text v0.3.7\n",
		filepath.Join(src, "main.go"):          "package main\n\nimport \"golang.org/x/text/language\"\n\nfunc main() { println(language.Name()) }\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(src, "server")
	testkit.Command{
		Path: testkit.Tool(t, "go"), Args: []string{"build", "-mod=mod", "-o", out, "."}, Dir: src, Timeout: 10 * time.Minute,
		Env: append(os.Environ(), "GOPROXY=file://"+proxy, "GONOSUMDB=*", "GONOSUMCHECK=1", "GOFLAGS=-modcacherw", "GOMODCACHE="+t.TempDir(), "GOWORK=off", "CGO_ENABLED=0", "GOTOOLCHAIN=local"),
	}.Run(t)
	text, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
