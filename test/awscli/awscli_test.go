package awscli

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"

	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// TestStories runs every story against one registry. Stories run side by side,
// so each uses repository names of its own.
func TestStories(t *testing.T) {
	aws, socket := startAWS(t)
	testkit.Tool(t, "curl")
	server := servertest.Start(t)
	user, password := server.Login()
	push := &pusher{endpoint: server.Endpoint, user: user, password: password}

	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, server.Env()...)
			env.Vars = append(env.Vars,
				socket, "LF=\n", "REGISTRY="+server.Host, "ROOT_ACCESS_KEY_ID="+server.Root.AccessKeyID, "ROOT_SECRET_ACCESS_KEY="+server.Root.SecretAccessKey, "AWS_PAGER=", "AWS_MAX_ATTEMPTS=1",
				"AWS_CONFIG_FILE="+filepath.Join(env.WorkDir, "no-aws-config"),
				"AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(env.WorkDir, "no-aws-credentials"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"aws":        func(ts *testscript.TestScript, neg bool, args []string) { run(ts, neg, aws, args) },
			"prints":     prints,
			"refused":    refused,
			"capture":    capture,
			"as":         as,
			"save":       save,
			"push":       push.image,
			"push-index": push.index,
			"random":     random,
			"concat":     concat,
		},
	})
}

func run(ts *testscript.TestScript, neg bool, program string, args []string) {
	err := ts.Exec(program, args...)
	switch {
	case neg && err == nil:
		ts.Fatalf("unexpected success")
	case !neg && err != nil:
		ts.Fatalf("unexpected failure: %v", err)
	}
}

// affirm ends the script when a command that has no negation is negated, or
// has the wrong number of arguments.
func affirm(ts *testscript.TestScript, neg bool, args []string, least, most int, usage string) {
	if neg || len(args) < least || len(args) > most {
		ts.Fatalf("usage: %s", usage)
	}
}

const noLimit = 1 << 10

func prints(ts *testscript.TestScript, neg bool, args []string) {
	affirm(ts, neg, args, 0, noLimit, "prints LINE...")
	var got []string
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if want := strings.Join(args, "\n"); strings.Join(got, "\n") != want {
		ts.Fatalf("printed\n%s\nwant\n%s", strings.Join(got, "\n"), want)
	}
}

var braced = regexp.MustCompile(`\$\{(\w+)\}`)

func refused(ts *testscript.TestScript, neg bool, args []string) {
	affirm(ts, neg, args, 3, 3, "refused CODE OPERATION TEXT")
	text := braced.ReplaceAllStringFunc(args[2], func(s string) string { return ts.Getenv(s[2 : len(s)-1]) })
	want := "An error occurred (" + args[0] + ") when calling the " + args[1] + " operation: " + text
	if got := strings.Trim(ts.ReadFile("stderr"), "\n"); got != want {
		ts.Fatalf("error\n%s\nwant\n%s", got, want)
	}
}

func capture(ts *testscript.TestScript, neg bool, args []string) {
	affirm(ts, neg, args, 1, 1, "capture NAME")
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}

// as makes the commands that follow those of a key, "ID SECRET [TOKEN]" as the
// CLI prints them, or of the root user again.
func as(ts *testscript.TestScript, neg bool, args []string) {
	affirm(ts, neg, args, 1, 1, "as root | as CREDENTIALS")
	fields := strings.Fields(args[0])
	if args[0] == "root" {
		fields = []string{ts.Getenv("ROOT_ACCESS_KEY_ID"), ts.Getenv("ROOT_SECRET_ACCESS_KEY")}
	}
	for i, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} {
		value := ""
		if i < len(fields) {
			value = fields[i]
		}
		ts.Setenv(name, value)
	}
}

func save(ts *testscript.TestScript, neg bool, args []string) {
	affirm(ts, neg, args, 1, 1, "save FILE")
	keep(ts, args[0], []byte(strings.TrimSuffix(ts.ReadFile("stdout"), "\n")))
}

func random(ts *testscript.TestScript, neg bool, args []string) {
	affirm(ts, neg, args, 2, 2, "random FILE SIZE")
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	data := make([]byte, size)
	_, err = rand.Read(data)
	ts.Check(err)
	keep(ts, args[0], data)
}

func concat(ts *testscript.TestScript, neg bool, args []string) {
	affirm(ts, neg, args, 2, noLimit, "concat FILE PART...")
	var data []byte
	for _, part := range args[1:] {
		data = append(data, ts.ReadFile(part)...)
	}
	keep(ts, args[0], data)
}

// keep writes a file and sets the variable of its name to the digest.
func keep(ts *testscript.TestScript, name string, data []byte) {
	ts.Check(os.WriteFile(ts.MkAbs(name), data, 0o600))
	ts.Setenv(name, digest.FromBytes(data).String())
}
