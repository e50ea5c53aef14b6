package worker

import (
	"errors"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// isolations are tried in turn: not every system lets users make namespaces.
var isolations = []bool{true, false}

// isolate gives a child a network namespace without a network, as a user
// without rights in a namespace of its own, and makes it die with its parent.
func isolate(cmd *exec.Cmd, isolated bool) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if !isolated {
		return
	}
	cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWIPC
	cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: syscall.Getuid(), HostID: syscall.Getuid(), Size: 1}}
	cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: syscall.Getgid(), HostID: syscall.Getgid(), Size: 1}}
}

// limitSelf limits what this process may take (setrlimit(2)): memory, processor
// time, the size of files, and no core dumps.
func limitSelf(memory int64) error {
	set := func(what int, limit uint64) error { return unix.Setrlimit(what, &unix.Rlimit{Cur: limit, Max: limit}) }
	return errors.Join(
		set(unix.RLIMIT_DATA, uint64(memory)),
		set(unix.RLIMIT_CPU, maxProcessorSeconds),
		set(unix.RLIMIT_FSIZE, maxTempFile),
		set(unix.RLIMIT_CORE, 0),
	)
}

const (
	maxProcessorSeconds = 600
	maxTempFile         = 512 << 20
)

// wasKilled reports whether a process ended by a signal.
func wasKilled(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled()
}
