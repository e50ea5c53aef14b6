package modules_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"berth/internal/testkit"
)

// The tests here run the real Terraform with the real provider's schema, but without a server: providers are mocked
// and nothing listens at the endpoint.
const nowhere = "http://127.0.0.1:1"

var examples = []string{
	"basic",
	"advanced",
	"cross-account",
	"pull-through-cache",
	"terraform-eks/environments/dev",
	"terraform-eks/environments/production",
}

func TestTerraformFormat(t *testing.T) {
	out := terraform{t: t}.run("fmt", "-check", "-diff", "-recursive", "-no-color", ".", filepath.Join(root, "examples"))
	if out.Stdout != "" {
		t.Errorf("terraform fmt would change:\n%s", out.Stdout)
	}
}

// TestTerraformModule runs the module's own tests, ecr/tests/*.tftest.hcl.
func TestTerraformModule(t *testing.T) {
	tf := newTerraform(t).in(t, filepath.Join(workingCopy(t), "modules/ecr"))
	tf.init()
	out := tf.run("test", "-no-color")
	if !strings.Contains(out.Stdout, "Success!") || !strings.Contains(out.Stdout, " 0 failed") {
		t.Errorf("no success:\n%s", out.Stdout)
	}
	written, err := filepath.Glob("ecr/tests/*.tftest.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range written {
		if line := "tests/" + filepath.Base(file) + "... pass"; !strings.Contains(out.Stdout, line) {
			t.Errorf("%q is missing from:\n%s", line, out.Stdout)
		}
	}
}

// TestTerraformMessagesNameTheKey gives each rule one bad key among good ones and looks for that key, and no other, in
// the message. A module test cannot do this: it sees that a rule failed, not what it said.
func TestTerraformMessagesNameTheKey(t *testing.T) {
	cases := []struct {
		file, variables string
		want            []string
	}{
		{"repositories", `
			repositories = {
				"none"      = null
				"Bad/UPPER" = {}
				"b"         = {}
				"/app"      = {}
				"app/"      = {}
				"../app"    = {}
				"my--app"   = {}
				"app:1"     = {}
				(join("", [for i in range(257) : "x"])) = {}
				"lower"     = { image_tag_mutability = "immutable" }
				"n0"        = { max_image_count = 0 }
				"n1"        = { max_image_count = 1 }
				"n1-5"      = { max_image_count = 1.5 }
				"nm1"       = { max_image_count = -1 }
				"d0"        = { untagged_days = 0 }
				"d0-5"      = { untagged_days = 0.5 }
				"d1"        = { untagged_days = 1 }
				"dm1"       = { untagged_days = -1 }
				"p-broken"  = { repository_policy = "{" }
				"p-empty"   = { repository_policy = "" }
				"p-hollow"  = { repository_policy = "{}" }
				"p-list"    = { repository_policy = "[]" }
				"p-null"    = { repository_policy = "null" }
				"p-object"  = { repository_policy = "{\"Version\":\"2012-10-17\"}" }
				"good"      = {}
			}`,
			[]string{
				`null is not a repository, write {} for the defaults: "none".`,
				`joined by single '.', '_', '-' or '/'. Rename: "../app", "/app", "Bad/UPPER", "app/", "app:1", "b", "my--app", "` + strings.Repeat("x", 257) + `".`,
				`image_tag_mutability is "MUTABLE" or "IMMUTABLE" (upper case). Correct: "lower" ("immutable").`,
				`max_image_count is a whole number, 1 or more. Correct: "n0" (0), "n1-5" (1.5), "nm1" (-1).`,
				`untagged_days is a whole number of days, 1 or more. Correct: "d0" (0), "d0-5" (0.5), "dm1" (-1).`,
				`repository_policy is null or a JSON policy object, best written with jsonencode({ … }). Correct: "p-broken", "p-empty", "p-hollow", "p-list", "p-null".`,
			}},
		{"rules", `
			pull_through_cache_rules = {
				"none"   = null
				"Upper"  = { upstream_registry_url = "quay.io" }
				"q"      = { upstream_registry_url = "quay.io" }
				"abcdefghijklmnopqrstuvwxyz12345" = { upstream_registry_url = "quay.io" }
				"blank"  = { upstream_registry_url = "" }
				"path"   = { upstream_registry_url = "quay.io/team" }
				"port"   = { upstream_registry_url = "127.0.0.1:5000" }
				"scheme" = { upstream_registry_url = "https://quay.io" }
				"secret" = { upstream_registry_url = "ghcr.io", credential_arn = "arn:aws:secretsmanager:eu-west-3:123456789012:secret:x" }
				"role"   = { upstream_registry_url = "quay.io", custom_role_arn = "x" }
				"up"     = { upstream_registry_url = "quay.io", upstream_repository_prefix = "UP" }
				"good"   = { upstream_registry_url = "quay.io" }
			}`,
			[]string{
				`a rule needs at least upstream_registry_url: "none".`,
				`joined by single '.', '_', '-' or '/'. Rename: "Upper", "abcdefghijklmnopqrstuvwxyz12345", "q".`,
				`without a scheme or a path. Correct: "blank", "path", "scheme".`,
				`whose name starts with ecr-pullthroughcache/. Correct: "secret".`,
				`custom_role_arn is null or the ARN of an IAM role. Correct: "role".`,
				`upstream_repository_prefix is null, ROOT or a repository prefix of lower-case letters and digits, joined by single '.', '_', '-' or '/'. Correct: "up".`,
			}},
		{"encryption", `encryption_type = "aes256"`,
			[]string{`encryption_type is "AES256" or "KMS", not "aes256".`}},
		{"key", `kms_key_arn = ""`,
			[]string{`kms_key_arn is null or the whole ARN of a key,`}},
		{"pairing", `
			repositories = { "app" = {} }
			kms_key_arn  = "arn:aws:kms:eu-west-3:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"`,
			[]string{`Repository "app": kms_key_arn has no effect with encryption_type "AES256". Set encryption_type = "KMS" or remove kms_key_arn.`}},
		{"warnings", `
			pull_through_cache_rules = {
				"docker-hub" = { upstream_registry_url = "registry-1.docker.io" }
				"quay"       = { upstream_registry_url = "quay.io" }
				"gcr"        = { upstream_registry_url = "gcr.io" }
			}`,
			[]string{
				`pull_through_cache_rules without credential_arn: "docker-hub" (registry-1.docker.io). Berth accepts that.`,
				`an upstream that Amazon ECR does not support: "gcr" (gcr.io). Berth accepts that.`,
			}},
	}

	dir := filepath.Join(workingCopy(t), "modules/ecr")
	tf := newTerraform(t).in(t, dir)
	tests := filepath.Join(dir, "messages")
	if err := os.Mkdir(tests, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		text := fmt.Sprintf("mock_provider \"aws\" {\n  source = \"./tests/mocks\"\n}\n\nvariables {\n%s\n}\n\nrun %q {\n  command = plan\n}\n", c.variables, c.file)
		if err := os.WriteFile(filepath.Join(tests, c.file+".tftest.hcl"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tf.init("-test-directory=messages")
	out := tf.fails("test", "-no-color", "-test-directory=messages")
	said := strings.Join(strings.Fields(out.Stdout+out.Stderr), " ")
	for _, c := range cases {
		for _, want := range c.want {
			if !strings.Contains(said, want) {
				t.Errorf("%s: no message says %q", c.file, want)
			}
		}
	}
	if t.Failed() {
		t.Logf("Terraform said:\n%s%s", out.Stdout, out.Stderr)
	}
}

// TestTerraformExamples validates every example: no error and no warning.
func TestTerraformExamples(t *testing.T) {
	tf := newTerraform(t)
	dir := workingCopy(t)
	for _, example := range examples {
		t.Run(example, func(t *testing.T) {
			tf := tf.in(t, filepath.Join(dir, "examples", example))
			tf.init()
			var report struct {
				Valid       bool              `json:"valid"`
				Diagnostics []json.RawMessage `json:"diagnostics"`
			}
			out := tf.run("validate", "-json")
			if err := json.Unmarshal([]byte(out.Stdout), &report); err != nil {
				t.Fatalf("%v in %s", err, out.Stdout)
			}
			if !report.Valid || len(report.Diagnostics) > 0 {
				t.Errorf("not valid, or warned about: %s", out.Stdout)
			}
		})
	}
}

// TestExamplesAreAllTested finds every directory below examples that holds configuration.
func TestExamplesAreAllTested(t *testing.T) {
	var found int
	err := filepath.WalkDir(filepath.Join(root, "examples"), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Name() == "main.tf" {
			found++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		for _, file := range []string{"main.tf", "outputs.tf", "README.md"} {
			if _, err := os.Stat(filepath.Join(root, "examples", example, file)); err != nil {
				t.Error(err)
			}
		}
	}
	if found != len(examples) {
		t.Errorf("%d examples on disk, %d in the list", found, len(examples))
	}
}

// workingCopy copies modules and examples to a place where Terraform may write.
func workingCopy(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"modules", "examples"} {
		if err := os.CopyFS(filepath.Join(dir, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
		// A working directory that somebody used carries state and a lock file of its own.
		err := filepath.WalkDir(filepath.Join(dir, name), func(path string, d os.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.Name() == ".terraform":
				return os.RemoveAll(path)
			case d.Name() == ".terraform.lock.hcl":
				return os.Remove(path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// terraform is the program in one directory.
type terraform struct {
	t   *testing.T
	env []string
	dir string
}

func newTerraform(t *testing.T) terraform {
	t.Helper()
	return terraform{t: t, env: testkit.TerraformEnv(t, nowhere, "test", "test", "ap-southeast-1")}
}

func (tf terraform) in(t *testing.T, dir string) terraform {
	return terraform{t: t, env: tf.env, dir: dir}
}

func (tf terraform) init(args ...string) {
	tf.t.Helper()
	tf.run(append([]string{"init", "-no-color", "-backend=false"}, args...)...)
}

func (tf terraform) run(args ...string) testkit.Result {
	tf.t.Helper()
	return tf.ends(0, args)
}

func (tf terraform) fails(args ...string) testkit.Result {
	tf.t.Helper()
	return tf.ends(1, args)
}

func (tf terraform) ends(status int, args []string) testkit.Result {
	tf.t.Helper()
	return testkit.Command{
		Path: testkit.Tool(tf.t, "terraform"), Args: args, Dir: tf.dir, Env: tf.env, WantExit: status, Timeout: 10 * time.Minute,
	}.Run(tf.t)
}
