package registry

import (
	"context"

	"berth/internal/meta"
)

// A ReplicationRule says which repositories are copied on push, and where to.
type ReplicationRule struct {
	Destinations []Destination `json:"destinations"`
	Prefixes     []string      `json:"prefixes"` // of repository names; none means all repositories
}

// A Destination is a registry that images are copied to.
type Destination struct {
	Region  string `json:"region"`
	Account string `json:"account"`
}

// Limits of replication (API_ReplicationConfiguration; "Amazon ECR service quotas").
const (
	maxReplicationRules = 10
	maxReplicaFilters   = 100
	maxDestinations     = 25 // different ones, over all rules
)

const replicationKind meta.SettingKind = "replication-configuration"

// SetReplication replaces the replication rules of a registry; no rules end
// replication. The copying itself comes later: until then the rules are kept
// and returned.
func (r *Registry) SetReplication(ctx context.Context, s meta.Scope, rules []ReplicationRule) error {
	const member = "replicationConfiguration"
	if len(rules) > maxReplicationRules {
		return invalid("rules", "Member must have length less than or equal to 10")
	}
	places := map[Destination]bool{}
	for _, rule := range rules {
		if len(rule.Prefixes) > maxReplicaFilters {
			return invalid("repositoryFilters", "Member must have length less than or equal to 100")
		}
		for _, d := range rule.Destinations {
			if d == (Destination{s.Region, s.Account}) {
				return invalid(member, "Replication destination cannot be the same as the source registry")
			}
			places[d] = true
		}
	}
	if len(places) > maxDestinations {
		return invalid(member, "Replication configuration must not have more than 25 unique destinations")
	}
	return r.db.Update(ctx, func(tx *meta.Tx) error { return putSetting(tx, s, replicationKind, rules) })
}

// Replication reads the replication rules of a registry.
func (r *Registry) Replication(ctx context.Context, s meta.Scope) (rules []ReplicationRule, err error) {
	err = r.db.Read(ctx, func(tx *meta.Tx) error {
		rules, _, err = readSetting[[]ReplicationRule](tx, s, replicationKind)
		return err
	})
	return rules, err
}
