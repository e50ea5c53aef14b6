package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"

	"berth/internal/meta"
	"berth/internal/pullthrough"
	"berth/internal/registry"
	"berth/internal/secrets"
	"berth/internal/upstream"
	"berth/internal/upstream/ecrlogin"
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
	s.ecrLogin = ecrlogin.New(func(ctx context.Context) (aws.Config, error) { return config.LoadDefaultConfig(ctx) }, mapping, time.Now)
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
	refuse := func(format string, args ...any) *upstream.Error {
		return &upstream.Error{Kind: upstream.Denied, Host: rule.UpstreamURL, Message: fmt.Sprintf(format, args...)}
	}
	if rule.CredentialARN == "" {
		return s.roleCredentials(ctx, rule)
	}
	of, ok := secrets.ScopeOf(rule.CredentialARN)
	if !ok || of != rule.Scope {
		err := refuse("has a rule whose secret %s is not one of its registry's account and region", rule.CredentialARN)
		err.Err = &pullthrough.SecretError{Refusal: registry.SecretFailure(registry.SecretUnreachable, nil)}
		return who, err
	}
	secret, err := s.storage.Secrets.Find(ctx, of, rule.CredentialARN)
	var value secrets.Value
	if err == nil && !strings.HasPrefix(secret.Name, secretPrefix) {
		return who, refuse("has a rule whose secret's name does not begin with %s", secretPrefix)
	}
	there := err == nil
	if there {
		_, _, value, err = s.storage.Secrets.Value(ctx, secret, "", "")
	}
	var refused *secrets.Error
	switch {
	case errors.As(err, &refused):
		failed := refuse("has a rule whose secret cannot be used: %s", refused.Message)
		// Terraform makes a rule and the first value of its secret at the same time.
		if !there || refused.Code != secrets.NotFound {
			failed.Err = secretError(refused)
		}
		return who, failed
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

// roleCredentials logs in at a private registry of ECR, with the role of a rule or
// the server's own identity. That is the operator's, so it serves the home account
// alone. Other registries are asked without a login.
func (s *Server) roleCredentials(ctx context.Context, rule meta.CacheRule) (who upstream.Credentials, err error) {
	refuse := func(message string) error {
		return &upstream.Error{Kind: upstream.Denied, Host: rule.UpstreamURL, Message: message}
	}
	switch {
	case rule.UpstreamRegistry != "ecr" && rule.CustomRoleARN != "":
		return who, refuse("has a rule with the role " + rule.CustomRoleARN + ", and roles are for private registries of Amazon ECR: use a secret")
	case rule.UpstreamRegistry != "ecr":
		return who, nil
	case rule.Scope.Account != s.names.home.Account:
		return who, refuse("is a private one, and the server's own AWS identity serves rules of its home account " + s.names.home.Account + " alone: use a secret")
	}
	return s.ecrLogin.Credentials(ctx, rule.UpstreamURL, rule.CustomRoleARN)
}

// secretError is ECR's refusal for one of Secrets Manager.
func secretError(refused *secrets.Error) error {
	code := registry.SecretUnreachable
	switch refused.Code {
	case secrets.NotFound:
		code = registry.SecretNotFound
	case secrets.DecryptionFailure:
		code = registry.SecretSealed
	}
	return &pullthrough.SecretError{Refusal: registry.SecretFailure(code, refused)}
}
