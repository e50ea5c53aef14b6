package clients

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"berth/internal/testkit"
)

func TestSkopeoCopiesInspectsAndDeletes(t *testing.T) {
	t.Parallel()
	r := start(t)
	skopeo := newClient(t, "skopeo")
	skopeo.refused([]string{"invalid username/password"}, "login", "--tls-verify=false", "--username", r.user, "--password", wrongPassword, r.Host)
	skopeo.run("login", "--tls-verify=false", "--username", r.user, "--password", r.password, r.Host)

	// An index of two platforms goes in, to another repository, and out again.
	index := testkit.RandomIndex(t, 1<<10, "amd64", "arm64")
	skopeo.run("copy", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci:"+layout(t, "v1", index)+":v1", "docker://"+r.ref("app:v1"))
	r.holds("app", "v1", index)
	skopeo.run("copy", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+r.ref("app:v1"), "docker://"+r.ref("copy:v2"))
	r.holds("copy", "v2", index)
	back := filepath.Join(skopeo.dir, "back")
	skopeo.run("copy", "--all", "--preserve-digests", "--src-tls-verify=false", "docker://"+r.ref("copy:v2"), "oci:"+back+":v2")
	sameLayout(t, back, index)

	other := testkit.RandomImage(t, 2, 1<<10)
	skopeo.run("copy", "--preserve-digests", "--dest-tls-verify=false", "oci:"+layout(t, "other", other)+":other", "docker://"+r.ref("app:other"))
	r.holds("app", "other", other)

	var inspected struct {
		Digest   string
		RepoTags []string
	}
	if err := json.Unmarshal([]byte(skopeo.run("inspect", "--tls-verify=false", "docker://"+r.ref("app:v1"))), &inspected); err != nil {
		t.Fatal(err)
	}
	equal(t, "inspected digest", inspected.Digest, index.Digest().String())
	if len(inspected.RepoTags) != 2 {
		t.Errorf("inspected tags = %v, expected other and v1", inspected.RepoTags)
	}
	equal(t, "raw manifest", skopeo.run("inspect", "--raw", "--tls-verify=false", "docker://"+r.ref("app:v1")), string(index.Root.Bytes))

	skopeo.run("delete", "--tls-verify=false", "docker://"+r.ref("app:v1"))
	r.lacks("app", "v1")
	r.lacks("app", index.Digest().String())
	r.holds("copy", "v2", index)

	skopeo.run("copy", "--all", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+r.ref("copy:v2"), "docker://"+r.ref("frozen:v1"))
	skopeo.refused(immutable("v1"), "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "docker://"+r.ref("app:other"), "docker://"+r.ref("frozen:v1"))
	r.holds("frozen", "v1", index)
	skopeo.refused([]string{"unauthorized"}, "inspect", "--tls-verify=false", "--creds", r.user+":"+wrongPassword, "docker://"+r.ref("app:other"))
}
