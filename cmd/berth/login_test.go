package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/server/servertest"
)

// command runs one command line in this process.
func command(t *testing.T, stdin string, getenv map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := &environment{
		stdout: &out, stderr: &errs, stdin: strings.NewReader(stdin), workdir: t.TempDir(),
		getenv: func(k string) string { return getenv[k] },
	}
	code = run(t.Context(), env, args)
	return code, out.String(), errs.String()
}

func authorized(t *testing.T, s *servertest.Server, user, password string) bool {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, s.Endpoint+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode == http.StatusOK
}

func TestLoginStoresAWorkingPassword(t *testing.T) {
	s := servertest.Start(t)
	config := t.TempDir()
	code, out, errs := command(t, "", map[string]string{"DOCKER_CONFIG": config}, "login", "--data", s.Data)
	if code != 0 || !strings.HasPrefix(out, "Logged in to "+s.Host+" until ") {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	b, err := os.ReadFile(filepath.Join(config, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Auths map[string]struct{ Auth string }
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	r := http.Request{Header: http.Header{"Authorization": {"Basic " + doc.Auths[s.Host].Auth}}}
	user, password, _ := r.BasicAuth()
	if !authorized(t, s, user, password) {
		t.Error("the stored password does not work")
	}
}

func TestLoginSaysWhenTheRegistryIsNotThere(t *testing.T) {
	s := servertest.Start(t)
	s.Stop()
	code, _, errs := command(t, "", nil, "login", "--data", s.Data, "--auth-file", filepath.Join(t.TempDir(), "a.json"))
	if code != 1 || !strings.Contains(errs, "is it running?") {
		t.Errorf("exit %d: %s", code, errs)
	}
}

func TestCredentialHelper(t *testing.T) {
	s := servertest.Start(t)
	for _, server := range []string{s.Host, s.Endpoint, s.Endpoint + "/"} {
		code, out, errs := command(t, server+"\n", nil, "credential-helper", "get", "--data", s.Data)
		var got struct{ ServerURL, Username, Secret string }
		if err := json.Unmarshal([]byte(out), &got); code != 0 || err != nil {
			t.Fatalf("exit %d, %v\n%s%s", code, err, out, errs)
		}
		if got.ServerURL != server || !authorized(t, s, got.Username, got.Secret) {
			t.Errorf("the password given for %s does not work", server)
		}
	}
	code, out, _ := command(t, "ghcr.io", nil, "credential-helper", "get", "--data", s.Data)
	if code != 1 || strings.TrimSpace(out) != "credentials not found in native keychain" {
		t.Errorf("another registry: exit %d, %q", code, out)
	}
	code, out, _ = command(t, "", nil, "credential-helper", "list", "--data", s.Data)
	if code != 0 || !strings.Contains(out, s.Host) {
		t.Errorf("list: exit %d, %q", code, out)
	}
	for _, verb := range []string{"store", "erase"} {
		if code, out, errs := command(t, "{}", nil, "credential-helper", verb, "--data", s.Data); code != 0 || out+errs != "" {
			t.Errorf("%s: exit %d, %s%s", verb, code, out, errs)
		}
	}
	if code, _, _ := command(t, "", nil, "credential-helper", "steal"); code != usageError {
		t.Errorf("an unknown verb exits %d, want %d", code, usageError)
	}
}
