package clients

import (
	"bytes"
	"path/filepath"
	"testing"
)

func TestHelmPushesAndPullsCharts(t *testing.T) {
	t.Parallel()
	r := start(t)
	r.CreateRepositories("charts/demo")
	helm := newClient(t, "helm")
	helm.refused([]string{"401"}, "registry", "login", "--plain-http", "--username", r.user, "--password", wrongPassword, r.Host)
	helm.refused([]string{"basic credential not found"}, "pull", "--plain-http", "oci://"+r.ref("charts/demo"), "--version", "0.1.0")
	helm.run("registry", "login", "--plain-http", "--username", r.user, "--password", r.password, r.Host)

	chart := packageChart(t, helm, "demo", "0.1.0", "first")
	helm.run("push", "--plain-http", chart, "oci://"+r.ref("charts"))
	pulled := t.TempDir()
	helm.run("pull", "--plain-http", "oci://"+r.ref("charts/demo"), "--version", "0.1.0", "--destination", pulled)
	if !bytes.Equal(readFile(t, filepath.Join(pulled, "demo-0.1.0.tgz")), readFile(t, chart)) {
		t.Error("the chart pulled differs from the chart pushed")
	}

	// The newest version is found through the list of tags.
	helm.run("push", "--plain-http", packageChart(t, helm, "demo", "0.2.0", "second"), "oci://"+r.ref("charts"))
	helm.run("pull", "--plain-http", "oci://"+r.ref("charts/demo"), "--destination", pulled)
	readFile(t, filepath.Join(pulled, "demo-0.2.0.tgz"))

	helm.run("push", "--plain-http", packageChart(t, helm, "frozen", "0.1.0", "first"), "oci://"+r.Host)
	helm.refused(immutable("0.1.0"), "push", "--plain-http", packageChart(t, helm, "frozen", "0.1.0", "second"), "oci://"+r.Host)
}

// packageChart makes the archive of a chart with one value in it.
func packageChart(t *testing.T, helm *client, name, version, value string) string {
	t.Helper()
	dir := filepath.Join(helm.dir, "source-"+value, name)
	writeFile(t, filepath.Join(dir, "Chart.yaml"), "apiVersion: v2\nname: "+name+"\nversion: "+version+"\n")
	writeFile(t, filepath.Join(dir, "values.yaml"), "value: "+value+"\n")
	out := filepath.Join(helm.dir, "packages-"+value)
	helm.run("package", dir, "--destination", out)
	return filepath.Join(out, name+"-"+version+".tgz")
}
