package ociapi_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/access"
	"berth/internal/access/token"
	"berth/internal/iam"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

// sharedPolicy is the cross-account example of the module's README.
const sharedPolicy = `{"Version":"2012-10-17","Statement":[{"Sid":"AllowCrossAccountPull","Effect":"Allow",
	"Principal":{"AWS":"arn:aws:iam::111122223333:root"},
	"Action":["ecr:GetDownloadUrlForLayer","ecr:BatchGetImage","ecr:BatchCheckLayerAvailability"]}]}`

// as makes a registry password for the root user of another account.
func (r *rig) as(account string) string {
	r.t.Helper()
	key, err := r.users.EnsureRoot(context.Background(), account, iam.Credentials{})
	if err != nil {
		r.t.Fatal(err)
	}
	password, _, err := r.tokens.Issue(access.Root(account, key.AccessKeyID), home.Region, token.Lifetime)
	if err != nil {
		r.t.Fatal(err)
	}
	return password
}

func (r *rig) sendAs(password, method, target string, body []byte, headers ...string) answer {
	req := r.request(method, target, bytes.NewReader(body), headers...)
	req.SetBasicAuth("AWS", password)
	return r.send(req)
}

func (r *rig) setPolicy(repo, text string) {
	r.t.Helper()
	owner := access.Request{
		Principal: r.root, Action: "ecr:SetRepositoryPolicy", Resource: registry.ARN(home, repo), ResourceAccount: home.Account,
	}
	if _, err := r.reg.SetPolicy(context.Background(), home, repo, text, owner, false); err != nil {
		r.t.Fatal(err)
	}
}

// The account that the policy names pulls and does not push, others do
// neither, and all of it ends with the policy, for passwords of before too.
func TestCrossAccountPull(t *testing.T) {
	r := newRig(t)
	r.create("shared-app", "private-app")
	img := testkit.RandomImage(t, 1, 100)
	r.push("shared-app", "v1", img)
	r.push("private-app", "v1", img)
	partner, stranger := r.as("111122223333"), r.as("999999999999")
	layer := "/blobs/" + img.Blobs[0].Descriptor.Digest.String()
	pulls := func(repo, password string, want int) {
		t.Helper()
		for _, call := range [][2]string{{"HEAD", "/manifests/v1"}, {"GET", "/manifests/v1"}, {"HEAD", layer}, {"GET", layer}} {
			r.sendAs(password, call[0], "/v2/"+repo+call[1], nil).want(want)
		}
	}
	pulls("shared-app", partner, 403) // no policy yet
	r.setPolicy("shared-app", sharedPolicy)
	pulls("shared-app", partner, 200)
	pulls("shared-app", stranger, 403)
	pulls("private-app", partner, 403)
	pulls("shared-app", r.password, 200)

	manifest := img.Root.Bytes
	for _, password := range []string{partner, stranger} {
		for _, call := range [][2]string{
			{"POST", "/blobs/uploads/"}, {"PUT", "/manifests/v2"}, {"PUT", "/manifests/v1"}, {"DELETE", "/manifests/v1"}, {"DELETE", layer},
			{"GET", "/tags/list"},
		} {
			r.sendAs(password, call[0], "/v2/shared-app"+call[1], manifest, "Content-Type", img.Root.Descriptor.MediaType).refused(403, "DENIED")
		}
	}
	a := r.sendAs(stranger, "GET", "/v2/shared-app/manifests/v1", nil).refused(403, "DENIED")
	want := "User: arn:aws:iam::999999999999:root is not authorized to perform: ecr:BatchGetImage on resource: " +
		"arn:aws:ecr:us-east-1:123456789012:repository/shared-app because no resource-based policy allows the ecr:BatchGetImage action"
	if !strings.Contains(a.Body.String(), want) {
		t.Errorf("%s, want %s", a.Body, want)
	}

	if _, err := r.reg.DeletePolicy(context.Background(), home, "shared-app"); err != nil {
		t.Fatal(err)
	}
	pulls("shared-app", partner, 403)

	// A repository of the same name has nothing of the one before.
	r.setPolicy("shared-app", sharedPolicy)
	pulls("shared-app", partner, 200)
	if _, err := r.reg.DeleteRepository(context.Background(), home, "shared-app", true); err != nil {
		t.Fatal(err)
	}
	r.create("shared-app")
	r.push("shared-app", "v1", img)
	pulls("shared-app", partner, 403)
}

// An explicit deny holds for everybody, the owner's root user too, and
// conditions are those of the request.
func TestPolicyDeniesAndConditions(t *testing.T) {
	r := newRig(t)
	r.create("app")
	img := testkit.RandomImage(t, 1, 100)
	r.push("app", "v1", img)
	r.setPolicy("app", `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:InitiateLayerUpload"}]}`)
	a := r.do("POST", "/v2/app/blobs/uploads/", nil).refused(403, "DENIED")
	if !strings.Contains(a.Body.String(), "with an explicit deny in a resource-based policy") {
		t.Error(a.Body)
	}
	r.do("GET", "/v2/app/manifests/v1", nil).want(200)

	partner := r.as("111122223333")
	get := func(change func(*http.Request)) answer {
		req := r.request("GET", "/v2/app/manifests/v1", nil)
		req.SetBasicAuth("AWS", partner)
		if change != nil {
			change(req)
		}
		return r.send(req)
	}
	allowIf := func(condition string) {
		t.Helper()
		r.setPolicy("app", fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},
			"Action":"ecr:BatchGetImage","Condition":%s}]}`, condition))
	}
	from := func(addr string) func(*http.Request) { return func(q *http.Request) { q.RemoteAddr = addr } }
	allowIf(`{"IpAddress":{"aws:SourceIp":"10.1.0.0/16"}}`)
	get(from("10.1.2.3:999")).want(200)
	get(from("10.2.2.3:999")).refused(403, "DENIED")
	get(from("")).refused(403, "DENIED")
	get(func(q *http.Request) { // what a header claims is not where it comes from
		q.RemoteAddr = "10.2.2.3:999"
		q.Header.Set("X-Forwarded-For", "10.1.2.3")
	}).refused(403, "DENIED")
	allowIf(`{"Bool":{"aws:SecureTransport":"true"}}`)
	get(nil).refused(403, "DENIED")
	allowIf(`{"StringEquals":{"ecr:ResourceTag/team":"red"}}`)
	get(nil).refused(403, "DENIED")
	tag(t, r, "team", "red")
	get(nil).want(200)
	tag(t, r, "team", "blue")
	get(nil).refused(403, "DENIED")
	allowIf(`{"DateLessThan":{"aws:CurrentTime":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}}`)
	get(nil).want(200)
	allowIf(`{"DateLessThan":{"aws:CurrentTime":"2020-01-01T00:00:00Z"}}`)
	get(nil).refused(403, "DENIED")
}

func tag(t *testing.T, r *rig, key, value string) {
	t.Helper()
	if err := r.reg.TagResource(context.Background(), home, "app", []meta.ResourceTag{{Key: key, Value: value}}); err != nil {
		t.Fatal(err)
	}
}

// A policy that keeps its author from changing it needs force.
func TestPolicyThatLocksOut(t *testing.T) {
	r := newRig(t)
	r.create("app")
	ask := func(account, text string, force bool) error {
		q := access.Request{
			Principal: access.Root(account, "k"), Action: "ecr:SetRepositoryPolicy", Resource: registry.ARN(home, "app"), ResourceAccount: home.Account,
		}
		_, err := r.reg.SetPolicy(context.Background(), home, "app", text, q, force)
		return err
	}
	deny := `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:SetRepositoryPolicy"}]}`
	elsewhere := `{"Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}`
	partner := `{"Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"ecr:*"}]}`
	for _, tc := range []struct {
		account, text string
		locked        bool
	}{
		{home.Account, deny, true}, {home.Account, elsewhere, false}, {home.Account, partner, false},
		{"111122223333", partner, false}, {"111122223333", sharedPolicy, true}, {"999999999999", partner, true},
	} {
		err := ask(tc.account, tc.text, false)
		if tc.locked != registry.Is(err, registry.InvalidParameter) || (!tc.locked && err != nil) {
			t.Errorf("account %s sets %s: %v", tc.account, tc.text, err)
		}
		if err := ask(tc.account, tc.text, true); err != nil {
			t.Errorf("by force: %v", err)
		}
	}
}

// The policy of the registry counts beside those of its repositories.
func TestRegistryPolicyDecides(t *testing.T) {
	r := newRig(t)
	r.create("app", "team/app")
	for _, repo := range []string{"app", "team/app"} {
		r.push(repo, "v1", testkit.RandomImage(t, 1, 100))
	}
	partner := r.as("111122223333")
	get := func(repo string) answer { return r.sendAs(partner, "GET", "/v2/"+repo+"/manifests/v1", nil) }
	set := func(text string) {
		t.Helper()
		if err := r.reg.SetRegistryPolicy(context.Background(), home, text); err != nil {
			t.Fatal(err)
		}
	}
	get("team/app").refused(403, "DENIED")
	set(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["ecr:BatchGetImage","ecr:CreateRepository"],
		"Resource":"arn:aws:ecr:us-east-1:123456789012:repository/team/*"}]}`)
	get("team/app").want(200)
	get("app").refused(403, "DENIED")
	r.setPolicy("team/app", `{"Statement":[{"Effect":"Deny","Principal":{"AWS":"111122223333"},"Action":"ecr:BatchGetImage"}]}`)
	get("team/app").refused(403, "DENIED")
	r.setPolicy("app", sharedPolicy)
	get("app").want(200)
	set(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:BatchGetImage","Resource":"*"}]}`)
	get("app").refused(403, "DENIED")
	r.do("GET", "/v2/app/manifests/v1", nil).refused(403, "DENIED")
	if _, err := r.reg.DeleteRegistryPolicy(context.Background(), home); err != nil {
		t.Fatal(err)
	}
	get("app").want(200)
	r.do("GET", "/v2/app/manifests/v1", nil).want(200)
}
