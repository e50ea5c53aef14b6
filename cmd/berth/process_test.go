package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/internal/testkit"
)

// buildBinary builds this program as its users do, and returns its path.
func buildBinary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "berth")
	testkit.Command{Path: testkit.Tool(t, "go"), Args: []string{"build", "-o", path, "."}, Timeout: 10 * time.Minute}.Run(t)
	return path
}

// patience bounds every wait for a process. A busy machine starts one slowly;
// a healthy one needs less than a second.
const patience = 30 * time.Second

// A process is a run of the program in the background.
type process struct {
	cmd            *exec.Cmd
	stdout, stderr output
	done           chan struct{} // closed when it has ended
}

// launch starts the program.
func launch(path, dir string, env, args []string) (*process, error) {
	p := &process{cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	return p, nil
}

// await waits until the program has printed something that matches, and
// returns the match with its groups.
func (p *process) await(pattern string) ([]string, error) {
	want, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	deadline := time.After(patience)
	for {
		ended := p.ended()
		if m := want.FindStringSubmatch(p.stdout.String() + p.stderr.String()); m != nil {
			return m, nil
		}
		if ended {
			return nil, fmt.Errorf("ended with status %d without printing %q%s", p.cmd.ProcessState.ExitCode(), pattern, p.printed())
		}
		select {
		case <-deadline:
			return nil, fmt.Errorf("did not print %q within %s%s", pattern, patience, p.printed())
		case <-p.done:
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signal sends a signal and waits for the end. It returns the exit status, -1
// when the signal killed the process.
func (p *process) signal(s syscall.Signal, within time.Duration) (int, error) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return 0, err
	}
	select {
	case <-p.done:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-time.After(within):
		return 0, fmt.Errorf("did not end within %s of %s%s", within, s, p.printed())
	}
}

// kill ends what may still run, at the end of a test.
func (p *process) kill() error {
	_, err := p.signal(syscall.SIGKILL, patience)
	return err
}

func (p *process) printed() string {
	return "\n--- stdout\n" + p.stdout.String() + "--- stderr\n" + p.stderr.String()
}

// An output collects what a process prints while others read it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// plainEnvironment is the environment without what would change the program's mind.
func plainEnvironment() (env []string) {
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "AWS_") && !strings.HasPrefix(pair, "BERTH_") {
			env = append(env, pair)
		}
	}
	return env
}
