package webidentity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/internal/access/webidentity"
)

const (
	issuer = "https://token.actions.githubusercontent.com"
	client = "sts.amazonaws.com"
)

var now = time.Unix(1_790_000_000, 0)

// keys are made once: an RSA key takes a while.
var keys = sync.OnceValue(func() (k struct {
	rsa, other *rsa.PrivateKey
	ec, ec384  *ecdsa.PrivateKey
}) {
	var errs [4]error
	k.rsa, errs[0] = rsa.GenerateKey(rand.Reader, 2048)
	k.other, errs[1] = rsa.GenerateKey(rand.Reader, 2048)
	k.ec, errs[2] = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	k.ec384, errs[3] = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err := errors.Join(errs[:]...); err != nil {
		panic(err)
	}
	return k
})

// published is what the issuer offers.
func published() []jose.JSONWebKey {
	k := keys()
	return []jose.JSONWebKey{
		{Key: &k.rsa.PublicKey, KeyID: "rsa", Use: "sig"},
		{Key: &k.ec.PublicKey, KeyID: "ec", Algorithm: "ES256", Use: "sig"},
		{Key: &k.ec384.PublicKey, KeyID: "ec384"},
	}
}

// github are the claims of a job of GitHub Actions (GitHub documentation, "OpenID
// Connect reference").
func github() map[string]any {
	return map[string]any{
		"jti": "example-id", "sub": "repo:octo-org/octo-repo:environment:prod", "environment": "prod", "aud": client,
		"ref": "refs/heads/main", "sha": "example-sha", "repository": "octo-org/octo-repo", "repository_owner": "octo-org",
		"actor_id": "12", "repository_visibility": "private", "run_id": "example-run-id", "runner_environment": "github-hosted",
		"iss": issuer, "nbf": now.Unix() - 5, "exp": now.Unix() + 600, "iat": now.Unix() - 5,
	}
}

func sign(t testing.TB, algorithm jose.SignatureAlgorithm, key any, kid string, claims map[string]any, extra ...func(*jose.SignerOptions)) string {
	t.Helper()
	o := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		o.WithHeader("kid", kid)
	}
	for _, e := range extra {
		e(o)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
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

func verify(text string, keys []jose.JSONWebKey) (webidentity.Claims, error) {
	token, err := webidentity.Parse(text)
	if err != nil {
		return webidentity.Claims{}, err
	}
	return token.Verify(keys, issuer, []string{"other", client}, now)
}

func TestEveryAlgorithm(t *testing.T) {
	k := keys()
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	all := append(published(), jose.JSONWebKey{Key: &p521.PublicKey, KeyID: "ec521"})
	for algorithm, key := range map[jose.SignatureAlgorithm]jose.JSONWebKey{
		jose.RS256: {Key: k.rsa, KeyID: "rsa"}, jose.RS384: {Key: k.rsa, KeyID: "rsa"}, jose.RS512: {Key: k.rsa, KeyID: "rsa"},
		jose.PS256: {Key: k.rsa, KeyID: "rsa"}, jose.PS384: {Key: k.rsa, KeyID: "rsa"}, jose.PS512: {Key: k.rsa, KeyID: "rsa"},
		jose.ES256: {Key: k.ec, KeyID: "ec"}, jose.ES384: {Key: k.ec384, KeyID: "ec384"}, jose.ES512: {Key: p521, KeyID: "ec521"},
	} {
		got, err := verify(sign(t, algorithm, key.Key, key.KeyID, github()), all)
		if err != nil || got.Subject != "repo:octo-org/octo-repo:environment:prod" || got.Audience != client || got.Issuer != issuer {
			t.Errorf("%s: %+v, %v", algorithm, got, err)
		}
	}
}

// unsecured is a token without a signature, or with one of the caller's making.
func unsecured(header string, claims map[string]any, signature func(signed string) []byte) string {
	text, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString(text)
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature(signed))
}

// TestForgeries holds the ways in which tokens are forged against the reader
// (RFC 8725, section 2; CVE-2025-24976 of distribution: a key of the token's own
// header was taken as soon as its kid was one that is trusted).
func TestForgeries(t *testing.T) {
	k := keys()
	nothing := func(string) []byte { return nil }
	der, err := x509.MarshalPKIXPublicKey(&k.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	hmac := func(algorithm jose.SignatureAlgorithm, secret []byte) string {
		return sign(t, algorithm, secret, "rsa", github())
	}
	good := sign(t, jose.RS256, k.rsa, "rsa", github())
	parts := strings.Split(good, ".")
	for what, tc := range map[string]struct {
		token string
		want  error
	}{
		"alg none":                         {unsecured(`{"alg":"none","kid":"rsa"}`, github(), nothing), webidentity.ErrMalformed},
		"alg None":                         {unsecured(`{"alg":"None","kid":"rsa"}`, github(), nothing), webidentity.ErrMalformed},
		"no alg":                           {unsecured(`{"kid":"rsa"}`, github(), nothing), webidentity.ErrMalformed},
		"HMAC with the public key":         {hmac(jose.HS256, public), webidentity.ErrMalformed},
		"HMAC with the public key's bytes": {hmac(jose.HS512, der), webidentity.ErrMalformed},
		"critical extension":               {unsecured(`{"alg":"RS256","kid":"rsa","crit":["x"],"x":1}`, github(), nothing), nil},
		"another key under a known kid":    {sign(t, jose.RS256, k.other, "rsa", github()), webidentity.ErrSignature},
		"its own key in the header": {sign(t, jose.RS256, k.other, "rsa", github(), func(o *jose.SignerOptions) {
			o.WithHeader("jwk", jose.JSONWebKey{Key: &k.other.PublicKey, KeyID: "rsa"})
		}), webidentity.ErrSignature},
		"its own key set": {sign(t, jose.RS256, k.other, "rsa", github(), func(o *jose.SignerOptions) {
			o.WithHeader("jku", "https://attacker.example/keys")
		}), webidentity.ErrSignature},
		"an unknown kid":                     {sign(t, jose.RS256, k.rsa, "new", github()), webidentity.ErrUnknownKey},
		"the kid of a key of another kind":   {sign(t, jose.RS256, k.rsa, "ec", github()), webidentity.ErrUnknownKey},
		"ES384 with the key that is ES256":   {sign(t, jose.ES384, k.ec384, "ec", github()), webidentity.ErrUnknownKey},
		"kid with a path":                    {sign(t, jose.RS256, k.rsa, "../../etc/passwd", github()), webidentity.ErrUnknownKey},
		"the signature of other claims":      {parts[0] + "." + strings.Split(sign(t, jose.RS256, k.rsa, "rsa", changed("sub", "admin")), ".")[1] + "." + parts[2], webidentity.ErrSignature},
		"no signature":                       {parts[0] + "." + parts[1] + ".", webidentity.ErrSignature},
		"two tokens":                         {good + "." + parts[2], webidentity.ErrMalformed},
		"JSON serialization":                 {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, webidentity.ErrMalformed},
		"white space":                        {good[:10] + "\n" + good[10:], webidentity.ErrMalformed},
		"an access token":                    {"gho_16C7e42F292c6912E7710c838347Ae178B4a", webidentity.ErrMalformed},
		"nothing":                            {"", webidentity.ErrMalformed},
		"a very long one":                    {good + strings.Repeat("A", webidentity.MaxToken), webidentity.ErrMalformed},
		"claims that are no object":          {unsecured(`{"alg":"RS256","kid":"rsa"}`, nil, nothing), nil},
		"encrypted to somebody (five parts)": {good + "." + parts[1] + "." + parts[2], webidentity.ErrMalformed},
	} {
		if got, err := verify(tc.token, published()); err == nil || tc.want != nil && !errors.Is(err, tc.want) {
			t.Errorf("%s: %+v, %v, want %v", what, got, err, tc.want)
		}
	}
}

func changed(name string, value any) map[string]any {
	c := github()
	if value == nil {
		delete(c, name)
	} else {
		c[name] = value
	}
	return c
}

// Every changed bit of a token makes it worthless.
func TestEveryBitCounts(t *testing.T) {
	k := keys()
	for _, good := range []string{sign(t, jose.RS256, k.rsa, "rsa", github()), sign(t, jose.ES256, k.ec, "ec", github())} {
		for i := range len(good) {
			for bit := range 8 {
				b := []byte(good)
				b[i] ^= 1 << bit
				if got, err := verify(string(b), published()); err == nil {
					t.Fatalf("byte %d, bit %d: %+v", i, bit, got)
				}
			}
		}
	}
}

func TestClaims(t *testing.T) {
	k := keys()
	missing := func(name string) error { return &webidentity.MissingClaimError{Claim: name} }
	for what, tc := range map[string]struct {
		claims map[string]any
		want   error
	}{
		"as it is":                     {github(), nil},
		"another issuer":               {changed("iss", "https://attacker.example"), webidentity.ErrIssuer},
		"the issuer with a slash":      {changed("iss", issuer+"/"), webidentity.ErrIssuer},
		"no issuer":                    {changed("iss", nil), missing("iss")},
		"no subject":                   {changed("sub", nil), missing("sub")},
		"no audience":                  {changed("aud", nil), missing("aud")},
		"no expiry":                    {changed("exp", nil), missing("exp")},
		"no date":                      {changed("iat", nil), missing("iat")},
		"another audience":             {changed("aud", "https://github.com/octo-org"), webidentity.ErrAudience},
		"a prefix of the audience":     {changed("aud", client[:5]), webidentity.ErrAudience},
		"audience in other case":       {changed("aud", strings.ToUpper(client)), webidentity.ErrAudience},
		"several audiences":            {changed("aud", []string{"x", client}), nil},
		"several others":               {changed("aud", []string{"x", "y"}), webidentity.ErrAudience},
		"an audience that is a number": {changed("aud", 5), webidentity.ErrMalformed},
		"expired":                      {changed("exp", now.Unix()-31), &webidentity.ExpiredError{Now: now, Expiry: now.Add(-31 * time.Second)}},
		"just expired":                 {changed("exp", now.Unix()-29), nil},
		"not yet valid":                {changed("nbf", now.Unix()+31), webidentity.ErrNotYet},
		"valid soon":                   {changed("nbf", now.Unix()+29), nil},
		"issued in the future":         {changed("iat", now.Unix()+31), webidentity.ErrNotYet},
		"no nbf":                       {changed("nbf", nil), nil},
		"expiry that overflows":        {changed("exp", 1e300), webidentity.ErrMalformed},
		"expiry as a text":             {changed("exp", "tomorrow"), webidentity.ErrMalformed},
		"amr that is no list":          {changed("amr", 5), nil},
	} {
		_, err := verify(sign(t, jose.RS256, k.rsa, "rsa", tc.claims), published())
		if tc.want == nil && err != nil || tc.want != nil && (err == nil || err.Error() != tc.want.Error()) {
			t.Errorf("%s: %v, want %v", what, err, tc.want)
		}
	}
	// azp is whom the token was issued to: it must be expected, whatever aud says.
	azp := maps.Clone(github())
	azp["azp"], azp["aud"], azp["amr"] = client, []string{"someone", "else"}, []string{"authenticated"}
	got, err := verify(sign(t, jose.RS256, k.rsa, "rsa", azp), published())
	if err != nil || got.Audience != client || fmt.Sprint(got.Audiences) != "[someone else]" || fmt.Sprint(got.Methods) != "[authenticated]" {
		t.Errorf("%+v, %v", got, err)
	}
	azp["azp"], azp["aud"] = "someone", client
	if _, err := verify(sign(t, jose.RS256, k.rsa, "rsa", azp), published()); !errors.Is(err, webidentity.ErrAudience) {
		t.Errorf("issued to somebody else: %v", err)
	}
	if token, err := webidentity.Parse(sign(t, jose.RS256, k.rsa, "rsa", github())); err != nil {
		t.Error(err)
	} else if _, err := token.Verify(published(), issuer, nil, now); !errors.Is(err, webidentity.ErrAudience) {
		t.Errorf("a provider without client ids: %v", err)
	}
}

// Two members of one name could be read in two ways.
func TestClaimsTwice(t *testing.T) {
	k := keys()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: k.rsa, KeyID: "rsa"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(github())
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign(append(text[:len(text)-1], `,"sub":"admin"}`...))
	if err != nil {
		t.Fatal(err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := verify(token, published()); !errors.Is(err, webidentity.ErrMalformed) {
		t.Errorf("%+v, %v", got, err)
	}
}

// A token without a kid means the only key for its algorithm.
func TestNoKid(t *testing.T) {
	k := keys()
	token := sign(t, jose.RS256, k.rsa, "", github())
	if _, err := verify(token, published()); err != nil {
		t.Error(err)
	}
	two := append(published(), jose.JSONWebKey{Key: &k.other.PublicKey, KeyID: "second"})
	if _, err := verify(token, two); !errors.Is(err, webidentity.ErrUnknownKey) {
		t.Errorf("two keys could be meant: %v", err)
	}
	// Keys of one id are tried one after the other, as while a key is replaced.
	two[3].KeyID = "rsa"
	if _, err := verify(sign(t, jose.RS256, k.other, "rsa", github()), two); err != nil {
		t.Error(err)
	}
}

func TestParseKeys(t *testing.T) {
	k := keys()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skipf("the library makes no weak keys: %v", err)
	}
	encode := func(keys ...any) []byte {
		b, err := json.Marshal(map[string]any{"keys": keys})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := jose.JSONWebKey{Key: &k.rsa.PublicKey, KeyID: "rsa", Use: "sig", Algorithm: "RS256"}
	got, err := webidentity.ParseKeys(encode(
		good, jose.JSONWebKey{Key: &weak.PublicKey, KeyID: "weak"}, jose.JSONWebKey{Key: []byte("a shared secret of 32 bytes ....."), KeyID: "hmac"},
		jose.JSONWebKey{Key: k.rsa, KeyID: "private"}, jose.JSONWebKey{Key: &k.rsa.PublicKey, KeyID: "encryption", Use: "enc"},
		map[string]any{"kty": "future", "kid": "x"}, 5,
	))
	if err != nil || len(got) != 1 || got[0].KeyID != "rsa" {
		t.Errorf("%d keys, %v", len(got), err)
	}
	many := make([]any, 201)
	for i := range many {
		many[i] = good
	}
	for what, text := range map[string][]byte{
		"nothing": nil, "no JSON": []byte("<html>"), "no keys": encode(), "none that verifies": encode(jose.JSONWebKey{Key: &weak.PublicKey}),
		"a list": []byte("[]"), "too many": encode(many...),
	} {
		if _, err := webidentity.ParseKeys(text); !errors.Is(err, webidentity.ErrMetadata) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestParseConfiguration(t *testing.T) {
	good := `{"issuer":"` + issuer + `","jwks_uri":"https://token.actions.githubusercontent.com/.well-known/jwks","x":[1]}`
	if got, err := webidentity.ParseConfiguration([]byte(good), issuer); err != nil || got != issuer+"/.well-known/jwks" {
		t.Errorf("%s, %v", got, err)
	}
	for what, text := range map[string]string{
		"another issuer": strings.Replace(good, `"`+issuer+`"`, `"https://x"`, 1), "http": strings.Replace(good, `"jwks_uri":"https`, `"jwks_uri":"http`, 1),
		"a password": strings.Replace(good, `"https://token`, `"https://u:p@token`, 2), "a file": `{"issuer":"` + issuer + `","jwks_uri":"file:///etc/passwd"}`,
		"no keys": `{"issuer":"` + issuer + `"}`, "no JSON": "x",
	} {
		if got, err := webidentity.ParseConfiguration([]byte(text), issuer); !errors.Is(err, webidentity.ErrMetadata) {
			t.Errorf("%s: %s, %v", what, got, err)
		}
	}
}

// FuzzParse: whatever comes is read or refused, and nothing is believed without a key.
func FuzzParse(f *testing.F) {
	k := keys()
	f.Add(sign(f, jose.RS256, k.rsa, "rsa", github()))
	f.Add(sign(f, jose.ES256, k.ec, "ec", github()))
	f.Add(unsecured(`{"alg":"none"}`, github(), func(string) []byte { return nil }))
	f.Add("a.b.c")
	others := []jose.JSONWebKey{{Key: &k.other.PublicKey, KeyID: "rsa"}, {Key: &k.other.PublicKey, KeyID: ""}}
	f.Fuzz(func(t *testing.T, text string) {
		token, err := webidentity.Parse(text)
		if err != nil {
			return
		}
		if c, err := token.Verify(others, token.Issuer, []string{client}, now); err == nil {
			t.Fatalf("believed: %+v", c)
		}
	})
}

func FuzzParseKeys(f *testing.F) {
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: published()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(set)
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := webidentity.ParseKeys(text)
		if (err == nil) != (len(got) > 0) {
			t.Fatalf("%d keys, %v", len(got), err)
		}
	})
}
