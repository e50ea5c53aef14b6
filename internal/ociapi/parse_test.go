package ociapi

import (
	"fmt"
	"strings"
	"testing"

	"berth/internal/ecr"
	"berth/internal/manifest"
	"berth/internal/registry"
	"berth/internal/upload"
)

func TestParsePath(t *testing.T) {
	for path, want := range map[string]target{
		"/v2":                                {base, "", ""},
		"/v2/":                               {base, "", ""},
		"/v2/_catalog":                       {catalog, "", ""},
		"/v2/app/tags/list":                  {tagList, "app", ""},
		"/v2/a/b/c/tags/list":                {tagList, "a/b/c", ""},
		"/v2/tags/list/tags/list":            {tagList, "tags/list", ""},
		"/v2/app/manifests/v1":               {manifests, "app", "v1"},
		"/v2/app/manifests/sha256:ab":        {manifests, "app", "sha256:ab"},
		"/v2/a/manifests/b/manifests/v1":     {manifests, "a/manifests/b", "v1"},
		"/v2/app/blobs/sha256:ab":            {blobs, "app", "sha256:ab"},
		"/v2/app/blobs/uploads":              {uploads, "app", ""},
		"/v2/app/blobs/uploads/":             {uploads, "app", ""},
		"/v2/app/blobs/uploads/id":           {uploadItem, "app", "id"},
		"/v2/a/blobs/uploads/blobs/uploads/": {uploads, "a/blobs/uploads", ""},
		"/v2/app/referrers/sha256:ab":        {referrers, "app", "sha256:ab"},
		"/v2/../manifests/v1":                {manifests, "..", "v1"},           // the name is refused later
		"/v2/../../etc/blobs/sha256:ab":      {blobs, "../../etc", "sha256:ab"}, // the name is refused later
	} {
		if got, ok := parsePath(path); !ok || got != want {
			t.Errorf("parsePath(%q) = %+v, %v; want %+v", path, got, ok, want)
		}
	}
	for _, path := range []string{
		"", "/", "/v1/", "/v2x", "v2/", "/v2/app", "/v2/app/", "/v2/app/manifests/", "/v2/app/manifests", "/v2/app/blobs/",
		"/v2/app/unknown/v1", "/v2/manifests/v1", "/v2/tags/list", "/v2/blobs/uploads/", "/v2//", "/V2/app/manifests/v1",
	} {
		if got, ok := parsePath(path); ok && registry.ValidName(got.name) {
			t.Errorf("parsePath(%q) = %+v", path, got)
		}
	}
}

// Whatever is parsed was in the path, in its place.
func FuzzParsePath(f *testing.F) {
	for _, p := range []string{"/v2/", "/v2/_catalog", "/v2/a/b/tags/list", "/v2/a/manifests/v1", "/v2/a/blobs/uploads/id", "/v2/a/referrers/x", "/v2/../..", "/v2//manifests//"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, ok := parsePath(path)
		if !ok {
			if got != (target{}) {
				t.Fatalf("a refused path gave %+v", got)
			}
			return
		}
		middle := map[endpoint]string{
			base: "", catalog: "_catalog", tagList: "/tags/list", manifests: "/manifests/", blobs: "/blobs/",
			uploads: "/blobs/uploads", uploadItem: "/blobs/uploads/", referrers: "/referrers/",
		}
		m, known := middle[got.endpoint]
		if !known {
			t.Fatalf("%q is endpoint %d", path, got.endpoint)
		}
		if want := "/v2/" + got.name + m + got.ref; strings.TrimSuffix(path, "/") != strings.TrimSuffix(want, "/") {
			t.Fatalf("%q was read as %q", path, want)
		}
	})
}

func TestParseContentRange(t *testing.T) {
	for _, tc := range []struct {
		header string
		length int64
		want   int64
		status int // of the refusal; 0: none
	}{
		{"", 5, upload.AnyOffset, 0},
		{"", -1, upload.AnyOffset, 0},
		{"0-4", 5, 0, 0},
		{"0-4", -1, 0, 0},
		{"10-10", 1, 10, 0},
		{"bytes 10-19/*", 10, 10, 0},
		{"bytes 10-19/100", 10, 10, 0},
		{"999999999999999999-999999999999999999", 1, 999999999999999999, 0},
		{"0-4", 4, 0, 400},
		{"0-4", 0, 0, 400},
		{"4-0", -1, 0, 416},
		{"-", 0, 0, 400}, {"0-", 0, 0, 400}, {"-4", 0, 0, 400}, {"0 - 4", 5, 0, 400}, {"a-b", 1, 0, 400},
		{"0-4,5-9", 10, 0, 400}, {"+0-4", 5, 0, 400}, {"-1-4", 6, 0, 400}, {"0-9999999999999999999", -1, 0, 400},
		{"0-4\n", 5, 0, 400}, {"٠-٤", 5, 0, 400},
	} {
		got, err := parseContentRange(tc.header, tc.length)
		if tc.status == 0 {
			if err != nil || got != tc.want {
				t.Errorf("%q of %d: %d, %v", tc.header, tc.length, got, err)
			}
			continue
		}
		if err == nil || wire(err).status != tc.status {
			t.Errorf("%q of %d: %d, %v; want %d", tc.header, tc.length, got, err, tc.status)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	f.Add("0-4", int64(5))
	f.Add("bytes 0-4/*", int64(-1))
	f.Add("18446744073709551615-1", int64(0))
	f.Fuzz(func(t *testing.T, header string, length int64) {
		at, err := parseContentRange(header, length)
		if err != nil {
			if s := wire(err).status; s != 400 && s != 416 {
				t.Fatalf("%q: %v", header, err)
			}
			return
		}
		if header == "" {
			return
		}
		if at < 0 || !strings.Contains(strings.TrimLeft(header, "bytes 0"), strings.TrimLeft(fmt.Sprint(at), "0")) {
			t.Fatalf("%q starts at %d", header, at)
		}
	})
}

func TestParseReference(t *testing.T) {
	good := strings.Repeat("a", 64)
	for ref, want := range map[string]registry.ImageRef{
		"v1": {Tag: "v1"}, "_": {Tag: "_"}, strings.Repeat("a", 128): {Tag: strings.Repeat("a", 128)},
		"sha256:" + good:        {Digest: "sha256:" + good},
		"sha512:" + good + good: {Digest: "sha512:" + good + good},
		"sha256" + good:         {Tag: "sha256" + good},
	} {
		if got, err := parseReference(ref); err != nil || got != want {
			t.Errorf("%q: %+v, %v", ref, got, err)
		}
	}
	for ref, code := range map[string]string{
		strings.Repeat("a", 129): "TAG_INVALID", ".a": "TAG_INVALID", "a b": "TAG_INVALID", "..": "TAG_INVALID", "": "TAG_INVALID",
		"a\x00": "TAG_INVALID", "é": "TAG_INVALID",
		"sha256:abc": "DIGEST_INVALID", "sha256:" + strings.Repeat("A", 64): "DIGEST_INVALID", ":": "DIGEST_INVALID",
		"md5:d41d8cd98f00b204e9800998ecf8427e": "DIGEST_INVALID", "sha384:" + good + good[:32]: "DIGEST_INVALID",
		"sha256:" + good + ":": "DIGEST_INVALID", "sha256:../../" + good[6:]: "DIGEST_INVALID", "sha256:" + good + "\n": "DIGEST_INVALID",
	} {
		if got, err := parseReference(ref); err == nil || wire(err).code != code || wire(err).status != 400 {
			t.Errorf("%q: %+v, %v", ref, got, err)
		}
	}
}

func FuzzParseReference(f *testing.F) {
	f.Add("v1")
	f.Add("sha256:" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := parseReference(s)
		switch {
		case err != nil && wire(err).status != 400:
			t.Fatalf("%q: %v", s, err)
		case err == nil && ref.Tag != s && ref.Digest != s:
			t.Fatalf("%q became %+v", s, ref)
		case err == nil && ref.Digest == s:
			if _, err := parseDigest(s); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestInvariant06_RouteWithoutOperationRefusesToStart(t *testing.T) {
	for _, operation := range []string{"", "GetManifest", "ecr:PutImage", "putImage"} {
		spoilt := routes()
		spoilt[routeKey{manifests, "PATCH"}] = route{operation, getManifest, ""}
		if err := checkRoutes(spoilt); err == nil || !strings.Contains(err.Error(), "PATCH") {
			t.Errorf("a route authorised as %q: %v", operation, err)
		}
	}
	spoilt := routes()
	spoilt[routeKey{manifests, "PATCH"}] = route{"BatchGetImage", getManifest, "GetManifest"}
	if err := checkRoutes(spoilt); err == nil || !strings.Contains(err.Error(), "GetManifest") {
		t.Errorf("a route authorised as GetManifest too: %v", err)
	}
	if err := checkRoutes(routes()); err != nil {
		t.Error(err)
	}
}

// CVE-2026-41888, GHSA-qg67-7m6v-qg25: no route is without the ECR operation
// that permits it, and it is one that changes things exactly when the method does.
func TestInvariant06_EveryRouteHasItsOperation(t *testing.T) {
	reads := map[string]bool{
		"BatchGetImage": true, "ListImages": true, "DescribeRepositories": true, "GetDownloadUrlForLayer": true,
		"BatchCheckLayerAvailability": true,
	}
	for k, rt := range routes() {
		if k.endpoint == base {
			continue
		}
		if _, ok := ecr.LookupOperation(rt.operation); !ok {
			t.Errorf("%s of endpoint %d is authorised as %q", k.method, k.endpoint, rt.operation)
		}
		if rt.or != "" && (!reads[rt.or] || k.method != "HEAD") {
			t.Errorf("%s of endpoint %d is authorised as %q too", k.method, k.endpoint, rt.or)
		}
		if read := k.method == "GET" || k.method == "HEAD"; read != reads[rt.operation] && k.endpoint != uploadItem {
			t.Errorf("%s of endpoint %d is authorised as %q", k.method, k.endpoint, rt.operation)
		}
	}
}

func TestManifestTypesAreNotForRendering(t *testing.T) {
	// What is served comes with a type that no browser shows as a page.
	for _, mediaType := range []string{"text/html", "image/svg+xml", "application/xhtml+xml"} {
		if _, err := manifest.Parse(mediaType, []byte(`{"schemaVersion":2,"manifests":[]}`)); err == nil {
			t.Errorf("a manifest of type %s is accepted", mediaType)
		}
	}
}
