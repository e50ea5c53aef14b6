package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
