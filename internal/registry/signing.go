package registry

import (
	"context"
	"strings"

	"berth/internal/meta"
)

// A SigningRule says which signing profile signs the images of which
// repositories when they are pushed.
type SigningRule struct {
	Profile string   `json:"profile"` // ARN
	Filters []string `json:"filters"` // wildcards over whole repository names; none means all repositories
}

// Limits of signing rules (API_SigningConfiguration, API_SigningRule).
const (
	maxSigningRules   = 10
	maxSigningFilters = 100
)

const signingKind meta.SettingKind = "signing-configuration"

// SetSigning replaces the signing rules of a registry. A profile is one of the
// registry's region, of whatever account (ECR User Guide, "Managed signing").
// The signing itself comes later: until then the rules are kept and returned.
func (r *Registry) SetSigning(ctx context.Context, s meta.Scope, rules []SigningRule) error {
	if len(rules) > maxSigningRules {
		return invalid("rules", "Member must have length less than or equal to 10")
	}
	for _, rule := range rules {
		if len(rule.Filters) > maxSigningFilters {
			return invalid("repositoryFilters", "Member must have length less than or equal to 100")
		}
		// arn:aws:signer:REGION:ACCOUNT:/signing-profiles/NAME
		if parts := strings.Split(rule.Profile, ":"); len(parts) != 6 || parts[3] != s.Region {
			return invalid("signingProfileArn", "The signing profile must be in the region "+s.Region+" of the registry")
		}
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error { return putSetting(tx, s, signingKind, rules) })
}

// Signing reads the signing rules of a registry.
func (r *Registry) Signing(ctx context.Context, s meta.Scope) (rules []SigningRule, err error) {
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		rules, err = readSigning(tx, s)
		return err
	})
	return rules, err
}

// DeleteSigning removes the signing rules of a registry and returns them.
func (r *Registry) DeleteSigning(ctx context.Context, s meta.Scope) (old []SigningRule, err error) {
	err = r.db.Update(ctx, func(tx *meta.Tx) error {
		if old, err = readSigning(tx, s); err != nil {
			return err
		}
		return tx.PutRegistrySetting(s, signingKind, nil)
	})
	return old, err
}

func readSigning(tx *meta.Tx, s meta.Scope) ([]SigningRule, error) {
	rules, ok, err := readSetting[[]SigningRule](tx, s, signingKind)
	if err == nil && !ok {
		err = refuse(SigningConfigurationNotFound, "The signing configuration does not exist in the registry with id '%s'", s.Account)
	}
	return rules, err
}
