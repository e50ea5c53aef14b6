package docs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestProgram holds the documents to the program itself.
func TestProgram(t *testing.T) {
	berth := filepath.Join(t.TempDir(), "berth")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", berth, "./cmd/berth")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build ./cmd/berth: %v\n%s", err, out)
	}
	t.Run("commands", func(t *testing.T) { testCommands(t, berth) })
	t.Run("flags", func(t *testing.T) { testFlags(t, berth) })
	t.Run("story", func(t *testing.T) { testStory(t, berth) })
}

// environ is the environment without what would steer the program.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(pair string) bool {
		return strings.HasPrefix(pair, "AWS_") || strings.HasPrefix(pair, "BERTH_")
	})
}

func output(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Dir, cmd.Env = dir, environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
	return string(out)
}

var (
	helpCommand  = regexp.MustCompile(`(?m)^  ([a-z-]+) +[A-Z]`)
	helpFlag     = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+)`)
	namedCommand = regexp.MustCompile(`^(?:[A-Za-z0-9-]+=\S+ )*berth ([a-z-]+(?: ?\| ?[a-z-]+)*)`)
)

// testCommands: every command that a document names is there, and the README names every one that is there.
func testCommands(t *testing.T, berth string) {
	_, help, _ := strings.Cut(output(t, t.TempDir(), berth, "--help"), "Available Commands:\n")
	help, _, _ = strings.Cut(help, "\n\n")
	var have []string
	for _, m := range helpCommand.FindAllStringSubmatch(help, -1) {
		have = append(have, m[1])
	}
	if len(have) < 5 {
		t.Fatalf("berth --help lists only %q", have)
	}
	for _, d := range documents(t) {
		for n, line := range d.lines {
			if strings.Contains(line, "*later*") {
				continue
			}
			for _, span := range spans(line) {
				m := namedCommand.FindStringSubmatch(span)
				if m == nil {
					continue
				}
				for name := range strings.SplitSeq(m[1], "|") {
					if name = strings.TrimSpace(name); !slices.Contains(have, name) {
						t.Errorf("%s:%d: there is no command berth %s", d.path, n+1, name)
					}
				}
			}
		}
	}
	for _, document := range []string{"README.md", "README.vi.md"} {
		var named []string
		for _, tb := range read(t, document).tables {
			for _, row := range tb {
				for _, span := range spans(row[0]) {
					name, _, _ := strings.Cut(strings.TrimPrefix(span, "berth "), " ")
					named = append(named, name)
				}
			}
		}
		for _, name := range have {
			if name != "help" && !slices.Contains(named, name) {
				t.Errorf("%s: no table names the command berth %s", document, name)
			}
		}
	}
}

// testFlags: section 2.2 of the design lists the flags of serve, all of them and no others, and up has them too.
func testFlags(t *testing.T, berth string) {
	var listed []string
	for _, tb := range read(t, "docs/design.md").tables {
		if tb[0][0] != "flag" {
			continue
		}
		for _, row := range tb[2:] {
			for _, span := range spans(row[0]) {
				listed = append(listed, strings.TrimPrefix(span, "--"))
			}
		}
	}
	flags := func(command string) (out []string) {
		for _, m := range helpFlag.FindAllStringSubmatch(output(t, t.TempDir(), berth, command, "--help"), -1) {
			out = append(out, m[1])
		}
		return out
	}
	serve, up := flags("serve"), flags("up")
	for _, name := range listed {
		if !slices.Contains(serve, name) || !slices.Contains(up, name) {
			t.Errorf("docs/design.md lists the flag --%s, which berth serve or berth up does not have", name)
		}
	}
	for _, name := range serve {
		if name != "help" && !slices.Contains(listed, name) {
			t.Errorf("berth serve has the flag --%s, which docs/design.md does not list", name)
		}
	}
}

// testStory runs the first command of the README as a newcomer does, with nothing set, and finds what the README shows.
// A second run finds everything as it was.
func testStory(t *testing.T, berth string) {
	const command = "$ go run ./cmd/berth up examples/basic\n"
	blocks := read(t, "README.md").blocks
	i := slices.IndexFunc(blocks, func(b block) bool { return strings.HasPrefix(b.text, command) })
	if i < 0 {
		t.Fatalf("README.md does not show %q", command)
	}
	example, err := filepath.Abs(filepath.Join(root, "examples/basic"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	got := up(t, berth, dir, example)
	// Ports and times differ from run to run.
	normal := strings.NewReplacer(got.host, "HOST", "127.0.0.1:5050", "HOST")
	seconds := regexp.MustCompile(`after \d+s`)
	see := func(line string) string {
		return seconds.ReplaceAllString(normal.Replace(strings.TrimSpace(line)), "after Ns")
	}
	var seen []string
	for line := range strings.Lines(got.text) {
		seen = append(seen, see(line))
	}
	for line := range strings.Lines(strings.TrimPrefix(blocks[i].text, command)) {
		if line = strings.TrimSpace(line); line != "" && line != "…" && !slices.Contains(seen, see(line)) {
			t.Errorf("README.md shows %q, which berth up does not print. It prints:\n%s", line, got.text)
		}
	}
	if again := up(t, berth, dir, example); !strings.Contains(again.text, "No changes.") {
		t.Errorf("the second run of berth up changes something:\n%s", again.text)
	}
}

// A run is what berth up printed, and where it listened.
type run struct{ text, host string }

// up runs berth up in dir until it serves, asks berth env about it, and interrupts it.
func up(t *testing.T, berth, dir, example string) run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	printed := &buffer{changed: make(chan struct{}, 1)}
	cmd := exec.CommandContext(ctx, berth, "up", example, "--listen", "127.0.0.1:0")
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environ(), printed, printed
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !strings.Contains(printed.String(), "Serving until") {
		select {
		case err := <-ended:
			t.Fatalf("berth up ended (%v) before it served:\n%s", err, printed.head())
		case <-printed.changed:
		}
	}
	text := printed.String()
	m := regexp.MustCompile(`listening on http://(\S+)`).FindStringSubmatch(text)
	if m == nil {
		t.Errorf("berth up does not say where it listens:\n%s", text)
		m = []string{"", "no host"}
	}
	if env := output(t, dir, berth, "env"); !strings.Contains(env, "AWS_ENDPOINT_URL=http://"+m[1]+"\n") {
		t.Errorf("berth env does not point to %s:\n%s", m[1], regexp.MustCompile(`(SECRET\w*=).*`).ReplaceAllString(env, "${1}…"))
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("berth up, interrupted: %v\n%s", err, printed.head())
	}
	return run{text, m[1]}
}

// buffer collects what a process prints and tells when there is more.
type buffer struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// head is the beginning, since a crash can print thousands of lines.
func (b *buffer) head() string {
	s := b.String()
	if len(s) > 2000 {
		return s[:2000] + fmt.Sprintf("… (%d bytes more)", len(s)-2000)
	}
	return s
}
