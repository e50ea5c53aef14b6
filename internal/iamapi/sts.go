package iamapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"berth/internal/access/sigv4"
	"berth/internal/iam"
)

// getCallerIdentity is the result of GetCallerIdentity (STS API reference).
func getCallerIdentity(c *call) (any, error) {
	return struct {
		Arn     string
		UserID  string `xml:"UserId"`
		Account string
	}{c.caller.ARN, c.caller.UserID, c.caller.Account}, nil
}

type credentialsXML struct {
	AccessKeyID     string `xml:"AccessKeyId"`
	SecretAccessKey string
	SessionToken    string
	Expiration      string
}

func toCredentials(s iam.Session) credentialsXML {
	return credentialsXML{s.AccessKeyID, s.SecretAccessKey, s.SessionToken, stamp(s.Expires)}
}

// unoffered refuses members that would change what a session may do.
func (c *call) unoffered(names ...string) error {
	for member := range c.form {
		name, _, _ := strings.Cut(member, ".")
		if slices.Contains(names, name) {
			return iam.Invalid("This version of Berth does not offer %s.", name)
		}
	}
	return nil
}

func getSessionToken(c *call) (any, error) {
	if err := c.unoffered("SerialNumber", "TokenCode"); err != nil {
		return nil, err
	}
	length, err := c.seconds("DurationSeconds")
	if err != nil {
		return nil, err
	}
	s, err := c.Store.SessionToken(c.ctx, c.caller, length)
	return struct{ Credentials credentialsXML }{toCredentials(s)}, err
}

func assumeRole(c *call) (any, error) {
	if err := c.unoffered("Tags", "TransitiveTagKeys", "SourceIdentity", "SerialNumber", "TokenCode", "ProvidedContexts"); err != nil {
		return nil, err
	}
	length, err := c.seconds("DurationSeconds")
	if err != nil {
		return nil, err
	}
	r := c.roleRequest(length)
	r.ExternalID = c.form.Get("ExternalId")
	s, err := c.Store.AssumeRole(c.ctx, c.caller, r, c.Authorize)
	return struct {
		Credentials     credentialsXML
		AssumedRoleUser assumedXML
	}{toCredentials(s), toAssumed(s)}, err
}

type assumedXML struct {
	AssumedRoleID string `xml:"AssumedRoleId"`
	Arn           string
}

func toAssumed(s iam.Session) assumedXML { return assumedXML{s.Principal.UserID, s.Principal.ARN} }

// roleRequest reads what the requests for sessions of roles have in common.
func (c *call) roleRequest(length time.Duration) iam.RoleRequest {
	r := iam.RoleRequest{
		RoleARN: c.form.Get("RoleArn"), SessionName: c.form.Get("RoleSessionName"), Policy: c.form.Get("Policy"), Length: length, Call: c.from,
	}
	for i := 1; ; i++ {
		arn := c.form.Get(fmt.Sprintf("PolicyArns.member.%d.arn", i))
		if arn == "" || i > maxMembers {
			return r
		}
		r.PolicyARNs = append(r.PolicyARNs, arn)
	}
}

// assumeRoleWithWebIdentity has no signature: the token stands for it (STS API
// reference). A source of tokens that nobody issued is slowed down as one that
// guesses passwords.
func assumeRoleWithWebIdentity(c *call) (any, error) {
	if err := c.unoffered("ProviderId"); err != nil { // of OAuth 2.0 providers, which are not here
		return nil, err
	}
	length, err := c.seconds("DurationSeconds")
	if err != nil {
		return nil, err
	}
	if c.Guesses.Spent(c.request) {
		return nil, sigv4.Throttled()
	}
	s, err := c.Store.AssumeRoleWithWebIdentity(c.ctx, c.roleRequest(length), c.form.Get("WebIdentityToken"), c.Authorize)
	if s.Forged {
		c.Guesses.Failed(c.request)
	}
	return struct {
		Credentials                 credentialsXML
		SubjectFromWebIdentityToken string
		AssumedRoleUser             assumedXML
		Provider                    string
		Audience                    string
	}{toCredentials(s.Session), s.Subject, toAssumed(s.Session), s.Issuer, s.Audience}, err
}

func getAccessKeyInfo(c *call) (any, error) {
	id, err := c.need("AccessKeyId")
	if err != nil {
		return nil, err
	}
	o, err := c.Store.AccessKeyOwner(c.ctx, id)
	return struct{ Account string }{o.Account}, err
}

// home refuses everybody but the root user of the home account.
func (c *call) home() error {
	if c.caller.IsRoot() && c.caller.Account == c.Home {
		return nil
	}
	return &apiError{http.StatusForbidden, "AccessDenied", "Only the root user of the home account " + c.Home + " looks after accounts and asks about others."}
}

// accountXML is an account with its root user's key, which is told once.
type accountXML struct {
	AccountID       string `xml:"AccountId"`
	AccessKeyID     string `xml:"AccessKeyId,omitempty"`
	SecretAccessKey string `xml:",omitempty"`
	CreateDate      string `xml:",omitempty"`
}

type accountResult struct{ Account accountXML }

func createAccount(c *call) (any, error) {
	if err := c.home(); err != nil {
		return nil, err
	}
	id := c.form.Get("AccountId")
	k, err := c.Store.CreateAccount(c.ctx, id)
	return accountResult{accountXML{AccountID: id, AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey}}, err
}

func listAccounts(c *call) (any, error) {
	if err := c.home(); err != nil {
		return nil, err
	}
	all, err := c.Store.Accounts(c.ctx)
	out := list[accountXML]{}
	for _, a := range all {
		out.Member = append(out.Member, accountXML{AccountID: a.ID, CreateDate: stamp(a.CreatedAt)})
	}
	return struct{ Accounts list[accountXML] }{out}, err
}

// other is the account of a request, which must not be the home account.
func (c *call) other() (string, error) {
	if err := c.home(); err != nil {
		return "", err
	}
	id := c.form.Get("AccountId")
	if id == c.Home {
		return "", iam.Invalid("%s is the home account: its root key is given when the server starts, and it cannot be deleted.", id)
	}
	return id, nil
}

func deleteAccount(c *call) (any, error) {
	id, err := c.other()
	if err != nil {
		return nil, err
	}
	return nil, c.Store.DeleteAccount(c.ctx, id)
}

func rotateRootKey(c *call) (any, error) {
	id, err := c.other()
	if err != nil {
		return nil, err
	}
	k, err := c.Store.RotateRootKey(c.ctx, id)
	return accountResult{accountXML{AccountID: id, AccessKeyID: k.AccessKeyID, SecretAccessKey: k.SecretAccessKey}}, err
}
