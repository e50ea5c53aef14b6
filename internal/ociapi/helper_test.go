package ociapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"berth/internal/access"
	"berth/internal/access/token"
	"berth/internal/blob/file"
	"berth/internal/iam"
	"berth/internal/kms/envelope"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/ociapi"
	"berth/internal/registry"
	"berth/internal/seal/sealtest"
	"berth/internal/testkit"
)

var home = meta.Scope{Account: "123456789012", Region: "us-east-1"}

// A rig is the door on stores of its own, with a clock and rights that tests move.
type rig struct {
	http.Handler
	t        testing.TB
	dir      string
	db       *meta.DB
	reg      *registry.Registry
	users    *iam.Store
	tokens   *token.Issuer
	root     access.Principal
	password string
	log      *bytes.Buffer

	mu     sync.Mutex
	now    time.Time
	asked  []access.Request
	denied map[string]bool // action and resource
}

func newRig(t testing.TB) *rig {
	t.Helper()
	ctx := context.Background()
	r := &rig{t: t, dir: t.TempDir(), now: time.Unix(1_700_000_000, 0), log: &bytes.Buffer{}, denied: map[string]bool{}}
	var err error
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r.db, err = sqlite.Open(ctx, filepath.Join(r.dir, "meta.db"))
	must(err)
	t.Cleanup(func() {
		if err := r.db.Close(); err != nil {
			t.Error(err)
		}
	})
	ring, keys := sealtest.New(t, r.db, r.dir, r.clock)
	blobs, err := file.Open(file.System{}, r.dir, ring)
	must(err)
	r.tokens, err = token.New(bytes.Repeat([]byte{7}, token.KeySize), r.clock)
	must(err)
	secrets, err := envelope.NewMemory(bytes.Repeat([]byte{9}, envelope.KeySize))
	must(err)
	r.users = iam.New(r.db, r.tokens, secrets, r.clock)
	key, err := r.users.EnsureRoot(ctx, home.Account, iam.Credentials{})
	must(err)
	r.root = access.Root(home.Account, key.AccessKeyID)
	r.password, _, err = r.tokens.Issue(r.root, home.Region, token.Lifetime)
	must(err)
	log := slog.New(slog.NewTextHandler(r.log, nil))
	r.reg = registry.New(registry.Options{
		DB: r.db, Blobs: blobs, Seal: ring, KMS: keys, Cursors: r.tokens, Log: log, Now: r.clock, Host: func(meta.Scope) string { return "registry.test" },
	})
	r.Handler, err = ociapi.New(ociapi.Options{
		Registry: r.reg, Authenticate: r, Authorize: r, Log: log,
		Scope: func(host string) meta.Scope {
			if account, ok := strings.CutSuffix(host, ".registry.test"); ok {
				return meta.Scope{Account: account, Region: home.Region}
			}
			return home
		},
		Endpoint: func(meta.Scope) string { return "http://registry.test" },
	})
	must(err)
	return r
}

// Password implements ociapi.Authenticator.
func (r *rig) Password(q *http.Request, password string) (access.Principal, error) {
	return r.users.Password(q.Context(), password)
}

func (r *rig) clock() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// Authorize is the real decision on root users and repository policies, less
// what the test took away.
func (r *rig) Authorize(ctx context.Context, q access.Request) error {
	r.mu.Lock()
	r.asked = append(r.asked, q)
	no := r.denied[q.Action+" "+q.Resource]
	r.mu.Unlock()
	if no {
		return &access.DeniedError{Principal: q.Principal, Action: q.Action, Resource: q.Resource, Cause: access.NoIdentityAllow}
	}
	return access.Rules{Identity: access.AccountRoot{}, Resource: r.reg.Permissions(), ResourceTags: r.reg.ResourceTagsOf}.Authorize(ctx, q)
}

func (r *rig) deny(action, repository string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.denied["ecr:"+action+" "+registry.ARN(home, repository)] = true
}

func (r *rig) create(names ...string) {
	r.t.Helper()
	for _, n := range names {
		if _, err := r.reg.CreateRepository(context.Background(), home, registry.NewRepository{Name: n}); err != nil {
			r.t.Fatal(err)
		}
	}
}

type answer struct {
	*httptest.ResponseRecorder
	t    testing.TB
	what string
}

// request is one that no middleware has touched: paths are as written.
func (r *rig) request(method, target string, body io.Reader, headers ...string) *http.Request {
	req := httptest.NewRequest(method, "http://registry.test"+target, body)
	req.SetBasicAuth(ociapi.User, r.password)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

func (r *rig) send(req *http.Request) answer {
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	return answer{w, r.t, req.Method + " " + req.URL.String()}
}

func (r *rig) do(method, target string, body io.Reader, headers ...string) answer {
	return r.send(r.request(method, target, body, headers...))
}

func (a answer) want(status int) answer {
	a.t.Helper()
	if a.Code != status {
		a.t.Errorf("%s: %d %s, want %d", a.what, a.Code, strings.TrimSpace(a.Body.String()), status)
	}
	return a
}

// refused checks the form of an error answer.
func (a answer) refused(status int, code string) answer {
	a.t.Helper()
	var body struct {
		Errors []struct{ Code, Message string }
	}
	dec := json.NewDecoder(bytes.NewReader(a.Body.Bytes()))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil || len(body.Errors) != 1 || body.Errors[0].Message == "" {
		a.t.Errorf("%s: the body %q is no error document: %v", a.what, a.Body, err)
		return a
	}
	if a.Code != status || body.Errors[0].Code != code {
		a.t.Errorf("%s: %d %s, want %d %s", a.what, a.Code, a.Body, status, code)
	}
	if ct := a.Header().Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		a.t.Errorf("%s: content type %q", a.what, ct)
	}
	return a
}

func (a answer) header(name, want string) answer {
	a.t.Helper()
	if got := a.Header().Get(name); got != want {
		a.t.Errorf("%s: %s is %q, want %q", a.what, name, got, want)
	}
	return a
}

func (r *rig) putBlob(repo string, data []byte) digest.Digest {
	r.t.Helper()
	d := digest.FromBytes(data)
	r.do("POST", "/v2/"+repo+"/blobs/uploads/?digest="+d.String(), bytes.NewReader(data)).want(201)
	return d
}

func (r *rig) push(repo, ref string, c testkit.Content) {
	r.t.Helper()
	for b, isManifest := range c.All() {
		if !isManifest {
			r.putBlob(repo, b.Bytes)
			continue
		}
		name := b.Descriptor.Digest.String()
		if b.Descriptor.Digest == c.Digest() && ref != "" {
			name = ref
		}
		r.do("PUT", "/v2/"+repo+"/manifests/"+name, bytes.NewReader(b.Bytes), "Content-Type", b.Descriptor.MediaType).want(201)
	}
}

func (r *rig) startUpload(repo string) (location string) {
	r.t.Helper()
	return r.do("POST", "/v2/"+repo+"/blobs/uploads/", nil).want(202).Header().Get("Location")
}

// files finds the files of the blob store, staged and committed.
func (r *rig) files() (staged, committed []string) {
	r.t.Helper()
	err := filepath.WalkDir(filepath.Join(r.dir, "blobs"), func(p string, d os.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
		case strings.HasSuffix(p, ".part"):
			staged = append(staged, p)
		default:
			committed = append(committed, p)
		}
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return staged, committed
}

// wantFiles fails unless the blob store has so many files.
func (r *rig) wantFiles(staged, committed int) {
	r.t.Helper()
	if s, c := r.files(); len(s) != staged || len(c) != committed {
		r.t.Errorf("%d staged and %d committed files, want %d and %d", len(s), len(c), staged, committed)
	}
}
