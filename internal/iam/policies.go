package iam

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"berth/internal/access"
	"berth/internal/meta"
)

// A Policy is the text of a policy and the name of an inline one, or the ARN of a
// managed one.
type Policy struct{ Name, ARN, Text string }

// Policies are the texts that say what a principal may do.
type Policies struct {
	// Identity are the inline policies and the attached managed ones. A root
	// user has none, and needs none.
	Identity []Policy
	// Boundary is the permissions boundary; its text is empty when there is none.
	Boundary Policy
	// Session are the session policies; empty: there are none.
	Session []string
}

// Policies finds the policies of a principal. It fails rather than leave one out.
// One whose user or role is gone has none.
func (s *Store) Policies(ctx context.Context, p access.Principal) (out Policies, err error) {
	if p.IsRoot() {
		return Policies{}, nil
	}
	id, _, _ := strings.Cut(p.UserID, ":") // a role's session has its name behind the role's id
	err = s.db.View(ctx, func(tx *meta.Tx) error {
		out = Policies{}
		who, err := tx.IAMPrincipalByID(id)
		if errors.Is(err, meta.ErrNotFound) || err == nil && who.Account != p.Account {
			return nil
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(p.AccessKeyID, sessionPrefix) {
			session, err := tx.IAMSession(p.AccessKeyID)
			if err != nil {
				return fmt.Errorf("find the session of %s: %w", p.ARN, err)
			}
			out.Session = session.Policies
		}
		inline, err := tx.InlinePolicies(who.ID)
		if err != nil {
			return err
		}
		for _, policy := range inline {
			out.Identity = append(out.Identity, Policy{Name: policy.Name, Text: policy.Document})
		}
		attached, err := tx.Attachments(who.ID)
		if err != nil {
			return err
		}
		for _, arn := range attached {
			text, err := managedText(tx, who.Account, arn)
			if err != nil {
				return fmt.Errorf("read the policy %s of %s: %w", arn, p.ARN, err)
			}
			out.Identity = append(out.Identity, Policy{ARN: arn, Text: text})
		}
		if who.Boundary != "" {
			out.Boundary.ARN = who.Boundary
			if out.Boundary.Text, err = managedText(tx, who.Account, who.Boundary); err != nil {
				return fmt.Errorf("read the permissions boundary %s of %s: %w", who.Boundary, p.ARN, err)
			}
		}
		return nil
	})
	return out, err
}

// checkPolicy refuses a text that is no identity policy.
func (s *Store) checkPolicy(text string) error {
	if text == "" {
		return Constraint("policyDocument", "null", "Member must not be null")
	}
	return checked(text, s.CheckPolicy, "Syntax errors in policy.")
}

// checkTrust refuses a text that is no trust policy.
func (s *Store) checkTrust(text string) error {
	return checked(text, s.CheckTrustPolicy, "This policy contains invalid Json")
}

func checked(text string, check func(string) error, syntax string) error {
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &object) != nil {
		return malformed(syntax)
	}
	if check == nil {
		return nil
	}
	if err := check(text); err != nil {
		return malformed(err.Error())
	}
	return nil
}

// UserName is the name of the user that a principal is; false: it is none.
func UserName(p access.Principal) (string, bool) {
	_, rest, ok := strings.Cut(p.ARN, ":user/")
	if !ok {
		return "", false
	}
	return rest[strings.LastIndexByte(rest, '/')+1:], true
}
