package webidentity

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"net/url"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Limits of what a provider publishes.
const (
	maxKeys   = 200 // IAM reads 100 RSA and 100 EC keys ("Create an OpenID Connect (OIDC) identity provider in IAM")
	minRSA    = 2048
	maxRSA    = 8192
	useToSign = "sig"
)

// ParseKeys reads a JSON Web Key Set. Keys that cannot verify a signature here,
// symmetric ones among them, are left out; [ErrMetadata] is a text that is no
// set, or one without a usable key.
func ParseKeys(text []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(text, &set) != nil || len(set.Keys) > maxKeys {
		return nil, ErrMetadata
	}
	var out []jose.JSONWebKey
	for _, raw := range set.Keys {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && verifies(k) {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		return nil, ErrMetadata
	}
	return out, nil
}

// verifies tells whether a key is a public one, of a sound size, for signatures.
func verifies(k jose.JSONWebKey) bool {
	if !k.Valid() || k.Use != "" && k.Use != useToSign {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= minRSA && key.N.BitLen() <= maxRSA
	case *ecdsa.PublicKey:
		return true
	}
	return false
}

// serves tells whether a key may verify an algorithm: its kind fits, it says no
// other, and an elliptic curve is the one of the algorithm (RFC 7518, section 3.4).
func serves(k jose.JSONWebKey, algorithm string) bool {
	if k.Algorithm != "" && k.Algorithm != algorithm || !verifies(k) {
		return false
	}
	switch key := k.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(algorithm, "RS") || strings.HasPrefix(algorithm, "PS")
	case *ecdsa.PublicKey:
		return map[string]string{"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}[algorithm] == key.Curve.Params().Name
	}
	return false
}

// ParseConfiguration reads the document that an issuer publishes at
// <issuer>/.well-known/openid-configuration and gives the https URL of its keys.
// A document of another issuer is [ErrMetadata] (OpenID Connect Discovery 1.0,
// section 4.3).
func ParseConfiguration(text []byte, issuer string) (keys string, err error) {
	var c struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	if json.Unmarshal(text, &c) != nil || c.Issuer != issuer {
		return "", ErrMetadata
	}
	u, err := url.Parse(c.JWKSURI)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil {
		return "", ErrMetadata
	}
	return u.String(), nil
}
