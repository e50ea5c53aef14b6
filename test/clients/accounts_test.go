package clients

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/testkit"
)

// The cross-account example of the module, as its readers run it: the account
// that the policy names pulls and does not push, another one does neither, and
// when the policy goes, so does access, also with the login made before.
func TestCrossAccountExample(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	data, berth := filepath.Join(dir, "registry"), filepath.Join(dir, "berth")
	testkit.Command{Path: "go", Args: []string{"build", "-o", berth, "./cmd/berth"}, Dir: root}.Run(t)
	host := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	up := exec.Command(berth, "up", "--listen", host, "--data", data, filepath.Join(root, "examples", "cross-account"))
	up.Env = append(os.Environ(), "AWS_REGION=us-east-1")
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := up.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		_ = up.Wait() // how it ends is another test's matter
	})

	aws := testkit.Tool(t, "aws")
	login := func(id, secret string) *client {
		t.Helper()
		crane := newClient(t, "crane")
		password := testkit.Command{Path: aws, Args: []string{"ecr", "get-login-password"}, Env: testkit.AWSEnv(t, "http://"+host, id, secret, "us-east-1")}.Run(t).Stdout
		crane.run("auth", "login", host, "--username", "AWS", "--password", strings.TrimSpace(password))
		return crane
	}
	create := func(account string) *client {
		t.Helper()
		var key struct{ AccessKeyID, SecretAccessKey string }
		text := testkit.Command{Path: berth, Args: []string{"accounts", "create", account, "--data", data, "--json"}, Dir: dir}.Run(t).Stdout
		if err := json.Unmarshal([]byte(text), &key); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return login(key.AccessKeyID, key.SecretAccessKey)
	}
	id, secret := rootKey(t, host, data)
	owner := login(id, secret)
	image := testkit.RandomImage(t, 2, 1<<10)
	pushed := layout(t, "v1", image)
	owner.run("push", pushed, host+"/shared-app:v1")

	partner, stranger := create("123456789012"), create("999999999999")
	back := filepath.Join(dir, "back")
	partner.run("pull", "--format=oci", host+"/shared-app:v1", back)
	sameLayout(t, back, image)
	denied := func(account, operation string) []string {
		return []string{"DENIED", "User: arn:aws:iam::" + account + ":root is not authorized to perform: ecr:" + operation +
			" on resource: arn:aws:ecr:us-east-1:000000000000:repository/shared-app because no resource-based policy allows the ecr:" + operation + " action"}
	}
	other := layout(t, "v2", testkit.RandomImage(t, 2, 1<<10))
	partner.refused(denied("123456789012", "InitiateLayerUpload"), "push", other, host+"/shared-app:v2")
	partner.refused(denied("123456789012", "PutImage"), "tag", host+"/shared-app:v1", "mine")
	partner.refused([]string{"DENIED"}, "delete", host+"/shared-app:v1")
	stranger.refused(denied("999999999999", "BatchGetImage"), "manifest", host+"/shared-app:v1")
	stranger.refused([]string{"DENIED"}, "pull", "--format=oci", host+"/shared-app:v1", filepath.Join(dir, "none"))

	testkit.Command{
		Path: aws, Args: []string{"ecr", "delete-repository-policy", "--repository-name", "shared-app"},
		Env: testkit.AWSEnv(t, "http://"+host, id, secret, "us-east-1"),
	}.Run(t)
	partner.refused(denied("123456789012", "BatchGetImage"), "manifest", host+"/shared-app:v1")
	owner.run("manifest", host+"/shared-app:v1")
}

// rootKey waits until a registry has started and applied its configuration, and
// reads the key of its root user.
func rootKey(t *testing.T, host, data string) (id, secret string) {
	t.Helper()
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(50 * time.Millisecond) {
		resp, err := http.Get("http://" + host + "/v2/")
		if err != nil {
			continue
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(readFile(t, filepath.Join(data, "credentials")))) {
			name, value, _ := strings.Cut(line, "=")
			switch strings.TrimSpace(name) {
			case "aws_access_key_id":
				id = strings.TrimSpace(value)
			case "aws_secret_access_key":
				secret = strings.TrimSpace(value)
			}
		}
		list := testkit.Command{
			Path: testkit.Tool(t, "aws"), Args: []string{"ecr", "get-repository-policy", "--repository-name", "shared-app"},
			Env: testkit.AWSEnv(t, "http://"+host, id, secret, "us-east-1"),
		}
		if result, err := list.Try(t.Context()); err == nil && result.ExitCode == 0 {
			return id, secret
		}
	}
	t.Fatal("the registry did not start within a minute")
	return "", ""
}
