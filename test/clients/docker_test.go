package clients

import (
	"path/filepath"
	"strings"
	"testing"

	"berth/internal/module"
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
