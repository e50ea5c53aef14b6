// Package token makes and reads what the server hands out and gets back
// unchanged: the registry password of GetAuthorizationToken, and pagination
// cursors.
//
// It guarantees:
//
//   - opacity: everything is sealed with AES-256-GCM, so nothing about the
//     principal or the position can be read or altered;
//   - separation: passwords and cursors, and cursors of different purposes, use
//     different keys derived from the one signing key, so that one can never
//     pass for another;
//   - no state: any replica that has the signing key reads what another made;
//   - a password is good for at most 12 hours and says which principal, account
//     and region it was issued for; whether that principal may still do
//     something is decided at use, not here;
//   - inputs longer than their cap are refused unread, and no error repeats any
//     part of a token.
//
// Each sealed text has a fresh key: HKDF-SHA-256 (RFC 5869) over a random
// 128-bit salt yields the AES key and the nonce. The 2^32 messages that random
// 96-bit nonces under one key allow (NIST SP 800-38D section 8.3) are used up in
// a hundred days at ECR's rate of 500 passwords a second; this way the bound is
// out of reach.
//
// Source: ECR API Reference, GetAuthorizationToken (12 hours, opaque, no fixed
// size); ECR User Guide, "Private registry authentication".
package token
