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
	create("hub", host, `,"credentialArn":"`+secret+`"`)
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
	validate("hub", "false The upstream registry mirror.example has a rule whose secret cannot be used: Secrets Manager can't find the specified secret.")
	validate("role", "false The upstream registry mirror.example has a rule with the role arn:aws:iam::000000000000:role/r, and no role is assumed")
	c.call("ValidatePullThroughCacheRule", `{"ecrRepositoryPrefix":"nothing"}`).refused(400, "PullThroughCacheRuleNotFoundException",
		"The pull through cache rule with the repository prefix 'nothing' was not found in the registry with id '000000000000'")
}
