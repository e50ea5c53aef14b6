package webidentity

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
	"github.com/go-jose/go-jose/v4/jwt"
)

// MaxToken is the longest token that is read, in bytes (STS API reference,
// AssumeRoleWithWebIdentity, WebIdentityToken).
const MaxToken = 20_000

// Leeway is how far the clocks of a provider and of this server may be apart.
const Leeway = 30 * time.Second

// Reasons why a token is not believed.
var (
	ErrMalformed  = errors.New("the token is not a signed JWT with an algorithm that is allowed")
	ErrUnknownKey = errors.New("no key of the issuer fits the token's header")
	ErrSignature  = errors.New("the token's signature is not of its issuer's key")
	ErrIssuer     = errors.New("the token is of another issuer")
	ErrAudience   = errors.New("the token is for another audience")
	ErrNotYet     = errors.New("the token was issued in the future")
)

// Reasons why the keys of an issuer could not be had.
var (
	ErrUnreachable = errors.New("the identity provider cannot be reached")
	ErrCertificate = errors.New("the identity provider's certificate is neither trusted nor one of its thumbprints")
	ErrMetadata    = errors.New("the identity provider's configuration or keys are not as OpenID Connect says")
)

// A MissingClaimError says that a token lacks a claim that it needs.
type MissingClaimError struct{ Claim string }

func (e *MissingClaimError) Error() string { return "the token has no claim " + e.Claim }

// An ExpiredError says that the time of a token is over.
type ExpiredError struct{ Now, Expiry time.Time }

func (e *ExpiredError) Error() string {
	return fmt.Sprintf("the token expired at %s", e.Expiry.UTC().Format(time.RFC3339))
}

// algorithms are those with which providers may sign: what IAM takes, and the
// PSS variants of RSA.
func algorithms() []jose.SignatureAlgorithm {
	return []jose.SignatureAlgorithm{
		jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512,
	}
}

// A Token was read and not believed yet.
type Token struct {
	Issuer string // as the token says, until it is verified

	jwt       *jwt.JSONWebToken
	keyID     string
	algorithm string
}

// Claims are what a believed token says.
type Claims struct {
	Issuer  string
	Subject string
	// Audience is the one that the token is for: azp, where the token has it, else
	// the first audience that is expected.
	Audience string
	// Audiences are all that aud names.
	Audiences []string
	Methods   []string // amr
}

// payload are the members of a token that are read.
type payload struct {
	jwt.Claims
	AuthorizedParty string      `json:"azp"`
	Methods         stringsOrNo `json:"amr"`
}

// stringsOrNo is a list of texts. amr is for conditions only: a provider that
// writes something else there has none.
type stringsOrNo []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *stringsOrNo) UnmarshalJSON(b []byte) error {
	var list []string
	if json.Unmarshal(b, &list) == nil {
		*s = list
	}
	return nil
}

// Parse reads a token: [ErrMalformed], or one that is still to be verified.
func Parse(text string) (*Token, error) {
	if len(text) > MaxToken || strings.ContainsAny(text, " \t\r\n") {
		return nil, ErrMalformed
	}
	for part := range strings.SplitSeq(text, ".") { // one token has one form: no stray bits at the end of a part
		if _, err := base64.RawURLEncoding.Strict().DecodeString(part); err != nil {
			return nil, ErrMalformed
		}
	}
	t, err := jwt.ParseSigned(text, algorithms())
	if err != nil || len(t.Headers) != 1 {
		return nil, ErrMalformed
	}
	var claims payload
	if t.UnsafeClaimsWithoutVerification(&claims) != nil {
		return nil, ErrMalformed
	}
	if claims.Issuer == "" {
		return nil, &MissingClaimError{"iss"}
	}
	return &Token{claims.Issuer, t, t.Headers[0].KeyID, t.Headers[0].Algorithm}, nil
}

// Fits tells whether one of the keys could have signed the token.
func (t *Token) Fits(keys []jose.JSONWebKey) bool { return len(t.candidates(keys)) > 0 }

// maxCandidates bounds how many keys of one id are tried.
const maxCandidates = 4

// candidates are the keys that the header of the token can mean. A token without
// a kid means the only key for its algorithm.
func (t *Token) candidates(keys []jose.JSONWebKey) (out []jose.JSONWebKey) {
	for _, k := range keys {
		if (t.keyID == "" || k.KeyID == t.keyID) && serves(k, t.algorithm) {
			out = append(out, k)
		}
	}
	if t.keyID == "" && len(out) > 1 || len(out) > maxCandidates {
		return nil
	}
	return out
}

// Verify believes a token that one of the keys signed, that is of the issuer and
// for one of the audiences.
func (t *Token) Verify(keys []jose.JSONWebKey, issuer string, audiences []string, now time.Time) (Claims, error) {
	candidates := t.candidates(keys)
	if len(candidates) == 0 {
		return Claims{}, ErrUnknownKey
	}
	var p payload
	err := ErrSignature
	for _, k := range candidates {
		p = payload{}
		if t.jwt.Claims(k.Key, &p) == nil {
			err = nil
			break
		}
	}
	if err != nil {
		return Claims{}, err
	}
	return p.check(issuer, audiences, now)
}

// check holds the claims of a token whose signature is good against what is expected.
func (p *payload) check(issuer string, audiences []string, now time.Time) (Claims, error) {
	switch {
	case p.Issuer != issuer:
		return Claims{}, ErrIssuer
	case p.Subject == "":
		return Claims{}, &MissingClaimError{"sub"}
	case len(p.Claims.Audience) == 0:
		return Claims{}, &MissingClaimError{"aud"}
	case p.Expiry == nil:
		return Claims{}, &MissingClaimError{"exp"}
	case p.IssuedAt == nil:
		return Claims{}, &MissingClaimError{"iat"}
	case !now.Before(p.Expiry.Time().Add(Leeway)):
		return Claims{}, &ExpiredError{now, p.Expiry.Time()}
	case now.Add(Leeway).Before(p.IssuedAt.Time()), p.NotBefore != nil && now.Add(Leeway).Before(p.NotBefore.Time()):
		return Claims{}, ErrNotYet
	}
	out := Claims{Issuer: p.Issuer, Subject: p.Subject, Audiences: p.Claims.Audience, Methods: p.Methods}
	named := out.Audiences
	if p.AuthorizedParty != "" {
		named = []string{p.AuthorizedParty}
	}
	for _, audience := range named {
		for _, expected := range audiences {
			if audience == expected {
				out.Audience = audience
				return out, nil
			}
		}
	}
	return Claims{}, ErrAudience
}
