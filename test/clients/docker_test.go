package clients

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"berth/internal/module"
	"berth/internal/server"
	"berth/internal/testkit"
	"berth/modules"
)

// TestDockerBuildsPushesAndPulls follows the seed's page: log in with the
// command printed, tag, push, pull.
func TestDockerBuildsPushesAndPulls(t *testing.T) {
	t.Parallel()
	daemon := testkit.Docker(t)
	r := start(t)
	docker := &client{t: t, path: testkit.Tool(t, "docker"), env: testkit.DockerEnv(t, daemon), dir: t.TempDir()}

	docker.refused([]string{"no basic auth credentials"}, "pull", r.ref("app:latest"))
	docker.refused([]string{"401 Unauthorized"}, "login", "--username", r.user, "--password", wrongPassword, r.Host)
	testkit.Tool(t, "aws")
	login := testkit.Command{
		Path: testkit.Tool(t, "bash"), Env: append(docker.env, r.Env()...), Args: []string{"-c", r.loginCommand()},
	}
	if out := login.Run(t).Stdout; !strings.Contains(out, "Login Succeeded") {
		t.Errorf("docker login printed %q", out)
	}

	docker.build("flowise-server")
	docker.run("tag", "flowise-server:latest", r.ref("flowise-server:latest"))
	docker.run("push", r.ref("flowise-server:latest"))

	docker.build("first")
	docker.run("tag", "first", r.ref("app:latest"))
	docker.run("push", r.ref("app:latest"))
	pushed := r.digestOf("app", "latest")
	id := docker.run("image", "inspect", "--format", "{{.Id}}", "first")

	// What comes back is what went in: the same image under the same digest.
	docker.run("rmi", "first", r.ref("app:latest"))
	if out := docker.run("pull", r.ref("app:latest")); !strings.Contains(out, "Digest: "+pushed) {
		t.Errorf("docker pull printed %q, expected the digest %s", out, pushed)
	}
	equal(t, "image id after the pull", docker.run("image", "inspect", "--format", "{{.Id}}", r.ref("app:latest")), id)
	equal(t, "digest after the pull", docker.run("image", "inspect", "--format", "{{index .RepoDigests 0}}", r.ref("app:latest")), r.ref("app@"+pushed))

	// Pushing again is fine, to another repository too, where layers are mounted.
	docker.run("push", r.ref("app:latest"))
	docker.run("tag", r.ref("app:latest"), r.ref("copy:latest"))
	if out := docker.run("push", r.ref("copy:latest")); !strings.Contains(out, "Mounted from app") {
		t.Errorf("docker push printed %q, expected mounted layers", out)
	}
	equal(t, "digest of the copy", r.digestOf("copy", "latest"), pushed)
	docker.run("tag", r.ref("app:latest"), r.ref("made/by/docker:latest"))
	docker.run("push", r.ref("made/by/docker:latest"))
	equal(t, "digest in a repository that the push created", r.digestOf("made/by/docker", "latest"), pushed)

	docker.run("tag", r.ref("app:latest"), r.ref("frozen:v1"))
	docker.run("push", r.ref("frozen:v1"))
	docker.build("second")
	docker.run("tag", "second", r.ref("frozen:v1"))
	docker.refused(append(immutable("v1"), "tag invalid: "), "push", r.ref("frozen:v1"))
	equal(t, "digest of the immutable tag", r.digestOf("frozen", "v1"), pushed)
	docker.refused([]string{"does not exist in the registry"}, "push", docker.tagged("second", r.ref("nowhere:v1")))
}

// loginCommand applies the seed's Basic Example to the registry and returns its
// output docker_login_command.
func (r *registry) loginCommand() string {
	r.t.Helper()
	stack, err := module.Load("../../examples/basic", module.LoadOptions{BuiltinModule: modules.FS})
	if err != nil {
		r.t.Fatal(err)
	}
	options := stack.ClientOptions()
	options.Endpoint, options.STSEndpoint, options.Region = r.Endpoint, r.Endpoint, r.Region
	options.AccessKeyID, options.SecretAccessKey = r.Root.AccessKeyID, r.Root.SecretAccessKey
	client, err := module.NewClient(r.t.Context(), options)
	if err != nil {
		r.t.Fatal(err)
	}
	plan, err := stack.Plan(r.t.Context(), client, module.PlanOptions{})
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := client.Apply(r.t.Context(), plan, func(module.Event) {}); err != nil {
		r.t.Fatal(err)
	}
	outputs, err := stack.Outputs(r.t.Context(), client)
	if err != nil {
		r.t.Fatal(err)
	}
	command, err := outputs.Raw("docker_login_command")
	if err != nil {
		r.t.Fatal(err)
	}
	return command
}

// build makes a small image of that name whose content is the name.
func (c *client) build(name string) {
	c.t.Helper()
	dir := filepath.Join(c.dir, name)
	writeFile(c.t, filepath.Join(dir, "Dockerfile"), "FROM scratch\nCOPY content /\n")
	writeFile(c.t, filepath.Join(dir, "content"), name)
	c.run("build", "--tag", name, dir)
}

func (c *client) tagged(image, ref string) string {
	c.t.Helper()
	c.run("tag", image, ref)
	return ref
}

// TestDockerAtAVirtualHost uses a registry under the name that AWS would give it, over TLS with a certificate of the
// registry's own, as `berth serve --tls-self-signed` tells docker to trust it. Without that it is refused.
func TestDockerAtAVirtualHost(t *testing.T) {
	t.Parallel()
	port := strconv.Itoa(testkit.FreePort(t))
	listen := net.JoinHostPort("127.0.0.1", port)
	s := serve(t, server.Config{
		Listen: listen, Data: t.TempDir(), Region: "eu-west-1", Database: "sqlite", Blobs: "file",
		RegistryHost: "%a.dkr.ecr.%r.berth.test:" + port, TLSSelfSigned: true,
	})
	registry := "000000000000.dkr.ecr.eu-west-1.berth.test:" + port
	equal(t, "the host to trust", s.RegistryHost(), registry)
	key := []string{"AWS_ENDPOINT_URL=https://" + listen, "AWS_CA_BUNDLE=" + s.CA(), "AWS_DEFAULT_REGION=eu-west-1", "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID=" + s.Root().AccessKeyID, "AWS_SECRET_ACCESS_KEY=" + s.Root().SecretAccessKey}
	aws := newClient(t, "aws", key...)
	aws.run("ecr", "create-repository", "--repository-name", "app")

	// The daemon finds the name by a proxy, since there is no name server. It would not ask an address of this machine
	// for its certificate.
	certs := t.TempDir()
	daemon := testkit.DockerWith(t, testkit.DockerOptions{Certs: certs, Env: []string{"HTTPS_PROXY=" + tunnel(t, listen)}})
	docker := &client{t: t, path: testkit.Tool(t, "docker"), env: testkit.DockerEnv(t, daemon), dir: t.TempDir()}
	password := strings.TrimSpace(aws.run("ecr", "get-login-password"))
	docker.refused([]string{"x509"}, "login", "--username", "AWS", "--password", password, registry)
	writeFile(t, filepath.Join(certs, registry, "ca.crt"), string(readFile(t, s.CA())))
	if out := docker.run("login", "--username", "AWS", "--password", password, registry); !strings.Contains(out, "Login Succeeded") {
		t.Errorf("docker login printed %q", out)
	}
	docker.refused([]string{"401"}, "login", "--username", "AWS", "--password", wrongPassword, registry)
	docker.run("login", "--username", "AWS", "--password", password, registry)

	docker.build("app")
	ref := docker.tagged("app", registry+"/app:v1")
	docker.run("push", ref)
	digest := strings.TrimSpace(aws.run("ecr", "describe-images", "--repository-name", "app", "--query", "imageDetails[0].imageDigest", "--output", "text"))
	docker.run("rmi", "app", ref)
	if out := docker.run("pull", ref); !strings.Contains(out, "Digest: "+digest) {
		t.Errorf("docker pull printed %q, expected the digest %s", out, digest)
	}

	// The name of another account is another registry, which this principal has no way into.
	other := "111122223333.dkr.ecr.eu-west-1.berth.test:" + port
	writeFile(t, filepath.Join(certs, other, "ca.crt"), string(readFile(t, s.CA())))
	docker.run("login", "--username", "AWS", "--password", password, other)
	docker.refused([]string{"111122223333"}, "push", docker.tagged(ref, other+"/app:v1"))
}
