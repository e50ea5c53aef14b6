package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"berth/internal/meta"
	"berth/internal/pullthrough"
	"berth/internal/secrets"
	"berth/internal/upstream"
)

// spoolDir is where blobs on their way from upstreams lie, below the data
// directory.
const spoolDir = "spool"

// openCache makes what fills repositories from upstreams.
func (s *Server) openCache() error {
	mapping, err := upstream.ParseMapping(s.cfg.Upstreams)
	if err != nil {
		return err
	}
	dir := filepath.Join(s.cfg.Data, spoolDir)
	if err := pullthrough.PrepareSpool(dir); err != nil {
		return err
	}
	s.cache = pullthrough.New(pullthrough.Options{
		Registry: s.registry, Client: upstream.New(upstream.Options{Mapping: mapping, Now: time.Now}),
		Credentials: s.upstreamCredentials, Dir: dir, Log: s.log, Now: time.Now,
	})
	return nil
}

// secretPrefix is what the names of secrets for cache rules begin with (ECR User
// Guide, "Storing your upstream repository credentials in an AWS Secrets Manager
// secret").
const secretPrefix = "ecr-pullthroughcache/"

// upstreamCredentials finds the credentials of a cache rule. They are read for
// the registry itself, as by its service-linked role: who pulls need not be
// allowed to read the secret.
func (s *Server) upstreamCredentials(ctx context.Context, rule meta.CacheRule) (who upstream.Credentials, err error) {
	refuse := func(format string, args ...any) error {
		return &upstream.Error{Kind: upstream.Denied, Host: rule.UpstreamURL, Message: fmt.Sprintf(format, args...)}
	}
	if rule.CustomRoleARN != "" {
		return who, refuse("has a rule with the role %s, and no role is assumed for a registry of AWS yet: use a secret", rule.CustomRoleARN)
	}
	if rule.CredentialARN == "" {
		return who, nil
	}
	of, ok := secrets.ScopeOf(rule.CredentialARN)
	if !ok || of != rule.Scope {
		return who, refuse("has a rule whose secret %s is not one of its registry's account and region", rule.CredentialARN)
	}
	secret, err := s.storage.Secrets.Find(ctx, of, rule.CredentialARN)
	var value secrets.Value
	if err == nil && !strings.HasPrefix(secret.Name, secretPrefix) {
		return who, refuse("has a rule whose secret's name does not begin with %s", secretPrefix)
	}
	if err == nil {
		_, _, value, err = s.storage.Secrets.Value(ctx, secret, "", "")
	}
	var refused *secrets.Error
	switch {
	case errors.As(err, &refused):
		return who, refuse("has a rule whose secret cannot be used: %s", refused.Message)
	case err != nil:
		return who, err
	}
	var text struct {
		Username    string `json:"username"`
		AccessToken string `json:"accessToken"`
	}
	if json.Unmarshal(value.Bytes, &text) != nil || text.Username == "" || text.AccessToken == "" {
		return who, refuse("has a rule whose secret is not JSON with the members username and accessToken")
	}
	return upstream.Credentials{Username: text.Username, Password: text.AccessToken}, nil
}
