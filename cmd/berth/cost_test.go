package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/testkit"
)

// TestCostCommand counts a registry whose images share layers within and across
// repositories, with an index, a signature and an image in the archive.
func TestCostCommand(t *testing.T) {
	t.Parallel()
	bin := buildBinary(t)
	data := filepath.Join(t.TempDir(), "data")
	p, err := launch(bin, t.TempDir(), os.Environ(), []string{"serve", "--listen", "127.0.0.1:0", "--data", data})
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
	cli := &scanned{t: t, aws: testkit.Tool(t, "aws"), env: env}
	for _, name := range []string{"app", "other"} {
		cli.cli("create-repository", "--repository-name", name)
	}
	push := func(repository, tag string, c testkit.Content) {
		t.Helper()
		if err := r.push(t.Context(), repository, tag, c); err != nil {
			t.Fatal(err)
		}
	}
	base, own := strings.Repeat("b", 10_000), strings.Repeat("o", 1_000)
	v1, v2, archived := imageOf(t, base, own+"1"), imageOf(t, base, own+"22"), imageOf(t, base, own+"archived")
	config := v1.Blobs[0].Descriptor.Size
	push("app", "latest", v1)
	push("app", "latest", v2) // v1 has no tag from now on
	push("app", "old", archived)
	signature := testkit.Artifact(t, "application/vnd.example.signature", []byte("signature"), &v2)
	push("app", signature.Digest().String(), signature)
	child := imageOf(t, base, own+"child")
	push("other", "multi", testkit.Index(t, child))
	cli.cli("update-image-storage-class", "--repository-name", "app", "--image-id", "imageTag=old", "--target-storage-class", "ARCHIVE")

	run := func(code int, args ...string) (string, string) {
		t.Helper()
		res, err := testkit.Command{Path: bin, Args: append([]string{"cost"}, args...), Env: env, Timeout: patience * 4}.Try(t.Context())
		if err != nil || res.ExitCode != code {
			t.Fatalf("cost %v: code %d, want %d: %v: %s%s", args, res.ExitCode, code, err, res.Stdout, res.Stderr)
		}
		return res.Stdout, res.Stderr
	}
	read := func(args ...string) (out costReport) {
		t.Helper()
		text, _ := run(0, append(args, "--json")...)
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		return out
	}
	one := func(own string) int64 { return config + 10_000 + int64(len(own)) }

	got := read("--price", "1e6", "--free", "1000")
	// What an image in the archive shares is not known to clients.
	archive := one(own + "archived")
	app := costBytes{
		Logical:  one(own+"1") + one(own+"22") + 2 + 9 + archive,
		Standard: one(own+"1") + 1_002 + 2 + 9, Archived: archive,
	}
	if len(got.Repositories) != 2 || got.Repositories[0].Name != "app" || got.Repositories[0].costBytes != app {
		t.Fatalf("got %+v, want app with %+v", got.Repositories, app)
	}
	if r := got.Repositories[0]; r.Images != 4 || r.Untagged != (costShare{1, 1_001}) || r.NeverPulled.Images != 3 || r.WhatIf != nil {
		t.Errorf("app is %+v", r)
	}
	if r := got.Repositories[1]; r.Untagged != (costShare{}) || r.Own != 1_005 {
		t.Errorf("other is %+v: what its index lists is no waste, and the base is app's too", r)
	}
	if c := got.Repositories[0]; c.Unreferenced == nil || *c.Unreferenced != 0 || c.duplicated() != got.Repositories[1].duplicated() || c.duplicated() != config+10_000 {
		t.Errorf("app has %v unreferenced bytes, and %d that other holds too", c.Unreferenced, c.duplicated())
	}
	stray := testkit.NewBlob("", []byte("nobody's"))
	if _, _, err := r.do(t.Context(), 201, "POST", "/v2/app/blobs/uploads/?digest="+stray.Descriptor.Digest.String(), bytes.NewReader(stray.Bytes)); err != nil {
		t.Fatal(err)
	}
	if r := read().Repositories[0]; r.Unreferenced == nil || *r.Unreferenced != 8 {
		t.Errorf("a blob without an image: %+v", r)
	}
	stored := app.Standard + 1_005
	if want := float64(stored-1_000)/1000 + float64(archive)/1e9*got.Prices.Archive; got.Total.Standard != stored || got.Total.DollarsPerMonth < want-1e-6 || got.Total.DollarsPerMonth > want+1e-6 {
		t.Errorf("the total is %+v, want %d bytes outside of the archive and $%f", got.Total, stored, want)
	}

	policy := filepath.Join(t.TempDir(), "policy.json")
	text := `{"rules": [{"rulePriority": 1, "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}, "action": {"type": "expire"}}]}`
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got = read("--what-if", "app="+policy)
	if r := got.Repositories[0]; r.WhatIf == nil || r.WhatIf.Expired != 1 || r.WhatIf.Standard != r.Standard-1_001 {
		t.Errorf("after the policy app is %+v", r.WhatIf)
	}
	if got.WhatIf == nil || got.WhatIf.Images != got.Total.Images-1 || got.WhatIf.Standard != got.Total.Standard-1_001 {
		t.Errorf("after the policy the total is %+v, before %+v", got.WhatIf, got.Total)
	}
	out, _ := run(0, "--what-if", policy, "--format", "csv")
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	if err != nil || len(rows) != 3 || rows[1][0] != "app" || rows[1][1] != "4" || rows[0][12] != "images_expired" || rows[1][12] != "1" || rows[1][11] != "8" {
		t.Errorf("as CSV: %v, %v", rows, err)
	}
	out, _ = run(0, "--what-if", policy)
	for _, want := range []string{"UNTAGGED", "UNREFERENCED", " 8 B", "1.0 kB", "  app\n", "total: 6 images", "then:  5 images"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	for want, args := range map[string][]string{
		"names the repository none":  {"--what-if", "none=" + policy},
		"there is another policy":    {"--what-if", policy, "--what-if", policy},
		"none of table, json, csv":   {"--format", "yaml"},
		"read the lifecycle policy:": {"--what-if", policy + ".none"},
	} {
		if _, stderr := run(1, args...); !strings.Contains(stderr, want) {
			t.Errorf("cost %v says %q", args, stderr)
		}
	}
}
