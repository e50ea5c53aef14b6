package testkit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// DefaultTimeout bounds a [Command] that sets none. It is long because the race detector and busy machines slow every
// client down; a client that hangs shall still end before the test binary's own deadline.
const DefaultTimeout = 2 * time.Minute

// outputShown is how many bytes at the end of each stream a failure message shows.
const outputShown = 8 << 10

// Command is one run of a client.
type Command struct {
	Path     string        // the program, usually from [Tool]
	Args     []string      // its arguments, without the program's name
	Dir      string        // the working directory; "" is the test's own
	Env      []string      // the whole environment, as in [exec.Cmd]; nil is the test's own
	Stdin    string        // what the program reads
	Timeout  time.Duration // after it the program and its children are killed; 0 is DefaultTimeout
	WantExit int           // the exit status that the test expects
}

// Result is what a finished [Command] left.
type Result struct {
	Stdout, Stderr string
	ExitCode       int
}

// Run runs the command to its end and returns what it wrote. The test fails at once, with the end of both streams,
// when the program cannot start, runs out of time or ends with another status than WantExit.
func (c Command) Run(t testing.TB) Result {
	t.Helper()
	// Not t.Context itself: it is already cancelled in cleanup functions, where destroy and logout commands run.
	result, err := c.Try(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatalf("%v%s", err, result.tail())
	}
	if result.ExitCode != c.WantExit {
		t.Fatalf("%s ended with status %d, expected %d%s", c, result.ExitCode, c.WantExit, result.tail())
	}
	return result
}

// Try runs the command to its end without judging its exit status: the error says only that the program could not
// start, was ended by a signal, or ran longer than its timeout.
func (c Command) Try(ctx context.Context) (Result, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, c.Path, c.Args...)
	cmd.Dir, cmd.Env = c.Dir, c.Env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(c.Stdin), &stdout, &stderr
	ownGroup(cmd)
	err := cmd.Run()

	result := Result{Stdout: stdout.String(), Stderr: stderr.String(), ExitCode: -1}
	if cmd.ProcessState != nil {
		result.ExitCode = cmd.ProcessState.ExitCode()
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil && err != nil:
		return result, fmt.Errorf("%s did not end within %s: %w", c, timeout, ctx.Err())
	case err == nil, errors.As(err, &exit) && result.ExitCode >= 0:
		return result, nil
	default:
		return result, fmt.Errorf("%s: %w", c, err)
	}
}

// String returns the command line, for messages. Arguments of more than 200 bytes are cut.
func (c Command) String() string {
	words := make([]string, 0, len(c.Args)+1)
	for _, word := range append([]string{c.Path}, c.Args...) {
		if len(word) > 200 {
			word = word[:200] + "..."
		}
		if word == "" || strings.ContainsAny(word, " \t\n'\"") {
			word = fmt.Sprintf("%q", word)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// Run runs a program with DefaultTimeout in the test's own directory and environment, expects exit status 0 and
// returns its standard output. The test fails at once otherwise.
func Run(t testing.TB, path string, args ...string) string {
	t.Helper()
	return Command{Path: path, Args: args}.Run(t).Stdout
}

// FreePort returns a TCP port of 127.0.0.1 that was free a moment ago. Another process may take it before the caller
// does, so a server under our control shall listen on port 0 and report its port; this is for other people's servers.
func FreePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil {
		t.Fatalf("free port %d again: %v", port, err)
	}
	return port
}

// ownGroup puts the command into a process group of its own and lets the context's end kill the whole group, so that
// a client's children (terraform's providers, podman's helpers) do not outlive the test.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A grandchild that left the group may hold the pipes open; do not wait for it for ever.
	cmd.WaitDelay = 5 * time.Second
}

// tail formats the end of both streams for a failure message.
func (r Result) tail() string {
	var b strings.Builder
	for _, stream := range []struct{ name, text string }{{"stdout", r.Stdout}, {"stderr", r.Stderr}} {
		if text := strings.TrimRight(stream.text, "\n"); text != "" {
			if len(text) > outputShown {
				text = "[...]" + text[len(text)-outputShown:]
			}
			fmt.Fprintf(&b, "\n--- %s\n%s", stream.name, text)
		}
	}
	return b.String()
}
