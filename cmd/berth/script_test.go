package main

import (
	"context"
	"encoding/xml"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/internal/testkit"
)

// TestScripts runs the stories in testdata/script with the real program. They
// have these commands of their own:
//
//	exits CODE ARGS...   runs "berth ARGS", which must end with that status
//	start NAME ARGS...   starts "berth ARGS" in the background
//	serving NAME         waits until it listens; $NAME is then its address, host:port
//	await NAME PATTERN   waits until it has printed something that matches
//	end NAME [SIGNAL]    sends INT, TERM or KILL (default INT), after which it must soon end, with status 0 unless it was
//	                     killed; what it printed is then in NAME.stdout and NAME.stderr
//	push DATA IMAGE      pushes a random image, as REPOSITORY:TAG, to the registry with that data directory
//	pull DATA IMAGE      expects that image there, byte for byte
//	iam ACTION K=V...    calls an operation of IAM on the registry with the data directory $BERTH_DATA; @FILE is what is in FILE
func TestScripts(t *testing.T) {
	t.Parallel()
	bin := filepath.Dir(buildBinary(t))
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	image := testkit.RandomImage(t, 2, 100<<10)
	transfer := func(use func(*remote, context.Context, string, string, testkit.Content) error) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, neg bool, args []string) {
			usage(ts, len(args) == 2 && !neg, "push|pull DATA REPOSITORY:TAG")
			repository, tag, _ := strings.Cut(args[1], ":")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			r, err := connect(ctx, ts.MkAbs(args[0]))
			ts.Check(err)
			ts.Check(use(r, ctx, repository, tag, image))
		}
	}
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
			env.Setenv("EXAMPLES", filepath.Join(root, "examples"))
			env.Values[runningKey{}] = map[string]*process{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exitsCommand, "start": startCommand, "serving": servingCommand, "await": awaitCommand, "end": endCommand,
			"iam":  iamCommand,
			"push": transfer((*remote).push), "pull": transfer((*remote).holds),
		},
	})
}

// stopLimit is how long a server may take to end when nobody is pulling or
// pushing, with room for a busy machine.
const stopLimit = 10 * time.Second

// runningKey is where a story keeps what it has started, by name.
type runningKey struct{}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

func exitsCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) >= 2 && !neg, "exits CODE ARGS...")
	code := 0
	if err := ts.Exec("berth", args[1:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("berth did not run: %v", err)
		}
		code = exit.ExitCode()
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit status %d, expected %s", code, args[0])
	}
}

func startCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) >= 2 && !neg, "start NAME ARGS...")
	var env []string
	for _, name := range []string{
		"HOME", "PATH", "TMPDIR", "AWS_REGION", "BERTH_LISTEN", "BERTH_DATA", "BERTH_REGION", "BERTH_ACCOUNT", "BERTH_LOG_LEVEL",
		"BERTH_ROOT_ACCESS_KEY_ID", "BERTH_ROOT_SECRET_ACCESS_KEY",
	} {
		if v := ts.Getenv(name); v != "" {
			env = append(env, name+"="+v)
		}
	}
	program := filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], "berth")
	p, err := launch(program, ts.MkAbs("."), env, args[1:])
	ts.Check(err)
	ts.Value(runningKey{}).(map[string]*process)[args[0]] = p
	ts.Defer(func() { ts.Check(p.kill()) })
}

func started(ts *testscript.TestScript, name string) *process {
	p, ok := ts.Value(runningKey{}).(map[string]*process)[name]
	if !ok {
		ts.Fatalf("nothing was started as %s", name)
	}
	return p
}

func servingCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 1 && !neg, "serving NAME")
	m, err := started(ts, args[0]).await(`listening on https?://(\S+)\n`)
	ts.Check(err)
	ts.Setenv(args[0], m[1])
}

func awaitCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2 && !neg, "await NAME PATTERN")
	_, err := started(ts, args[0]).await(args[1])
	ts.Check(err)
}

func iamCommand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) > 0 && !neg, "iam ACTION NAME=VALUE...")
	form := url.Values{"Action": {args[0]}, "Version": {"2010-05-08"}}
	for _, member := range args[1:] {
		name, value, _ := strings.Cut(member, "=")
		if file, ok := strings.CutPrefix(value, "@"); ok {
			value = ts.ReadFile(file)
		}
		form.Set(name, value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var answer struct{ XMLName xml.Name }
	ts.Check(askIAM(ctx, &environment{workdir: ts.MkAbs(".")}, ts.Getenv("BERTH_DATA"), form, &answer))
}

func endCommand(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "KILL": syscall.SIGKILL}
	name := "INT"
	if len(args) == 2 {
		name = args[1]
	}
	sig, known := signals[name]
	usage(ts, known && len(args) > 0 && !neg, "end NAME [INT|TERM|KILL]")
	p := started(ts, args[0])
	if p.ended() {
		ts.Fatalf("%s ended by itself%s", args[0], p.printed())
	}
	code, err := p.signal(sig, stopLimit)
	ts.Check(err)
	if code != 0 && sig != syscall.SIGKILL {
		ts.Fatalf("%s ended with status %d, expected 0%s", args[0], code, p.printed())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".stdout"), []byte(p.stdout.String()), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".stderr"), []byte(p.stderr.String()), 0o600))
}
