//go:build !linux

package worker

import (
	"errors"
	"os/exec"
)

var isolations = []bool{false}

// isolate does nothing: there are no namespaces here.
func isolate(*exec.Cmd, bool) {}

// limitSelf leaves the limit of memory to the Go runtime, and that of time to
// the parent.
func limitSelf(int64) error { return nil }

// wasKilled reports whether a process ended otherwise than by its own exit.
func wasKilled(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && !exit.Exited()
}
