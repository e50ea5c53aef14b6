package replicas

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/opencontainers/go-digest"

	"berth/internal/testkit"
)

const (
	keyID  = "REPLICAS"
	secret = "of-no-value-outside-this-test"
)

// A cluster is the stores that replicas share.
type cluster struct {
	t        *testing.T
	postgres *testkit.PostgresCluster
	s3       *testkit.S3Server
	binary   string
	dir      string
	database string
	blobs    string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{t: t, postgres: testkit.StartPostgres(t), s3: testkit.S3(t), dir: t.TempDir()}
	c.database = c.postgres.Database(t)
	c.blobs = "s3://" + c.s3.Bucket + "/berth?path-style=true&region=us-east-1&endpoint=" + c.s3.Endpoint
	c.binary = filepath.Join(c.dir, "berth")
	build := exec.Command("go", "build", "-o", c.binary, "berth/cmd/berth")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build berth: %v\n%s", err, out)
	}
	return c
}

// A replica is one server process.
type replica struct {
	t        *testing.T
	name     string
	endpoint string
	cmd      *exec.Cmd
	log      *lockedBuffer
	dead     bool
	password string
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// start runs a replica with a data directory of its own, and nothing in it
// that the others would need. Flags given come last, so that they win.
func (c *cluster) start(name string, more ...string) *replica {
	c.t.Helper()
	r := &replica{t: c.t, name: name, log: &lockedBuffer{}}
	r.cmd = c.command(name, filepath.Join(c.dir, "master.key"), more...)
	stderr, err := r.cmd.StderrPipe()
	if err != nil {
		c.t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	lines := bufio.NewReader(stderr)
	for r.endpoint == "" {
		line, err := lines.ReadString('\n')
		if err != nil {
			c.t.Fatalf("replica %s ended: %s%s", name, r.log, line)
		}
		_, _ = fmt.Fprint(r.log, line) // a buffer never fails
		if url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on "); ok {
			r.endpoint = url
		}
	}
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		_, _ = io.Copy(r.log, lines) // ends with the process
	}()
	c.t.Cleanup(func() {
		if !r.dead {
			if err := r.cmd.Process.Signal(os.Interrupt); err != nil {
				c.t.Error(err)
			}
			<-copied
			if err := r.cmd.Wait(); err != nil {
				c.t.Errorf("replica %s: %v\n%s", name, err, r.log)
			}
		}
		if c.t.Failed() {
			c.t.Logf("log of replica %s:\n%s", name, r.log)
		}
	})
	return r
}

func (c *cluster) command(name, masterKey string, more ...string) *exec.Cmd {
	cmd := exec.Command(c.binary, append([]string{"serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(c.dir, name),
		"--master-key", masterKey, "--database", c.database, "--blobs", c.blobs,
		"--gc-interval", "1s", "--gc-lease", "2s", "--gc-grace", "1s"}, more...)...)
	cmd.Env = append(os.Environ(), "BERTH_S3_ACCESS_KEY_ID="+c.s3.AccessKey, "BERTH_S3_SECRET_ACCESS_KEY="+c.s3.SecretKey,
		"BERTH_ROOT_ACCESS_KEY_ID="+keyID, "BERTH_ROOT_SECRET_ACCESS_KEY="+secret)
	return cmd
}

func (r *replica) kill() {
	r.t.Helper()
	r.dead = true
	if err := r.cmd.Process.Kill(); err != nil {
		r.t.Fatal(err)
	}
	_ = r.cmd.Wait() // it was killed, and says so
}

func (r *replica) ecr() *ecr.Client {
	return ecr.New(ecr.Options{
		BaseEndpoint: aws.String(r.endpoint), Region: "us-east-1", RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, ""),
	})
}

// login is a password of this replica.
func (r *replica) login() string {
	r.t.Helper()
	out, err := r.ecr().GetAuthorizationToken(context.Background(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req := http.Request{Header: http.Header{"Authorization": {"Basic " + *out.AuthorizationData[0].AuthorizationToken}}}
	_, password, _ := req.BasicAuth()
	return password
}

// An answer is what came back, with its whole body.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request with the password that all replicas accept.
func (r *replica) do(method, path string, body io.Reader) (answer, error) {
	req, err := http.NewRequest(method, r.endpoint+path, body)
	if err != nil {
		return answer{}, err
	}
	req.SetBasicAuth("AWS", r.password)
	if method == http.MethodPut && strings.Contains(path, "/manifests/") {
		req.Header.Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
	}
	resp, err := http.DefaultClient.Do(req) // follows the redirect to S3
	if err != nil {
		return answer{}, err
	}
	b, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, b}, errors.Join(err, resp.Body.Close())
}

func (r *replica) want(status int, method, path string, body []byte) answer {
	r.t.Helper()
	a, err := r.do(method, path, bytes.NewReader(body))
	if err != nil {
		r.t.Fatalf("%s %s on %s: %v", method, path, r.name, err)
	}
	if a.status != status {
		r.t.Fatalf("%s %s on %s: %d %.300s, want %d", method, path, r.name, a.status, a.body, status)
	}
	return a
}

// content is n bytes that no other content has.
func content(seed, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8 + i>>16*31 + seed*131)
	}
	copy(b, fmt.Sprintf("content %d;", seed))
	return b
}

// push pushes an image of one layer: each request to the next of the replicas.
func push(t *testing.T, replicas []*replica, repository, tag string, layer []byte) (manifest []byte) {
	t.Helper()
	n := 0
	next := func() *replica { n++; return replicas[n%len(replicas)] }
	for _, b := range [][]byte{[]byte("{}"), layer} {
		at := next().want(202, "POST", "/v2/"+repository+"/blobs/uploads/", nil).header.Get("Location")
		half := len(b) / 2
		next().want(202, "PATCH", at, b[:half])
		next().want(202, "PATCH", at, b[half:])
		next().want(201, "PUT", at+"?digest="+digest.FromBytes(b).String(), nil)
	}
	manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},
		"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}],"annotations":{"tag":%q}}`,
		digest.FromString("{}"), digest.FromBytes(layer), len(layer), tag)
	next().want(201, "PUT", "/v2/"+repository+"/manifests/"+tag, manifest)
	return manifest
}

// pull fails unless every replica gives exactly what was pushed.
func pull(t *testing.T, replicas []*replica, repository, tag string, manifest, layer []byte) {
	t.Helper()
	for _, r := range replicas {
		if got := r.want(200, "GET", "/v2/"+repository+"/manifests/"+tag, nil).body; !bytes.Equal(got, manifest) {
			t.Errorf("the manifest %s of replica %s differs", tag, r.name)
		}
		if got := r.want(200, "GET", "/v2/"+repository+"/blobs/"+digest.FromBytes(layer).String(), nil).body; !bytes.Equal(got, layer) {
			t.Errorf("the layer of %s from replica %s differs", tag, r.name)
		}
	}
}

// eventually repeats a check until it holds or the time is over.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("within %v it did not happen that %s", limit, what)
		}
	}
}
