package ociapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/access/token"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/testkit"
)

func TestAuthentication(t *testing.T) {
	r := newRig(t)
	r.create("app")
	other, err := token.New(bytes.Repeat([]byte{8}, token.KeySize), r.clock)
	if err != nil {
		t.Fatal(err)
	}
	foreign, _, err := other.Issue(r.root, home.Region, token.Lifetime)
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(r.password)
	flipped[len(flipped)/2] ^= 1
	basic := func(user, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	for name, authorization := range map[string]string{
		"none":                 "",
		"wrong user":           basic("aws", r.password),
		"no user":              basic("", r.password),
		"no password":          basic("AWS", ""),
		"garbage password":     basic("AWS", "password"),
		"long password":        basic("AWS", strings.Repeat("A", 60_000)),
		"password of another":  basic("AWS", foreign),
		"one bit flipped":      basic("AWS", string(flipped)),
		"cut":                  basic("AWS", r.password[:len(r.password)-1]),
		"not base64":           "Basic !!!",
		"bearer":               "Bearer " + r.password,
		"the access key alone": basic("AWS", r.root.AccessKeyID),
	} {
		for _, target := range []string{"/v2/", "/v2/app/tags/list", "/v2/none/manifests/x", "/v2/unknown/path", "/v2/_catalog", "/v2/app/manifests/..%2f"} {
			t.Run(name+" "+target, func(t *testing.T) {
				req := r.request("GET", target, nil)
				req.Header.Del("Authorization")
				if authorization != "" {
					req.Header.Set("Authorization", authorization)
				}
				a := r.send(req)
				a.t = t
				a.want(401).header("Www-Authenticate", `Basic realm="http://registry.test/",service="ecr.amazonaws.com"`).
					header("Docker-Distribution-Api-Version", "registry/2.0").header("Content-Type", "text/plain; charset=utf-8")
				if a.Body.String() != "Not Authorized\n" {
					t.Errorf("body %q", a.Body)
				}
			})
		}
	}
	r.do("GET", "/v2/", nil).want(200)
}

func TestExpiredPassword(t *testing.T) {
	r := newRig(t)
	r.advance(token.Lifetime - time.Second)
	r.do("GET", "/v2/", nil).want(200)
	r.advance(time.Second)
	a := r.do("GET", "/v2/", nil).refused(403, "DENIED")
	if !strings.Contains(a.Body.String(), `"Your authorization token has expired. Reauthenticate and try again."`) {
		t.Error(a.Body)
	}
}

// GHSA-c9p4-xwr9-rfhx: what is revoked ends at once, not with the password.
func TestPasswordEndsWithItsKey(t *testing.T) {
	for name, change := range map[string]func(tx *meta.Tx, k meta.AccessKey) error{
		"deleted":  func(tx *meta.Tx, k meta.AccessKey) error { return tx.DeleteAccessKey(k.ID) },
		"inactive": func(tx *meta.Tx, k meta.AccessKey) error { k.Active = false; return tx.PutAccessKey(k) },
		"given to another": func(tx *meta.Tx, k meta.AccessKey) error {
			k.Principal = "arn:aws:iam::123456789012:user/mallory"
			return tx.PutAccessKey(k)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.do("GET", "/v2/", nil).want(200)
			err := r.db.Update(context.Background(), func(tx *meta.Tx) error {
				k, err := tx.AccessKey(r.root.AccessKeyID)
				if err != nil {
					return err
				}
				return change(tx, k)
			})
			if err != nil {
				t.Fatal(err)
			}
			r.do("GET", "/v2/", nil).want(401)
		})
	}
}

// Every route asks for its own operation on the repository of the path, and a
// refusal of it leaves everything as it was.
func TestEveryRouteIsAuthorised(t *testing.T) {
	d := digest.FromString("x").String()
	for _, tc := range []struct{ method, target, operation, repository string }{
		{"GET", "/v2/_catalog", "DescribeRepositories", "*"},
		{"GET", "/v2/app/tags/list", "ListImages", "app"},
		{"GET", "/v2/app/manifests/v1", "BatchGetImage", "app"},
		{"HEAD", "/v2/app/manifests/v1", "BatchGetImage", "app"},
		{"PUT", "/v2/app/manifests/v1", "PutImage", "app"},
		{"DELETE", "/v2/app/manifests/v1", "BatchDeleteImage", "app"}, // CVE-2026-41888: a tag
		{"DELETE", "/v2/app/manifests/" + d, "BatchDeleteImage", "app"},
		{"GET", "/v2/app/referrers/" + d, "BatchGetImage", "app"},
		{"GET", "/v2/app/blobs/" + d, "GetDownloadUrlForLayer", "app"},
		{"HEAD", "/v2/app/blobs/" + d, "BatchCheckLayerAvailability", "app"},
		{"DELETE", "/v2/app/blobs/" + d, "BatchDeleteImage", "app"},
		{"POST", "/v2/app/blobs/uploads/", "InitiateLayerUpload", "app"},
		{"POST", "/v2/app/blobs/uploads/?digest=" + d, "InitiateLayerUpload", "app"},
		{"POST", "/v2/app/blobs/uploads/?digest=" + d, "UploadLayerPart", "app"},
		{"POST", "/v2/app/blobs/uploads/?digest=" + d, "CompleteLayerUpload", "app"},
		{"GET", "/v2/app/blobs/uploads/id", "UploadLayerPart", "app"},
		{"PATCH", "/v2/app/blobs/uploads/id", "UploadLayerPart", "app"},
		{"PUT", "/v2/app/blobs/uploads/id?digest=" + d, "CompleteLayerUpload", "app"},
		{"PUT", "/v2/app/blobs/uploads/id?digest=" + d, "UploadLayerPart", "app"},
		{"DELETE", "/v2/app/blobs/uploads/id", "UploadLayerPart", "app"},
		{"GET", "/v2/none/manifests/v1", "BatchGetImage", "none"}, // before the repository is looked up
	} {
		t.Run(tc.method+" "+tc.target+" "+tc.operation, func(t *testing.T) {
			r := newRig(t)
			r.create("app")
			r.deny(tc.operation, tc.repository)
			if tc.operation == "BatchCheckLayerAvailability" {
				r.deny("GetDownloadUrlForLayer", tc.repository) // who may download may ask, too
			}
			a := r.do(tc.method, tc.target, strings.NewReader("x"))
			if tc.method == "HEAD" {
				a.want(403)
				if a.Body.Len() != 0 {
					t.Errorf("an answer to HEAD has the body %q", a.Body)
				}
			} else {
				a.refused(403, "DENIED")
				want := "User: arn:aws:iam::123456789012:root is not authorized to perform: ecr:" + tc.operation + " on resource: " + registry.ARN(home, tc.repository)
				if !strings.Contains(a.Body.String(), want) {
					t.Errorf("%s\nwant %s", a.Body, want)
				}
			}
			r.wantFiles(0, 0)
		})
	}
}

// Who may push looks whether a layer is there, and so does who may pull and nothing else, as with AWS's policy
// AmazonEC2ContainerRegistryPullOnly.
func TestWhoMayAskForALayer(t *testing.T) {
	layer := "/v2/app/blobs/" + digest.FromString("x").String()
	for what, tc := range map[string]struct {
		denied []string
		want   int
	}{
		"all":       {nil, 404},
		"push only": {[]string{"GetDownloadUrlForLayer"}, 404},
		"pull only": {[]string{"BatchCheckLayerAvailability"}, 404},
		"neither":   {[]string{"BatchCheckLayerAvailability", "GetDownloadUrlForLayer"}, 403},
	} {
		t.Run(what, func(t *testing.T) {
			r := newRig(t)
			r.create("app")
			for _, operation := range tc.denied {
				r.deny(operation, "app")
			}
			r.do("HEAD", layer, nil).want(tc.want)
		})
	}
}

// Another registry is chosen by its host name; the caller's rights do not reach it.
func TestRegistryOfAnotherAccountIsDenied(t *testing.T) {
	r := newRig(t)
	r.create("app")
	r.push("app", "v1", testkit.RandomImage(t, 1, 10))
	for _, target := range []string{"/v2/app/manifests/v1", "/v2/app/tags/list", "/v2/_catalog"} {
		req := r.request("GET", target, nil)
		req.Host = "999999999999.registry.test"
		a := r.send(req).refused(403, "DENIED")
		if !strings.Contains(a.Body.String(), "arn:aws:ecr:us-east-1:999999999999:repository/") ||
			!strings.Contains(a.Body.String(), "because no resource-based policy allows") {
			t.Error(a.Body)
		}
	}
}

func TestInvariant05_MountNeedsReadOnSource(t *testing.T) {
	r := newRig(t)
	r.create("source", "target", "third")
	d := r.putBlob("source", []byte("x"))
	r.deny("GetDownloadUrlForLayer", "source")
	for _, from := range []string{"&from=source", "", "&from=none", "&from=..%2Fsource", "&from=third", "&from=target"} {
		a := r.do("POST", "/v2/target/blobs/uploads/?mount="+d.String()+from, nil).want(202)
		if a.Header().Get("Location") == "" || a.Header().Get("Docker-Content-Digest") != "" {
			t.Errorf("from %q: headers %v", from, a.Header())
		}
	}
	r.do("GET", "/v2/target/blobs/"+d.String(), nil).refused(404, "BLOB_UNKNOWN")
	r.denied = map[string]bool{}
	r.do("POST", "/v2/target/blobs/uploads/?mount="+d.String()+"&from=source", nil).want(201).
		header("Location", "/v2/target/blobs/"+d.String()).header("Docker-Content-Digest", d.String())
	r.do("GET", "/v2/target/blobs/"+d.String(), nil).want(200)
	r.do("POST", "/v2/third/blobs/uploads/?mount="+d.String(), nil).want(201) // found without a name
	r.do("POST", "/v2/third/blobs/uploads/?mount=nonsense&from=source", nil).refused(400, "DIGEST_INVALID")
}

func TestDownloadTickets(t *testing.T) {
	r := newRig(t)
	r.create("app")
	img := testkit.RandomImage(t, 1, 10)
	r.push("app", "v1", img)
	d := img.Blobs[1].Descriptor.Digest
	ticket, err := r.reg.LayerTicket(context.Background(), home, "app", d)
	if err != nil {
		t.Fatal(err)
	}
	anonymous := func(method, target string) answer {
		return r.send(httptest.NewRequest(method, "http://registry.test"+target, nil))
	}
	at := "/v2/app/blobs/" + d.String()
	if a := anonymous("GET", at+"?ticket="+ticket).want(200); !bytes.Equal(a.Body.Bytes(), img.Blobs[1].Bytes) {
		t.Error("other bytes")
	}
	anonymous("HEAD", at+"?ticket="+ticket).want(200)
	// It opens nothing else.
	anonymous("DELETE", at+"?ticket="+ticket).want(401)
	anonymous("GET", "/v2/app/blobs/"+img.Blobs[0].Descriptor.Digest.String()+"?ticket="+ticket).want(401)
	anonymous("GET", "/v2/app/manifests/v1?ticket="+ticket).want(401)
	anonymous("GET", at+"?ticket=").want(401)
	anonymous("GET", at+"?ticket="+ticket+"x").want(401)
	// A pagination cursor is sealed with the same key, and is no ticket.
	r.push("app", "v2", testkit.RandomImage(t, 1, 10))
	_, cursor, err := r.reg.ListImages(context.Background(), home, "app", registry.ImageFilter{}, "", 1)
	if err != nil || cursor == "" {
		t.Fatal(cursor, err)
	}
	anonymous("GET", at+"?ticket="+cursor).want(401)
	r.advance(registry.TicketLifetime)
	anonymous("GET", at+"?ticket="+ticket).want(401)
}
