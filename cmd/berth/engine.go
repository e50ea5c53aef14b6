package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/internal/module"
	"berth/internal/module/plan"
	"berth/modules"
)

// ExitCode is an error that wants an exit code of its own.
type ExitCode interface{ ExitCode() int }

// exitError ends the program with a code. Without err, there is nothing to print.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }
func (e *exitError) ExitCode() int { return e.code }

// changesPending is the exit code of plan --detailed-exitcode when there is something to do, as in Terraform.
const changesPending = 2

// engineFlags are the flags of all commands that work on a configuration.
type engineFlags struct {
	assign   []module.Assignment
	stack    string
	endpoint string
	region   string
	profile  string
}

// assignFlag appends --var or --var-file to the same list, because their order decides.
type assignFlag struct {
	list  *[]module.Assignment
	parse func(string) (module.Assignment, error)
	kind  string
}

func (f assignFlag) String() string { return "" }
func (f assignFlag) Type() string   { return f.kind }

func (f assignFlag) Set(arg string) error {
	a, err := f.parse(arg)
	if err == nil {
		*f.list = append(*f.list, a)
	}
	return err
}

// addAssignFlags adds --var and --var-file.
func addAssignFlags(flags *pflag.FlagSet, list *[]module.Assignment) {
	flags.Var(assignFlag{list, module.ParseVarFlag, "NAME=VALUE"}, "var", "set a variable of the configuration; may be repeated")
	flags.Var(assignFlag{list, func(path string) (module.Assignment, error) {
		if path == "" {
			return module.Assignment{}, errors.New("--var-file needs the path of a file")
		}
		return module.Assignment{File: path}, nil
	}, "FILE"}, "var-file", "read variables from a .tfvars or .tfvars.json file; may be repeated")
}

func (f *engineFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	addAssignFlags(flags, &f.assign)
	flags.StringVar(&f.stack, "stack", "", "name of the stack that owns the repositories (BERTH_STACK; default: derived from the directory)")
	flags.StringVar(&f.endpoint, "endpoint", "", "URL of the registry (default: AWS_ENDPOINT_URL_ECR, AWS_ENDPOINT_URL, else AWS itself)")
	flags.StringVar(&f.region, "region", "", "region of the registry (default: the provider block, then AWS_REGION)")
	flags.StringVar(&f.profile, "profile", "", "profile of the AWS configuration files (default: the provider block, then AWS_PROFILE)")
}

// load reads the configuration at dir and prints its warnings.
func (f *engineFlags) load(env *environment, dir string) (*module.Stack, error) {
	stack := f.stack
	if stack == "" {
		stack = env.getenv("BERTH_STACK")
	}
	assign := make([]module.Assignment, len(f.assign))
	for i, a := range f.assign {
		if a.File != "" {
			a.File = pathIn(env, a.File)
		}
		assign[i] = a
	}
	s, err := module.Load(pathIn(env, dir), module.LoadOptions{
		Assign: assign, Environ: os.Environ(), BuiltinModule: modules.FS, Stack: stack,
	})
	if err != nil {
		return nil, err
	}
	return s, printAll(env.stderr, "Warning: ", s.Warnings())
}

// client prepares the client: flags come first, then the provider block, then the environment.
func (f *engineFlags) client(ctx context.Context, s *module.Stack) (*module.Client, error) {
	opt := s.ClientOptions()
	if f.endpoint != "" {
		opt.Endpoint, opt.STSEndpoint = f.endpoint, ""
	}
	if f.region != "" {
		opt.Region = f.region
	}
	if f.profile != "" {
		opt.Profile = f.profile
	}
	return module.NewClient(ctx, opt)
}

// open loads the configuration and prepares the client.
func (f *engineFlags) open(ctx context.Context, env *environment, dir string) (*module.Stack, *module.Client, error) {
	s, err := f.load(env, dir)
	if err != nil {
		return nil, nil, err
	}
	c, err := f.client(ctx, s)
	return s, c, err
}

// planFlags are the flags of all commands that make a plan.
type planFlags struct {
	adopt        bool
	allowReplace []string
	impact       impactFlags
}

func (f *planFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.adopt, "adopt", false, "take over repositories that exist and that are not managed by this stack")
	cmd.Flags().StringArrayVar(&f.allowReplace, "allow-replace", nil, "agree to the replacement of the resource at this `ADDRESS`, which deletes its images; may be repeated")
	f.impact.register(cmd.Flags())
}

func (f *planFlags) options() module.PlanOptions {
	return module.PlanOptions{Adopt: f.adopt, AllowReplace: f.allowReplace}
}

// directory is the argument of a command, the current directory when there is none.
func directory(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

// pathIn resolves a path against the working directory of env, and leaves it as the user wrote it when that is the one
// of the process, so that messages show the same.
func pathIn(env *environment, path string) string {
	if env.workdir == "" || filepath.IsAbs(path) {
		return path
	}
	if cwd, err := os.Getwd(); err == nil && cwd == env.workdir {
		return path
	}
	return filepath.Join(env.workdir, path)
}

func printAll(w io.Writer, prefix string, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintf(w, "%s%s\n", prefix, line); err != nil {
			return err
		}
	}
	return nil
}

// useColor says whether w is a terminal whose user did not refuse colours. https://no-color.org
func useColor(env *environment, w io.Writer) bool {
	if env.getenv("NO_COLOR") != "" || env.getenv("TERM") == "dumb" {
		return false
	}
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// confirm asks a question and returns an error unless the answer is yes.
func confirm(env *environment, question string) error {
	if _, err := fmt.Fprintf(env.stdout, "\n%s\n  Only 'yes' will be accepted to approve.\n\n  Enter a value: ", question); err != nil {
		return err
	}
	answer, err := bufio.NewReader(env.stdin).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("the answer cannot be read: %w", err)
	}
	if _, err := fmt.Fprintln(env.stdout); err != nil {
		return err
	}
	switch answer = strings.TrimSpace(answer); {
	case answer == "yes":
		return nil
	case answer == "" && err != nil:
		return errors.New("nobody can approve, because standard input has ended: pass --auto-approve")
	}
	return errors.New("not approved, so nothing was changed")
}

// progressLines prints one line for each event, as Terraform does. A failure to print must not stop the work, so it is
// kept and reported afterwards.
type progressLines struct {
	w   io.Writer
	err error
}

func (p *progressLines) event(e module.Event) {
	words := map[plan.Action][3]string{
		plan.Create: {"Creating...", "Creation complete", "Creation failed"},
		plan.Update: {"Modifying...", "Modifications complete", "Modifications failed"},
		plan.Delete: {"Destroying...", "Destruction complete", "Destruction failed"},
	}[e.Action]
	elapsed := e.Elapsed.Truncate(time.Second)
	var err error
	switch {
	case e.Phase == module.EventStarted && e.Action == plan.Create:
		_, err = fmt.Fprintf(p.w, "%s: %s\n", e.Address, words[0])
	case e.Phase == module.EventStarted:
		_, err = fmt.Fprintf(p.w, "%s: %s [id=%s]\n", e.Address, words[0], e.ID)
	case e.Phase == module.EventDone && e.Action == plan.Delete:
		_, err = fmt.Fprintf(p.w, "%s: %s after %s\n", e.Address, words[1], elapsed)
	case e.Phase == module.EventDone:
		_, err = fmt.Fprintf(p.w, "%s: %s after %s [id=%s]\n", e.Address, words[1], elapsed, e.ID)
	case e.Phase == module.EventFailed:
		_, err = fmt.Fprintf(p.w, "%s: %s after %s\n", e.Address, words[2], elapsed)
	}
	p.err = errors.Join(p.err, err)
}

// carryOut applies a plan that was approved, with progress on out.
func carryOut(ctx context.Context, c *module.Client, p *module.Plan, out io.Writer) (module.Result, error) {
	progress := &progressLines{w: out}
	result, err := c.Apply(ctx, p, progress.event)
	if err != nil && result != (module.Result{}) {
		err = fmt.Errorf("applied in part (%d added, %d changed, %d destroyed), run it again to continue:\n%w",
			result.Added, result.Changed, result.Destroyed, err)
	}
	return result, errors.Join(err, progress.err)
}

// blocked returns the reasons for which a plan cannot be applied as an error.
func blocked(p *module.Plan) error {
	if reasons := p.Blockers(); len(reasons) > 0 {
		return errors.New(strings.Join(reasons, "\n"))
	}
	return nil
}
