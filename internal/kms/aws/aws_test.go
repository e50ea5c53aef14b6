package aws_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/uuid"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/kms"
	"berth/internal/kms/aws"
	"berth/internal/kms/keyring"
	"berth/internal/kms/kmstest"
	"berth/internal/kms/local"
	"berth/internal/kmsapi"
	"berth/internal/meta"
	"berth/internal/meta/sqlite"
)

var home = meta.Scope{Account: "000000000000", Region: "eu-west-1"}

type lookup struct{}

func (lookup) Secret(_ context.Context, id, _ string) (sigv4.Secret, error) {
	return sigv4.Secret{SecretAccessKey: "secret", Principal: access.Root(home.Account, id), Active: true}, nil
}

// start serves the built-in KMS and returns it with a client's view of it.
func start(t *testing.T) (*local.KMS, *aws.Provider) {
	t.Helper()
	db, err := sqlite.Open(context.Background(), filepath.Join(t.TempDir(), "db"))
	if err != nil {
		t.Fatal(err)
	}
	master, err := keyring.OpenOrCreate(filepath.Join(t.TempDir(), "keyring.json"))
	if err != nil {
		t.Fatal(err)
	}
	service := local.New(db, master, time.Now, local.Options{})
	verifier := sigv4.New(lookup{}, time.Now, sigv4.Options{})
	door, err := kmsapi.New(kmsapi.Options{
		Service: service, Authorize: access.Rules{Identity: access.AccountRoot{}}, Log: slog.New(slog.DiscardHandler),
		Verify: func(service string, r *http.Request, body []byte) (sigv4.Identity, error) {
			return verifier.ForService(service).Verify(r, body)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(door)
	t.Cleanup(func() {
		s.Close()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	config := sdk.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
		Retryer: func() sdk.Retryer { return sdk.NopRetryer{} }}
	return service, aws.New(config, s.URL)
}

func TestSuite(t *testing.T) {
	service, provider := start(t)
	ctx := context.Background()
	step := func(fn func(context.Context, string) error) func(*testing.T, string) {
		return func(t *testing.T, arn string) {
			t.Helper()
			if err := fn(ctx, arn); err != nil {
				t.Fatal(err)
			}
		}
	}
	kmstest.Provider(t, kmstest.Place{
		Provider: provider, Account: home.Account, Region: home.Region,
		NewKey: func(t *testing.T) string {
			key, err := service.Create(ctx, home, local.NewKey{})
			if err != nil {
				t.Fatal(err)
			}
			return key.ARN
		},
		NewAlias: func(t *testing.T, arn string) string {
			name := "alias/" + uuid.NewString()
			if err := service.CreateAlias(ctx, home, name, arn); err != nil {
				t.Fatal(err)
			}
			return name
		},
		Disable: step(service.Disable), Enable: step(service.Enable),
		Delete: step(func(ctx context.Context, arn string) error {
			_, err := service.ScheduleDeletion(ctx, arn, 7)
			return err
		}),
	})
}

// What is no refusal of the key must not look like one.
func TestOutagesAreNoRefusals(t *testing.T) {
	config := sdk.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIA", "secret", ""),
		Retryer: func() sdk.Retryer { return sdk.NopRetryer{} }}
	for name, handler := range map[string]http.HandlerFunc{
		"a fault": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("x-amzn-ErrorType", "KMSInternalException")
			w.WriteHeader(500)
		},
		"a throttle": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("x-amzn-ErrorType", "ThrottlingException")
			w.WriteHeader(400)
		},
		"no JSON": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	} {
		s := httptest.NewServer(handler)
		_, err := aws.New(config, s.URL).Key("arn:aws:kms:us-east-1:000000000000:key/x").Unwrap(context.Background(), []byte("x"), nil)
		var refused *kms.Error
		if err == nil || errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := aws.New(config, s.URL).Resolve(context.Background(), "", "us-east-1", "x"); err == nil {
			t.Errorf("%s: resolved", name)
		}
		s.Close()
	}
}
