package upstreams

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// The login of every upstream that wants one.
const (
	user     = "alice"
	password = "s3cret"
	htpasswd = "alice:$2a$04$sbRFcQ3d4Kb0OjWHHKkqjOBX4qlpI/..Pz4ADbrIKUpEEbKf6Uow6\n" // of that password
)

// A distribution is a running registry of others, mostly that of the CNCF, behind a proxy that counts requests.
type distribution struct {
	*httptest.Server
	direct string // URL of the registry itself, which counts nothing
	mu     sync.Mutex
	counts map[string]int
}

// asked is how often something below /v2/ was asked for and given.
func (d *distribution) asked(what string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.counts[what]
}

func (d *distribution) total() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.counts {
		n += c
	}
	return n
}

// startDistribution runs a CNCF registry on a directory until the test ends or
// stop. auth is a part of its configuration.
func startDistribution(t testing.TB, dir, auth string) (d *distribution, stop func()) {
	t.Helper()
	path := testkit.Tool(t, "registry")
	address := fmt.Sprintf("127.0.0.1:%d", testkit.FreePort(t))
	config := filepath.Join(t.TempDir(), "config.yml")
	text := "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: " + dir + "\nhttp:\n  addr: " + address + "\n" + auth
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return startUpstream(t, address, path, "serve", config)
}

// startUpstream runs a registry that listens on an address until the test ends or
// stop.
func startUpstream(t testing.TB, address, path string, args ...string) (d *distribution, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "OTEL_TRACES_EXPORTER=none"}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	once := sync.OnceFunc(func() {
		cancel()
		_ = cmd.Wait() // it was told to end, so its exit status says nothing
	})
	t.Cleanup(once)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get("http://" + address + "/v2/")
		if err == nil {
			_ = resp.Body.Close()
			break
		}
		if time.Now().After(end) {
			once()
			t.Fatalf("the registry does not answer: %v\n%s", err, out.String())
		}
	}
	d = &distribution{counts: map[string]int{}, direct: "http://" + address}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { d.pass(w, r, "http://"+address) }))
	t.Cleanup(d.Close)
	return d, once
}

// pass sends a request on, as it is, and counts it when it is given something.
func (d *distribution) pass(w http.ResponseWriter, r *http.Request, to string) {
	out, err := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), r.Body)
	if err != nil {
		panic(err)
	}
	out.Header, out.ContentLength = r.Header, r.ContentLength
	resp, err := http.DefaultTransport.RoundTrip(out)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 400 {
		d.mu.Lock()
		d.counts[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v2/")]++
		d.mu.Unlock()
	}
	for k, v := range resp.Header {
		w.Header()[k] = v
	}
	w.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(w, resp.Body)
}

// push stores a content in a registry without a login.
func (d *distribution) push(t testing.TB, ref string, c testkit.Content) {
	t.Helper()
	layout := filepath.Join(t.TempDir(), "layout")
	_, tag, _ := strings.Cut(ref, ":")
	testkit.WriteLayout(t, layout, tag, c)
	testkit.Command{Path: testkit.Tool(t, "crane"), Args: []string{"push", "--insecure", layout, strings.TrimPrefix(d.URL, "http://") + "/" + ref}}.Run(t)
}

// fill pushes contents into a directory, by a registry without a login.
func fill(t testing.TB, dir string, images map[string]testkit.Content) {
	t.Helper()
	d, stop := startDistribution(t, dir, "")
	defer stop()
	for ref, c := range images {
		d.push(t, ref, c)
	}
}

// basicAuth is the part of a configuration that wants a user name and a password.
func basicAuth(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte(htpasswd), 0o600); err != nil {
		t.Fatal(err)
	}
	return "auth:\n  htpasswd:\n    realm: test\n    path: " + path + "\n"
}

// tokenAuth is the part of a configuration that wants tokens of a realm, and the
// realm's server, which is reached at another URL than it is called.
func tokenAuth(t testing.TB, realm string) (config string, server *httptest.Server) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tokens"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tokens.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		t.Fatal(err)
	}
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != user || p != password {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		access := []map[string]any{}
		if parts := strings.Split(r.URL.Query().Get("scope"), ":"); len(parts) == 3 {
			access = append(access, map[string]any{"type": parts[0], "name": parts[1], "actions": strings.Split(parts[2], ",")})
		}
		part := func(v any) string {
			b, err := json.Marshal(v)
			if err != nil {
				panic(err)
			}
			return base64.RawURLEncoding.EncodeToString(b)
		}
		now := time.Now().Unix()
		text := part(map[string]any{"typ": "JWT", "alg": "ES256", "x5c": []string{base64.StdEncoding.EncodeToString(cert)}}) + "." +
			part(map[string]any{"iss": "tokens", "sub": user, "aud": "registry", "exp": now + 300, "nbf": now - 10, "iat": now, "jti": rand.Text(), "access": access})
		sum := sha256.Sum256([]byte(text))
		a, b, err := ecdsa.Sign(rand.Reader, key, sum[:])
		if err != nil {
			panic(err)
		}
		signature := append(a.FillBytes(make([]byte, 32)), b.FillBytes(make([]byte, 32))...)
		_ = json.NewEncoder(w).Encode(map[string]any{"token": text + "." + base64.RawURLEncoding.EncodeToString(signature), "expires_in": 300})
	}))
	t.Cleanup(server.Close)
	return "auth:\n  token:\n    realm: " + realm + "\n    service: registry\n    issuer: tokens\n    rootcertbundle: " + path + "\n", server
}

// A berth is a running server whose cache rules reach what they are mapped to.
type berth struct {
	*servertest.Server
	t testing.TB
}

func start(t testing.TB, upstreams ...string) *berth {
	t.Helper()
	return &berth{servertest.StartWith(t, server.Config{Upstreams: upstreams}), t}
}

func (b *berth) rule(prefix, host, credential string) {
	b.t.Helper()
	in := &ecr.CreatePullThroughCacheRuleInput{EcrRepositoryPrefix: aws.String(prefix), UpstreamRegistryUrl: aws.String(host)}
	if credential != "" {
		in.CredentialArn = aws.String(credential)
	}
	if _, err := b.ECR().CreatePullThroughCacheRule(b.t.Context(), in); err != nil {
		b.t.Fatal(err)
	}
}

// aws runs the aws command and gives its output.
func (b *berth) aws(args ...string) string {
	b.t.Helper()
	return strings.TrimSpace(testkit.Command{
		Path: testkit.Tool(b.t, "aws"), Args: append(args, "--output", "text"),
		Env: testkit.AWSEnv(b.t, b.Endpoint, b.Root.AccessKeyID, b.Root.SecretAccessKey, b.Region),
	}.Run(b.t).Stdout)
}

// secret makes a secret of a user name and a password, and gives its ARN.
func (b *berth) secret(name, user, password string) string {
	b.t.Helper()
	text, err := json.Marshal(map[string]string{"username": user, "accessToken": password})
	if err != nil {
		b.t.Fatal(err)
	}
	return b.aws("secretsmanager", "create-secret", "--name", name, "--secret-string", string(text), "--query", "ARN")
}

// crane is a crane that is logged in.
func (b *berth) crane() func(args ...string) testkit.Command {
	b.t.Helper()
	path, home := testkit.Tool(b.t, "crane"), b.t.TempDir()
	command := func(args ...string) testkit.Command {
		return testkit.Command{Path: path, Args: args, Env: []string{"HOME=" + home, "DOCKER_CONFIG=" + home}}
	}
	user, password := b.Login()
	command("auth", "login", b.Host, "--username", user, "--password", password).Run(b.t)
	return command
}

// holds waits until a tag is an image of a repository.
func (b *berth) holds(repository, tag string, c testkit.Content) {
	b.t.Helper()
	var last string
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		out, err := b.ECR().ListImages(b.t.Context(), &ecr.ListImagesInput{RepositoryName: aws.String(repository)})
		if err != nil {
			last = err.Error()
			continue
		}
		for _, id := range out.ImageIds {
			if aws.ToString(id.ImageTag) == tag && aws.ToString(id.ImageDigest) == c.Digest().String() {
				return
			}
		}
		last = fmt.Sprintf("%d images", len(out.ImageIds))
	}
	b.t.Fatalf("%s:%s did not become the image %s: %s", repository, tag, c.Digest(), last)
}
