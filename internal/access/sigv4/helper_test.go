package sigv4

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"berth/internal/access"
)

const (
	testKey     = "AKIDEXAMPLE"
	testSecret  = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	testAccount = "123456789012"
)

var errStore = errors.New("key store is down")

// keys is a key store in a map; a temporary key needs its token.
type keys map[string]storedKey

type storedKey struct {
	secret, token string
	disabled      bool
	expires       time.Time
}

func (k keys) Secret(_ context.Context, id, token string) (Secret, error) {
	if id == "AKIDBROKEN" {
		return Secret{}, errStore
	}
	s, ok := k[id]
	if !ok || s.token != token {
		return Secret{}, ErrUnknownKey
	}
	return Secret{SecretAccessKey: s.secret, Principal: access.Root(testAccount, id), Active: !s.disabled, Expires: s.expires}, nil
}

func at(s string) time.Time {
	t, err := time.Parse(isoBasic, s)
	if err != nil {
		panic(err)
	}
	return t
}

func clock(t time.Time) func() time.Time { return func() time.Time { return t } }

// overWire sends the request through its HTTP/1.1 form, so that the verifier
// sees what a server sees. The body is returned apart.
func overWire(t interface{ Fatal(...any) }, r *http.Request) (*http.Request, []byte) {
	var buf bytes.Buffer
	if err := r.Write(&buf); err != nil {
		t.Fatal("write the request:", err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&buf))
	if err != nil {
		t.Fatal("read the request back:", err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal("read the body back:", err)
	}
	return got, body
}

func newRequest(t testing.TB, method, url string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return r
}
