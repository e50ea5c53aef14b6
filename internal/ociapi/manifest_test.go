package ociapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/manifest"
	"berth/internal/registry"
	"berth/internal/testkit"
)

const ociIndex = "application/vnd.oci.image.index.v1+json"

// index is a valid manifest of exactly size bytes.
func index(size int) []byte {
	base := `{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[],"annotations":{"a":"`
	return []byte(base + strings.Repeat("x", size-len(base)-3) + `"}}`)
}

func TestManifestGetAndHeadAgree(t *testing.T) {
	r := newRig(t)
	r.create("app")
	img := testkit.RandomImage(t, 1, 10)
	r.push("app", "v1", img)
	for _, ref := range []string{"v1", img.Digest().String()} {
		get, head := r.do("GET", "/v2/app/manifests/"+ref, nil).want(200), r.do("HEAD", "/v2/app/manifests/"+ref, nil).want(200)
		if !bytes.Equal(get.Body.Bytes(), img.Root.Bytes) || head.Body.Len() != 0 {
			t.Error("GET changed the bytes, or HEAD has some")
		}
		get.header("Content-Type", img.Root.Descriptor.MediaType).header("Docker-Content-Digest", img.Digest().String()).
			header("Content-Length", fmt.Sprint(len(img.Root.Bytes)))
		for name := range get.Header() {
			if g, h := get.Header().Get(name), head.Header().Get(name); g != h {
				t.Errorf("%s is %q in GET and %q in HEAD", name, g, h)
			}
		}
	}
	// What the client would rather have does not change what was pushed.
	r.do("GET", "/v2/app/manifests/v1", nil, "Accept", "application/vnd.docker.distribution.manifest.v1+json").want(200).
		header("Docker-Content-Digest", img.Digest().String())
	for _, ref := range []string{"v2", digest.FromString("none").String()} {
		a := r.do("GET", "/v2/app/manifests/"+ref, nil).refused(404, "MANIFEST_UNKNOWN")
		if !strings.Contains(a.Body.String(), `"Requested image not found"`) {
			t.Error(a.Body)
		}
		r.do("HEAD", "/v2/app/manifests/"+ref, nil).want(404)
		r.do("DELETE", "/v2/app/manifests/"+ref, nil).refused(404, "MANIFEST_UNKNOWN")
	}
}

// CVE-2017-11468: the body of a manifest has an end.
func TestCVE2017_11468_ManifestBodyIsCapped(t *testing.T) {
	r := newRig(t)
	r.create("app")
	put := func(size int) answer {
		return r.do("PUT", "/v2/app/manifests/big", bytes.NewReader(index(size)), "Content-Type", ociIndex)
	}
	put(manifest.MaxSize).want(201)
	put(manifest.MaxSize+1).refused(413, "MANIFEST_INVALID")
	endless := r.request("PUT", "/v2/app/manifests/big", endlessBody{}, "Content-Type", ociIndex)
	endless.ContentLength = -1
	r.send(endless).refused(413, "MANIFEST_INVALID")
}

type endlessBody struct{}

func (endlessBody) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func TestManifestRefusals(t *testing.T) {
	r := newRig(t)
	r.create("app")
	img := testkit.RandomImage(t, 1, 10)
	r.push("app", "v1", img)
	ociType := img.Root.Descriptor.MediaType
	for name, tc := range map[string]struct {
		ref, contentType, body string
		status                 int
		code                   string
	}{
		"not JSON":              {"x", ociType, "{", 405, "UNSUPPORTED"},
		"empty":                 {"x", ociType, "", 405, "UNSUPPORTED"},
		"unknown type":          {"x", "application/json", string(img.Root.Bytes), 405, "UNSUPPORTED"},
		"type of another kind":  {"x", ociIndex, string(img.Root.Bytes), 405, "UNSUPPORTED"},
		"other digest":          {digest.FromString("x").String(), ociType, string(img.Root.Bytes), 400, "DIGEST_INVALID"},
		"malformed digest":      {"sha256:abc", ociType, string(img.Root.Bytes), 400, "DIGEST_INVALID"},
		"tag of 129 characters": {strings.Repeat("a", 129), ociType, string(img.Root.Bytes), 400, "TAG_INVALID"},
		"tag with a plus":       {"a+b", ociType, string(img.Root.Bytes), 400, "TAG_INVALID"},
		"layer that is not there": {"x", ociType, strings.Replace(string(img.Root.Bytes), img.Blobs[1].Descriptor.Digest.Encoded(),
			digest.FromString("none").Encoded(), 1), 404, "MANIFEST_BLOB_UNKNOWN"},
		"child that is not there": {"x", ociIndex, fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":1}]}`,
			ociType, digest.FromString("none")), 404, "MANIFEST_BLOB_UNKNOWN"},
		"deep nesting": {"x", ociIndex, strings.Repeat("[", 1<<20), 405, "UNSUPPORTED"},
	} {
		t.Run(name, func(t *testing.T) {
			a := r.do("PUT", "/v2/app/manifests/"+tc.ref, strings.NewReader(tc.body), "Content-Type", tc.contentType)
			a.t = t
			a.refused(tc.status, tc.code)
		})
	}
	if tags := r.tags(""); !slices.Equal(tags, []string{"v1"}) {
		t.Errorf("tags %v", tags)
	}
}

// tags follows the links of tags/list from a first query.
func (r *rig) tags(query string) (all []string) {
	r.t.Helper()
	next := "/v2/app/tags/list" + query
	for next != "" {
		a := r.do("GET", next, nil).want(200)
		var body struct {
			Name string
			Tags []string
		}
		if err := json.Unmarshal(a.Body.Bytes(), &body); err != nil || body.Name != "app" || body.Tags == nil {
			r.t.Fatalf("%s: %s, %v", next, a.Body, err)
		}
		all = append(all, body.Tags...)
		next = r.next(a)
	}
	return all
}

// next is the target of the Link header (RFC 8288).
func (r *rig) next(a answer) string {
	r.t.Helper()
	link := a.Header().Get("Link")
	if link == "" {
		return ""
	}
	target, ok := strings.CutSuffix(strings.TrimPrefix(link, "<"), `>; rel="next"`)
	if _, err := url.Parse(target); !ok || err != nil {
		r.t.Fatalf("link %q", link)
	}
	return target
}

func TestTagPages(t *testing.T) {
	r := newRig(t)
	r.create("app")
	if tags := r.tags(""); len(tags) != 0 {
		t.Errorf("tags %v", tags)
	}
	var want []string
	for i := range 7 {
		tag := fmt.Sprintf("v%d", i)
		r.do("PUT", "/v2/app/manifests/"+tag, bytes.NewReader(index(200)), "Content-Type", ociIndex).want(201)
		want = append(want, tag)
	}
	for _, query := range []string{"", "?n=1", "?n=3", "?n=7", "?n=1000"} {
		if got := r.tags(query); !slices.Equal(got, want) {
			t.Errorf("%q: %v", query, got)
		}
	}
	if got := r.tags("?n=2&last=v4"); !slices.Equal(got, want[5:]) {
		t.Errorf("after v4: %v", got)
	}
	if a := r.do("GET", "/v2/app/tags/list?n=0", nil).want(200); a.Body.String() != `{"name":"app","tags":[]}` || a.Header().Get("Link") != "" {
		t.Errorf("n=0: %s %v", a.Body, a.Header())
	}
	if a := r.do("GET", "/v2/_catalog?n=1", nil).want(200); a.Body.String() != `{"repositories":["app"]}` || a.Header().Get("Link") != "" {
		t.Errorf("catalog: %s %v", a.Body, a.Header())
	}
}

// CVE-2023-2253, GHSA-hqxw-f8mx-cpmw: n does not decide how much is allocated.
func TestCVE2023_2253_CatalogBound(t *testing.T) {
	r := newRig(t)
	r.create("app")
	for _, target := range []string{"/v2/_catalog", "/v2/app/tags/list"} {
		for _, n := range []string{"1001", "1000000000", "9223372036854775807", "99999999999999999999999", "-1", "abc", "1e3", "0x10", "+1", "%20"} {
			a := r.do("GET", target+"?n="+n, nil).refused(405, "UNSUPPORTED")
			if !strings.Contains(a.Body.String(), "Invalid parameter at 'maxResults' failed to satisfy constraint: 'Member must ") {
				t.Error(a.Body)
			}
		}
		for _, n := range []string{"1000", "1", ""} {
			r.do("GET", target+"?n="+n, nil).want(200)
		}
	}
}

// Whoever is excluded leaves no time of a last pull.
func TestPullsHaveTheirPrincipal(t *testing.T) {
	r := newRig(t)
	r.create("app")
	r.push("app", "v1", testkit.RandomImage(t, 1, 10))
	ended, end := context.WithCancel(context.Background())
	end()
	pulled := func() bool {
		r.do("GET", "/v2/app/manifests/v1", nil).want(200)
		r.reg.Run(ended) // writes down what is pending
		img, err := r.reg.Image(context.Background(), home, "app", registry.ImageRef{Tag: "v1"})
		if err != nil {
			t.Fatal(err)
		}
		return !img.PulledAt.IsZero()
	}
	if _, err := r.reg.AddExclusion(context.Background(), home, r.root.ARN); err != nil {
		t.Fatal(err)
	}
	if pulled() {
		t.Error("the pull of an excluded principal was recorded")
	}
	if err := r.reg.RemoveExclusion(context.Background(), home, r.root.ARN); err != nil {
		t.Fatal(err)
	}
	if !pulled() {
		t.Error("a pull was not recorded")
	}
}

func TestReferrers(t *testing.T) {
	r := newRig(t)
	r.create("app")
	subject := testkit.RandomImage(t, 1, 10)
	r.push("app", "v1", subject)
	at := "/v2/app/referrers/" + subject.Digest().String()
	type list struct {
		SchemaVersion int
		MediaType     string
		Manifests     []struct {
			Digest, MediaType, ArtifactType string
			Size                            int64
		}
	}
	get := func(target string) (answer, list) {
		t.Helper()
		var body list
		a := r.do("GET", target, nil).want(200).header("Content-Type", ociIndex)
		if err := json.Unmarshal(a.Body.Bytes(), &body); err != nil || body.SchemaVersion != 2 || body.MediaType != ociIndex || body.Manifests == nil {
			t.Fatalf("%s: %v", a.Body, err)
		}
		return a, body
	}
	if _, l := get(at); len(l.Manifests) != 0 {
		t.Errorf("%+v", l)
	}
	for i, kind := range []string{"application/vnd.test.a", "application/vnd.test.b", "application/vnd.test.a"} {
		art := testkit.Artifact(t, kind, []byte{byte(i)}, &subject)
		for _, b := range art.Blobs {
			r.putBlob("app", b.Bytes)
		}
		r.do("PUT", "/v2/app/manifests/"+art.Digest().String(), bytes.NewReader(art.Root.Bytes), "Content-Type", art.Root.Descriptor.MediaType).
			want(201).header("OCI-Subject", subject.Digest().String())
	}
	a, l := get(at)
	a.header("OCI-Filters-Applied", "")
	if len(l.Manifests) != 3 || l.Manifests[0].Size == 0 || l.Manifests[1].ArtifactType != "application/vnd.test.b" {
		t.Errorf("%+v", l)
	}
	a, l = get(at + "?artifactType=application/vnd.test.a")
	a.header("OCI-Filters-Applied", "artifactType")
	if len(l.Manifests) != 2 {
		t.Errorf("%+v", l)
	}
	if _, l = get("/v2/app/referrers/" + digest.FromString("none").String()); len(l.Manifests) != 0 {
		t.Errorf("%+v", l)
	}
	r.do("GET", "/v2/app/referrers/v1", nil).refused(400, "DIGEST_INVALID")
	r.do("GET", at+"?last=x", nil).refused(405, "UNSUPPORTED")
	r.do("GET", at+"?last=99999999999999999999", nil).refused(405, "UNSUPPORTED")
}

func TestReferrersPages(t *testing.T) {
	r := newRig(t)
	r.create("app")
	subject := testkit.RandomImage(t, 1, 10)
	config := r.putBlob("app", []byte("{}"))
	const n = 503 // more than one page
	for i := range n {
		body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.test",
			"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[],
			"subject":{"mediaType":"x/y","digest":%q,"size":1},"annotations":{"n":"%d"}}`, config, subject.Digest(), i)
		r.do("PUT", "/v2/app/manifests/"+digest.FromString(body).String(), strings.NewReader(body),
			"Content-Type", "application/vnd.oci.image.manifest.v1+json").want(201)
	}
	seen := map[string]bool{}
	pages := 0
	for next := "/v2/app/referrers/" + subject.Digest().String() + "?artifactType=application/vnd.test"; next != ""; pages++ {
		a := r.do("GET", next, nil).want(200).header("OCI-Filters-Applied", "artifactType")
		var body struct{ Manifests []struct{ Digest string } }
		if err := json.Unmarshal(a.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
		for _, m := range body.Manifests {
			seen[m.Digest] = true
		}
		next = r.next(a)
	}
	if len(seen) != n || pages != 2 {
		t.Errorf("%d referrers on %d pages", len(seen), pages)
	}
}

func TestDeleteManifests(t *testing.T) {
	r := newRig(t)
	r.create("app")
	multi := testkit.RandomIndex(t, 10, "amd64", "arm64")
	r.push("app", "multi", multi)
	child := "/v2/app/manifests/" + multi.Children[0].Digest().String()
	a := r.do("DELETE", child, nil).refused(409, "DENIED")
	if !strings.Contains(a.Body.String(), "Requested image referenced by manifest list: ["+multi.Digest().String()+"]") {
		t.Error(a.Body)
	}
	r.do("DELETE", "/v2/app/manifests/multi", nil).want(202)
	r.do("GET", "/v2/app/manifests/multi", nil).refused(404, "MANIFEST_UNKNOWN")
	r.do("GET", "/v2/app/manifests/"+multi.Digest().String(), nil).want(200) // only the tag went
	r.do("DELETE", "/v2/app/manifests/"+multi.Digest().String(), nil).want(202)
	r.do("DELETE", child, nil).want(202)
}

func TestTagParameters(t *testing.T) {
	r := newRig(t)
	r.create("app")
	body := index(200)
	at := "/v2/app/manifests/" + digest.FromBytes(body).String()
	put := func(query string) answer {
		return r.do("PUT", at+query, bytes.NewReader(body), "Content-Type", ociIndex)
	}
	a := put("?tag=b&tag=a").want(201)
	if got := a.Header().Values("OCI-Tag"); !slices.Equal(got, []string{"b", "a"}) {
		t.Errorf("OCI-Tag %v", got)
	}
	put("?tag=ok&tag="+strings.Repeat("a", 129)).refused(400, "TAG_INVALID")
	put("?tag=ok&tag=").refused(400, "TAG_INVALID")
	put("?tag=x"+strings.Repeat("&tag=x", 100)).refused(414, "TAG_INVALID")
	if got := r.tags(""); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("tags %v", got)
	}
}

// An upload id or cursor that no database can hold is the client's mistake.
func TestTextsWithNUL(t *testing.T) {
	r := newRig(t)
	r.create("app")
	d := digest.FromString("").String()
	for _, tc := range []struct{ method, target string }{
		{"PATCH", "/v2/app/blobs/uploads/a%00b"}, {"GET", "/v2/app/blobs/uploads/a%00b"}, {"GET", "/v2/app/tags/list?last=%00"},
		{"GET", "/v2/app/tags/list?last=%ff"}, {"GET", "/v2/_catalog?last=%00"}, {"GET", "/v2/app/referrers/" + d + "?artifactType=%00"},
		{"POST", "/v2/app/blobs/uploads/?mount=" + d + "&from=%00"},
	} {
		if a := r.do(tc.method, tc.target, nil); a.Code >= 500 {
			t.Errorf("%s: %d %s", a.what, a.Code, a.Body)
		}
	}
	config := r.putBlob("app", []byte("{}"))
	body := fmt.Sprintf(`{"schemaVersion":2,"config":{"mediaType":"a\u0000b","digest":%q,"size":2},"layers":[]}`, config)
	if a := r.do("PUT", "/v2/app/manifests/nul", strings.NewReader(body), "Content-Type", "application/vnd.oci.image.manifest.v1+json"); a.Code >= 500 {
		t.Errorf("a manifest with NUL: %d %s", a.Code, a.Body)
	}
}

// The registry does not find an archived image, nor list it, until it is pushed again.
func TestArchivedManifest(t *testing.T) {
	r := newRig(t)
	r.create("app")
	img := testkit.RandomImage(t, 1, 100)
	r.push("app", "v1", img)
	sbom := testkit.Artifact(t, "application/vnd.test.sbom", []byte("sbom"), &img)
	r.push("app", sbom.Digest().String(), sbom)
	if _, _, err := r.reg.SetStorageClass(t.Context(), home, "app", registry.ImageRef{Tag: "v1"}, registry.StorageArchive); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"v1", img.Digest().String(), sbom.Digest().String()} {
		a := r.do("GET", "/v2/app/manifests/"+path, nil).refused(404, "MANIFEST_UNKNOWN")
		if !strings.Contains(a.Body.String(), "Requested image not found") {
			t.Error(a.Body)
		}
		r.do("HEAD", "/v2/app/manifests/"+path, nil).want(404)
	}
	lists := func() string {
		return r.do("GET", "/v2/app/tags/list", nil).want(200).Body.String() + r.do("GET", "/v2/app/referrers/"+img.Digest().String(), nil).want(200).Body.String()
	}
	if got := lists(); strings.Contains(got, `"v1"`) || strings.Contains(got, sbom.Digest().String()) {
		t.Errorf("archived images are listed: %s", got)
	}
	r.push("app", "v1", img)
	r.do("GET", "/v2/app/manifests/v1", nil).want(200)
	if got := lists(); !strings.Contains(got, `"v1"`) || !strings.Contains(got, sbom.Digest().String()) {
		t.Errorf("the pushed image and what refers to it are not listed: %s", got)
	}
}
