package clients

import (
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/testkit"
)

func TestRegctlCopiesAndUntags(t *testing.T) {
	t.Parallel()
	r := start(t)
	regctl := newClient(t, "regctl")
	regctl.env = append(regctl.env, "REGCTL_CONFIG="+filepath.Join(regctl.dir, "regctl.json"))
	regctl.run("registry", "set", "--skip-check", "--tls", "disabled", r.Host)
	regctl.refused([]string{"unauthorized"}, "registry", "login", r.Host, "--user", r.user, "--pass", wrongPassword)
	regctl.run("registry", "login", r.Host, "--user", r.user, "--pass", r.password)

	index := testkit.RandomIndex(t, 1<<10, "amd64", "arm64")
	regctl.run("image", "copy", "ocidir://"+layout(t, "v1", index)+":v1", r.ref("app:v1"))
	r.holds("app", "v1", index)
	regctl.run("image", "copy", r.ref("app:v1"), r.ref("copy:v1"))
	r.holds("copy", "v1", index)
	back := filepath.Join(regctl.dir, "back")
	regctl.run("image", "copy", r.ref("copy:v1"), "ocidir://"+back+":v1")
	sameLayout(t, back, index)

	// Removing a tag leaves the image and its other tags.
	regctl.run("image", "copy", r.ref("app:v1"), r.ref("app:v2"))
	equal(t, "tags", regctl.run("tag", "ls", r.ref("app")), "v1\nv2")
	regctl.run("tag", "rm", r.ref("app:v1"))
	equal(t, "tags after one was removed", regctl.run("tag", "ls", r.ref("app")), "v2")
	r.lacks("app", "v1")
	r.holds("app", "v2", index)

	// Artifacts, with and without a subject.
	payload := writeFile(t, filepath.Join(regctl.dir, "note.txt"), "a note\n")
	regctl.run("artifact", "put", "--artifact-type", "application/vnd.example.note", "--file", payload, r.ref("app:note"))
	equal(t, "artifact", regctl.run("artifact", "get", r.ref("app:note")), "a note")
	regctl.run("artifact", "put", "--artifact-type", "application/vnd.example.note", "--file", payload, "--subject", r.ref("app:v2"))
	if list := regctl.run("artifact", "list", r.ref("app:v2")); !strings.Contains(list, "application/vnd.example.note") {
		t.Errorf("the referrer is not listed:\n%s", list)
	}

	regctl.run("image", "copy", r.ref("app:v2"), r.ref("frozen:v1"))
	regctl.refused(immutable("v1"), "artifact", "put", "--file", payload, r.ref("frozen:v1"))
	r.holds("frozen", "v1", index)
}
