package terraform_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/iam"
	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

const (
	repositoryRoot = "../.."

	// Every server of these tests has the same name, account, region and keys. So the outputs of two servers can be
	// compared byte for byte, and one provider process can speak to one server after the other.
	account  = "111122223333"
	region   = "ap-southeast-1"
	registry = "registry.example.test:5050"
	keyID    = "AKIAIOSFODNN7EXAMPLE"
	secret   = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"

	// lanes is how many runs of Terraform go on at the same time. A provider process takes 350 MB.
	lanes = 2

	// patience bounds one run of Terraform: seconds on an idle machine, much more on a busy one.
	patience = 10 * time.Minute
)

// A lane is a provider process, and the front that leads it to the server of the test that has the lane. A provider
// process keeps one configuration, so only one test at a time may use it.
type lane struct {
	front *front
	env   []string // of Terraform
}

// A lab is what the tests share.
type lab struct {
	terraform string
	berth     string
	lanes     chan *lane
}

// newLab finds Terraform, builds the program and starts the providers. They end with the test.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{terraform: testkit.Tool(t, "terraform"), lanes: make(chan *lane, lanes)}
	provider := unpackProvider(t, l.terraform)
	l.berth = filepath.Join(t.TempDir(), "berth")
	testkit.Command{
		Path: testkit.Tool(t, "go"), Args: []string{"build", "-o", l.berth, "./cmd/berth"}, Dir: repositoryRoot, Timeout: patience,
	}.Run(t)
	for range lanes {
		f := newFront(t)
		env := environment(t, f.url)
		attach := startProvider(t, provider, env)
		l.lanes <- &lane{front: f, env: append(env, "TF_REATTACH_PROVIDERS="+attach)}
	}
	return l
}

// environment is that of Terraform or of the native engine, with nothing of the developer's.
func environment(t *testing.T, endpoint string) []string {
	t.Helper()
	env := slices.DeleteFunc(testkit.TerraformEnv(t, endpoint, keyID, secret, region), func(pair string) bool {
		return strings.HasPrefix(pair, "BERTH_")
	})
	// Terraform parses the provider's whole schema in every run; collecting less garbage on the way saves a third.
	return append(env, "GOGC=400")
}

// unpackProvider lets Terraform take the provider from the mirror, and returns the path of the program.
func unpackProvider(t *testing.T, terraform string) string {
	t.Helper()
	dir := t.TempDir()
	text, err := os.ReadFile(filepath.Join(repositoryRoot, "modules/ecr/versions.tf"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "versions.tf"), string(text))
	testkit.Command{
		Path: terraform, Args: []string{"init", "-no-color"}, Dir: dir, Env: environment(t, "http://127.0.0.1:1"), Timeout: patience,
	}.Run(t)
	found, err := filepath.Glob(filepath.Join(dir, ".terraform/providers/registry.terraform.io/hashicorp/aws/*/*/terraform-provider-aws_*"))
	if err != nil || len(found) != 1 {
		t.Fatalf("terraform init installed the providers %q, expected one (%v)", found, err)
	}
	t.Logf("provider: %s", filepath.Base(found[0]))
	return found[0]
}

// startProvider starts a provider in its debug mode and returns the value of TF_REATTACH_PROVIDERS that it prints.
func startProvider(t *testing.T, path string, env []string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, "-debug")
	cmd.Env = env
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the provider: %v", err)
	}
	attach, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if _, value, ok := strings.Cut(lines.Text(), "TF_REATTACH_PROVIDERS='"); ok {
				attach <- strings.TrimSuffix(value, "'")
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-read
		_ = cmd.Wait() // it was told to end, so its exit status says nothing
	})
	select {
	case value := <-attach:
		return value
	case <-read:
		t.Fatal("the provider ended without offering itself")
	case <-time.After(patience):
		t.Fatal("the provider did not offer itself in time")
	}
	return ""
}

// A bench is one directory with configuration, one server for Terraform, and a lane to it.
type bench struct {
	*testing.T
	lab    *lab
	lane   *lane
	server *servertest.Server
	dir    string
}

// newBench starts a server and waits for a lane. The directory holds the module and the examples, as in the
// repository; the bench works at its top until [bench.at].
func (l *lab) newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, lab: l, server: newServer(t), dir: t.TempDir()}
	for _, name := range []string{"modules/ecr", "examples"} {
		if err := copySources(filepath.Join(b.dir, name), filepath.Join(repositoryRoot, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.lane = <-l.lanes
	t.Cleanup(func() { l.lanes <- b.lane })
	b.lane.front.lead(t, b.server.Endpoint)
	return b
}

func newServer(t *testing.T) *servertest.Server {
	t.Helper()
	return servertest.StartWith(t, server.Config{
		Account: account, Region: region, RegistryHost: registry, CreateKMSKeys: true, Root: iam.Credentials{AccessKeyID: keyID, SecretAccessKey: secret},
	})
}

// copySources copies what is written by people: not the state that a run in the source directory may have left.
func copySources(to, from string) error {
	return filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".terraform" {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".tf") && !strings.HasSuffix(path, ".tfvars") {
			return nil
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		return os.WriteFile(target, text, 0o644)
	})
}

// at is the same bench in a directory below.
func (b *bench) at(dir string) *bench {
	other := *b
	other.dir = filepath.Join(b.dir, dir)
	return &other
}

func (b *bench) write(name, text string) {
	b.Helper()
	write(b, filepath.Join(b.dir, name), text)
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tf runs Terraform, which shall end with the given status.
func (b *bench) tf(status int, args ...string) testkit.Result {
	b.Helper()
	command := 1 // words of the command, after which its options may stand
	if args[0] == "state" || args[0] == "providers" {
		command = 2
	}
	args = slices.Insert(slices.Clone(args), command, "-no-color")
	return testkit.Command{Path: b.lab.terraform, Args: args, Dir: b.dir, Env: b.lane.env, WantExit: status, Timeout: patience}.Run(b)
}

// native runs the native engine against a server; it shall end with the given status.
func (b *bench) native(s *servertest.Server, status int, args ...string) testkit.Result {
	b.Helper()
	return testkit.Command{
		Path: b.lab.berth, Args: args, Dir: b.dir, Env: environment(b.T, s.Endpoint), WantExit: status, Timeout: patience,
	}.Run(b)
}

// counts are the numbers of a summary line.
type counts struct{ Add, Change, Destroy int }

// outcome is what a run of terraform apply reported.
type outcome struct {
	counts   counts
	actions  map[string]string // of the plan, by address: create, update, replace, delete
	warnings []string
	errors   []string
}

// apply runs terraform apply without a saved plan.
func (b *bench) apply(args ...string) outcome {
	b.Helper()
	return b.applying(0, args...)
}

// applying runs terraform apply, which shall end with the given status.
// https://developer.hashicorp.com/terraform/internals/machine-readable-ui
func (b *bench) applying(status int, args ...string) outcome {
	b.Helper()
	out := outcome{actions: map[string]string{}}
	text := b.tf(status, append([]string{"apply", "-auto-approve", "-json"}, args...)...).Stdout
	for line := range strings.Lines(text) {
		var event struct {
			Type   string `json:"type"`
			Change struct {
				Resource struct {
					Addr string `json:"addr"`
				} `json:"resource"`
				Action string `json:"action"`
			} `json:"change"`
			Changes struct {
				Add       int    `json:"add"`
				Change    int    `json:"change"`
				Remove    int    `json:"remove"`
				Operation string `json:"operation"`
			} `json:"changes"`
			Diagnostic struct {
				Severity string `json:"severity"`
				Summary  string `json:"summary"`
				Detail   string `json:"detail"`
			} `json:"diagnostic"`
		}
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			b.Fatalf("%v in %s", err, line)
		}
		switch event.Type {
		case "planned_change":
			out.actions[event.Change.Resource.Addr] = event.Change.Action
		case "change_summary":
			if event.Changes.Operation == "apply" {
				out.counts = counts{event.Changes.Add, event.Changes.Change, event.Changes.Remove}
			}
		case "diagnostic":
			said := event.Diagnostic.Summary + ": " + event.Diagnostic.Detail
			if event.Diagnostic.Severity == "error" {
				out.errors = append(out.errors, said)
			} else {
				out.warnings = append(out.warnings, said)
			}
		}
	}
	return out
}

// converged checks that a plan finds nothing to do.
func (b *bench) converged() {
	b.Helper()
	result, err := testkit.Command{
		Path: b.lab.terraform, Args: []string{"plan", "-no-color", "-detailed-exitcode"}, Dir: b.dir, Env: b.lane.env, Timeout: patience,
	}.Try(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if result.ExitCode != 0 {
		b.Errorf("the plan after apply is not empty (status %d):\n%s%s", result.ExitCode, result.Stdout, result.Stderr)
	}
}

// appliedNatively runs berth apply and returns its counts.
func (b *bench) appliedNatively(s *servertest.Server, args ...string) counts {
	b.Helper()
	text := b.native(s, 0, append([]string{"apply", "--auto-approve", "--json"}, args...)...).Stdout
	var report struct {
		Result struct{ Added, Changed, Destroyed int } `json:"result"`
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		b.Fatalf("%v in %s", err, text)
	}
	return counts{report.Result.Added, report.Result.Changed, report.Result.Destroyed}
}

// contains checks that a text, read as words, holds each of the given ones.
func contains(t testing.TB, what, text string, wanted ...string) {
	t.Helper()
	words := strings.Join(strings.Fields(strings.NewReplacer("│", " ", "╷", " ", "╵", " ").Replace(text)), " ")
	for _, want := range wanted {
		if !strings.Contains(words, want) {
			t.Errorf("%s: nothing says %q in:\n%s", what, want, text)
		}
	}
}

func address(kind, key string) string {
	return fmt.Sprintf("module.ecr.aws_ecr_%s.this[%q]", kind, key)
}
