package vault_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"berth/internal/kms"
	"berth/internal/kms/kmstest"
	"berth/internal/kms/vault"
)

const token = "hvs.secret-token"

// transit is enough of Vault's transit engine: it really encrypts, and words its refusals as Vault does.
type transit struct {
	mu   sync.Mutex
	keys map[string]cipher.AEAD
}

func (f *transit) add(name string) {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys[name] = aead
}

func (f *transit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, text ...string) {
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]any{"errors": append([]string{}, text...)})
	}
	if r.Header.Get("X-Vault-Token") != token || r.Header.Get("X-Vault-Request") != "true" {
		refuse(403, "permission denied")
		return
	}
	operation, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v1/transit/"), "/")
	f.mu.Lock()
	aead, known := f.keys[name]
	f.mu.Unlock()
	var in struct {
		Plaintext, Ciphertext string
		AssociatedData        string `json:"associated_data"`
	}
	if r.Method == "POST" && json.NewDecoder(r.Body).Decode(&in) != nil {
		refuse(400, "failed to parse JSON input")
		return
	}
	aad, _ := base64.StdEncoding.DecodeString(in.AssociatedData)
	answer := func(data map[string]any) { _ = json.NewEncoder(w).Encode(map[string]any{"data": data}) }
	switch {
	case operation == "keys" && !known:
		refuse(404)
	case operation == "keys":
		answer(map[string]any{"name": name, "supports_encryption": true, "derived": false})
	case !known:
		refuse(400, "encryption key not found")
	case operation == "encrypt":
		plain, _ := base64.StdEncoding.DecodeString(in.Plaintext)
		answer(map[string]any{"ciphertext": "vault:v1:" + base64.StdEncoding.EncodeToString(aead.Seal(nil, nil, plain, aad))})
	case operation == "decrypt":
		text, ok := strings.CutPrefix(in.Ciphertext, "vault:v1:")
		sealed, err := base64.StdEncoding.DecodeString(text)
		if !ok || err != nil {
			refuse(400, "invalid ciphertext: no prefix")
			return
		}
		plain, err := aead.Open(nil, nil, sealed, aad)
		if err != nil {
			refuse(400, err.Error())
			return
		}
		answer(map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)})
	default:
		refuse(405, "unsupported operation")
	}
}

func provider(t *testing.T, handler http.Handler, value string) *vault.Provider {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	p, err := vault.New(vault.Options{Address: s.URL + "/", Timeout: 5 * time.Second,
		Token: func(context.Context) (string, error) { return value, nil }})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestSuite(t *testing.T) {
	f := &transit{keys: map[string]cipher.AEAD{}}
	kmstest.Provider(t, kmstest.Place{
		Provider: provider(t, f, token), Account: "000000000000", Region: "us-east-1",
		NewKey: func(*testing.T) string {
			name := uuid.NewString()
			f.add(name)
			return "arn:aws:kms:us-east-1:000000000000:key/" + name
		},
		Delete: func(_ *testing.T, arn string) {
			f.mu.Lock()
			defer f.mu.Unlock()
			delete(f.keys, strings.TrimPrefix(arn, "arn:aws:kms:us-east-1:000000000000:key/"))
		},
	})
}

const arn = "arn:aws:kms:us-east-1:000000000000:key/a"

func TestRefusals(t *testing.T) {
	ctx := context.Background()
	f := &transit{keys: map[string]cipher.AEAD{}}
	f.add("a")
	_, err := provider(t, f, "hvs.wrong").Key(arn).Wrap(ctx, []byte("x"), nil)
	var denied *kms.Error
	if !errors.As(err, &denied) || denied.Code != kms.AccessDenied || strings.Contains(denied.Error()+denied.Err.Error(), "hvs.") {
		t.Errorf("a wrong token: %v", err)
	}
	p := provider(t, f, token)
	for _, name := range []string{"../sys/seal", "a/b", "a?b", "", "a b", ".."} {
		if _, err := p.Resolve(ctx, "000000000000", "us-east-1", name); kmstest.Code(err) != kms.NotFound {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := p.Key("arn:aws:kms:us-east-1:000000000000:key/"+name).Wrap(ctx, []byte("x"), nil); kmstest.Code(err) != kms.InvalidARN {
			t.Errorf("ARN of %q: %v", name, err)
		}
	}
	for _, address := range []string{"", "vault:8200", "ftp://vault", "https://u:p@vault", "/v1"} {
		if _, err := vault.New(vault.Options{Address: address, Token: func(context.Context) (string, error) { return "", nil }}); err == nil {
			t.Errorf("the address %q is taken", address)
		}
	}
}

// What is no refusal of the key must not look like one, and the token goes nowhere else.
func TestOutages(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("a redirect was followed, with the token %q", r.Header.Get("X-Vault-Token"))
	}))
	defer elsewhere.Close()
	for name, handler := range map[string]http.HandlerFunc{
		"sealed": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) },
		"redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		},
		"no JSON":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
		"empty":      func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) },
		"too large":  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 70<<10)) },
		"other 400":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) },
		"cut in two": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		p := provider(t, handler, token)
		_, wrapped := p.Key(arn).Wrap(context.Background(), []byte("x"), nil)
		_, unwrapped := p.Key(arn).Unwrap(context.Background(), []byte("vault:v1:AAAA"), nil)
		for _, err := range []error{wrapped, unwrapped} {
			if err == nil || kmstest.Code(err) != "" || strings.Contains(err.Error(), token) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestTimeout(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer s.Close()
	defer close(release)
	p, err := vault.New(vault.Options{Address: s.URL, Timeout: 50 * time.Millisecond, Token: func(context.Context) (string, error) { return token, nil }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Key(arn).Wrap(context.Background(), []byte("x"), nil); err == nil {
		t.Error("a server that never answers has answered")
	}
}
