package clients

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"berth/internal/server/servertest"
	"berth/internal/testkit"
)

// wrongPassword is nobody's.
const wrongPassword = "wrong-password"

// A registry is a running server with one repository per purpose.
type registry struct {
	*servertest.Server
	t        *testing.T
	user     string
	password string
}

// start runs a registry with the repositories app, copy and frozen; in the
// last one no tag can be moved. Pushes below made/ create their repositories.
func start(t *testing.T) *registry {
	t.Helper()
	s := servertest.Start(t)
	s.CreateRepositories("app", "copy")
	if _, err := s.ECR().CreateRepository(t.Context(), &ecr.CreateRepositoryInput{
		RepositoryName: aws.String("frozen"), ImageTagMutability: types.ImageTagMutabilityImmutable,
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ECR().CreateRepositoryCreationTemplate(t.Context(), &ecr.CreateRepositoryCreationTemplateInput{
		Prefix: aws.String("made"), AppliedFor: []types.RCTAppliedFor{types.RCTAppliedForCreateOnPush},
	}); err != nil {
		t.Fatal(err)
	}
	r := &registry{Server: s, t: t}
	r.user, r.password = s.Login()
	return r
}

// ref is repository:tag or repository@digest on this registry.
func (r *registry) ref(image string) string { return r.Host + "/" + image }

// digestOf asks the ECR API which image a tag names.
func (r *registry) digestOf(repository, tag string) string {
	r.t.Helper()
	out, err := r.ECR().DescribeImages(r.t.Context(), &ecr.DescribeImagesInput{
		RepositoryName: aws.String(repository), ImageIds: []types.ImageIdentifier{{ImageTag: aws.String(tag)}},
	})
	if err != nil {
		r.t.Fatalf("find %s:%s: %v", repository, tag, err)
	}
	return *out.ImageDetails[0].ImageDigest
}

// holds checks that the registry serves content under the tag, to the byte.
func (r *registry) holds(repository, tag string, content testkit.Content) {
	r.t.Helper()
	if got := r.digestOf(repository, tag); got != content.Digest().String() {
		r.t.Errorf("%s:%s is %s, pushed was %s", repository, tag, got, content.Digest())
	}
	for blob, manifest := range content.All() {
		kind := "blobs"
		if manifest {
			kind = "manifests"
		}
		path := "/v2/" + repository + "/" + kind + "/" + blob.Descriptor.Digest.String()
		resp, body := r.Do(http.MethodGet, path, nil)
		if resp.StatusCode != http.StatusOK || !bytes.Equal(body, blob.Bytes) {
			r.t.Errorf("GET %s: %s, %d bytes that differ from the %d pushed", path, resp.Status, len(body), len(blob.Bytes))
		}
	}
}

// lacks checks that a tag or digest is not in the registry.
func (r *registry) lacks(repository, reference string) {
	r.t.Helper()
	if resp, _ := r.Do(http.MethodHead, "/v2/"+repository+"/manifests/"+reference, nil); resp.StatusCode != http.StatusNotFound {
		r.t.Errorf("%s of %s: %s, expected 404", reference, repository, resp.Status)
	}
}

// layout writes content as an OCI layout and returns its directory.
func layout(t *testing.T, tag string, content testkit.Content) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "layout")
	testkit.WriteLayout(t, dir, tag, content)
	return dir
}

// sameLayout checks that an OCI layout that a client wrote holds content.
func sameLayout(t *testing.T, dir string, content testkit.Content) {
	t.Helper()
	var index v1.Index
	if err := json.Unmarshal(readFile(t, filepath.Join(dir, v1.ImageIndexFile)), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 1 || index.Manifests[0].Digest != content.Digest() {
		t.Errorf("%s lists %v, expected %s alone", dir, index.Manifests, content.Digest())
	}
	for blob := range content.All() {
		d := blob.Descriptor.Digest
		if got := readFile(t, filepath.Join(dir, v1.ImageBlobsDir, d.Algorithm().String(), d.Encoded())); !bytes.Equal(got, blob.Bytes) {
			t.Errorf("%s of %s differs from what was pushed", d, dir)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A client is one program with its environment.
type client struct {
	t      *testing.T
	path   string
	global []string // arguments before all others
	env    []string
	dir    string
}

// newClient finds a program and gives it a home of its own, so that nothing of
// the developer's takes part and logins stay in the test.
func newClient(t *testing.T, program string, variables ...string) *client {
	t.Helper()
	c := &client{t: t, path: testkit.Tool(t, program), dir: t.TempDir()}
	home := filepath.Join(c.dir, "home")
	auth := writeFile(t, filepath.Join(home, "config.json"), "{}\n")
	c.env = append(c.env, "PATH="+os.Getenv("PATH"), "HOME="+home, "XDG_RUNTIME_DIR="+home, "XDG_CONFIG_HOME="+home,
		"XDG_CACHE_HOME="+home, "XDG_DATA_HOME="+home, "DOCKER_CONFIG="+home, "REGISTRY_AUTH_FILE="+auth, "TMPDIR="+c.dir)
	c.env = append(c.env, variables...)
	return c
}

func (c *client) command(args []string) testkit.Command {
	return testkit.Command{Path: c.path, Args: append(append([]string{}, c.global...), args...), Env: c.env, Dir: c.dir}
}

// run runs the client to success and returns what it printed.
func (c *client) run(args ...string) string {
	c.t.Helper()
	return c.command(args).Run(c.t).Stdout
}

// refused runs the client, which must fail and say each of the texts.
func (c *client) refused(texts []string, args ...string) {
	c.t.Helper()
	cmd := c.command(args)
	result, err := cmd.Try(context.WithoutCancel(c.t.Context()))
	if err != nil {
		c.t.Fatal(err)
	}
	output := result.Stdout + result.Stderr
	if result.ExitCode == 0 {
		c.t.Fatalf("%s succeeded, expected a refusal\n%s", cmd, output)
	}
	for _, text := range texts {
		if !strings.Contains(output, text) {
			c.t.Errorf("%s does not say %q:\n%s", cmd, text, output)
		}
	}
}

// immutable is what the registry says when a tag of frozen is to be moved.
func immutable(tag string) []string {
	return []string{"The image tag '" + tag + "' already exists in the 'frozen' repository and cannot be overwritten because the tag is immutable."}
}

func equal(t *testing.T, what, got, want string) {
	t.Helper()
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("%s = %q, expected %q", what, got, want)
	}
}
