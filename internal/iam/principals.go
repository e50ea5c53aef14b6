package iam

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"berth/internal/meta"
)

// Quotas of an account (IAM User Guide, "IAM and AWS STS quotas").
const (
	maxUsers       = 5000
	maxRoles       = 1000
	maxAttached    = 10
	maxUserInline  = 2048  // characters of all inline policies of a user
	maxRoleInline  = 10240 // of a role
	maxTrustPolicy = 2048
	maxManaged     = 6144
	minRoleSession = time.Hour
	maxRoleSession = 12 * time.Hour
	maxDescription = 1000
)

// A Ref names a user or role of an account.
type Ref struct {
	Kind    string // meta.KindUser or meta.KindRole
	Account string
	Name    string
}

func (r Ref) missing() error { return noSuch("The %s with name %s cannot be found.", r.Kind, r.Name) }

// ARN is the name of a user or role all over the world.
func ARN(p meta.IAMPrincipal) string {
	return "arn:aws:iam::" + p.Account + ":" + p.Kind + p.Path + p.Name
}

// Create adds a user or role; kind, account and name say which, and its ID and
// date are made here.
func (s *Store) Create(ctx context.Context, p meta.IAMPrincipal) (meta.IAMPrincipal, error) {
	prefix, most, member := "AIDA", maxUsers, "userName"
	if p.Kind == meta.KindRole {
		prefix, most, member = "AROA", maxRoles, "roleName"
	}
	if p.Path == "" {
		p.Path = "/"
	}
	if err := errors.Join(CheckName(member, p.Name, 64), checkPath(p.Path), checkTags(p.Tags)); err != nil {
		return p, first(err)
	}
	if p.Kind == meta.KindRole {
		if p.MaxSession == 0 {
			p.MaxSession = minRoleSession
		}
		if err := s.checkRole(p); err != nil {
			return p, err
		}
	}
	p.ID, p.CreatedAt = newID(prefix), s.now().UTC().Truncate(time.Second)
	err := s.db.Update(ctx, func(tx *meta.Tx) error {
		if err := boundaryExists(tx, p); err != nil {
			return err
		}
		n, err := tx.CountIAMPrincipals(p.Kind, p.Account)
		if err == nil && n >= most {
			err = limit("Cannot exceed quota for %ssPerAccount: %d", title(p.Kind), most)
		}
		if err != nil {
			return err
		}
		return tx.InsertIAMPrincipal(p)
	})
	if errors.Is(err, meta.ErrExists) {
		err = exists("%s with name %s already exists.", title(p.Kind), p.Name)
	}
	return p, err
}

// first is the first of joined errors: AWS tells one.
func first(err error) error {
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		return joined.Unwrap()[0]
	}
	return err
}

func (s *Store) checkRole(p meta.IAMPrincipal) error {
	switch {
	case p.TrustPolicy == "":
		return Constraint("assumeRolePolicyDocument", "null", "Member must not be null")
	case policySize(p.TrustPolicy) > maxTrustPolicy:
		return limit("Cannot exceed quota for ACLSizePerRole: %d", maxTrustPolicy)
	case p.MaxSession < minRoleSession:
		return Constraint("maxSessionDuration", fmt.Sprint(int(p.MaxSession.Seconds())), "Member must have value greater than or equal to 3600")
	case p.MaxSession > maxRoleSession:
		return Constraint("maxSessionDuration", fmt.Sprint(int(p.MaxSession.Seconds())), "Member must have value less than or equal to 43200")
	case len(p.Description) > maxDescription:
		return Constraint("description", p.Description, fmt.Sprintf("Member must have length less than or equal to %d", maxDescription))
	}
	return s.checkTrust(p.TrustPolicy)
}

func boundaryExists(tx *meta.Tx, p meta.IAMPrincipal) error {
	if p.Boundary == "" {
		return nil
	}
	_, err := managedText(tx, p.Account, p.Boundary)
	return attachable(err, p.Boundary)
}

// attachable says what AWS says of a policy that cannot be attached.
func attachable(err error, arn string) error {
	if errors.Is(err, meta.ErrNotFound) {
		return noSuch("Policy %s does not exist or is not attachable.", arn)
	}
	return err
}

// Principal finds a user or role.
func (s *Store) Principal(ctx context.Context, ref Ref) (p meta.IAMPrincipal, err error) {
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		p, err = tx.IAMPrincipal(ref.Kind, ref.Account, ref.Name)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		err = ref.missing()
	}
	return p, err
}

// Principals lists the users or roles of an account below a path, by name.
func (s *Store) Principals(ctx context.Context, kind, account, pathPrefix string) (out []meta.IAMPrincipal, err error) {
	var all []meta.IAMPrincipal
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		all, err = tx.IAMPrincipals(kind, account)
		return err
	})
	for _, p := range all {
		if strings.HasPrefix(p.Path, pathPrefix) {
			out = append(out, p)
		}
	}
	return out, err
}

// with runs fn in a write transaction with the user or role that ref names.
func (s *Store) with(ctx context.Context, ref Ref, fn func(tx *meta.Tx, p meta.IAMPrincipal) error) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error { return found(tx, ref, fn) })
}

// look is with for a snapshot.
func (s *Store) look(ctx context.Context, ref Ref, fn func(tx *meta.Tx, p meta.IAMPrincipal) error) error {
	return s.db.View(ctx, func(tx *meta.Tx) error { return found(tx, ref, fn) })
}

func found(tx *meta.Tx, ref Ref, fn func(tx *meta.Tx, p meta.IAMPrincipal) error) error {
	p, err := tx.IAMPrincipal(ref.Kind, ref.Account, ref.Name)
	if errors.Is(err, meta.ErrNotFound) {
		return ref.missing()
	}
	if err != nil {
		return err
	}
	return fn(tx, p)
}

// Delete removes a user or role that has nothing left.
func (s *Store) Delete(ctx context.Context, ref Ref) error {
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		attached, err := tx.Attachments(p.ID)
		if err != nil {
			return err
		}
		inline, err := tx.InlinePolicies(p.ID)
		if err != nil {
			return err
		}
		keys, err := tx.AccessKeys(ARN(p))
		switch {
		case err != nil:
			return err
		case len(attached) > 0:
			return conflict("Cannot delete entity, must detach all policies first.")
		case len(inline) > 0:
			return conflict("Cannot delete entity, must delete policies first.")
		case p.Kind == meta.KindUser && len(keys) > 0:
			return conflict("Cannot delete entity, must delete access keys first.")
		}
		return tx.DeleteIAMPrincipal(p.ID)
	})
}

// UpdateUser gives a user another name or path; an empty one stays. Its keys
// stay valid; passwords that were made with them end.
func (s *Store) UpdateUser(ctx context.Context, ref Ref, name, path string) error {
	err := s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		from := ARN(p)
		if name != "" {
			p.Name = name
		}
		if path != "" {
			p.Path = path
		}
		if err := errors.Join(CheckName("newUserName", p.Name, 64), checkPath(p.Path)); err != nil {
			return first(err)
		}
		return tx.RenameIAMPrincipal(p, from, ARN(p))
	})
	if errors.Is(err, meta.ErrExists) {
		err = exists("User with name %s already exists.", name)
	}
	return err
}

// Tag adds tags or gives them other values.
func (s *Store) Tag(ctx context.Context, ref Ref, tags map[string]string) error {
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		p.Tags = merged(p.Tags, tags)
		if err := checkTags(p.Tags); err != nil {
			return err
		}
		return tx.SaveIAMPrincipal(p)
	})
}

func merged(old, more map[string]string) map[string]string {
	out := map[string]string{}
	maps.Copy(out, old)
	maps.Copy(out, more)
	return out
}

// Untag removes tags.
func (s *Store) Untag(ctx context.Context, ref Ref, keys []string) error {
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		for _, k := range keys {
			delete(p.Tags, k)
		}
		return tx.SaveIAMPrincipal(p)
	})
}

// SetBoundary sets the permissions boundary of a user or role; an empty ARN removes it.
func (s *Store) SetBoundary(ctx context.Context, ref Ref, arn string) error {
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		if p.Boundary == "" && arn == "" {
			return noSuch("%s with name %s has no permissions boundary.", title(p.Kind), p.Name)
		}
		p.Boundary = arn
		if err := boundaryExists(tx, p); err != nil {
			return err
		}
		return tx.SaveIAMPrincipal(p)
	})
}

// UpdateRole changes what is not nil. A description that is nil stays, and so
// does a duration that is 0.
func (s *Store) UpdateRole(ctx context.Context, ref Ref, description *string, maxSession time.Duration) error {
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		if description != nil {
			p.Description = *description
		}
		if maxSession != 0 {
			p.MaxSession = maxSession
		}
		if err := s.checkRole(p); err != nil {
			return err
		}
		return tx.SaveIAMPrincipal(p)
	})
}

// SetTrustPolicy says who may assume a role.
func (s *Store) SetTrustPolicy(ctx context.Context, ref Ref, text string) error {
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		p.TrustPolicy = text
		if err := s.checkRole(p); err != nil {
			return err
		}
		return tx.SaveIAMPrincipal(p)
	})
}

// PutInlinePolicy adds or replaces an inline policy.
func (s *Store) PutInlinePolicy(ctx context.Context, ref Ref, name, text string) error {
	if err := CheckName("policyName", name, 128); err != nil {
		return err
	}
	if err := s.checkPolicy(text); err != nil {
		return err
	}
	most := maxUserInline
	if ref.Kind == meta.KindRole {
		most = maxRoleInline
	}
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		all, err := tx.InlinePolicies(p.ID)
		if err != nil {
			return err
		}
		size := policySize(text)
		for _, other := range all {
			if other.Name != name {
				size += policySize(other.Document)
			}
		}
		if size > most {
			return limit("Maximum policy size of %d bytes exceeded for %s %s", most, ref.Kind, ref.Name)
		}
		return tx.PutInlinePolicy(p.ID, meta.NamedPolicy{Name: name, Document: text})
	})
}

// InlinePolicy finds an inline policy.
func (s *Store) InlinePolicy(ctx context.Context, ref Ref, name string) (out meta.NamedPolicy, err error) {
	err = s.look(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		out, err = tx.InlinePolicy(p.ID, name)
		return inlineMissing(err, ref, name)
	})
	return out, err
}

func inlineMissing(err error, ref Ref, name string) error {
	if errors.Is(err, meta.ErrNotFound) {
		return noSuch("The %s policy with name %s cannot be found.", ref.Kind, name)
	}
	return err
}

// InlinePolicies lists the inline policies by name.
func (s *Store) InlinePolicies(ctx context.Context, ref Ref) (out []meta.NamedPolicy, err error) {
	err = s.look(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		out, err = tx.InlinePolicies(p.ID)
		return err
	})
	return out, err
}

// DeleteInlinePolicy removes an inline policy.
func (s *Store) DeleteInlinePolicy(ctx context.Context, ref Ref, name string) error {
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		return inlineMissing(tx.DeleteInlinePolicy(p.ID, name), ref, name)
	})
}

// Attach attaches a managed policy.
func (s *Store) Attach(ctx context.Context, ref Ref, arn string) error {
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		if _, err := managedText(tx, p.Account, arn); err != nil {
			return attachable(err, arn)
		}
		if err := tx.Attach(p.ID, arn); err != nil {
			return err
		}
		all, err := tx.Attachments(p.ID)
		if err == nil && len(all) > maxAttached {
			err = limit("Cannot exceed quota for PoliciesPer%s: %d", title(p.Kind), maxAttached)
		}
		return err
	})
}

// Attachments lists the ARNs of the managed policies that are attached.
func (s *Store) Attachments(ctx context.Context, ref Ref) (out []string, err error) {
	err = s.look(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		out, err = tx.Attachments(p.ID)
		return err
	})
	return out, err
}

// Detach detaches a managed policy.
func (s *Store) Detach(ctx context.Context, ref Ref, arn string) error {
	return s.with(ctx, ref, func(tx *meta.Tx, p meta.IAMPrincipal) error {
		err := tx.Detach(p.ID, arn)
		if errors.Is(err, meta.ErrNotFound) {
			return noSuch("Policy %s was not found.", arn)
		}
		return err
	})
}
