package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/meta"
)

const (
	// sessionPrefix is how the ids of temporary keys begin.
	sessionPrefix = "ASIA"
	// sessionPurpose keeps session tokens apart from what else is sealed.
	sessionPurpose = "sts session"
	// kept is how long ended sessions are remembered, so that they are called
	// expired and not unknown.
	kept = 24 * time.Hour

	minSession        = 15 * time.Minute
	maxSession        = 36 * time.Hour // of GetSessionToken
	maxRootSession    = time.Hour
	maxChainedSession = time.Hour
	maxSessionPolicy  = 2048
)

// A Session is a set of temporary credentials; the secret is told this once.
type Session struct {
	Credentials
	SessionToken string
	Expires      time.Time
	Principal    access.Principal
}

// sealedSession is what a session token says. The secret of a session is
// nowhere else.
type sealedSession struct{ ID, Secret string }

func (s *Store) session(ctx context.Context, id string) (out meta.IAMSession, err error) {
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		out, err = tx.IAMSession(id)
		return err
	})
	return out, err
}

// sessionSecret is Secret for temporary keys.
func (s *Store) sessionSecret(ctx context.Context, accessKeyID, sessionToken string) (sigv4.Secret, error) {
	text, err := s.tokens.OpenCursor(sessionPurpose, sessionToken)
	if err != nil {
		return sigv4.Secret{}, sigv4.ErrUnknownKey // whatever is wrong with it
	}
	var sealed sealedSession
	if err := json.Unmarshal(text, &sealed); err != nil || sealed.ID != accessKeyID {
		return sigv4.Secret{}, sigv4.ErrUnknownKey
	}
	session, p, err := s.sessionPrincipal(ctx, accessKeyID)
	if errors.Is(err, meta.ErrNotFound) {
		return sigv4.Secret{}, sigv4.ErrUnknownKey
	}
	return sigv4.Secret{SecretAccessKey: sealed.Secret, Principal: p, Active: true, Expires: session.ExpiresAt}, err
}

// sessionPrincipal finds a session and who it is. One whose role is gone is gone.
func (s *Store) sessionPrincipal(ctx context.Context, id string) (session meta.IAMSession, p access.Principal, err error) {
	err = s.db.View(ctx, func(tx *meta.Tx) error {
		if session, err = tx.IAMSession(id); err != nil {
			return err
		}
		p = access.Principal{Account: session.Account, ARN: session.Principal, UserID: session.UserID, AccessKeyID: session.ID}
		if !strings.Contains(p.ARN, ":assumed-role/") {
			return nil
		}
		role, err := tx.IAMPrincipalByID(session.PrincipalID)
		p.Role = ARN(role)
		return err
	})
	return session, p, err
}

// newSession makes temporary credentials for a principal.
func (s *Store) newSession(ctx context.Context, owner string, p access.Principal, policies []string, length time.Duration) (Session, error) {
	out := Session{Credentials: newCredentials(sessionPrefix), Principal: p}
	out.Principal.AccessKeyID = out.AccessKeyID
	now := s.now().UTC().Truncate(time.Second)
	out.Expires = now.Add(length)
	text, err := json.Marshal(sealedSession{out.AccessKeyID, out.SecretAccessKey})
	if err != nil {
		return Session{}, err
	}
	if out.SessionToken, err = s.tokens.SealCursor(sessionPurpose, text); err != nil {
		return Session{}, err
	}
	err = s.db.Update(ctx, func(tx *meta.Tx) error {
		if err := tx.DeleteIAMSessions(now.Add(-kept)); err != nil {
			return err
		}
		return tx.InsertIAMSession(meta.IAMSession{
			ID: out.AccessKeyID, PrincipalID: owner, Account: p.Account, Principal: p.ARN, UserID: p.UserID, Policies: policies,
			CreatedAt: now, ExpiresAt: out.Expires,
		})
	})
	return out, err
}

// SessionToken makes temporary credentials of a user or a root user (STS API
// reference, GetSessionToken). A length of 0 is the default one.
func (s *Store) SessionToken(ctx context.Context, caller access.Principal, length time.Duration) (Session, error) {
	if strings.HasPrefix(caller.AccessKeyID, sessionPrefix) {
		if _, err := s.session(ctx, caller.AccessKeyID); err == nil {
			return Session{}, &Error{403, "AccessDenied", "Cannot call GetSessionToken with session credentials"}
		} else if !errors.Is(err, meta.ErrNotFound) {
			return Session{}, err
		}
	}
	if length == 0 {
		length = 12 * time.Hour
	}
	if err := checkDuration(length, maxSession); err != nil {
		return Session{}, err
	}
	owner := caller.UserID
	if caller.IsRoot() {
		owner, length = "", min(length, maxRootSession)
	}
	return s.newSession(ctx, owner, caller, nil, length)
}

func checkDuration(d, most time.Duration) error {
	switch n := fmt.Sprint(int(d.Seconds())); {
	case d < minSession:
		return Constraint("durationSeconds", n, "Member must have value greater than or equal to 900")
	case d > most:
		return Constraint("durationSeconds", n, fmt.Sprintf("Member must have value less than or equal to %d", int(most.Seconds())))
	}
	return nil
}

// A RoleRequest asks for a session of a role (STS API reference, AssumeRole).
type RoleRequest struct {
	RoleARN     string
	SessionName string
	ExternalID  string
	Policy      string   // session policy; empty: none
	PolicyARNs  []string // managed session policies
	Length      time.Duration
}

var (
	roleARNPattern     = regexp.MustCompile(`^arn:aws:iam::(\d{12}):role(/(?:[\x21-\x7e]*/)?)([A-Za-z0-9_+=,.@-]+)$`)
	sessionNamePattern = regexp.MustCompile(`^[A-Za-z0-9_+=,.@-]{2,64}$`)
)

// RoleName takes the ARN of a role apart.
func RoleName(arn string) (Ref, bool) {
	m := roleARNPattern.FindStringSubmatch(arn)
	if m == nil {
		return Ref{}, false
	}
	return Ref{meta.KindRole, m[1], m[3]}, true
}

// checkRoleRequest finds what is wrong with a request whoever makes it.
func (s *Store) checkRoleRequest(r RoleRequest) error {
	switch {
	case r.RoleARN == "":
		return Constraint("roleArn", "null", "Member must not be null")
	case !roleARNPattern.MatchString(r.RoleARN):
		return Invalid("%s is invalid", r.RoleARN)
	case r.SessionName == "":
		return Constraint("roleSessionName", "null", "Member must not be null")
	case !sessionNamePattern.MatchString(r.SessionName):
		return Constraint("roleSessionName", r.SessionName, `Member must satisfy regular expression pattern: [\w+=,.@-]*`)
	case len(r.Policy) > maxSessionPolicy:
		return Constraint("policy", r.Policy, fmt.Sprintf("Member must have length less than or equal to %d", maxSessionPolicy))
	case len(r.PolicyARNs) > 10:
		return Invalid("Too many policy ARNs: at most 10 are allowed.")
	}
	if r.Policy != "" {
		if err := s.checkPolicy(r.Policy); err != nil {
			return err
		}
	}
	return checkDuration(r.Length, maxRoleSession)
}

// AssumeRole makes a session of a role that trusts the caller. Whether the
// caller's own policies allow it is for the door to ask. A role that does not
// exist is refused as one that does not trust the caller.
func (s *Store) AssumeRole(ctx context.Context, caller access.Principal, r RoleRequest) (Session, error) {
	const action = "sts:AssumeRole"
	given := r.Length
	if given == 0 {
		r.Length = time.Hour
	}
	if err := s.checkRoleRequest(r); err != nil {
		return Session{}, err
	}
	denied := &access.DeniedError{Principal: caller, Action: action, Resource: r.RoleARN}
	if caller.IsRoot() {
		return Session{}, &Error{403, "AccessDenied", "Roles may not be assumed by root accounts."}
	}
	ref, _ := RoleName(r.RoleARN)
	var (
		role     meta.IAMPrincipal
		policies []string
	)
	err := s.look(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		role, policies = p, nil
		if r.Policy != "" {
			policies = append(policies, r.Policy)
		}
		for _, arn := range r.PolicyARNs {
			text, err := managedText(tx, p.Account, arn)
			if err != nil {
				return attachable(err, arn)
			}
			policies = append(policies, text)
		}
		return nil
	})
	var refused *Error
	if errors.As(err, &refused) && role.ID == "" || err == nil && ARN(role) != r.RoleARN {
		return Session{}, denied
	}
	if err != nil && !errors.As(err, &refused) {
		return Session{}, err
	}
	keys := map[string][]string{"sts:RoleSessionName": {r.SessionName}}
	if r.ExternalID != "" {
		keys["sts:ExternalId"] = []string{r.ExternalID}
	}
	if s.Trusts == nil || !s.Trusts(role.TrustPolicy, caller, action, keys) {
		return Session{}, denied
	}
	switch {
	case err != nil: // of a session policy: only who may assume the role learns of it
		return Session{}, err
	case r.Length > role.MaxSession:
		return Session{}, Invalid("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	case strings.Contains(caller.ARN, ":assumed-role/") && given > maxChainedSession:
		return Session{}, Invalid("The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	}
	return s.newSession(ctx, role.ID, access.Principal{
		Account: role.Account,
		ARN:     "arn:aws:sts::" + role.Account + ":assumed-role/" + role.Name + "/" + r.SessionName,
		UserID:  role.ID + ":" + r.SessionName,
		Role:    ARN(role),
	}, policies, r.Length)
}
