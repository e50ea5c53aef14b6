package ecrapi

import (
	"context"

	"berth/internal/ecr"
	"berth/internal/registry"
)

// putReplicationConfiguration replaces the rules (API_PutReplicationConfiguration);
// DescribeRegistry reads them.
func putReplicationConfiguration(d *Door, ctx context.Context, c call, in *ecr.PutReplicationConfigurationInput) (any, error) {
	rules := []registry.ReplicationRule{}
	for _, rule := range in.ReplicationConfiguration.Rules {
		var r registry.ReplicationRule
		for _, to := range rule.Destinations {
			r.Destinations = append(r.Destinations, registry.Destination{Region: to.Region, Account: to.RegistryID})
		}
		for _, f := range rule.RepositoryFilters {
			r.Prefixes = append(r.Prefixes, f.Filter)
		}
		rules = append(rules, r)
	}
	if err := d.Registry.SetReplication(ctx, c.scope, rules); err != nil {
		return nil, err
	}
	return &ecr.PutReplicationConfigurationOutput{ReplicationConfiguration: wireReplication(rules)}, nil
}

// describeRegistry tells the replication rules, none as an empty list
// (API_DescribeRegistry).
func describeRegistry(d *Door, ctx context.Context, c call, _ *ecr.DescribeRegistryInput) (any, error) {
	rules, err := d.Registry.Replication(ctx, c.scope)
	if err != nil {
		return nil, err
	}
	return &ecr.DescribeRegistryOutput{RegistryID: c.scope.Account, ReplicationConfiguration: wireReplication(rules)}, nil
}

func wireReplication(rules []registry.ReplicationRule) *ecr.ReplicationConfiguration {
	out := &ecr.ReplicationConfiguration{Rules: []ecr.ReplicationRule{}}
	for _, rule := range rules {
		r := ecr.ReplicationRule{Destinations: []ecr.ReplicationDestination{}}
		for _, to := range rule.Destinations {
			r.Destinations = append(r.Destinations, ecr.ReplicationDestination{Region: to.Region, RegistryID: to.Account})
		}
		for _, p := range rule.Prefixes {
			r.RepositoryFilters = append(r.RepositoryFilters, ecr.RepositoryFilter{Filter: p, FilterType: ecr.RepositoryFilterTypePrefixMatch})
		}
		out.Rules = append(out.Rules, r)
	}
	return out
}

// describeImageReplicationStatus tells where an image was copied to
// (API_DescribeImageReplicationStatus). Replication comes later: no image was
// copied, so there is no status.
func describeImageReplicationStatus(d *Door, ctx context.Context, c call, in *ecr.DescribeImageReplicationStatusInput) (any, error) {
	img, err := d.Registry.FindImage(ctx, c.scope, in.RepositoryName, imageRef(in.ImageID))
	if err != nil {
		return nil, err
	}
	return &ecr.DescribeImageReplicationStatusOutput{
		RepositoryName: in.RepositoryName, ImageID: &ecr.ImageIdentifier{ImageDigest: img.Digest, ImageTag: in.ImageID.ImageTag},
		ReplicationStatuses: []ecr.ImageReplicationStatus{},
	}, nil
}
