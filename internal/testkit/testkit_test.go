package testkit

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// verdict is a test under test: it notes how it ended and stops its goroutine, as testing does.
type verdict struct {
	testing.TB
	failed, skipped bool
	text            string
}

func (v *verdict) Helper() {}

func (v *verdict) Fatalf(format string, args ...any) {
	v.failed, v.text = true, fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Skip(args ...any) {
	v.skipped, v.text = true, fmt.Sprint(args...)
	runtime.Goexit()
}

// judge runs f as a test of its own and returns how it ended.
func judge(t *testing.T, f func(testing.TB)) *verdict {
	t.Helper()
	v := &verdict{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(v)
	}()
	<-done
	return v
}

func program(t *testing.T, dir, name string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho here\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestToolPrefersPinnedBuildOverPath(t *testing.T) {
	dir := t.TempDir()
	pinned := program(t, filepath.Join(dir, "tools", "bin"), "berth-test-tool")
	onPath := program(t, filepath.Join(dir, "path"), "berth-test-tool")
	t.Setenv("PATH", filepath.Dir(onPath))

	t.Setenv(ToolsVariable, filepath.Join(dir, "tools"))
	if got := Tool(t, "berth-test-tool"); got != pinned {
		t.Errorf("with a pinned build: got %s, want %s", got, pinned)
	}
	t.Setenv(ToolsVariable, filepath.Join(dir, "nothing"))
	if got := Tool(t, "berth-test-tool"); got != onPath {
		t.Errorf("without a pinned build: got %s, want %s", got, onPath)
	}
	t.Setenv(ToolsVariable, "")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	cached := program(t, filepath.Join(dir, "cache", "berth-tools", "bin"), "berth-test-tool")
	if got := Tool(t, "berth-test-tool"); got != cached {
		t.Errorf("with the default directory: got %s, want %s", got, cached)
	}
}

func TestMissingToolSkipsOrFails(t *testing.T) {
	find := func(t testing.TB) { Tool(t, "berth-no-such-tool") }
	t.Setenv(RequireAllVariable, "")
	if v := judge(t, find); !v.skipped || v.text != "needs berth-no-such-tool: run make tools" {
		t.Errorf("without %s: skipped=%t, %q", RequireAllVariable, v.skipped, v.text)
	}
	t.Setenv(RequireAllVariable, "1")
	if v := judge(t, find); !v.failed || !strings.Contains(v.text, "needs berth-no-such-tool") {
		t.Errorf("with %s=1: failed=%t, %q", RequireAllVariable, v.failed, v.text)
	}
}

// The aws CLI's own Python is taken when the one on PATH lacks the module.
func TestPythonHasTheModule(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("python3", "#!/bin/sh\nexit 1\n")
	own := write("python-of-aws", "#!/bin/sh\n[ \"$2\" = 'import boto3' ]\n")
	write("aws", "#!"+own+"\nimport sys\n")
	t.Setenv("PATH", dir)
	t.Setenv(RequireAllVariable, "")
	if got := Python(t, "boto3"); got != own {
		t.Errorf("got %s, want %s", got, own)
	}
	if v := judge(t, func(t testing.TB) { Python(t, "other") }); !v.skipped || !strings.Contains(v.text, "needs a Python 3 with other") {
		t.Errorf("skipped=%t, %q", v.skipped, v.text)
	}
}

func TestRunReportsOutputOfFailure(t *testing.T) {
	if got := Run(t, "/bin/sh", "-c", "echo out"); got != "out\n" {
		t.Errorf("stdout = %q", got)
	}
	v := judge(t, func(t testing.TB) { Run(t, "/bin/sh", "-c", "echo out; echo wrong >&2; exit 3") })
	for _, want := range []string{"status 3, expected 0", "--- stdout\nout", "--- stderr\nwrong"} {
		if !v.failed || !strings.Contains(v.text, want) {
			t.Errorf("failure text lacks %q: %q", want, v.text)
		}
	}
	expected := Command{Path: "/bin/sh", Args: []string{"-c", "cat >&2; exit 3"}, Stdin: "in", WantExit: 3}.Run(t)
	if expected.Stderr != "in" || expected.ExitCode != 3 {
		t.Errorf("result = %+v", expected)
	}
	if v := judge(t, func(t testing.TB) { Run(t, "/no/such/program") }); !v.failed {
		t.Error("a program that does not exist did not fail the test")
	}
	if v := judge(t, func(t testing.TB) { Run(t, "/bin/sh", "-c", "kill -9 $$") }); !v.failed {
		t.Error("a program ended by a signal did not fail the test")
	}
}

func TestRunKillsWholeGroupAfterTimeout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "child")
	script := "(sleep 2; echo late > " + file + ") & wait"
	start := time.Now()
	v := judge(t, func(t testing.TB) {
		Command{Path: "/bin/sh", Args: []string{"-c", script}, Timeout: 200 * time.Millisecond}.Run(t)
	})
	if !v.failed || !strings.Contains(v.text, "did not end within 200ms") {
		t.Errorf("failed=%t, %q", v.failed, v.text)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the timeout of 200ms took %s", took)
	}
	time.Sleep(2500*time.Millisecond - time.Since(start))
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the child outlived the timeout: %v", err)
	}
}

func TestRunWorksInCleanup(t *testing.T) {
	t.Run("inner", func(t *testing.T) {
		t.Cleanup(func() { Run(t, "/bin/sh", "-c", "true") })
	})
}

func TestFreePortCanBeListenedOn(t *testing.T) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(FreePort(t))))
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAWSEnvShutsOutOwnConfiguration(t *testing.T) {
	t.Setenv("AWS_PROFILE", "mine")
	t.Setenv("AWS_CA_BUNDLE", "/somewhere")
	t.Setenv("AWS_ENDPOINT_URL_ECR", "https://elsewhere.example")
	t.Setenv("BERTH_TESTKIT_KEPT", "yes")
	env := AWSEnv(t, "http://127.0.0.1:5050", "AKIDEXAMPLE", "secret", "eu-west-1")
	for _, want := range []string{
		"AWS_ENDPOINT_URL=http://127.0.0.1:5050", "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=secret",
		"AWS_REGION=eu-west-1", "AWS_EC2_METADATA_DISABLED=true", "BERTH_TESTKIT_KEPT=yes",
	} {
		if !slices.Contains(env, want) {
			t.Errorf("environment lacks %s", want)
		}
	}
	for _, pair := range env {
		for _, foreign := range []string{"AWS_PROFILE=", "AWS_CA_BUNDLE=", "AWS_ENDPOINT_URL_ECR="} {
			if strings.HasPrefix(pair, foreign) {
				t.Errorf("environment lets %s in", pair)
			}
		}
	}
}

func TestPluginMirrorKnowsBothLayouts(t *testing.T) {
	platform := runtime.GOOS + "_" + runtime.GOARCH
	for name, file := range map[string]string{
		"unpacked": "5.100.0/" + platform + "/terraform-provider-aws_v5.100.0_x5",
		"packed":   "terraform-provider-aws_5.100.0_" + platform + ".zip",
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "registry.terraform.io", "hashicorp", "aws", filepath.FromSlash(file))
			program(t, filepath.Dir(path), filepath.Base(path))
			t.Setenv(MirrorVariable, dir)
			if got := PluginMirror(t); got != dir {
				t.Errorf("mirror = %s, want %s", got, dir)
			}
			t.Setenv("TF_LOG", "TRACE")
			env := TerraformEnv(t, "http://127.0.0.1:1", "key", "secret", "us-east-1")
			if slices.Contains(env, "TF_LOG=TRACE") {
				t.Error("environment lets TF_LOG in")
			}
			i := slices.IndexFunc(env, func(s string) bool { return strings.HasPrefix(s, "TF_CLI_CONFIG_FILE=") })
			text, err := os.ReadFile(strings.TrimPrefix(env[i], "TF_CLI_CONFIG_FILE="))
			if err != nil || !bytes.Contains(text, []byte(strconv.Quote(dir))) {
				t.Errorf("configuration does not name the mirror: %v\n%s", err, text)
			}
		})
	}
	t.Setenv(MirrorVariable, t.TempDir())
	if v := judge(t, func(t testing.TB) { PluginMirror(t) }); !v.failed {
		t.Error("an empty directory in TF_PLUGIN_MIRROR did not fail the test")
	}
}
