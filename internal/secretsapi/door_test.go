package secretsapi

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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/kms/keyring"
	"berth/internal/kms/local"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
	"berth/internal/secrets"
)

const (
	home   = "000000000000"
	other  = "111111111111"
	region = "us-east-1"
	key    = "secret/of/everybody"
)

// lookup knows one root user for each account: its access key is AKIA and the account.
type lookup struct{}

func (lookup) Secret(_ context.Context, id, _ string) (sigv4.Secret, error) {
	account, ok := strings.CutPrefix(id, "AKIA")
	if !ok {
		return sigv4.Secret{}, sigv4.ErrUnknownKey
	}
	return sigv4.Secret{SecretAccessKey: key, Principal: access.Root(account, id), Active: true}, nil
}

type fixture struct {
	url    string
	dir    string
	kms    *local.KMS
	store  *secrets.Store
	now    time.Time
	denied string // action that nobody may
	asked  []string
}

func (f *fixture) Authorize(ctx context.Context, r access.Request) error {
	f.asked = append(f.asked, r.Action+" "+r.Resource)
	if r.Action == f.denied {
		return &access.DeniedError{Principal: r.Principal, Action: r.Action, Resource: r.Resource, Cause: access.NoIdentityAllow}
	}
	return access.Rules{Identity: access.AccountRoot{}}.Authorize(ctx, r)
}

func start(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{dir: t.TempDir(), now: time.Unix(1_700_000_000, 0)}
	db, err := sqlite.Open(context.Background(), filepath.Join(f.dir, "db"))
	if err != nil {
		t.Fatal(err)
	}
	master, err := keyring.OpenOrCreate(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	f.kms = local.New(db, master, time.Now, local.Options{})
	f.store = secrets.New(db, master, f.kms, func() time.Time { return f.now })
	verifier := sigv4.New(lookup{}, time.Now, sigv4.Options{})
	door, err := New(Options{
		Store: f.store, Keys: f.kms, Authorize: f, Log: slog.New(slog.DiscardHandler),
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

// call sends a request as the root user of an account.
func (f *fixture) call(t *testing.T, account, operation, body string) (status int, out map[string]any) {
	t.Helper()
	req, err := http.NewRequest("POST", f.url+"/", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", TargetPrefix+operation)
	sum := sha256.Sum256([]byte(body))
	creds := aws.Credentials{AccessKeyID: "AKIA" + account, SecretAccessKey: key}
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, req, hex.EncodeToString(sum[:]), "secretsmanager", region, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close(), json.Unmarshal(b, &out)); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, out
}

func (f *fixture) ok(t *testing.T, operation, body string) map[string]any {
	t.Helper()
	status, out := f.call(t, home, operation, body)
	if status != 200 {
		t.Fatalf("%s %s: %d %v", operation, body, status, out)
	}
	return out
}

func (f *fixture) refused(t *testing.T, operation, body, code string) {
	t.Helper()
	if status, out := f.call(t, home, operation, body); status != 400 || out["__type"] != code {
		t.Errorf("%s %s: %d %v, want %s", operation, body, status, out, code)
	}
}

func TestInvariant06_RouteWithoutOperationRefusesToStart(t *testing.T) {
	if err := check(routes()); err != nil {
		t.Error(err)
	}
	for name, rt := range map[string]route{"": createSecret, "secretsmanager:CreateSecret": createSecret, "CreateSecret": nil} {
		if err := check(map[string]route{name: rt}); err == nil {
			t.Errorf("the route %q is taken", name)
		}
	}
}

// A value lies sealed, in the database and beside it.
func TestValuesAreSealed(t *testing.T) {
	f := start(t)
	const value = "a value that nobody reads from a disk"
	f.ok(t, "CreateSecret", `{"Name":"s","SecretString":"`+value+`"}`)
	files, err := filepath.Glob(filepath.Join(f.dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(value)) {
			t.Errorf("%s has the value", path)
		}
	}
	if got := f.ok(t, "GetSecretValue", `{"SecretId":"s"}`)["SecretString"]; got != value {
		t.Errorf("the value is %v", got)
	}
}

func TestVersionsAndStages(t *testing.T) {
	f := start(t)
	token := func(n string) string { return strings.Repeat(n, 32) }
	put := func(n, value, stages string) map[string]any {
		f.now = f.now.Add(time.Second)
		return f.ok(t, "PutSecretValue", `{"SecretId":"s","ClientRequestToken":"`+token(n)+`","SecretString":"`+value+`"`+stages+`}`)
	}
	get := func(more string) any { return f.ok(t, "GetSecretValue", `{"SecretId":"s"`+more+`}`)["SecretString"] }
	f.ok(t, "CreateSecret", `{"Name":"s","Tags":[{"Key":"a","Value":"b"}]}`)
	f.refused(t, "GetSecretValue", `{"SecretId":"s"}`, secrets.NotFound)
	put("1", "one", `,"VersionStages":["MINE"]`) // the first is the current one, too
	put("2", "two", "")
	put("2", "two", "") // the same request again
	f.refused(t, "PutSecretValue", `{"SecretId":"s","ClientRequestToken":"`+token("2")+`","SecretString":"other"}`, secrets.Exists)
	put("3", "three", `,"VersionStages":["NEXT"]`)
	for more, want := range map[string]string{
		"": "two", `,"VersionStage":"AWSPREVIOUS"`: "one", `,"VersionStage":"MINE"`: "one", `,"VersionStage":"NEXT"`: "three",
		`,"VersionId":"` + token("3") + `"`: "three",
	} {
		if got := get(more); got != want {
			t.Errorf("%s is %v, want %s", more, got, want)
		}
	}
	f.refused(t, "GetSecretValue", `{"SecretId":"s","VersionId":"`+token("3")+`","VersionStage":"MINE"}`, secrets.InvalidRequest)
	f.refused(t, "UpdateSecretVersionStage", `{"SecretId":"s","VersionStage":"AWSCURRENT","MoveToVersionId":"`+token("3")+`"}`, secrets.InvalidParameter)
	f.ok(t, "UpdateSecretVersionStage", `{"SecretId":"s","VersionStage":"AWSCURRENT","MoveToVersionId":"`+token("3")+`","RemoveFromVersionId":"`+token("2")+`"}`)
	if a, b := get(""), get(`,"VersionStage":"AWSPREVIOUS"`); a != "three" || b != "two" {
		t.Errorf("after the move: %v, %v", a, b)
	}
	f.refused(t, "UpdateSecretVersionStage", `{"SecretId":"s","VersionStage":"AWSCURRENT","RemoveFromVersionId":"`+token("3")+`"}`, secrets.InvalidParameter)
	f.ok(t, "PutSecretValue", `{"SecretId":"s","SecretBinary":"AAEC"}`)
	if out := f.ok(t, "GetSecretValue", `{"SecretId":"s"}`); out["SecretBinary"] != "AAEC" || out["SecretString"] != nil {
		t.Errorf("bytes come back as %v", out)
	}
	for body, code := range map[string]string{
		`{"Name":"s"}`: secrets.Exists, `{"Name":"a b"}`: codeValidation, `{}`: codeValidation, `{"Name":"x","SecretString":"a","SecretBinary":"AA=="}`: secrets.InvalidParameter,
		`{"Name":"x","ClientRequestToken":"short"}`: codeValidation, `{"Name":"x","AddReplicaRegions":[{"Region":"r"}]}`: secrets.InvalidParameter,
		`{"Name":"x","Tags":[{"Key":"aws:x"}]}`: secrets.InvalidParameter, `{"Name":"x","SecretString":"` + strings.Repeat("x", secrets.MaxValue+1) + `"}`: secrets.InvalidParameter,
		`{"Name":"x","KmsKeyId":"alias/none"}`: secrets.EncryptionFailure, `[]`: "SerializationException",
	} {
		f.refused(t, "CreateSecret", body, code)
	}
	f.refused(t, "RotateSecret", `{"SecretId":"s"}`, "UnknownOperationException")
}

// Each operation asks for its own action on the secret, a value also for the use
// of its KMS key, and what may not be is not told.
func TestPermissions(t *testing.T) {
	f := start(t)
	k, err := f.kms.Create(t.Context(), meta.Scope{Account: home, Region: region}, local.NewKey{})
	if err != nil {
		t.Fatal(err)
	}
	arn := f.ok(t, "CreateSecret", `{"Name":"s","KmsKeyId":"`+k.ARN+`","SecretString":"v"}`)["ARN"].(string)
	f.asked = nil
	f.ok(t, "GetSecretValue", `{"SecretId":"s"}`)
	if got := strings.Join(f.asked, "\n"); got != "secretsmanager:GetSecretValue "+arn+"\nkms:Decrypt "+k.ARN {
		t.Errorf("asked\n%s", got)
	}
	for _, action := range []string{"secretsmanager:GetSecretValue", "kms:Decrypt"} {
		f.denied = action
		f.refused(t, "GetSecretValue", `{"SecretId":"s"}`, codeDenied)
	}
	f.denied = "secretsmanager:DescribeSecret"
	f.refused(t, "DescribeSecret", `{"SecretId":"nothing"}`, codeDenied)
	f.denied = ""
	if status, out := f.call(t, other, "GetSecretValue", `{"SecretId":"`+arn+`"}`); status != 400 || out["__type"] != codeDenied {
		t.Errorf("another account: %d %v", status, out)
	}
	if status, out := f.call(t, other, "DescribeSecret", `{"SecretId":"s"}`); out["__type"] != secrets.NotFound {
		t.Errorf("a name in another account: %d %v", status, out)
	}
	if err := f.kms.Disable(t.Context(), k.ARN); err != nil {
		t.Fatal(err)
	}
	f.refused(t, "GetSecretValue", `{"SecretId":"s"}`, secrets.DecryptionFailure)
}

// A deletion waits, can be taken back, and then is done.
func TestDeletion(t *testing.T) {
	f := start(t)
	f.ok(t, "CreateSecret", `{"Name":"s","SecretString":"v"}`)
	f.refused(t, "DeleteSecret", `{"SecretId":"s","RecoveryWindowInDays":3}`, secrets.InvalidParameter)
	f.ok(t, "DeleteSecret", `{"SecretId":"s","RecoveryWindowInDays":7}`)
	f.refused(t, "GetSecretValue", `{"SecretId":"s"}`, secrets.InvalidRequest)
	f.refused(t, "CreateSecret", `{"Name":"s"}`, secrets.InvalidRequest)
	if n := len(f.ok(t, "ListSecrets", `{}`)["SecretList"].([]any)); n != 0 {
		t.Errorf("%d secrets are listed", n)
	}
	f.ok(t, "RestoreSecret", `{"SecretId":"s"}`)
	f.ok(t, "GetSecretValue", `{"SecretId":"s"}`)
	f.ok(t, "DeleteSecret", `{"SecretId":"s","RecoveryWindowInDays":7}`)
	f.now = f.now.Add(8 * 24 * time.Hour)
	if err := f.store.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.refused(t, "DescribeSecret", `{"SecretId":"s"}`, secrets.NotFound)
	f.ok(t, "CreateSecret", `{"Name":"s"}`)
}

func TestListing(t *testing.T) {
	f := start(t)
	for _, name := range []string{"c/1", "a/1", "b/1", "a/2"} {
		f.ok(t, "CreateSecret", `{"Name":"`+name+`"}`)
	}
	var names []string
	for next := ""; ; {
		out := f.ok(t, "ListSecrets", `{"MaxResults":1,"Filters":[{"Key":"name","Values":["a/","c"]}]`+next+`}`)
		for _, s := range out["SecretList"].([]any) {
			names = append(names, s.(map[string]any)["Name"].(string))
		}
		token, ok := out["NextToken"].(string)
		if !ok {
			break
		}
		next = `,"NextToken":"` + token + `"`
	}
	if got := strings.Join(names, " "); got != "a/1 a/2 c/1" {
		t.Errorf("listed %s", got)
	}
	f.refused(t, "ListSecrets", `{"NextToken":"x"}`, "InvalidNextTokenException")
}
