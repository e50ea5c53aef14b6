package login_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"berth/internal/login"
)

func load(t *testing.T, file string) map[string]any {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var v map[string]any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestStoreMakesAPrivateFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "config.json")
	if err := login.Store(file, "127.0.0.1:5050", "AWS", "secret"); err != nil {
		t.Fatal(err)
	}
	got := load(t, file)["auths"].(map[string]any)["127.0.0.1:5050"].(map[string]any)["auth"]
	if got != "QVdTOnNlY3JldA==" {
		t.Errorf("stored %v", got)
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
}

func TestStoreKeepsEverythingElse(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "config.json")
	before := `{"credsStore":"desktop","auths":{"ghcr.io":{"auth":"x"},"h":{"auth":"old"}},"HttpHeaders":{"a":"b"}}`
	if err := os.WriteFile(file, []byte(before), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link.json")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := login.Store(link, "h", "AWS", "new"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link was replaced (%v)", err)
	}
	got := load(t, file)
	auths := got["auths"].(map[string]any)
	if got["credsStore"] != "desktop" || auths["ghcr.io"].(map[string]any)["auth"] != "x" || got["HttpHeaders"] == nil {
		t.Errorf("lost something: %v", got)
	}
	if auths["h"].(map[string]any)["auth"] != "QVdTOm5ldw==" {
		t.Errorf("not replaced: %v", auths)
	}
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 2 {
		t.Errorf("temporary files stay: %v", left)
	}
}

func TestStoreLeavesOtherFilesAlone(t *testing.T) {
	for _, text := range []string{"not json", "[]", `{"auths":[]}`, "null"} {
		file := filepath.Join(t.TempDir(), "config.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := login.Store(file, "h", "AWS", "p"); err == nil {
			t.Errorf("%q was taken for a login file", text)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != text {
			t.Errorf("%q became %q (%v)", text, b, err)
		}
	}
}

func TestFiles(t *testing.T) {
	run := t.TempDir()
	auth := filepath.Join(run, "containers", "auth.json")
	if err := os.MkdirAll(filepath.Dir(auth), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(auth, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"docker alone":   {nil, []string{"/home/u/.docker/config.json"}},
		"docker's own":   {map[string]string{"DOCKER_CONFIG": "/d"}, []string{"/d/config.json"}},
		"named":          {map[string]string{"REGISTRY_AUTH_FILE": "/a.json", "XDG_RUNTIME_DIR": run}, []string{"/home/u/.docker/config.json", "/a.json"}},
		"podman's":       {map[string]string{"XDG_RUNTIME_DIR": run}, []string{"/home/u/.docker/config.json", auth}},
		"podman without": {map[string]string{"XDG_RUNTIME_DIR": "/nonexistent"}, []string{"/home/u/.docker/config.json"}},
	} {
		got := login.Files(func(k string) string { return c.env[k] }, "/home/u")
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
