package ecrapi_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"berth/internal/server"
	"berth/internal/server/servertest"
)

// The upstream registry is asked, with the secret of the rule, and what it answers
// decides.
func TestValidatePullThroughCacheRule(t *testing.T) {
	answer := http.StatusOK
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(answer)
	}))
	t.Cleanup(registry.Close)
	const host = "mirror.example"
	s := servertest.StartWith(t, server.Config{Upstreams: []string{host + "=" + registry.URL}})
	c := &client{Server: s, t: t, region: s.Region, at: time.Now(), id: s.Root.AccessKeyID, secret: s.Root.SecretAccessKey}

	const secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:ecr-pullthroughcache/hub"
	create := func(prefix, upstream, more string) {
		c.call("CreatePullThroughCacheRule", `{"ecrRepositoryPrefix":"`+prefix+`","upstreamRegistryUrl":"`+upstream+`"`+more+`}`).ok()
	}
	create("mirror", host, `,"upstreamRepositoryPrefix":"library"`)
	create("hidden", "127.0.0.2:443", "")
	refused := func(secret, exception, message string) {
		t.Helper()
		c.call("CreatePullThroughCacheRule", `{"ecrRepositoryPrefix":"hub","upstreamRegistryUrl":"`+host+`","credentialArn":"`+secret+`"}`).refused(400, exception, message)
	}
	refused(secret, "SecretNotFoundException", "The ARN of the secret specified in the pull through cache rule was not found. Update the pull through cache rule with a valid secret ARN and try again.")
	refused("arn:aws:secretsmanager:eu-west-1:000000000000:secret:ecr-pullthroughcache/hub", "UnableToAccessSecretException", "The secret is unable to be accessed. Verify the resource permissions for the secret and try again.")
	c.Secret("ecr-pullthroughcache/hub", `{"username":"u","accessToken":"p"}`)
	create("hub", host, `,"credentialArn":"`+secret+`"`)
	c.Secrets("DeleteSecret", `{"SecretId":"ecr-pullthroughcache/hub"}`)
	refused(secret, "UnableToAccessSecretException", "")
	update := `{"ecrRepositoryPrefix":"hub","credentialArn":"` + secret + `"}`
	c.call("UpdatePullThroughCacheRule", update).refused(400, "UnableToAccessSecretException", "")
	c.call("UpdatePullThroughCacheRule", strings.Replace(update, "hub", "none", 1)).refused(400, "PullThroughCacheRuleNotFoundException", "")
	create("role", host, `,"customRoleArn":"arn:aws:iam::000000000000:role/r"`)
	validate := func(prefix, want string) {
		t.Helper()
		out := c.call("ValidatePullThroughCacheRule", `{"ecrRepositoryPrefix":"`+prefix+`"}`).ok()
		if out["ecrRepositoryPrefix"] != prefix || out["registryId"] != "000000000000" || out["upstreamRegistryUrl"] == nil {
			t.Errorf("the answer is %v", out)
		}
		if got := fmt.Sprint(out["isValid"], " ", out["failure"]); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, want %s", prefix, got, want)
		}
	}
	validate("mirror", "true <nil>")
	answer = http.StatusNotFound
	validate("mirror", "false The upstream registry mirror.example does not have the API of registries (GET /v2/).")
	validate("hidden", "false The upstream registry 127.0.0.2:443 leads to 127.0.0.2:443, and the address 127.0.0.2 is not a public one")
	validate("hub", "false The upstream registry mirror.example has a rule whose secret cannot be used: You can't perform this operation on the secret because it was marked for deletion.")
	validate("role", "false The upstream registry mirror.example has a rule with the role arn:aws:iam::000000000000:role/r, and roles are for private registries of Amazon ECR: use a secret")
	c.call("ValidatePullThroughCacheRule", `{"ecrRepositoryPrefix":"nothing"}`).refused(400, "PullThroughCacheRuleNotFoundException",
		"The pull through cache rule with the repository prefix 'nothing' was not found in the registry with id '000000000000'")
}

// Who makes a rule must be allowed to pass its role, and to read its secret when it
// goes to a host that ECR does not offer.
func TestRuleNeedsRights(t *testing.T) {
	root := newClient(t)
	root.Secret("ecr-pullthroughcache/x", "{}")
	root.IAM("CreateUser", "UserName", "ann")
	allow := func(actions string) {
		root.IAM("PutUserPolicy", "UserName", "ann", "PolicyName", "p", "PolicyDocument", `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[`+actions+`],"Resource":"*"}]}`)
	}
	allow(`"ecr:*"`)
	ann := *root
	ann.id, ann.secret = root.AccessKey("ann")
	create := func(prefix, host, more string) answer {
		return ann.call("CreatePullThroughCacheRule", `{"ecrRepositoryPrefix":"`+prefix+`","upstreamRegistryUrl":"`+host+`",`+more+`}`)
	}
	const secret, role = `"credentialArn":"arn:aws:secretsmanager:us-east-1:000000000000:secret:ecr-pullthroughcache/x"`, `"customRoleArn":"arn:aws:iam::000000000000:role/r"`
	create("hub", "registry-1.docker.io", secret).ok()
	create("other", "registry.example.com", secret).refused(400, "UnableToAccessSecretException", "")
	create("role", "111122223333.dkr.ecr.us-east-1.amazonaws.com", role).refused(400, "AccessDeniedException",
		"User: arn:aws:iam::000000000000:user/ann is not authorized to perform: iam:PassRole on resource: arn:aws:iam::000000000000:role/r because no identity-based policy allows the iam:PassRole action")
	ann.call("UpdatePullThroughCacheRule", `{"ecrRepositoryPrefix":"hub",`+role+`}`).refused(400, "AccessDeniedException", "")
	allow(`"ecr:*","iam:PassRole","secretsmanager:GetSecretValue"`)
	create("other", "registry.example.com", secret).ok()
	create("role", "111122223333.dkr.ecr.us-east-1.amazonaws.com", role).ok()
}
