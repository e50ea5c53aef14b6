package ociapi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"berth/internal/testkit"
	"berth/internal/upload"
)

func TestChunkedUpload(t *testing.T) {
	r := newRig(t)
	r.create("app")
	data := bytes.Repeat([]byte("0123456789"), 100)
	d := digest.FromBytes(data)
	loc := r.startUpload("app")
	r.do("GET", loc, nil).want(204).header("Range", "0-0")
	r.do("PATCH", loc, bytes.NewReader(data[:400]), "Content-Range", "0-399").want(202).header("Range", "0-399")
	r.do("GET", loc, nil).want(204).header("Range", "0-399").header("Location", loc)
	// Out of order, and again: where to go on is in the answer.
	for _, contentRange := range []string{"500-599", "0-99", "399-498"} {
		r.do("PATCH", loc, bytes.NewReader(data[:100]), "Content-Range", contentRange).refused(416, "BLOB_UPLOAD_INVALID").
			header("Range", "0-399").header("Location", loc)
	}
	r.do("PATCH", loc, bytes.NewReader(data[400:500]), "Content-Range", "400-450").refused(400, "SIZE_INVALID")
	r.do("PATCH", loc, bytes.NewReader(data[400:500]), "Content-Range", "x").refused(400, "BLOB_UPLOAD_INVALID")
	r.do("PATCH", loc, bytes.NewReader(data[400:700])).want(202).header("Range", "0-699") // without a range: at the end
	r.do("PUT", loc+"?digest="+d.String(), bytes.NewReader(data[700:]), "Content-Range", "700-999").want(201).
		header("Location", "/v2/app/blobs/"+d.String()).header("Docker-Content-Digest", d.String())
	if got := r.do("GET", "/v2/app/blobs/"+d.String(), nil).want(200); !bytes.Equal(got.Body.Bytes(), data) {
		t.Error("other bytes")
	}
	for _, method := range []string{"GET", "PATCH", "DELETE"} {
		r.do(method, loc, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	}
}

func TestWrongDigestEndsTheUpload(t *testing.T) {
	r := newRig(t)
	r.create("app")
	data := []byte("data")
	wrong := digest.FromString("other").String()
	loc := r.startUpload("app")
	r.do("PATCH", loc, bytes.NewReader(data)).want(202)
	for _, d := range []string{"", "?digest=", "?digest=sha256:abc", "?digest=md5:d41d8cd98f00b204e9800998ecf8427e", "?digest=%00"} {
		r.do("PUT", loc+d, nil).refused(400, "DIGEST_INVALID")
	}
	r.do("GET", loc, nil).want(204) // a digest that cannot be was not held against the bytes
	a := r.do("PUT", loc+"?digest="+wrong, nil).refused(400, "DIGEST_INVALID")
	if want := "None of the provided layer digests match the calculated layer digest: " + digest.FromBytes(data).String(); !strings.Contains(a.Body.String(), want) {
		t.Error(a.Body)
	}
	r.do("GET", loc, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	r.do("POST", "/v2/app/blobs/uploads/?digest="+wrong, bytes.NewReader(data)).refused(400, "DIGEST_INVALID")
	r.wantFiles(0, 0)
}

func TestUploadOfAnotherRepositoryIsUnknown(t *testing.T) {
	r := newRig(t)
	r.create("app", "other")
	loc := r.startUpload("app")
	foreign := strings.Replace(loc, "/app/", "/other/", 1)
	r.do("GET", foreign, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	r.do("PATCH", foreign, strings.NewReader("x")).refused(404, "BLOB_UPLOAD_UNKNOWN")
	r.do("PUT", foreign+"?digest="+digest.FromString("").String(), nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	r.do("DELETE", foreign, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
	for _, id := range []string{"x", "..", "%2e%2e", "..%2f..%2fmeta.db", strings.Repeat("a", 4000)} {
		a := r.do("PATCH", "/v2/app/blobs/uploads/"+id, strings.NewReader("x"))
		if a.Code != 404 && a.Code != 400 {
			t.Errorf("%s: %d", a.what, a.Code)
		}
	}
	r.do("DELETE", loc, nil).want(204)
	r.do("GET", loc, nil).refused(404, "BLOB_UPLOAD_UNKNOWN")
}

func TestUploadAlgorithms(t *testing.T) {
	r := newRig(t)
	r.create("app")
	long := digest.SHA512.FromString("x")
	loc := r.do("POST", "/v2/app/blobs/uploads/?digest-algorithm=sha512", nil).want(202).Header().Get("Location")
	r.do("PUT", loc+"?digest="+long.String(), strings.NewReader("x")).want(201).header("Docker-Content-Digest", long.String())
	r.do("HEAD", "/v2/app/blobs/"+long.String(), nil).want(200)
	r.do("GET", "/v2/app/blobs/"+digest.FromString("x").String(), nil).refused(404, "BLOB_UNKNOWN")
	r.do("POST", "/v2/app/blobs/uploads/?digest-algorithm=md5", nil).refused(405, "UNSUPPORTED")
}

// A client that fails keeps what it sent, and is told so.
func TestBrokenBody(t *testing.T) {
	r := newRig(t)
	r.create("app")
	loc := r.startUpload("app")
	broken := io.MultiReader(strings.NewReader("hello"), failingReader{})
	r.do("PATCH", loc, broken).refused(408, "BLOB_UPLOAD_INVALID")
	r.do("GET", loc, nil).want(204).header("Range", "0-4")
	r.do("POST", "/v2/app/blobs/uploads/?digest="+digest.FromString("hello").String(), io.MultiReader(strings.NewReader("hel"), failingReader{})).
		refused(408, "BLOB_UPLOAD_INVALID")
	r.do("PUT", "/v2/app/manifests/v1", broken).refused(408, "MANIFEST_INVALID")
	r.wantFiles(0, 0) // what little the session has is in its row
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

func TestBlobGetAndHeadAgree(t *testing.T) {
	r := newRig(t)
	r.create("app")
	for _, size := range []int{0, 1, 100_000} {
		data := bytes.Repeat([]byte("x"), size)
		at := "/v2/app/blobs/" + r.putBlob("app", data).String()
		get, head := r.do("GET", at, nil).want(200), r.do("HEAD", at, nil).want(200)
		if get.Body.Len() != size || head.Body.Len() != 0 {
			t.Errorf("%d bytes: GET gave %d and HEAD %d", size, get.Body.Len(), head.Body.Len())
		}
		for _, name := range []string{"Content-Length", "Content-Type", "Docker-Content-Digest", "ETag", "Accept-Ranges", "Docker-Distribution-Api-Version"} {
			if g, h := get.Header().Get(name), head.Header().Get(name); g != h || g == "" {
				t.Errorf("%d bytes: %s is %q in GET and %q in HEAD", size, name, g, h)
			}
		}
	}
	missing := "/v2/app/blobs/" + digest.FromString("none").String()
	r.do("GET", missing, nil).refused(404, "BLOB_UNKNOWN")
	if a := r.do("HEAD", missing, nil).want(404); a.Body.Len() != 0 {
		t.Errorf("HEAD has the body %q", a.Body)
	}
	for _, bad := range []string{"sha256:abc", "abc", "sha256:" + strings.Repeat("A", 64), "md5:d41d8cd98f00b204e9800998ecf8427e", "..%2f..%2fmeta.db"} {
		for _, method := range []string{"GET", "HEAD", "DELETE"} {
			if a := r.do(method, "/v2/app/blobs/"+bad, nil); a.Code != 400 && a.Code != 404 {
				t.Errorf("%s: %d", a.what, a.Code)
			}
		}
	}
}

// RFC 9110, "Range Requests".
func TestBlobRanges(t *testing.T) {
	r := newRig(t)
	r.create("app")
	at := "/v2/app/blobs/" + r.putBlob("app", []byte("0123456789")).String()
	for header, tc := range map[string]struct {
		status int
		body   string
	}{
		"bytes=0-3":                   {206, "0123"},
		"bytes=8-":                    {206, "89"},
		"bytes=-3":                    {206, "789"},
		"bytes=5-100":                 {206, "56789"},
		"bytes=10-":                   {416, ""},
		"bytes=5-2":                   {416, ""},
		"bytes=99999999999999999999-": {416, ""},
		"bytes=0-0,2-2" + strings.Repeat(",0-9", 100): {200, "0123456789"}, // more bytes than the whole
	} {
		a := r.do("GET", at, nil, "Range", header).want(tc.status)
		if tc.body != "" && a.Body.String() != tc.body {
			t.Errorf("%s: %q", header, a.Body)
		}
		if tc.status == 206 {
			a.header("Content-Length", fmt.Sprint(len(tc.body)))
		}
	}
	etag := r.do("GET", at, nil).Header().Get("ETag")
	r.do("GET", at, nil, "If-None-Match", etag).want(304)
	r.do("GET", at, nil, "Range", "bytes=0-3", "If-Range", `"other"`).want(200)
}

// zot#4427: bytes that are not what the row says are a 5xx and in the log.
func TestDamagedBlobIsAServerError(t *testing.T) {
	for name, damage := range map[string]func(string) error{
		"emptied": func(p string) error { return os.Truncate(p, 0) },
		"gone":    os.Remove,
		"changed": flipBit,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.create("app")
			data := bytes.Repeat([]byte("precious"), upload.MaxSmall/8+1) // lies in the blob store
			d := r.putBlob("app", data)
			_, files := r.files()
			if err := damage(files[0]); err != nil {
				t.Fatal(err)
			}
			at := "/v2/app/blobs/" + d.String()
			a := r.do("GET", at, nil).refused(500, "UNKNOWN")
			if strings.Contains(a.Body.String(), r.dir) || strings.Contains(a.Body.String(), "precious") {
				t.Errorf("the answer tells too much: %s", a.Body)
			}
			if !strings.Contains(r.log.String(), d.String()) {
				t.Errorf("the log does not say which blob: %s", r.log)
			}
			if name == "changed" {
				r.do("GET", at, nil, "Range", "bytes=2-3").refused(500, "UNKNOWN")
			}
			r.do("HEAD", at, nil).want(404) // so that the client pushes it again
			r.putBlob("app", data)
			r.do("GET", at, nil).want(200)
		})
	}
}

// flipBit changes one bit in the last third of a file.
func flipBit(p string) error {
	b, err := os.ReadFile(p)
	if err != nil {
		return err
	}
	b[len(b)*2/3] ^= 1
	return os.WriteFile(p, b, 0o600)
}

// Damage that shows after the first bytes were sent cuts the connection: the
// client cannot take what it has for the blob.
func TestDamageInTheMiddleCutsTheConnection(t *testing.T) {
	r := newRig(t)
	r.create("app")
	data := bytes.Repeat([]byte("precious"), 100_000)
	d := r.putBlob("app", data)
	_, files := r.files()
	if err := flipBit(files[0]); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() != http.ErrAbortHandler {
			t.Error("the answer ended as if it were whole")
		}
		r.do("GET", "/v2/app/blobs/"+d.String(), nil).refused(500, "UNKNOWN")
		r.do("HEAD", "/v2/app/blobs/"+d.String(), nil).want(404)
		r.putBlob("app", data)
		r.do("GET", "/v2/app/blobs/"+d.String(), nil).want(200)
	}()
	r.do("GET", "/v2/app/blobs/"+d.String(), nil)
}

func TestDeleteBlobs(t *testing.T) {
	r := newRig(t)
	r.create("app")
	img := testkit.RandomImage(t, 1, 10)
	r.push("app", "v1", img)
	at := "/v2/app/blobs/" + img.Blobs[1].Descriptor.Digest.String()
	r.do("DELETE", at, nil).refused(409, "DENIED")
	r.do("GET", at, nil).want(200)
	r.do("DELETE", "/v2/app/manifests/"+img.Digest().String(), nil).want(202)
	r.do("DELETE", at, nil).want(202)
	r.do("GET", at, nil).refused(404, "BLOB_UNKNOWN")
	r.do("DELETE", at, nil).refused(404, "BLOB_UNKNOWN")
}

func TestMethodsAndPathsThatAreNot(t *testing.T) {
	r := newRig(t)
	r.create("app")
	for _, tc := range []struct{ method, target string }{
		{"POST", "/v2/"}, {"PUT", "/v2/app/tags/list"}, {"POST", "/v2/app/manifests/v1"}, {"PATCH", "/v2/app/manifests/v1"},
		{"PUT", "/v2/app/blobs/" + digest.FromString("").String()}, {"GET", "/v2/app/blobs/uploads/"}, {"DELETE", "/v2/_catalog"},
		{"OPTIONS", "/v2/"}, {"TRACE", "/v2/"}, {"BREW", "/v2/app/tags/list"},
	} {
		r.do(tc.method, tc.target, nil).refused(405, "UNSUPPORTED")
	}
	for _, target := range []string{"/v2/app", "/v2/app/", "/v2/app/nothing/v1", "/v2/app/manifests/"} {
		r.do("GET", target, nil).refused(404, "NAME_UNKNOWN")
	}
}

// Names that lead elsewhere are refused, however they are written.
func TestHostileNames(t *testing.T) {
	r := newRig(t)
	r.create("app")
	r.push("app", "v1", testkit.RandomImage(t, 1, 10))
	for _, name := range []string{
		"..", "../app", "app/..", "a/../app", "./app", "app/.", "%2e%2e", "%2e%2e%2fapp", "..%2fapp", "app%2f..", "%2e/app",
		"app%00", "app%0a", "APP", "app%20", "a", "-app", "app-", "a..b", "app%5c..", "%c3%a9a", strings.Repeat("a", 257), "/app", "app/",
		"app%3fx", "_app",
	} {
		for _, rest := range []string{"/manifests/v1", "/tags/list", "/blobs/" + digest.FromString("").String(), "/referrers/" + digest.FromString("").String()} {
			r.do("GET", "/v2/"+name+rest, nil).refused(400, "NAME_INVALID")
		}
		for _, rest := range []string{"/blobs/uploads/"} {
			r.do("POST", "/v2/"+name+rest, nil).refused(400, "NAME_INVALID")
		}
		r.do("PUT", "/v2/"+name+"/manifests/v1", strings.NewReader("{}")).refused(400, "NAME_INVALID")
	}
	if staged, _ := r.files(); len(staged) != 0 {
		t.Errorf("staged files %v", staged)
	}
	if list, err := os.ReadDir(r.dir); err != nil || len(list) > 6 {
		t.Errorf("the data directory has %v, %v", list, err)
	}
}

func TestUnknownRepository(t *testing.T) {
	r := newRig(t)
	d := digest.FromString("").String()
	for _, tc := range []struct{ method, target string }{
		{"GET", "/v2/none/manifests/v1"}, {"PUT", "/v2/none/manifests/v1"}, {"DELETE", "/v2/none/manifests/v1"}, {"GET", "/v2/none/tags/list"},
		{"GET", "/v2/none/blobs/" + d}, {"DELETE", "/v2/none/blobs/" + d}, {"POST", "/v2/none/blobs/uploads/"},
		{"POST", "/v2/none/blobs/uploads/?digest=" + d}, {"PATCH", "/v2/none/blobs/uploads/x"}, {"GET", "/v2/none/referrers/" + d},
	} {
		body := io.Reader(http.NoBody)
		if tc.method == "PUT" {
			body = strings.NewReader(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
		}
		a := r.do(tc.method, tc.target, body).refused(404, "NAME_UNKNOWN")
		if want := "The repository with name 'none' does not exist in the registry with id '123456789012'"; !strings.Contains(a.Body.String(), want) {
			t.Errorf("%s: %s", a.what, a.Body)
		}
	}
}
