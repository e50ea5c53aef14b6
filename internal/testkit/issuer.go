package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// An Issuer is an OIDC identity provider on loopback, over TLS with a certificate of its own.
type Issuer struct {
	URL        string
	CA         string // PEM file of its certificate
	Thumbprint string

	key *ecdsa.PrivateKey
}

// NewIssuer starts an identity provider that runs until the test ends.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &Issuer{key: key}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v any
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			v = map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"}}
		case "/keys":
			v = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1", Algorithm: "ES256", Use: "sig"}}}
		default:
			http.NotFound(w, r)
			return
		}
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Errorf("answer as an identity provider: %v", err)
		}
	}))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	sum := sha1.Sum(s.Certificate().Raw)
	i.URL, i.Thumbprint = s.URL, hex.EncodeToString(sum[:])
	i.CA = filepath.Join(t.TempDir(), "issuer.pem")
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(i.CA, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return i
}

// Token signs claims besides iss, iat, nbf and exp, which are those of a token of now unless the claims have them.
func (i *Issuer) Token(t testing.TB, claims map[string]any) string {
	t.Helper()
	now := time.Now().Unix()
	all := map[string]any{"iss": i.URL, "iat": now, "nbf": now, "exp": now + 600}
	for name, value := range claims {
		all[name] = value
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: i.key, KeyID: "k1"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// GitHubClaims are those of a job of GitHub Actions (GitHub documentation, "OpenID Connect reference").
func GitHubClaims(repository, ref string) map[string]any {
	return map[string]any{
		"jti": "example-id", "sub": "repo:" + repository + ":ref:" + ref, "aud": "sts.amazonaws.com", "ref": ref, "sha": "example-sha",
		"repository": repository, "actor": "octocat", "workflow": "example-workflow", "event_name": "push", "ref_type": "branch",
		"runner_environment": "github-hosted",
	}
}

// KubernetesClaims are those of a projected token of a service account (Kubernetes documentation, "Managing Service
// Accounts").
func KubernetesClaims(namespace, account string) map[string]any {
	return map[string]any{
		"aud": []string{"sts.amazonaws.com"}, "sub": "system:serviceaccount:" + namespace + ":" + account, "jti": "7b1d5e0c",
		"kubernetes.io": map[string]any{
			"namespace": namespace, "serviceaccount": map[string]string{"name": account, "uid": "14ee3fa4"},
			"pod": map[string]string{"name": "build-0", "uid": "64ee7699"},
		},
	}
}
