package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"berth/internal/scan/inventory"
)

// A Layer is one of an image whose bytes the parent can open.
type Layer struct {
	Digest string
	Size   int64
	Open   func(context.Context) (io.ReadCloser, error)
}

// Limits are what one scan may take.
type Limits struct {
	inventory.Limits
	Memory int64         // bytes of the child
	Time   time.Duration // from its start to its end
}

// DefaultLimits are wide enough for the images that people make.
var DefaultLimits = Limits{Limits: inventory.DefaultLimits, Memory: 1 << 30, Time: 10 * time.Minute}

// A Failure is a scan that found out nothing because of the image. Reason is a
// sentence without the final full stop.
type Failure struct{ Reason string }

func (f *Failure) Error() string { return "scan an image: " + f.Reason }

// Options are how children are run.
type Options struct {
	Command []string // a program and arguments that call Serve
	Temp    string   // directory for the one kind of temporary file that there is
	Limits  Limits
}

// maxAnswer bounds what a child may say: 100,000 packages, about.
const maxAnswer = 64 << 20

// Run reads the packages of an image, whose layers it takes from the base to
// the top, in a child. A *Failure is about the image; any other error is about
// this machine, and the scan may succeed later.
func Run(ctx context.Context, o Options, layers []Layer) (inventory.Inventory, error) {
	limited, cancel := context.WithTimeout(ctx, o.Limits.Time)
	defer cancel()
	temp, err := os.MkdirTemp(o.Temp, "scan-")
	if err != nil {
		return inventory.Inventory{}, fmt.Errorf("make a directory for a scan: %w", err)
	}
	defer func() { _ = os.RemoveAll(temp) }() // the next start of the system clears what stays
	a, err := runChild(limited, o, layers, temp)
	switch {
	case ctx.Err() != nil:
		return inventory.Inventory{}, ctx.Err()
	case limited.Err() != nil:
		return inventory.Inventory{}, &Failure{fmt.Sprintf("the scan took longer than %s", o.Limits.Time)}
	case err != nil:
		return inventory.Inventory{}, err
	case a.Failure != "":
		return inventory.Inventory{}, &Failure{a.Failure}
	}
	return a.Inventory, nil
}

func runChild(ctx context.Context, o Options, layers []Layer, temp string) (a answer, err error) {
	cmd, stdin, err := start(ctx, o, temp)
	if err != nil {
		return a, fmt.Errorf("start the process of a scan: %w", err)
	}
	fed := make(chan error, 1)
	go func() { fed <- feed(ctx, o, layers, stdin) }()
	out, errs := cmd.Stdout.(*bounded), cmd.Stderr.(*bounded)
	waited := cmd.Wait()
	feedErr := <-fed
	if ctx.Err() != nil {
		return a, ctx.Err()
	}
	// A child that ends early breaks the pipe, and then its end says more. One
	// that got too little because bytes could not be read is not at fault.
	var reading *readError
	if errors.As(feedErr, &reading) {
		return a, reading
	}
	if waited != nil {
		return a, ended(o, waited, errs.String())
	}
	if out.over {
		return a, &Failure{fmt.Sprintf("the list of packages is longer than %d bytes", maxAnswer)}
	}
	if err := json.Unmarshal(out.Bytes(), &a); err != nil {
		return a, fmt.Errorf("read the answer of a scan: %w", err)
	}
	return a, nil
}

// start starts a child; without a network where that can be had.
func start(ctx context.Context, o Options, temp string) (*exec.Cmd, io.WriteCloser, error) {
	var errs []error
	for _, isolated := range isolations {
		cmd := exec.CommandContext(ctx, o.Command[0], o.Command[1:]...)
		cmd.Env = []string{"TMPDIR=" + temp}
		cmd.Dir = temp
		cmd.Stdout, cmd.Stderr = &bounded{limit: maxAnswer}, &bounded{limit: 64 << 10}
		cmd.WaitDelay = time.Second
		isolate(cmd, isolated)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return nil, nil, err
		}
		if err = cmd.Start(); err == nil {
			return cmd, stdin, nil
		}
		errs = append(errs, err)
	}
	return nil, nil, errors.Join(errs...)
}

// A readError is bytes of the registry that could not be read.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// feed writes the task and the layers, the topmost first.
func feed(ctx context.Context, o Options, layers []Layer, w io.WriteCloser) (err error) {
	defer func() { err = errors.Join(err, w.Close()) }()
	t := task{Limits: o.Limits.Limits, Memory: o.Limits.Memory}
	for i := range layers {
		l := layers[len(layers)-1-i]
		t.Layers = append(t.Layers, taskLayer{l.Digest, l.Size})
	}
	if err := json.NewEncoder(w).Encode(t); err != nil {
		return err
	}
	for i := range layers {
		if err := feedLayer(ctx, layers[len(layers)-1-i], w); err != nil {
			return err
		}
	}
	return nil
}

func feedLayer(ctx context.Context, l Layer, w io.Writer) (err error) {
	r, err := l.Open(ctx)
	if err != nil {
		return &readError{fmt.Errorf("open the layer %s: %w", l.Digest, err)}
	}
	defer func() { _ = r.Close() }() // only read
	buf := make([]byte, 256<<10)
	for left := l.Size; left > 0; {
		n, err := r.Read(buf[:min(left, int64(len(buf)))])
		left -= int64(n)
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if err != nil && left > 0 {
			return &readError{fmt.Errorf("read the layer %s: %w", l.Digest, err)}
		}
	}
	return nil
}

// ended says why a child ended without an answer.
func ended(o Options, err error, stderr string) error {
	first, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	switch {
	case strings.Contains(stderr, "out of memory") || strings.Contains(stderr, "cannot allocate memory"):
		return &Failure{fmt.Sprintf("the scan needs more than %d bytes of memory", o.Limits.Memory)}
	case strings.HasPrefix(first, "panic:"), strings.HasPrefix(first, "fatal error:"), strings.HasPrefix(first, "runtime:"):
		return &Failure{"the reader of packages failed: " + first}
	case wasKilled(err):
		return &Failure{"the scan was ended by the system, for the memory or the time that it took"}
	}
	return fmt.Errorf("the process of a scan: %w: %s", err, first)
}

// A bounded buffer keeps the beginning of what is written to it.
type bounded struct {
	bytes.Buffer
	limit int
	over  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if free := b.limit - b.Len(); len(p) > free {
		b.over = true
		b.Buffer.Write(p[:free])
		return len(p), nil
	}
	return b.Buffer.Write(p)
}
