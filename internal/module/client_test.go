package module

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"berth/internal/module/live"
)

// withoutAWS removes the AWS configuration of whoever runs the tests.
func withoutAWS(t *testing.T) {
	t.Helper()
	for _, entry := range os.Environ() {
		if name, _, _ := strings.Cut(entry, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
		}
	}
	empty := filepath.Join(t.TempDir(), "empty")
	t.Setenv("AWS_CONFIG_FILE", empty)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", empty)
}

func TestNewClientMistakes(t *testing.T) {
	withoutAWS(t)
	for want, opt := range map[string]ClientOptions{
		`the endpoint "127.0.0.1:5050" is not a URL: write it as http://127.0.0.1:5050`: {Endpoint: "127.0.0.1:5050", Region: "x"},
		`an access key id needs its secret`:                                             {AccessKeyID: "a", Region: "x"},
		`no region is set: pass --region`:                                               {},
		`the AWS configuration cannot be used`:                                          {Profile: "nope", Region: "x"},
	} {
		if _, err := NewClient(context.Background(), opt); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", opt, err, want)
		}
	}
}

func TestWhichRegistryIsAWS(t *testing.T) {
	withoutAWS(t)
	for endpoint, want := range map[string]bool{
		"": true, "https://api.ecr.eu-west-1.amazonaws.com": true, "https://vpce-1.api.ecr.cn-north-1.vpce.amazonaws.com.cn": true,
		"http://127.0.0.1:5050": false, "https://ecr.example.com": false, "https://amazonaws.com.example.com": false,
	} {
		for _, fromEnv := range []bool{false, true} {
			opt := ClientOptions{Region: "eu-west-1"}
			if t.Setenv("AWS_ENDPOINT_URL", ""); fromEnv {
				t.Setenv("AWS_ENDPOINT_URL", endpoint)
			} else {
				opt.Endpoint = endpoint
			}
			c, err := NewClient(context.Background(), opt)
			if err != nil {
				t.Fatal(err)
			}
			if c.aws != want {
				t.Errorf("%q (environment: %v): aws = %v", endpoint, fromEnv, c.aws)
			}
		}
	}
}

// Throttling is repeated; a refusal is not, and becomes one sentence.
func TestRetriesAndErrors(t *testing.T) {
	withoutAWS(t)
	var calls atomic.Int32
	answer := func(w http.ResponseWriter, status int, body string) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(status)
		if _, err := w.Write([]byte(body)); err != nil {
			t.Error(err)
		}
	}
	throttled := true
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch n := calls.Add(1); {
		case throttled && n == 1:
			answer(w, http.StatusBadRequest, `{"__type":"ThrottlingException","message":"Rate exceeded"}`)
		case throttled:
			answer(w, http.StatusOK, `{"repositories":[]}`)
		default:
			answer(w, http.StatusForbidden, `{"__type":"AccessDeniedException","message":"User: x is not authorized\n to perform: ecr:DescribeRepositories"}`)
		}
	}))
	defer server.Close()
	c, err := NewClient(context.Background(), ClientOptions{Endpoint: server.URL, Region: "x", AccessKeyID: "a", SecretAccessKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := live.List(context.Background(), c.ecr); err != nil || calls.Load() != 2 {
		t.Errorf("after throttling: %v, %d calls", err, calls.Load())
	}
	throttled = false
	calls.Store(0)
	_, err = live.List(context.Background(), c.ecr)
	want := "cannot list the repositories: ECR:DescribeRepositories was refused: AccessDeniedException: User: x is not authorized to perform: ecr:DescribeRepositories"
	if err == nil || err.Error() != want || calls.Load() != 1 {
		t.Errorf("%v, %d calls", err, calls.Load())
	}
}

// Without a registry and without credentials the answer comes at once, and says what to do.
func TestNobodyThere(t *testing.T) {
	withoutAWS(t)
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	for want, opt := range map[string]ClientOptions{
		"cannot list the repositories: nothing listens at " + server.URL: {Endpoint: server.URL, Region: "x", AccessKeyID: "a", SecretAccessKey: "s"},
		"cannot list the repositories: no AWS credentials were found":    {Endpoint: server.URL, Region: "x"},
	} {
		c, err := NewClient(context.Background(), opt)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		_, err = live.List(ctx, c.ecr)
		cancel()
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if d := time.Since(start); d > 30*time.Second {
			t.Errorf("%s after %v", want, d)
		}
	}
	c, err := NewClient(context.Background(), ClientOptions{Endpoint: server.URL, Region: "x", AccessKeyID: "a", SecretAccessKey: "s"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := live.List(ctx, c.ecr); err == nil || err.Error() != "cannot list the repositories: interrupted" {
		t.Errorf("interrupted: %v", err)
	}
}
