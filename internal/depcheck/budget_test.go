package depcheck

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"berth/internal/testkit"
)

// budget is every module that may be linked into the program, with the reason. A new dependency is a decision: it
// brings its bugs, its licence and its size, so it is written down here, and a module that is not linked any more
// leaves this list.
var budget = map[string]string{
	"github.com/spf13/cobra":               "the command line and its completions",
	"github.com/spf13/pflag":               "cobra",
	"github.com/inconshreveable/mousetrap": "cobra, on Windows",

	"modernc.org/sqlite":                   "the metadata store, in pure Go",
	"modernc.org/libc":                     "sqlite",
	"modernc.org/mathutil":                 "sqlite",
	"modernc.org/memory":                   "sqlite",
	"github.com/dustin/go-humanize":        "sqlite",
	"github.com/remyoudompheng/bigfft":     "sqlite",
	"github.com/mattn/go-isatty":           "sqlite, outside Linux",
	"github.com/ncruces/go-strftime":       "sqlite, outside Linux",
	"github.com/google/uuid":               "identifiers of uploads, requests and backfills",
	"golang.org/x/sys":                     "sending staged bytes on to the disk early; sqlite",
	"github.com/pressly/goose/v3":          "migrations of the metadata store",
	"github.com/mfridman/interpolate":      "goose",
	"github.com/sethvargo/go-retry":        "goose",
	"go.uber.org/multierr":                 "goose",
	"github.com/opencontainers/go-digest":  "digests",
	"github.com/opencontainers/image-spec": "the structures of manifests",
	"golang.org/x/sync":                    "errgroup, semaphores and single flights",

	"github.com/CycloneDX/cyclonedx-go":      "bills of materials of berth scan",
	"github.com/spdx/tools-golang":           "bills of materials of berth scan: the structures of SPDX 2.3",
	"github.com/anchore/go-struct-converter": "tools-golang",

	"github.com/go-jose/go-jose/v4": "tokens and keys of identity providers (JWS, JWK)",

	"github.com/minio/sio": "sealing of blobs at rest (DARE 2.0)",
	"golang.org/x/crypto":  "sio's second cipher, which is not used",

	"github.com/jackc/pgx/v5":        "the metadata store on PostgreSQL",
	"github.com/jackc/pgpassfile":    "pgx",
	"github.com/jackc/pgservicefile": "pgx",
	"github.com/jackc/puddle/v2":     "pgx",

	"github.com/hashicorp/hcl/v2":              "reading configurations natively",
	"github.com/mitchellh/go-wordwrap":         "hcl, for its messages",
	"github.com/zclconf/go-cty":                "the values of configurations",
	"github.com/agext/levenshtein":             "hcl, and suggestions for misspelt attributes",
	"github.com/apparentlymart/go-textseg/v15": "go-cty",
	"golang.org/x/text":                        "go-cty",

	"github.com/aws/aws-sdk-go-v2":                                  "the native engine calls ECR with it",
	"github.com/aws/aws-sdk-go-v2/config":                           "the user's AWS configuration",
	"github.com/aws/aws-sdk-go-v2/credentials":                      "the user's AWS keys",
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds":                 "config",
	"github.com/aws/aws-sdk-go-v2/internal/configsources":           "the SDK",
	"github.com/aws/aws-sdk-go-v2/internal/endpoints/v2":            "the SDK",
	"github.com/aws/aws-sdk-go-v2/internal/v4a":                     "the SDK",
	"github.com/aws/aws-sdk-go-v2/service/ecr":                      "the ECR client",
	"github.com/aws/aws-sdk-go-v2/service/internal/accept-encoding": "the SDK",
	"github.com/aws/aws-sdk-go-v2/service/internal/presigned-url":   "the SDK",
	"github.com/aws/aws-sdk-go-v2/service/eventbridge":              "events on a bus of EventBridge",
	"github.com/aws/aws-sdk-go-v2/service/securityhub":              "findings in Security Hub",
	"github.com/aws/aws-sdk-go-v2/service/kms":                      "keys that live in AWS KMS",
	"github.com/aws/aws-sdk-go-v2/service/s3":                       "blobs in S3",
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream":         "service/s3, for a call that we do not make",
	"github.com/aws/aws-sdk-go-v2/service/internal/checksum":        "service/s3",
	"github.com/aws/aws-sdk-go-v2/service/internal/s3shared":        "service/s3",
	"github.com/aws/aws-sdk-go-v2/service/signin":                   "config",
	"github.com/aws/aws-sdk-go-v2/service/sso":                      "config",
	"github.com/aws/aws-sdk-go-v2/service/ssooidc":                  "config",
	"github.com/aws/aws-sdk-go-v2/service/sts":                      "the caller's account",
	"github.com/aws/smithy-go":                                      "the SDK",

	"github.com/prometheus/client_golang": "the metrics",
	"github.com/prometheus/client_model":  "client_golang",
	"github.com/prometheus/common":        "client_golang",
	"github.com/prometheus/procfs":        "client_golang, on Linux",
	"github.com/beorn7/perks":             "client_golang",
	"github.com/cespare/xxhash/v2":        "client_golang",
	"github.com/munnerz/goautoneg":        "client_golang",
	"google.golang.org/protobuf":          "client_golang",

	"github.com/google/osv-scalibr":             "finding packages in images, and comparing versions as ecosystems do",
	"github.com/ossf/osv-schema/bindings/go":    "osv-scalibr, for the names of ecosystems",
	"github.com/package-url/packageurl-go":      "osv-scalibr",
	"github.com/erikvarga/go-rpmdb":             "osv-scalibr: RPM databases, outside Windows",
	"github.com/rust-secure-code/go-rustaudit":  "osv-scalibr: Rust programs",
	"github.com/BurntSushi/toml":                "osv-scalibr: Cargo.lock",
	"github.com/elliotwutingfeng/asciiset":      "osv-scalibr",
	"github.com/gobwas/glob":                    "osv-scalibr",
	"github.com/tidwall/gjson":                  "osv-scalibr: package-lock.json",
	"github.com/tidwall/match":                  "osv-scalibr",
	"github.com/tidwall/pretty":                 "osv-scalibr",
	"golang.org/x/xerrors":                      "go-rpmdb",
	"deps.dev/api/v3":                           "osv-scalibr: Java archives",
	"deps.dev/util/maven":                       "osv-scalibr: Java archives",
	"deps.dev/util/resolve":                     "osv-scalibr: Java archives",
	"deps.dev/util/semver":                      "osv-scalibr: Java archives",
	"cloud.google.com/go/compute/metadata":      "osv-scalibr, for clients that we do not make",
	"golang.org/x/net":                          "a limit on connections; osv-scalibr, for clients that we do not make",
	"golang.org/x/oauth2":                       "osv-scalibr, for clients that we do not make",
	"google.golang.org/genproto/googleapis/api": "osv-scalibr, for clients that we do not make",
	"google.golang.org/genproto/googleapis/rpc": "osv-scalibr, for clients that we do not make",
	"google.golang.org/grpc":                    "osv-scalibr, for clients that we do not make",
	"go.uber.org/zap":                           "osv-scalibr, for clients that we do not make",
	"github.com/go-git/go-git/v5":               "osv-scalibr: .gitignore files, which are not looked at",
	"github.com/go-git/go-billy/v5":             "go-git",
	"github.com/go-git/gcfg":                    "go-git",
	"github.com/jbenet/go-context":              "go-git",
	"gopkg.in/warnings.v0":                      "gcfg",
	"github.com/diskfs/go-diskfs":               "osv-scalibr: file systems within files, which are not opened",
	"github.com/anchore/go-lzo":                 "go-diskfs",
	"github.com/djherbis/times":                 "go-diskfs",
	"github.com/pierrec/lz4/v4":                 "go-diskfs",
	"github.com/pkg/xattr":                      "go-diskfs",
	"github.com/sirupsen/logrus":                "go-diskfs",
	"github.com/ulikunitz/xz":                   "go-diskfs",
	"github.com/dsoprea/go-exfat":               "osv-scalibr: file systems within files, which are not opened",
	"github.com/dsoprea/go-logging":             "go-exfat",
	"github.com/go-errors/errors":               "go-exfat",
	"github.com/go-restruct/restruct":           "go-exfat",
	"github.com/pkg/errors":                     "go-restruct",
	"github.com/masahiro331/go-ext4-filesystem": "osv-scalibr: file systems within files, which are not opened",
	"github.com/lunixbochs/struc":               "go-ext4-filesystem",
	"www.velocidex.com/golang/go-ntfs":          "osv-scalibr: file systems within files, which are not opened",
	"github.com/davecgh/go-spew":                "go-ntfs",
	"gopkg.in/ini.v1":                           "osv-scalibr",
	"github.com/klauspost/compress":             "unpacking layers: gzip, and zstd, which the standard library lacks",
	"github.com/pandatix/go-cvss":               "the scores of CVSS vectors of every version",
}

// linked returns the modules and our own packages that are part of the program on one platform.
func linked(t *testing.T, goos string) (modules, ours []string) {
	t.Helper()
	result := testkit.Command{
		Path: testkit.Tool(t, "go"),
		Args: []string{"list", "-deps", "-json=ImportPath,Standard,Module", "./cmd/berth"},
		Dir:  root,
		Env:  append(os.Environ(), "GOOS="+goos, "GOARCH=amd64", "CGO_ENABLED=0", "GOWORK=off"),
	}.Run(t)
	decoder := json.NewDecoder(strings.NewReader(result.Stdout))
	set := map[string]bool{}
	for {
		var pkg struct {
			ImportPath string
			Standard   bool
			Module     *struct{ Path string }
		}
		err := decoder.Decode(&pkg)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("read the output of go list: %v", err)
		}
		switch {
		case pkg.Standard || pkg.Module == nil:
		case pkg.Module.Path == "berth":
			ours = append(ours, strings.TrimPrefix(pkg.ImportPath, "berth/"))
		default:
			set[pkg.Module.Path] = true
		}
	}
	return slices.Sorted(maps.Keys(set)), ours
}

func TestOnlyBudgetedModulesAreLinked(t *testing.T) {
	// The test's result is cached by the files it opens, and go list opens them unseen: open them here.
	sources(t)
	if _, err := os.ReadFile(root + "/go.mod"); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		modules, _ := linked(t, goos)
		for _, module := range modules {
			seen[module] = true
			if _, ok := budget[module]; !ok {
				t.Errorf("%s is linked into berth on %s and is not in the budget: see %s", module, goos, whyCommand(goos, module))
			}
		}
	}
	for _, module := range slices.Sorted(maps.Keys(budget)) {
		if !seen[module] {
			t.Errorf("%s (%s) is in the budget but not linked any more: remove it from budget_test.go", module, budget[module])
		}
	}
}

func whyCommand(goos, module string) string { return "GOOS=" + goos + " go mod why -m " + module }

// TestTestCodeIsNotLinked keeps fakes, suites and the test kit out of the program.
func TestTestCodeIsNotLinked(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		testkit.Missing(t, "needs the go command on PATH")
	}
	_, ours := linked(t, "linux")
	if len(ours) == 0 {
		t.Fatal("go list names no package of ours")
	}
	for _, pkg := range ours {
		if within(pkg, "internal/testkit") || within(pkg, "test") || within(pkg, "internal/gen") || strings.HasSuffix(pkg, "test") {
			t.Errorf("%s is linked into berth, and only tests may use it", pkg)
		}
	}
}
