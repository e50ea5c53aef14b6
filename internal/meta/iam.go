package meta

import (
	"encoding/json"
	"fmt"
	"time"
)

// Kinds of principals.
const (
	KindUser = "user"
	KindRole = "role"
)

// An IAMPrincipal is a user or a role.
type IAMPrincipal struct {
	ID          string // AIDA… or AROA…
	Kind        string
	Account     string
	Name        string
	Path        string
	Description string
	TrustPolicy string        // of a role
	MaxSession  time.Duration // of a role, whole seconds
	Boundary    string        // ARN of a managed policy, or empty
	Tags        map[string]string
	CreatedAt   time.Time
}

const iamPrincipalColumns = `id, kind, account, name, path, description, trust_policy, max_session, boundary, tags, created_at`

func scanIAMPrincipal(s scanner) (p IAMPrincipal, err error) {
	var (
		tags             []byte
		session, created int64
	)
	err = s.Scan(&p.ID, &p.Kind, &p.Account, &p.Name, &p.Path, &p.Description, &p.TrustPolicy, &session, &p.Boundary, &tags, &created)
	if err != nil {
		return p, err
	}
	p.MaxSession, p.CreatedAt = time.Duration(session)*time.Second, fromMicros(created)
	if err := json.Unmarshal(tags, &p.Tags); err != nil {
		return p, fmt.Errorf("read the tags of the %s %s: %w", p.Kind, p.Name, err)
	}
	return p, nil
}

// InsertIAMPrincipal adds a user or role. ErrExists: the account has one of the
// kind whose name differs in case at most.
func (tx *Tx) InsertIAMPrincipal(p IAMPrincipal) error {
	tx.keys = true
	tags, err := tagText(p.Tags)
	if err != nil {
		return err
	}
	return tx.unique(`INSERT INTO iam_principals (`+iamPrincipalColumns+`) VALUES (`+placeholders(1, 11)+`)`,
		p.ID, p.Kind, p.Account, p.Name, p.Path, p.Description, p.TrustPolicy, int64(p.MaxSession/time.Second), p.Boundary, tags, micros(p.CreatedAt))
}

// unique is exec for a statement that may meet a row with the same key: that is ErrExists, after which the
// transaction can only be given up.
func (tx *Tx) unique(query string, args ...any) error {
	err := tx.exec(query, args...)
	if err != nil && tx.backend.IsUnique(err) {
		return ErrExists
	}
	return err
}

// SaveIAMPrincipal writes what can change of a user or role.
func (tx *Tx) SaveIAMPrincipal(p IAMPrincipal) error {
	tx.keys = true
	tags, err := tagText(p.Tags)
	if err != nil {
		return err
	}
	return tx.one(`UPDATE iam_principals SET description = $2, trust_policy = $3, max_session = $4, boundary = $5, tags = $6 WHERE id = $1`, p.ID, p.Description, p.TrustPolicy, int64(p.MaxSession/time.Second), p.Boundary, tags)
}

// RenameIAMPrincipal gives a user another name or path, and its keys and
// sessions its other ARN. ErrExists: the name is taken.
func (tx *Tx) RenameIAMPrincipal(p IAMPrincipal, from, to string) error {
	tx.keys = true
	if err := tx.unique(`UPDATE iam_principals SET name = $2, path = $3 WHERE id = $1`, p.ID, p.Name, p.Path); err != nil {
		return err
	}
	if err := tx.exec(`UPDATE access_keys SET principal = $2 WHERE principal = $1`, from, to); err != nil {
		return err
	}
	return tx.exec(`UPDATE iam_sessions SET principal = $2 WHERE principal_id = $1`, p.ID, to)
}

// IAMPrincipal finds a user or role by its name.
func (tx *Tx) IAMPrincipal(kind, account, name string) (IAMPrincipal, error) {
	return get(tx, scanIAMPrincipal, `SELECT `+iamPrincipalColumns+` FROM iam_principals
		WHERE account = $1 AND kind = $2 AND lower(name) = lower($3) AND name = $3`, account, kind, name)
}

// IAMPrincipalByID finds a user or role by its id.
func (tx *Tx) IAMPrincipalByID(id string) (IAMPrincipal, error) {
	return get(tx, scanIAMPrincipal, `SELECT `+iamPrincipalColumns+` FROM iam_principals WHERE id = $1`, id)
}

// IAMPrincipals lists the users or roles of an account by name.
func (tx *Tx) IAMPrincipals(kind, account string) ([]IAMPrincipal, error) {
	return list(tx, scanIAMPrincipal, `SELECT `+iamPrincipalColumns+` FROM iam_principals
		WHERE account = $1 AND kind = $2 ORDER BY name`, account, kind)
}

// CountIAMPrincipals is how many users or roles an account has.
func (tx *Tx) CountIAMPrincipals(kind, account string) (int, error) {
	return get(tx, scanInt, `SELECT COUNT(*) FROM iam_principals WHERE account = $1 AND kind = $2`, account, kind)
}

func scanInt(s scanner) (n int, err error) { return n, s.Scan(&n) }

// DeleteIAMPrincipal removes a user or role with its policies and sessions. Access keys stay.
func (tx *Tx) DeleteIAMPrincipal(id string) error {
	tx.keys = true
	return tx.one(`DELETE FROM iam_principals WHERE id = $1`, id)
}

// A NamedPolicy is an inline policy.
type NamedPolicy struct{ Name, Document string }

func scanNamedPolicy(s scanner) (p NamedPolicy, err error) { return p, s.Scan(&p.Name, &p.Document) }

// PutInlinePolicy adds or replaces an inline policy.
func (tx *Tx) PutInlinePolicy(principalID string, p NamedPolicy) error {
	tx.keys = true
	return tx.exec(`INSERT INTO iam_inline_policies (principal_id, name, document) VALUES ($1, $2, $3)
		ON CONFLICT (principal_id, name) DO UPDATE SET document = excluded.document`, principalID, p.Name, p.Document)
}

// InlinePolicy finds an inline policy by its name.
func (tx *Tx) InlinePolicy(principalID, name string) (NamedPolicy, error) {
	return get(tx, scanNamedPolicy, `SELECT name, document FROM iam_inline_policies WHERE principal_id = $1 AND name = $2`, principalID, name)
}

// InlinePolicies lists the inline policies of a user or role by name.
func (tx *Tx) InlinePolicies(principalID string) ([]NamedPolicy, error) {
	return list(tx, scanNamedPolicy, `SELECT name, document FROM iam_inline_policies WHERE principal_id = $1 ORDER BY name`, principalID)
}

// DeleteInlinePolicy removes an inline policy.
func (tx *Tx) DeleteInlinePolicy(principalID, name string) error {
	tx.keys = true
	return tx.one(`DELETE FROM iam_inline_policies WHERE principal_id = $1 AND name = $2`, principalID, name)
}

// Attach attaches a managed policy; one that is attached stays so.
func (tx *Tx) Attach(principalID, arn string) error {
	tx.keys = true
	return tx.exec(`INSERT INTO iam_attachments (principal_id, arn) VALUES ($1, $2) ON CONFLICT DO NOTHING`, principalID, arn)
}

// Attachments lists the ARNs of the managed policies of a user or role.
func (tx *Tx) Attachments(principalID string) ([]string, error) {
	return list(tx, scanString, `SELECT arn FROM iam_attachments WHERE principal_id = $1 ORDER BY arn`, principalID)
}

// Detach detaches a managed policy.
func (tx *Tx) Detach(principalID, arn string) error {
	tx.keys = true
	return tx.one(`DELETE FROM iam_attachments WHERE principal_id = $1 AND arn = $2`, principalID, arn)
}

// AttachmentCount is how many users and roles a policy is attached to, and of
// how many it is the permissions boundary.
func (tx *Tx) AttachmentCount(arn string) (attached, bounds int, err error) {
	attached, err = get(tx, scanInt, `SELECT COUNT(*) FROM iam_attachments WHERE arn = $1`, arn)
	if err != nil {
		return 0, 0, err
	}
	bounds, err = get(tx, scanInt, `SELECT COUNT(*) FROM iam_principals WHERE boundary = $1`, arn)
	return attached, bounds, err
}

// An IAMSession is a set of temporary credentials, without their secret.
type IAMSession struct {
	ID          string // the access key id
	PrincipalID string // the user or role; empty for a root user
	Account     string
	Principal   string // ARN
	UserID      string
	Policies    []string // session policies
	CreatedAt   time.Time
	ExpiresAt   time.Time
}

// InsertIAMSession adds temporary credentials.
func (tx *Tx) InsertIAMSession(s IAMSession) error {
	policies, err := textList(s.Policies)
	if err != nil {
		return err
	}
	var owner any
	if s.PrincipalID != "" {
		owner = s.PrincipalID
	}
	return tx.unique(`INSERT INTO iam_sessions (id, principal_id, account, principal, user_id, policies, created_at, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`, s.ID, owner, s.Account, s.Principal, s.UserID, policies, micros(s.CreatedAt), micros(s.ExpiresAt))
}

// IAMSession finds temporary credentials by their access key id.
func (tx *Tx) IAMSession(id string) (IAMSession, error) {
	return get(tx, func(sc scanner) (s IAMSession, err error) {
		var (
			policies         []byte
			created, expires int64
		)
		if err := sc.Scan(&s.ID, &s.PrincipalID, &s.Account, &s.Principal, &s.UserID, &policies, &created, &expires); err != nil {
			return s, err
		}
		s.CreatedAt, s.ExpiresAt = fromMicros(created), fromMicros(expires)
		return s, json.Unmarshal(policies, &s.Policies)
	}, `SELECT id, COALESCE(principal_id, ''), account, principal, user_id, policies, created_at, expires_at
		FROM iam_sessions WHERE id = $1`, id)
}

// DeleteIAMSessions forgets the temporary credentials that ended before a time.
func (tx *Tx) DeleteIAMSessions(before time.Time) error {
	return tx.exec(`DELETE FROM iam_sessions WHERE expires_at < $1`, micros(before))
}

// DeleteRootSessions ends the temporary credentials of an account's root user.
func (tx *Tx) DeleteRootSessions(account string) error {
	return tx.exec(`DELETE FROM iam_sessions WHERE account = $1 AND principal_id IS NULL`, account)
}

// textList is how a list of texts is stored: a JSON array.
func textList(texts []string) (string, error) {
	for _, s := range texts {
		if err := storable([]any{s}); err != nil {
			return "", err // JSON would hide it from the check of the statement
		}
	}
	if len(texts) == 0 {
		return "[]", nil
	}
	b, err := json.Marshal(texts)
	return string(b), err
}
