package iam

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"berth/internal/access"
	"berth/internal/access/webidentity"
	"berth/internal/meta"
)

// Issuers gives the keys with which identity providers sign. enough tells whether
// the keys at hand have the one that is needed.
type Issuers interface {
	Keys(ctx context.Context, issuer string, thumbprints []string, enough func([]jose.JSONWebKey) bool) ([]jose.JSONWebKey, error)
}

// A WebSession is a session that a role gives for the token of an identity provider.
type WebSession struct {
	Session
	webidentity.Claims
	// Forged says of an error that the token is none of its issuer's.
	Forged bool
}

// Codes of refusals of tokens (STS API reference, AssumeRoleWithWebIdentity).
const (
	codeInvalidToken  = "InvalidIdentityToken"
	codeExpiredToken  = "ExpiredTokenException"
	codeUnreachable   = "IDPCommunicationError"
	codeRejectedClaim = "IDPRejectedClaim"
)

// tokenRefusal says in the words of STS why a token is not believed. The texts of
// IDPRejectedClaim and of a wrong signature are not confirmed.
func tokenRefusal(err error, issuer string) error {
	refuse := func(code, text string) error { return &Error{http.StatusBadRequest, code, text} }
	var (
		expired *webidentity.ExpiredError
		missing *webidentity.MissingClaimError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &expired):
		return refuse(codeExpiredToken, fmt.Sprintf("Token expired: current date/time %d must be before the expiration date/time %d", expired.Now.Unix(), expired.Expiry.Unix()))
	case errors.As(err, &missing):
		return refuse(codeInvalidToken, "Missing a required claim: "+missing.Claim)
	case errors.Is(err, webidentity.ErrMalformed):
		return refuse(codeInvalidToken, "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)")
	case errors.Is(err, webidentity.ErrAudience):
		return refuse(codeInvalidToken, "Incorrect token audience")
	case errors.Is(err, webidentity.ErrIssuer):
		return refuse(codeInvalidToken, "No OpenIDConnect provider found in your account for "+issuer)
	case errors.Is(err, webidentity.ErrNotYet):
		return &Error{http.StatusForbidden, codeRejectedClaim, "The token is not valid yet: its nbf or iat is in the future."}
	case errors.Is(err, webidentity.ErrSignature):
		return refuse(codeInvalidToken, "Invalid token signature")
	case errors.Is(err, webidentity.ErrUnknownKey), errors.Is(err, webidentity.ErrMetadata):
		return refuse(codeInvalidToken, "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements")
	case errors.Is(err, webidentity.ErrCertificate):
		return refuse(codeInvalidToken, "OpenIDConnect provider's HTTPS certificate doesn't match configured thumbprint")
	case errors.Is(err, webidentity.ErrUnreachable):
		return refuse(codeUnreachable, "The identity provider (IdP) that was asked to verify the incoming identity token could not be reached.")
	}
	return err
}

// AssumeRoleWithWebIdentity makes a session of a role for whoever has a token of
// an identity provider that the role's account keeps and the role trusts.
func (s *Store) AssumeRoleWithWebIdentity(ctx context.Context, r RoleRequest, text string, authorize access.Authorizer) (WebSession, error) {
	if r.Length == 0 {
		r.Length = time.Hour
	}
	if err := s.checkRoleRequest(r); err != nil {
		return WebSession{}, err
	}
	switch n := len(text); {
	case n == 0:
		return WebSession{}, Constraint("webIdentityToken", "null", "Member must not be null")
	case n < 4:
		return WebSession{}, Invalid("1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4")
	case n > webidentity.MaxToken:
		return WebSession{}, Invalid("1 validation error detected: Value at 'webIdentityToken' failed to satisfy constraint: Member must have length less than or equal to %d", webidentity.MaxToken)
	}
	ref, _ := RoleName(r.RoleARN)
	provider, claims, err := s.believe(ctx, ref.Account, text)
	if err != nil {
		return WebSession{Forged: isForged(err)}, tokenRefusal(err, claims.Issuer)
	}
	role, err := s.askRole(ctx, r, authorize, access.Request{
		Principal: access.Principal{
			// As AWS CloudTrail names a WebIdentityUser. There is no UserID, by which the
			// policies and tags of a user would be found.
			Account: ref.Account, ARN: provider.ARN + ":" + claims.Audience + ":" + claims.Subject, Provider: provider.ARN,
		},
		Action: assumeWebIdentity, ServiceKeys: tokenKeys(provider, claims, r.SessionName),
	})
	if access.IsDenied(err) {
		err = &Error{http.StatusForbidden, "AccessDenied", "Not authorized to perform " + assumeWebIdentity}
	}
	if err != nil {
		return WebSession{}, err
	}
	session, err := s.assume(ctx, role, r)
	return WebSession{Session: session, Claims: claims}, err
}

// isForged tells errors of tokens that no provider gave from those of old or
// misdirected ones.
func isForged(err error) bool {
	return errors.Is(err, webidentity.ErrMalformed) || errors.Is(err, webidentity.ErrSignature) || errors.Is(err, webidentity.ErrUnknownKey) ||
		errors.Is(err, webidentity.ErrIssuer)
}

// believe verifies a token by the keys of the provider in the account that its
// issuer names. On an error the claims say at most who the issuer would be.
func (s *Store) believe(ctx context.Context, account, text string) (p meta.OIDCProvider, c webidentity.Claims, err error) {
	token, err := webidentity.Parse(text)
	if err != nil {
		return p, c, err
	}
	c.Issuer = token.Issuer
	host, ok := strings.CutPrefix(token.Issuer, "https://")
	if !ok {
		return p, c, webidentity.ErrIssuer
	}
	// A provider's URL is kept without a slash at its end, and some issuers have one.
	p, err = s.OIDCProvider(ctx, account, "arn:aws:iam::"+account+":oidc-provider/"+strings.TrimSuffix(host, "/"))
	var refused *Error
	if errors.As(err, &refused) || errors.Is(err, meta.ErrText) {
		return p, c, webidentity.ErrIssuer
	}
	if err != nil {
		return p, c, err
	}
	if s.Issuers == nil {
		return p, c, webidentity.ErrUnreachable
	}
	keys, err := s.Issuers.Keys(ctx, token.Issuer, p.Thumbprints, token.Fits)
	if err != nil {
		return p, c, err
	}
	believed, err := token.Verify(keys, token.Issuer, p.ClientIDs, s.now())
	if err != nil {
		return p, c, err
	}
	return p, believed, nil
}

// tokenKeys are the condition keys of a token (IAM User Guide, "Available keys
// for AWS web identity federation").
func tokenKeys(p meta.OIDCProvider, c webidentity.Claims, session string) map[string][]string {
	name := strings.ToLower(p.URL)
	out := map[string][]string{
		name + ":sub": {c.Subject}, name + ":aud": {c.Audience}, name + ":oaud": c.Audiences, "sts:rolesessionname": {session},
	}
	if len(c.Methods) > 0 {
		out[name+":amr"] = c.Methods
	}
	return out
}
