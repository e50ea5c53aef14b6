package registry

import (
	"context"
	"slices"
	"strings"

	"berth/internal/meta"
)

// Scan types of a registry (API_PutRegistryScanningConfiguration, scanType).
const (
	ScanBasic    = "BASIC"
	ScanEnhanced = "ENHANCED"
)

// Scan frequencies (API_RegistryScanningRule, scanFrequency).
const (
	ScanManual       = "MANUAL"
	ScanOnPush       = "SCAN_ON_PUSH"
	ScanContinuously = "CONTINUOUS_SCAN"
)

// ScanConfig says which repositories of a registry are scanned, and how. The
// scanner (package scan) works on what this puts into its queue.
type ScanConfig struct {
	Type  string     `json:"type"`
	Rules []ScanRule `json:"rules"`
}

// A ScanRule gives the repositories that one of its filters matches a frequency.
type ScanRule struct {
	Frequency string   `json:"frequency"`
	Filters   []string `json:"filters"`
}

// RepositoryScan is what the configuration of a registry, and that of the
// repository itself, come to for one repository.
type RepositoryScan struct {
	Repository Repository
	OnPush     bool
	Frequency  string
	Filters    []string // the one that decided, if any
}

const scanConfigKind meta.SettingKind = "scanning-configuration"

// maxScanRules and maxScanFilters are limits of ECR (API_RegistryScanningConfiguration,
// API_RegistryScanningRule).
const (
	maxScanRules   = 2
	maxScanFilters = 100
)

// normalise fills in defaults and refuses rules that the scan type does not
// have (API_RegistryScanningRule: basic scanning knows SCAN_ON_PUSH, enhanced
// scanning CONTINUOUS_SCAN too), and a second rule for one frequency.
func (c ScanConfig) normalise() (ScanConfig, error) {
	offered := []string{ScanOnPush}
	switch c.Type {
	case "", ScanBasic:
		c.Type = ScanBasic
	case ScanEnhanced:
		offered = append(offered, ScanContinuously)
	default:
		return c, invalid("scanType", "Member must satisfy enum value set: [BASIC, ENHANCED]")
	}
	if len(c.Rules) > maxScanRules {
		return c, invalid("rules", "Member must have length less than or equal to 2")
	}
	seen := map[string]bool{}
	for _, rule := range c.Rules {
		switch {
		case !slices.Contains(offered, rule.Frequency):
			return c, invalid("scanFrequency", "The scan frequency "+rule.Frequency+" is not supported for the scan type "+c.Type)
		case seen[rule.Frequency]:
			return c, invalid("rules", "Only one rule is allowed for the scan frequency "+rule.Frequency)
		case len(rule.Filters) > maxScanFilters:
			return c, invalid("repositoryFilters", "Member must have length less than or equal to 100")
		}
		seen[rule.Frequency] = true
	}
	return c, nil
}

// SetScanConfig replaces the scanning configuration of a registry; no type
// means BASIC.
func (r *Registry) SetScanConfig(ctx context.Context, s meta.Scope, c ScanConfig) (ScanConfig, error) {
	c, err := c.normalise()
	if err != nil {
		return c, err
	}
	return c, r.db.Update(ctx, func(tx *meta.Tx) error {
		before, err := readScanConfig(tx, s)
		if err == nil {
			err = emitScanChange(tx, s, before, c, r.now())
		}
		if err != nil {
			return err
		}
		return putSetting(tx, s, scanConfigKind, c)
	})
}

// ScanConfig reads the scanning configuration of a registry: basic scanning
// without rules, when none was set.
func (r *Registry) ScanConfig(ctx context.Context, s meta.Scope) (c ScanConfig, err error) {
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		c, err = readScanConfig(tx, s)
		return err
	})
	return c, err
}

func readScanConfig(tx *meta.Tx, s meta.Scope) (ScanConfig, error) {
	c, ok, err := readSetting[ScanConfig](tx, s, scanConfigKind)
	if err == nil && !ok {
		c = ScanConfig{Type: ScanBasic}
	}
	return c, err
}

// RepositoryScans tells how repositories are scanned, and which of the names
// are of none.
func (r *Registry) RepositoryScans(ctx context.Context, s meta.Scope, names []string) (found []RepositoryScan, missing []string, err error) {
	err = r.db.View(ctx, func(tx *meta.Tx) error {
		c, err := readScanConfig(tx, s)
		if err != nil {
			return err
		}
		for _, name := range names {
			repo, err := findRepository(tx, s, name)
			switch {
			case Is(err, RepositoryNotFound):
				missing = append(missing, name)
			case err != nil:
				return err
			default:
				scan := c.effective(name, repo.ScanOnPush)
				scan.Repository = r.describe(repo)
				found = append(found, scan)
			}
		}
		return nil
	})
	return found, missing, err
}

// effective applies the rules to one repository. CONTINUOUS_SCAN goes before
// SCAN_ON_PUSH. What no rule matches is MANUAL, of which enhanced scanning makes
// nothing at all; with basic scanning, the repository's own setting still
// scans on push.
//
// Source: ECR User Guide, "Scan images for software vulnerabilities", "Using
// filters". Of several filters that match, the service names the last.
func (c ScanConfig) effective(name string, own bool) (out RepositoryScan) {
	out.Frequency = ScanManual
	for _, rule := range c.Rules {
		if out.Frequency == ScanContinuously {
			break
		}
		for _, f := range rule.Filters {
			if matchScanFilter(f, name) {
				out.Frequency, out.Filters = rule.Frequency, []string{f}
			}
		}
	}
	if c.Type == ScanBasic && own {
		out.Frequency = ScanOnPush
	}
	out.OnPush = out.Frequency == ScanOnPush
	return out
}

// matchScanFilter matches a repository name: anywhere in it without a *, as a
// whole with one.
func matchScanFilter(filter, name string) bool {
	if !strings.Contains(filter, "*") {
		return strings.Contains(name, filter)
	}
	return matchWildcard(filter, name)
}
