package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/impact"
	"berth/internal/testkit"
)

// TestImpact tightens the policy of a repository with images, and destroys it: what goes is shown before, and limits
// refuse it with nothing done.
func TestImpact(t *testing.T) {
	t.Parallel()
	bin := buildBinary(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	p, err := launch(bin, dir, os.Environ(), []string{"serve", "--listen", "127.0.0.1:0", "--data", data})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.kill() }()
	if _, err := p.await(`listening on (\S+)`); err != nil {
		t.Fatal(err)
	}
	r, err := connect(t.Context(), data)
	if err != nil {
		t.Fatal(err)
	}
	env := withoutKeys(append(testkit.AWSEnv(t, r.endpoint, "", "", "us-east-1"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(data, "credentials")))
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	vars := func(count string) string {
		return write("stack.tfvars", `repositories = { app = { max_image_count = `+count+` }, other = {} }
force_delete = true
`)
	}
	run := func(code int, args ...string) (string, string) {
		t.Helper()
		res, err := testkit.Command{Path: bin, Args: args, Env: env, Timeout: patience * 4}.Try(t.Context())
		if err != nil || res.ExitCode != code {
			t.Fatalf("%v: code %d, want %d: %v: %s%s", args, res.ExitCode, code, err, res.Stdout, res.Stderr)
		}
		return res.Stdout, res.Stderr
	}
	has := func(text string, want ...string) {
		t.Helper()
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%q is not in\n%s", w, text)
			}
		}
	}

	out, _ := run(0, "apply", vars("30"), "--auto-approve", "--max-expire", "0")
	if strings.Contains(out, "Images at stake") {
		t.Errorf("nothing exists yet, and images are at stake:\n%s", out)
	}
	base := strings.Repeat("b", 10_000)
	digests := map[string]string{}
	for _, tag := range []string{"v1", "v2", "v3", "v4"} {
		c := imageOf(t, base, "layer of "+tag)
		digests[tag] = c.Digest().String()
		if err := r.push(t.Context(), "app", tag, c); err != nil {
			t.Fatal(err)
		}
	}

	out, _ = run(0, "plan", vars("3"))
	has(out, "Images at stake:", "app: of 4 images 1 expire by rule 2, 3 stay", "tags that go: v1\n", "10.1 kB logical, 11 B really freed")
	out, _ = run(0, "plan", vars("3"), "--no-impact")
	if strings.Contains(out, "Images at stake") {
		t.Errorf("--no-impact still shows it:\n%s", out)
	}
	out, _ = run(0, "plan", vars("3"), "--json")
	var got struct {
		FormatVersion string        `json:"format_version"`
		Impact        impact.Report `json:"impact"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.FormatVersion == "" || len(got.Impact.Repositories) != 1 || got.Impact.Repositories[0].Expired[2] != 1 || got.Impact.Freed != 11 {
		t.Errorf("as JSON: %v: %+v", err, got)
	}
	for _, limit := range []string{"1", "25%"} {
		run(0, "plan", vars("3"), "--max-expire", limit)
		_, stderr := run(1, "plan", vars("2"), "--max-expire", limit)
		has(stderr, "app would lose 2 of 4 images, more than the limit of "+limit)
	}
	_, stderr := run(1, "apply", vars("2"), "--auto-approve", "--max-expire", "1")
	has(stderr, "app would lose 2 of 4 images")
	if out, _ := run(0, "plan", vars("30")); !strings.Contains(out, "No changes.") {
		t.Errorf("the apply that was refused changed something:\n%s", out)
	}

	pods := write("pods.json", `{"kind": "List", "items": [{"kind": "Pod", "spec": {"containers": [{"image": "elsewhere.example/app:v1"}, {"image": "nginx"}]},
		"status": {"containerStatuses": [{"imageID": "`+strings.TrimPrefix(r.endpoint, "http://")+`/app@`+digests["v2"]+`"}]}}]}`)
	out, _ = run(0, "plan", vars("3"), "--in-use", pods, "--protect-in-use")
	if strings.Contains(out, "IN USE") {
		t.Errorf("an image of another registry counts:\n%s", out)
	}
	out, stderr = run(1, "plan", vars("2"), "--in-use", pods, "--protect-in-use")
	has(out, "IN USE: app@"+digests["v2"])
	has(stderr, "app would lose images in use: app@"+digests["v2"])
	list := write("in-use.txt", "app:v1\n")
	_, stderr = run(1, "destroy", vars("30"), "--auto-approve", "--in-use", list, "--protect-in-use")
	has(stderr, "app would lose images in use: app:v1")
	_, stderr = run(1, "destroy", vars("30"), "--auto-approve", "--max-expire", "50%")
	has(stderr, "app would lose 4 of 4 images")
	for want, args := range map[string][]string{
		"needs --in-use":         {"--protect-in-use"},
		"neither a number":       {"--max-expire", "few"},
		"--no-impact leaves":     {"--no-impact", "--max-expire", "1"},
		"read the images in use": {"--in-use", filepath.Join(dir, "none")},
	} {
		_, stderr := run(1, append([]string{"plan", vars("30")}, args...)...)
		has(stderr, want)
	}
	for tag, d := range digests {
		if header, _, err := r.do(t.Context(), 200, "HEAD", "/v2/app/manifests/"+tag, nil); err != nil || header.Get("Docker-Content-Digest") != d {
			t.Errorf("%s is gone: %v", tag, err)
		}
	}

	// What the plan said is what the policy does, when it is told to.
	run(0, "apply", vars("3"), "--auto-approve")
	out, _ = run(0, "lifecycle", "run", "--json")
	var runs []lifecycleRun
	if err := json.Unmarshal([]byte(out), &runs); err != nil || len(runs) != 2 || runs[0].Expired != 1 || runs[0].FreedBytes != got.Impact.Freed ||
		runs[0].FinishedAt.IsZero() || len(runs[0].Images) != 1 || runs[0].Images[0].Digest != digests["v1"] || runs[1].Expired != 0 {
		t.Errorf("the run: %v: %s", err, out)
	}
	out, _ = run(0, "lifecycle", "runs", "app")
	has(out, "app at 20", "expired 1 images of 10.1 kB, which frees 11 B; archived 0, failed 0\n", "EXPIRE         2  sha256:", " v1\n")
	out, _ = run(0, "lifecycle", "run", "--repository", "other")
	has(out, "expired 0 images")
	_, stderr = run(1, "lifecycle", "run", "--repository", "nobody")
	has(stderr, "apply the lifecycle policy of nobody: ", "RepositoryNotFoundException")

	list = write("in-use.txt", "app:v2\n")
	out, _ = run(0, "destroy", vars("30"), "--auto-approve", "--in-use", list)
	has(out, "app: of 3 images 3 go with the repository, 0 stay", "IN USE: app:v2", "tags that go: v2, v3, v4", "$0.00 -> $0.00 a month")
}
