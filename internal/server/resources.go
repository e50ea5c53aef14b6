package server

import (
	"context"
	"strings"

	"berth/internal/access"
	"berth/internal/iam"
	"berth/internal/secrets"
)

// resources is the resource side of every service: the policies of registries
// and repositories, those of KMS keys, and the trust policies of roles.
type resources struct{ registry, keys, roles access.Source }

func (r resources) of(action string) access.Source {
	switch {
	case isKMS(action):
		return r.keys
	case strings.HasPrefix(action, "sts:"):
		return r.roles
	}
	return r.registry
}

func isKMS(action string) bool { return strings.HasPrefix(action, "kms:") }

// Evaluate implements [access.Source].
func (r resources) Evaluate(ctx context.Context, req access.Request) (access.Verdict, error) {
	return r.of(req.Action).Evaluate(ctx, req)
}

// Tell implements [access.Teller].
func (r resources) Tell(ctx context.Context, req access.Request, tell func(access.Finding)) (access.Verdict, error) {
	if t, ok := r.of(req.Action).(access.Teller); ok {
		return t.Tell(ctx, req, tell)
	}
	return r.Evaluate(ctx, req)
}

// resourceTags reads the tags of a repository, a KMS key, a secret, or what IAM has.
func (s *Server) resourceTags(ctx context.Context, users *iam.Store, arn string) ([]access.Tag, error) {
	if strings.HasPrefix(arn, "arn:aws:iam:") {
		return users.ResourceTagsOf(ctx, arn)
	}
	if strings.Contains(arn, ":kms:") {
		return s.storage.KMS.TagsOf(ctx, arn)
	}
	if _, ok := secrets.ScopeOf(arn); ok {
		return s.storage.Secrets.TagsOf(ctx, arn)
	}
	return s.registry.ResourceTagsOf(ctx, arn)
}
