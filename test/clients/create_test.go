package clients

import (
	"path/filepath"
	"testing"

	"berth/internal/testkit"
)

// Clients do not know that a repository is not there: what they ask before a push, and how they begin it, ends well.
func TestPushesCreateRepositories(t *testing.T) {
	t.Parallel()
	r := start(t)
	index := testkit.RandomIndex(t, 1<<10, "amd64", "arm64")
	from := layout(t, "v1", index)

	crane := newClient(t, "crane")
	crane.run("auth", "login", r.Host, "--username", r.user, "--password", r.password)
	crane.refused([]string{"NAME_UNKNOWN"}, "push", from, r.ref("unmade/by/crane:v1"))
	crane.run("push", from, r.ref("made/by/crane:v1"))
	r.holds("made/by/crane", "v1", index)
	crane.run("copy", r.ref("made/by/crane:v1"), r.ref("made/by/mount:v1"))
	r.holds("made/by/mount", "v1", index)

	skopeo := newClient(t, "skopeo")
	skopeo.run("login", "--tls-verify=false", "--username", r.user, "--password", r.password, r.Host)
	skopeo.run("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci:"+from+":v1", "docker://"+r.ref("made/by/skopeo:v1"))
	r.holds("made/by/skopeo", "v1", index)

	oras := newClient(t, "oras")
	oras.run("login", "--plain-http", "--username", r.user, "--password", r.password, r.Host)
	oras.run("copy", "--to-plain-http", "--from-oci-layout", from+":v1", r.ref("made/by/oras:v1"))
	r.holds("made/by/oras", "v1", index)

	regctl := newClient(t, "regctl")
	regctl.env = append(regctl.env, "REGCTL_CONFIG="+filepath.Join(regctl.dir, "regctl.json"))
	regctl.run("registry", "set", "--skip-check", "--tls", "disabled", r.Host)
	regctl.run("registry", "login", r.Host, "--user", r.user, "--pass", r.password)
	regctl.run("image", "copy", "ocidir://"+from+":v1", r.ref("made/by/regctl:v1"))
	r.holds("made/by/regctl", "v1", index)
}
