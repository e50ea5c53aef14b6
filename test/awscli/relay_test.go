package awscli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"berth/internal/testkit"
)

// socketVariable names the environment variable with the socket of aws.py.
const socketVariable = "BERTH_TEST_AWS_SOCKET"

// TestMain lets the test binary be the program "aws-relay" in stories.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"aws-relay": relay})
}

// startAWS returns the program that stories run as aws, and the environment that it needs. Where the CLI is a Python
// module (version 1), that is a relay to one process which imported it once: of the second that a command takes, most
// is that. Otherwise it is the CLI itself.
func startAWS(t *testing.T) (program, env string) {
	aws := testkit.Tool(t, "aws")
	python, ok := testkit.FindPython("awscli.clidriver")
	if !ok {
		return aws, socketVariable + "="
	}
	// Not t.TempDir: the path of a socket is short.
	dir, err := os.MkdirTemp("", "aws")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	cmd := exec.Command(python, "aws.py", socket)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
			t.Errorf("aws.py: %v", err)
		}
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "listening\n" {
		t.Fatalf("aws.py said %q: %v", line, err)
	}
	return "aws-relay", socketVariable + "=" + socket
}

// relay has aws.py run a command with the arguments, the environment and the directory of this process.
func relay() {
	code, err := relayed(os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "aws-relay:", err)
		code = 1
	}
	os.Exit(code)
}

func relayed(stdout, stderr io.Writer) (code int, err error) {
	env := map[string]string{}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	dir, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	c, err := net.Dial("unix", env[socketVariable])
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	question := struct {
		Args []string          `json:"args"`
		Env  map[string]string `json:"env"`
		Dir  string            `json:"dir"`
	}{os.Args[1:], env, dir}
	if err := json.NewEncoder(c).Encode(question); err != nil {
		return 0, err
	}
	var answer struct {
		Code           int
		Stdout, Stderr []byte
	}
	if err := json.NewDecoder(c).Decode(&answer); err != nil {
		return 0, fmt.Errorf("read the answer of aws.py: %w", err)
	}
	_, errOut := stdout.Write(answer.Stdout)
	_, errErr := stderr.Write(answer.Stderr)
	return answer.Code, errors.Join(errOut, errErr)
}
