// Command berth is Amazon ECR that one can run oneself, and the module that
// manages it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// An environment is what a command may touch of the process around it.
type environment struct {
	stdout, stderr io.Writer
	stdin          io.Reader
	getenv         func(string) string
	workdir        string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	workdir, err := os.Getwd()
	if err != nil {
		fmt.Fprintf(os.Stderr, "Error: find the working directory: %v\n", err)
		os.Exit(1)
	}
	env := &environment{stdout: os.Stdout, stderr: os.Stderr, stdin: os.Stdin, getenv: os.Getenv, workdir: workdir}
	code := run(ctx, env, os.Args[1:])
	stop()
	os.Exit(code)
}

// run executes one command line and returns its exit code: 0 done, 1 failed,
// 2 a command line that makes no sense (or what the command says).
func run(ctx context.Context, env *environment, args []string) int {
	root := newRootCommand(env)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	var code ExitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		if err.Error() != "" {
			printError(env, err)
		}
		return code.ExitCode()
	case cmd == root: // it runs nothing itself, so no command was found in the line
		if !strings.Contains(err.Error(), "\n") { // otherwise it ends with suggestions
			err = fmt.Errorf("%w: see berth --help", err)
		}
		printError(env, err)
		return usageError
	default:
		printError(env, err)
		return 1
	}
}

func printError(env *environment, err error) {
	_, _ = fmt.Fprintf(env.stderr, "Error: %v\n", err) // nobody is left to tell
}

// usageError is the exit code of a command line that makes no sense.
const usageError = 2

func newRootCommand(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "berth",
		Short: "Amazon ECR that you can run yourself, and the module that manages it",
		Long: `Berth is a registry with the API and the rules of Amazon ECR, and the engine that applies the ECR module
to it or to AWS. Start with: berth up examples/basic

Every flag has an environment variable: --registry-host is BERTH_REGISTRY_HOST.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return bindEnvironment(cmd.Flags(), env.getenv)
		},
	}
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetIn(env.stdin)
	root.AddCommand(
		newUpCommand(env), newServeCommand(env), newPlanCommand(env), newApplyCommand(env), newDestroyCommand(env),
		newOutputCommand(env), newEnvCommand(env), newLoginCommand(env), newCredentialHelperCommand(env), newVersionCommand(env),
		newFsckCommand(env), newGCCommand(env), newRotateKeysCommand(env), newBackupCommand(env), newRestoreCommand(env),
		newAccountsCommand(env), newPolicyCommand(env), newLifecycleCommand(env), newCostCommand(env), newCacheCommand(env), newEventsCommand(env), newVulnDBCommand(env), newScanCommand(env), newScanWorkerCommand(env),
	)
	for _, c := range root.Commands() {
		markUsageErrors(c)
	}
	return root
}

// markUsageErrors gives wrong flags and arguments their own exit code. plan and
// policy explain keep 1, since their 2 means changes and denied; so do scan and
// scan diff, where it means that the policy failed.
func markUsageErrors(c *cobra.Command) {
	wrap := func(err error) error {
		if err == nil || slices.Contains([]string{"plan", "explain", "scan", "diff"}, c.Name()) {
			return err
		}
		return &exitError{code: usageError, err: fmt.Errorf("%w: see %s --help", err, c.CommandPath())}
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return wrap(err) })
	if check := c.Args; check != nil {
		c.Args = func(cmd *cobra.Command, args []string) error { return wrap(check(cmd, args)) }
	}
	for _, sub := range c.Commands() {
		markUsageErrors(sub)
	}
}

// bindEnvironment fills flags that were not given from BERTH_… variables.
func bindEnvironment(flags *pflag.FlagSet, getenv func(string) string) error {
	var errs []error
	flags.VisitAll(func(f *pflag.Flag) {
		name := "BERTH_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		v := getenv(name)
		if f.Changed || v == "" {
			return
		}
		if err := flags.Set(f.Name, v); err != nil {
			errs = append(errs, fmt.Errorf("environment variable %s: %w", name, err))
		}
	})
	return errors.Join(errs...)
}

// invocation is how the user started this program, for commands they can paste.
func invocation() string {
	exe, err := os.Executable()
	if err != nil {
		return "berth"
	}
	if strings.Contains(exe, string(filepath.Separator)+"go-build") {
		return "go run ./cmd/berth"
	}
	if filepath.Base(os.Args[0]) == os.Args[0] {
		return os.Args[0] // found on PATH
	}
	return exe
}
