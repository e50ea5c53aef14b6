package testkit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// RequireAllVariable names the environment variable that turns every skip for a missing part into a failure when it
// is set to 1.
const RequireAllVariable = "BERTH_REQUIRE_ALL"

// ToolsVariable names the environment variable that holds the directory of the clients built by "make tools". Without
// it the directory is berth-tools in the user's cache directory, as in test/tools/install.sh.
const ToolsVariable = "BERTH_TOOLS"

// Tool returns the path of a client by its program name, for example "skopeo". It looks first among the clients that
// "make tools" built at their pinned versions, then on PATH, then in the system directories that PATH of an ordinary
// user lacks. A missing client skips the test, or fails it under BERTH_REQUIRE_ALL=1.
func Tool(t testing.TB, name string) string {
	t.Helper()
	if dir := toolsDir(); dir != "" {
		if path, err := exec.LookPath(filepath.Join(dir, "bin", name)); err == nil {
			return path
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	Missing(t, "needs %s: run make tools", name)
	return ""
}

// Missing ends the test because a part is absent that it cannot do without: it skips, or fails under
// BERTH_REQUIRE_ALL=1. The text says what is needed and how to get it.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	text := fmt.Sprintf(format, args...)
	if os.Getenv(RequireAllVariable) == "1" {
		t.Fatalf("%s (%s=1 allows no skip)", text, RequireAllVariable)
	}
	t.Skip(text)
}

// toolsDir returns the directory that test/tools/install.sh fills, or "" when there is neither a variable nor a home.
func toolsDir() string {
	if dir := os.Getenv(ToolsVariable); dir != "" {
		return dir
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "berth-tools")
	}
	// Not os.UserCacheDir: on macOS it is ~/Library/Caches, and the script is the same everywhere.
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".cache", "berth-tools")
}

// Python returns the path of a Python 3 that has the module, for example "boto3": the one on PATH, or the one that runs
// the aws CLI, version 1 of which brings boto3's own botocore along. Without one it skips the test as [Tool] does.
func Python(t testing.TB, module string) string {
	t.Helper()
	path, ok := FindPython(module)
	if !ok {
		Missing(t, "needs a Python 3 with %s: pip install %s", module, module)
	}
	return path
}

// FindPython is [Python] for a test that can do without; false: there is none.
func FindPython(module string) (path string, ok bool) {
	candidates := []string{"python3"}
	if aws, err := exec.LookPath("aws"); err == nil {
		if script, err := os.ReadFile(aws); err == nil {
			line, _, _ := strings.Cut(string(script), "\n")
			if interpreter, ok := strings.CutPrefix(line, "#!"); ok && strings.Contains(interpreter, "python") {
				candidates = append(candidates, strings.TrimSpace(interpreter))
			}
		}
	}
	for _, candidate := range candidates {
		path, err := exec.LookPath(candidate)
		if err == nil && exec.Command(path, "-c", "import "+module).Run() == nil {
			return path, true
		}
	}
	return "", false
}
