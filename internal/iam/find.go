package iam

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"berth/internal/access"
	"berth/internal/meta"
)

var (
	userARNPattern    = regexp.MustCompile(`^arn:aws:iam::(\d{12}):user/(?:[\x21-\x7e]*/)?([A-Za-z0-9_+=,.@-]+)$`)
	sessionARNPattern = regexp.MustCompile(`^arn:aws:sts::(\d{12}):assumed-role/([A-Za-z0-9_+=,.@-]+)/([A-Za-z0-9_+=,.@-]{2,64})$`)
)

// FindPrincipal is who an ARN names: a root user, a user, a role or a session of a
// role (IAM User Guide, "IAM identifiers"). It has no key, so that policies of a
// session are not among its own; and a role is asked as a session of it would be.
func (s *Store) FindPrincipal(ctx context.Context, arn string) (access.Principal, error) {
	if parts := strings.Split(arn, ":"); len(parts) == 6 {
		root := access.Root(parts[4], "")
		if root.IsRoot() && root.ARN == arn {
			return root, s.db.Read(ctx, func(tx *meta.Tx) error { return account(tx, root.Account) })
		}
	}
	if m := userARNPattern.FindStringSubmatch(arn); m != nil {
		p, err := s.named(ctx, Ref{meta.KindUser, m[1], m[2]}, arn)
		return access.Principal{Account: p.Account, ARN: arn, UserID: p.ID}, err
	}
	if ref, ok := RoleName(arn); ok {
		p, err := s.named(ctx, ref, arn)
		return access.Principal{Account: p.Account, ARN: arn, UserID: p.ID + ":", Role: arn}, err
	}
	if m := sessionARNPattern.FindStringSubmatch(arn); m != nil {
		p, err := s.Principal(ctx, Ref{meta.KindRole, m[1], m[2]})
		return access.Principal{Account: p.Account, ARN: arn, UserID: p.ID + ":" + m[3], Role: ARN(p)}, err
	}
	return access.Principal{}, Invalid("%.200s is not the ARN of a root user, a user, a role or a session of a role.", arn)
}

// named is Principal for an ARN, whose path must be right too.
func (s *Store) named(ctx context.Context, ref Ref, arn string) (meta.IAMPrincipal, error) {
	p, err := s.Principal(ctx, ref)
	if err == nil && ARN(p) != arn {
		err = noSuch("There is no %s; the %s with name %s is %s.", arn, ref.Kind, ref.Name, ARN(p))
	}
	return p, err
}

// ResourceTagsOf reads the tags of the user, role, managed policy or identity
// provider that an ARN names, for conditions on them; what is not there has none.
func (s *Store) ResourceTagsOf(ctx context.Context, arn string) (out []access.Tag, err error) {
	tags := map[string]string{}
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		tags, err = tagsByARN(tx, arn)
		return err
	})
	if errors.Is(err, meta.ErrNotFound) {
		return nil, nil
	}
	for k, v := range tags {
		out = append(out, access.Tag{Key: k, Value: v})
	}
	return out, err
}

func tagsByARN(tx *meta.Tx, arn string) (map[string]string, error) {
	ref, isRole := RoleName(arn)
	if m := userARNPattern.FindStringSubmatch(arn); m != nil {
		ref = Ref{meta.KindUser, m[1], m[2]}
	} else if !isRole {
		if strings.Contains(arn, ":oidc-provider/") {
			p, err := tx.OIDCProvider(arn)
			return p.Tags, err
		}
		p, err := tx.IAMPolicy(arn)
		return p.Tags, err
	}
	p, err := tx.IAMPrincipal(ref.Kind, ref.Account, ref.Name)
	return p.Tags, err
}
