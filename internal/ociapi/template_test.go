package ociapi_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

func (r *rig) template(prefix string, c registry.TemplateChange) {
	r.t.Helper()
	c.AppliedFor = []string{registry.ForCreateOnPush}
	if _, err := r.reg.CreateTemplate(context.Background(), home, prefix, c); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) exists(name string) bool {
	r.t.Helper()
	_, err := r.reg.Repository(context.Background(), home, name)
	if err != nil && !registry.Is(err, registry.RepositoryNotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

// A whole image goes to a repository that its first layer creates. Nothing else
// than a push does.
func TestPushCreatesRepository(t *testing.T) {
	r := newRig(t)
	img := testkit.RandomImage(t, 2, 100)
	layer := img.Blobs[0]
	post := "/v2/prod/app/blobs/uploads/"
	missing := func(what string) {
		t.Helper()
		a := r.do("POST", post, nil).refused(404, "NAME_UNKNOWN")
		if !strings.Contains(a.Body.String(), "The repository with name 'prod/app' does not exist in the registry with id '123456789012'") || r.exists("prod/app") {
			t.Errorf("%s: %s", what, a.Body)
		}
	}
	missing("no template")
	if _, err := r.reg.CreateTemplate(context.Background(), home, "prod", registry.TemplateChange{AppliedFor: []string{registry.ForReplication, registry.ForPullThrough}}); err != nil {
		t.Fatal(err)
	}
	missing("a template for other uses")
	if _, err := r.reg.DeleteTemplate(context.Background(), home, "prod"); err != nil {
		t.Fatal(err)
	}
	r.template("prod", registry.TemplateChange{Mutability: &registry.Mutability{Mode: registry.Immutable}})
	for _, call := range [][2]string{
		{"HEAD", "/blobs/" + layer.Descriptor.Digest.String()}, {"GET", "/blobs/" + layer.Descriptor.Digest.String()}, {"GET", "/manifests/v1"}, {"GET", "/tags/list"},
		{"PUT", "/manifests/v1"}, {"GET", "/referrers/" + layer.Descriptor.Digest.String()}, {"DELETE", "/manifests/v1"},
	} {
		if r.do(call[0], "/v2/prod/app"+call[1], bytes.NewReader(img.Root.Bytes), "Content-Type", img.Root.Descriptor.MediaType).want(404); r.exists("prod/app") {
			t.Errorf("%s %s created the repository", call[0], call[1])
		}
	}
	r.push("prod/app", "v1", img)
	r.do("GET", "/v2/prod/app/manifests/v1", nil).want(200)
	if repo, err := r.reg.Repository(context.Background(), home, "prod/app"); err != nil || repo.Mutability != registry.Immutable {
		t.Errorf("created %+v, %v", repo, err)
	}
}

// Each way to begin an upload creates the repository: a session, a blob in one
// request, and a mount.
func TestEveryUploadCreates(t *testing.T) {
	r := newRig(t)
	r.create("source")
	data := []byte("layer")
	d := digest.FromBytes(data).String()
	r.do("POST", "/v2/source/blobs/uploads/?digest="+d, bytes.NewReader(data)).want(201)
	r.template("ROOT", registry.TemplateChange{})
	for name, tc := range map[string]struct {
		query string
		body  []byte
		want  int
	}{
		"session": {"", nil, 202}, "whole": {"?digest=" + d, data, 201}, "mount": {"?mount=" + d + "&from=source", nil, 201}, "found": {"?mount=" + d, nil, 201},
		"elsewhere": {"?mount=" + d + "&from=nowhere", nil, 202},
	} {
		r.do("POST", "/v2/by-"+name+"/blobs/uploads/"+tc.query, bytes.NewReader(tc.body)).want(tc.want)
		if !r.exists("by-" + name) {
			t.Errorf("%s created nothing", name)
		}
	}
}

// A principal creates nothing that it may not create, and nothing to which it
// may not push (aws/containers-roadmap#853: pushes that were denied left empty
// repositories behind).
func TestDeniedPushCreatesNothing(t *testing.T) {
	r := newRig(t)
	r.template("prod", registry.TemplateChange{
		ResourceTags: []meta.ResourceTag{{Key: "team", Value: "a"}}, CustomRoleARN: new("arn:aws:iam::123456789012:role/creator"),
	})
	partner := r.as("111122223333")
	allow := func(condition string, actions ...string) {
		t.Helper()
		text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":["` +
			strings.Join(actions, `","`) + `"],"Resource":"arn:aws:ecr:us-east-1:123456789012:repository/prod/*"` + condition + `}]}`
		if err := r.reg.SetRegistryPolicy(context.Background(), home, text); err != nil {
			t.Fatal(err)
		}
	}
	data := []byte("layer")
	d := digest.FromBytes(data).String()
	denied := func(action string) {
		t.Helper()
		for _, query := range []string{"", "?digest=" + d, "?mount=" + d + "&from=prod/other"} {
			a := r.sendAs(partner, "POST", "/v2/prod/app/blobs/uploads/"+query, data).refused(403, "DENIED")
			if !strings.Contains(a.Body.String(), "is not authorized to perform: ecr:"+action+" on resource: arn:aws:ecr:us-east-1:123456789012:repository/prod/app") {
				t.Errorf("%s", a.Body)
			}
		}
		if r.exists("prod/app") {
			t.Fatalf("a push that is denied for want of %s left a repository", action)
		}
	}
	denied("InitiateLayerUpload")
	allow("", "ecr:CreateRepository")
	denied("InitiateLayerUpload")
	push := []string{"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload"}
	allow("", push...)
	denied("CreateRepository")
	allow(`,"Condition":{"StringEquals":{"aws:RequestTag/team":"b"}}`, append(push, "ecr:CreateRepository")...)
	r.sendAs(partner, "POST", "/v2/prod/app/blobs/uploads/", nil).refused(403, "DENIED")
	allow("", append(push, "ecr:CreateRepository")...)
	r.sendAs(partner, "POST", "/v2/other/app/blobs/uploads/", nil).refused(403, "DENIED")
	r.sendAs(partner, "POST", "/v2/prod/app/blobs/uploads/?digest="+d, data).want(201)
	if !r.exists("prod/app") {
		t.Error("the push created nothing")
	}
	r.deny("CreateRepository", "prod/mine") // the owner, whose side says no
	r.do("POST", "/v2/prod/mine/blobs/uploads/", nil).refused(403, "DENIED")
	if r.exists("prod/mine") {
		t.Error("created nevertheless")
	}
}

// The layers of one push come at the same time, and all find the repository.
func TestLayersCreateOnce(t *testing.T) {
	r := newRig(t)
	r.template("ROOT", registry.TemplateChange{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { r.do("POST", "/v2/team/app/blobs/uploads/", nil).want(202) })
	}
	wg.Wait()
}
