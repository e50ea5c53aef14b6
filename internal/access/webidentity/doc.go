// Package webidentity reads the tokens with which an identity provider vouches
// for somebody: the ID tokens of OpenID Connect that GitHub Actions, Kubernetes
// and others give to their jobs.
//
// # Guarantees
//
//   - A token is believed only when a key of its own issuer signed it, by an
//     algorithm with public keys that is listed here. "none" and HMAC are refused
//     before anything of the token is read.
//   - Keys come from the caller alone. What a token says about keys (jwk, jku,
//     x5c, x5u) is not looked at, and its kid only chooses among the caller's.
//   - A key serves the algorithm that it is for, and no other.
//   - The issuer and one of the audiences must be those expected; exp and iat must
//     be there, and hold with a leeway of half a minute.
//   - Everything is bounded, and no error repeats a part of a token but the names
//     and times of claims.
//
// Sources: RFC 7515, 7517, 7519 and 8725; OpenID Connect Core 1.0 section 3.1.3.7
// and Discovery 1.0 section 4; IAM User Guide, "Create an OpenID Connect (OIDC)
// identity provider in IAM".
package webidentity
