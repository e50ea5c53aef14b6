package iam

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"berth/internal/meta"
)

// Quotas of identity providers (IAM API reference, CreateOpenIDConnectProvider).
const (
	maxProviders   = 100
	maxClientIDs   = 100
	maxThumbprints = 5
)

// CreateOIDCProvider adds an identity provider by its https URL.
func (s *Store) CreateOIDCProvider(ctx context.Context, p meta.OIDCProvider) (meta.OIDCProvider, error) {
	u, err := url.Parse(p.URL)
	if p.URL == "" {
		return p, Constraint("url", "null", "Member must not be null")
	}
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || len(p.URL) > 255 {
		return p, Invalid("Invalid Open ID Connect Provider URL")
	}
	if err := checkProvider(p); err != nil {
		return p, err
	}
	p.URL = strings.TrimSuffix(strings.TrimPrefix(p.URL, "https://"), "/")
	p.ARN = "arn:aws:iam::" + p.Account + ":oidc-provider/" + p.URL
	p.CreatedAt = s.now().UTC().Truncate(time.Second)
	err = s.db.Update(ctx, func(tx *meta.Tx) error {
		all, err := tx.OIDCProviders(p.Account)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(all, func(other meta.OIDCProvider) bool { return other.ARN == p.ARN }) {
			return exists("Provider with url https://%s already exists.", p.URL)
		}
		if len(all) >= maxProviders {
			return limit("Cannot exceed quota for OpenIdConnectProvidersPerAccount: %d", maxProviders)
		}
		return tx.PutOIDCProvider(p)
	})
	return p, err
}

func checkProvider(p meta.OIDCProvider) error {
	for _, t := range p.Thumbprints {
		if len(t) != 40 {
			return Constraint("thumbprintList", t, "Member must have length less than or equal to 40 and greater than or equal to 40")
		}
	}
	for _, c := range p.ClientIDs {
		if c == "" || len(c) > 255 {
			return Constraint("clientIDList", c, "Member must have length less than or equal to 255")
		}
	}
	switch {
	case len(p.ClientIDs) > maxClientIDs:
		return limit("Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: %d", maxClientIDs)
	case len(p.Thumbprints) > maxThumbprints:
		return &Error{400, CodeInvalidInput, "Thumbprint list must contain fewer than 5 entries."}
	}
	return checkTags(p.Tags)
}

func providerOf(tx *meta.Tx, account, arn string) (meta.OIDCProvider, error) {
	p, err := tx.OIDCProvider(arn)
	if errors.Is(err, meta.ErrNotFound) || err == nil && p.Account != account {
		return p, noSuch("OpenIDConnect Provider not found for arn %s", arn)
	}
	return p, err
}

// OIDCProvider finds an identity provider of an account.
func (s *Store) OIDCProvider(ctx context.Context, account, arn string) (p meta.OIDCProvider, err error) {
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		p, err = providerOf(tx, account, arn)
		return err
	})
	return p, err
}

// OIDCProviders lists the identity providers of an account.
func (s *Store) OIDCProviders(ctx context.Context, account string) (out []meta.OIDCProvider, err error) {
	err = s.db.Read(ctx, func(tx *meta.Tx) error {
		out, err = tx.OIDCProviders(account)
		return err
	})
	return out, err
}

// ChangeOIDCProvider changes client ids, thumbprints or tags of a provider.
func (s *Store) ChangeOIDCProvider(ctx context.Context, account, arn string, change func(p *meta.OIDCProvider)) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error {
		p, err := providerOf(tx, account, arn)
		if err != nil {
			return err
		}
		if p.Tags == nil {
			p.Tags = map[string]string{}
		}
		change(&p)
		if err := checkProvider(p); err != nil {
			return err
		}
		return tx.PutOIDCProvider(p)
	})
}

// DeleteOIDCProvider removes an identity provider.
func (s *Store) DeleteOIDCProvider(ctx context.Context, account, arn string) error {
	return s.db.Update(ctx, func(tx *meta.Tx) error {
		if _, err := providerOf(tx, account, arn); err != nil {
			return err
		}
		return tx.DeleteOIDCProvider(arn)
	})
}
