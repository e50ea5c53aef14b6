package clients

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"berth/internal/server"
	"berth/internal/testkit"
)

// tunnel is a proxy that leads every CONNECT to one address: in place of a name server, which tests do not have.
func tunnel(t *testing.T, to string) (url string) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
			return
		}
		there, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		// The answer comes after Hijack: what the client sends upon it is nobody else's to read.
		here, sent, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
			_ = there.Close()
			_ = here.Close()
			return
		}
		go func() { _, _ = io.Copy(there, sent); _ = there.Close() }() // ends with either side
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestSelfSignedAndVirtualHosts runs a registry with a certificate of its own under the names of AWS's form. Clients
// that trust its authority log in, push and pull under the name of an account; those that do not refuse it.
func TestSelfSignedAndVirtualHosts(t *testing.T) {
	t.Parallel()
	listen := net.JoinHostPort("127.0.0.1", strconv.Itoa(testkit.FreePort(t)))
	s := serve(t, server.Config{
		Listen: listen, Data: t.TempDir(), Region: "us-east-1", Database: "sqlite", Blobs: "file",
		RegistryHost: "%a.dkr.ecr.%r.example.com", TLSSelfSigned: true,
	})
	const registry = "000000000000.dkr.ecr.us-east-1.example.com"
	key := []string{"AWS_ENDPOINT_URL=https://" + listen, "AWS_DEFAULT_REGION=us-east-1", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID=" + s.Root().AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + s.Root().SecretAccessKey}
	aws := newClient(t, "aws", key...)
	uri := aws.run("--ca-bundle", s.CA(), "ecr", "create-repository", "--repository-name", "app", "--query", "repository.repositoryUri", "--output", "text")
	equal(t, "the repository's URI", strings.TrimSpace(uri), registry+"/app")
	aws.refused([]string{"SSL"}, "ecr", "describe-repositories")
	password := strings.TrimSpace(aws.run("--ca-bundle", s.CA(), "ecr", "get-login-password"))

	proxy := tunnel(t, listen)
	crane := newClient(t, "crane", "HTTPS_PROXY="+proxy, "SSL_CERT_FILE="+s.CA())
	crane.run("auth", "login", registry, "--username", "AWS", "--password", password)
	image := testkit.RandomImage(t, 2, 1<<10)
	crane.run("push", layout(t, "v1", image), registry+"/app:v1")
	equal(t, "crane digest", crane.run("digest", registry+"/app:v1"), image.Digest().String())
	doubtful := newClient(t, "crane", "HTTPS_PROXY="+proxy)
	doubtful.refused([]string{"certificate"}, "digest", registry+"/app:v1")

	skopeo := newClient(t, "skopeo", "HTTPS_PROXY="+proxy)
	certs := filepath.Join(skopeo.dir, "certs")
	writeFile(t, filepath.Join(certs, "ca.crt"), string(readFile(t, s.CA())))
	skopeo.run("login", "--cert-dir", certs, "--username", "AWS", "--password", password, registry)
	skopeo.run("copy", "--src-cert-dir", certs, "docker://"+registry+"/app:v1", "oci:"+filepath.Join(skopeo.dir, "pulled")+":v1")
	// Another account's name is another registry, and has no such repository.
	skopeo.refused([]string{"111122223333"}, "inspect", "--cert-dir", certs, "docker://111122223333.dkr.ecr.us-east-1.example.com/app:v1")

	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(readFile(t, s.CA()))
	_, err := tls.Dial("tcp", listen, &tls.Config{RootCAs: pool, ServerName: "elsewhere.example.org"})
	var name x509.HostnameError
	if !errors.As(err, &name) {
		t.Errorf("the certificate is good for another name: %v", err)
	}
}
