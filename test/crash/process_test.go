package crash

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"berth/test/wire"
)

// patience bounds every wait for a server; a busy machine starts one slowly.
const patience = 60 * time.Second

// A process is a server in a process of its own.
type process struct {
	*wire.Client
	cmd    *exec.Cmd
	in     io.WriteCloser
	pipe   io.Closer
	out    *bufio.Reader
	stderr *lockedBuffer
	done   chan struct{} // closed when it has ended
}

// launch starts a server without waiting for it.
func launch(cfg childConfig) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self), stderr: &lockedBuffer{}, done: make(chan struct{})}
	p.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "BERTH_") }), childVariable+"="+string(text))
	p.cmd.Stderr = p.stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	// Not a StdoutPipe, which Wait would close under the reader.
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	p.cmd.Stdout, p.pipe, p.out = w, r, bufio.NewReader(r)
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, r.Close(), w.Close())
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	return p, nil
}

// greet waits until the server listens and logs in.
func (p *process) greet() error {
	var h hello
	if err := p.read(&h); err != nil {
		return err
	}
	var err error
	p.Client, err = wire.Dial(context.Background(), h.Endpoint, h.Region, h.AccessKey, h.Secret)
	return err
}

func (p *process) read(to any) error {
	watchdog := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer watchdog.Stop()
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		<-p.done
		return fmt.Errorf("%w: %w\n%s", errDied, err, p.stderr)
	}
	return json.Unmarshal(line, to)
}

// errDied says that the server ended before it said what it should.
var errDied = errors.New("the server has ended")

// arm lets the server end itself at a moment from now on, and gives the steps
// that it took since it was armed before.
func (p *process) arm(at kill) (map[string]int, error) {
	text, err := json.Marshal(at)
	if err != nil {
		return nil, err
	}
	if _, err := p.in.Write(append(text, '\n')); err != nil {
		return nil, fmt.Errorf("%w: %w", errDied, err)
	}
	var counts map[string]int
	return counts, p.read(&counts)
}

// kill ends the server now, if it has not ended yet, and waits for its end.
func (p *process) kill() error {
	if err := p.cmd.Process.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return p.ended()
}

// ended waits for the end and fails unless SIGKILL brought it.
func (p *process) ended() error {
	select {
	case <-p.done:
	case <-time.After(patience):
		return errors.New("the server does not end")
	}
	if p.Client != nil {
		p.Close()
	}
	if err := p.pipe.Close(); err != nil { // Wait closed the other one
		return err
	}
	if status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != syscall.SIGKILL {
		return fmt.Errorf("the server ended by itself: %s\n%s", p.cmd.ProcessState, p.stderr)
	}
	return nil
}

// isDead reports whether the server has ended, or does so within a moment.
func (p *process) isDead(within time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(within):
		return false
	}
}

// A lockedBuffer is what a process prints, read while it does.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
