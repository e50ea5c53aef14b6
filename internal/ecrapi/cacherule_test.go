package ecrapi_test

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"berth/internal/server"
	"berth/internal/server/servertest"
	"berth/internal/upstream"
)

// The upstream registry is asked, and what it answers decides.
func TestValidatePullThroughCacheRule(t *testing.T) {
	answer := http.StatusOK
	registry := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(answer) }))
	t.Cleanup(registry.Close)
	trusted := x509.NewCertPool()
	trusted.AddCert(registry.Certificate())
	host := strings.TrimPrefix(registry.URL, "https://")
	s := servertest.StartWith(t, server.Config{Upstream: upstream.Options{RootCAs: trusted, Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}})
	c := &client{Server: s, t: t, region: s.Region, at: time.Now(), id: s.Root.AccessKeyID, secret: s.Root.SecretAccessKey}

	const secret = "arn:aws:secretsmanager:us-east-1:000000000000:secret:ecr-pullthroughcache/hub"
	create := func(prefix, upstream, more string) {
		c.call("CreatePullThroughCacheRule", `{"ecrRepositoryPrefix":"`+prefix+`","upstreamRegistryUrl":"`+upstream+`"`+more+`}`).ok()
	}
	create("mirror", host, `,"upstreamRepositoryPrefix":"library"`)
	create("hidden", "127.0.0.2:443", "")
	create("hub", host, `,"credentialArn":"`+secret+`"`)
	create("role", host, `,"customRoleArn":"arn:aws:iam::000000000000:role/r"`)
	validate := func(prefix string) string {
		t.Helper()
		out := c.call("ValidatePullThroughCacheRule", `{"ecrRepositoryPrefix":"`+prefix+`"}`).ok()
		if out["ecrRepositoryPrefix"] != prefix || out["registryId"] != "000000000000" || out["upstreamRegistryUrl"] == nil {
			t.Errorf("the answer is %v", out)
		}
		return fmt.Sprint(out["isValid"], " ", out["failure"])
	}
	if got := validate("mirror"); got != "true <nil>" {
		t.Errorf("an open registry: %s", got)
	}
	answer = http.StatusNotFound
	if got := validate("mirror"); got != "false The upstream registry "+host+" answers with the status 404 to GET /v2/, so it is no registry, or not one for everybody." {
		t.Errorf("no registry: %s", got)
	}
	if got := validate("hidden"); got != "false The upstream registry 127.0.0.2:443 is at an address that is not public, which is refused." {
		t.Errorf("a private address: %s", got)
	}
	if got := validate("hub"); got != "false The secret "+secret+" cannot be read: this version of Berth cannot log in to upstream registries." {
		t.Errorf("a secret: %s", got)
	}
	if got := validate("role"); got != "false The role arn:aws:iam::000000000000:role/r cannot be assumed: this version of Berth cannot log in to upstream registries." {
		t.Errorf("a role: %s", got)
	}
	c.call("ValidatePullThroughCacheRule", `{"ecrRepositoryPrefix":"nothing"}`).refused(400, "PullThroughCacheRuleNotFoundException",
		"The pull through cache rule with the repository prefix 'nothing' was not found in the registry with id '000000000000'")
}
