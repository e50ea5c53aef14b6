package kmsapi_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/kms/keyring"
	"berth/internal/kms/local"
	"berth/internal/kmsapi"
	"berth/internal/meta/sqlite"
)

const (
	home   = "000000000000"
	other  = "111111111111"
	region = "us-east-1"
	secret = "secret/of/everybody"
)

// lookup knows one root user for each account: its access key is AKIA and the account.
type lookup struct{}

func (lookup) Secret(_ context.Context, id, _ string) (sigv4.Secret, error) {
	account, ok := strings.CutPrefix(id, "AKIA")
	if !ok {
		return sigv4.Secret{}, sigv4.ErrUnknownKey
	}
	return sigv4.Secret{SecretAccessKey: secret, Principal: access.Root(account, id), Active: true}, nil
}

// asked records what the door asks permission for.
type asked struct {
	access.Authorizer
	mu   sync.Mutex
	all  []string
	last access.Request
}

func (a *asked) Authorize(ctx context.Context, r access.Request) error {
	a.mu.Lock()
	a.all, a.last = append(a.all, r.Action+" "+r.Resource+" "+r.ResourceAccount), r
	a.mu.Unlock()
	return a.Authorizer.Authorize(ctx, r)
}

func (a *asked) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.all
	a.all = nil
	return all
}

type fixture struct {
	url   string
	kms   *local.KMS
	asked *asked
	log   *bytes.Buffer
}

func start(t testing.TB) fixture {
	t.Helper()
	db, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	master, err := keyring.OpenOrCreate(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	f := fixture{kms: local.New(db, master, time.Now, local.Options{}), log: &bytes.Buffer{}}
	f.asked = &asked{Authorizer: access.Rules{Identity: access.AccountRoot{}}}
	verifier := sigv4.New(lookup{}, time.Now, sigv4.Options{})
	door, err := kmsapi.New(kmsapi.Options{
		Service: f.kms, Authorize: f.asked, Log: slog.New(slog.NewTextHandler(f.log, nil)),
		Verify: func(service string, r *http.Request, body []byte) (sigv4.Identity, error) {
			return verifier.ForService(service).Verify(r, body)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(door)
	f.url = s.URL
	t.Cleanup(func() {
		s.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) code() string {
	var e struct {
		Type string `json:"__type"`
	}
	_ = json.Unmarshal([]byte(a.body), &e) // no JSON has no code
	return e.Type
}

func (a answer) message() string {
	var e struct{ Message string }
	_ = json.Unmarshal([]byte(a.body), &e)
	return e.Message
}

// call sends a request as the root user of an account.
func (f fixture) call(t testing.TB, account, operation, body string) answer {
	t.Helper()
	req, err := http.NewRequest("POST", f.url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "TrentService."+operation)
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: "AKIA" + account, SecretAccessKey: secret}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, req, hex.EncodeToString(sum[:]), "kms", region, time.Now()); err != nil {
		t.Fatal(err)
	}
	return send(t, req)
}

func send(t testing.TB, req *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// ok sends a request that must succeed and reads its answer.
func (f fixture) ok(t testing.TB, operation, body string) map[string]any {
	t.Helper()
	a := f.call(t, home, operation, body)
	if a.status != 200 {
		t.Fatalf("%s %s: %d %s", operation, body, a.status, a.body)
	}
	out := map[string]any{}
	if a.body != "" {
		if err := json.Unmarshal([]byte(a.body), &out); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (f fixture) newKey(t testing.TB) (arn, id string) {
	t.Helper()
	m := f.ok(t, "CreateKey", "{}")["KeyMetadata"].(map[string]any)
	return m["Arn"].(string), m["KeyId"].(string)
}
