package ecrapi

import (
	"context"

	"berth/internal/ecr"
	"berth/internal/registry"
)

// putRegistryScanningConfiguration replaces the configuration
// (API_PutRegistryScanningConfiguration). The answer has it under another name
// than that of GetRegistryScanningConfiguration.
func putRegistryScanningConfiguration(d *Door, ctx context.Context, c call, in *ecr.PutRegistryScanningConfigurationInput) (any, error) {
	config := registry.ScanConfig{Type: string(in.ScanType)}
	for _, rule := range in.Rules {
		r := registry.ScanRule{Frequency: string(rule.ScanFrequency)}
		for _, f := range rule.RepositoryFilters {
			r.Filters = append(r.Filters, f.Filter)
		}
		config.Rules = append(config.Rules, r)
	}
	config, err := d.Registry.SetScanConfig(ctx, c.scope, config)
	if err != nil {
		return nil, err
	}
	return &ecr.PutRegistryScanningConfigurationOutput{RegistryScanningConfiguration: wireScanConfig(config)}, nil
}

func getRegistryScanningConfiguration(d *Door, ctx context.Context, c call, _ *ecr.GetRegistryScanningConfigurationInput) (any, error) {
	config, err := d.Registry.ScanConfig(ctx, c.scope)
	if err != nil {
		return nil, err
	}
	return &ecr.GetRegistryScanningConfigurationOutput{RegistryID: c.scope.Account, ScanningConfiguration: wireScanConfig(config)}, nil
}

// batchGetRepositoryScanningConfiguration tells how each repository is scanned
// (API_BatchGetRepositoryScanningConfiguration).
func batchGetRepositoryScanningConfiguration(d *Door, ctx context.Context, c call, in *ecr.BatchGetRepositoryScanningConfigurationInput) (any, error) {
	found, missing, err := d.Registry.RepositoryScans(ctx, c.scope, in.RepositoryNames)
	if err != nil {
		return nil, err
	}
	out := &ecr.BatchGetRepositoryScanningConfigurationOutput{
		ScanningConfigurations: []ecr.RepositoryScanningConfiguration{}, Failures: []ecr.RepositoryScanningConfigurationFailure{},
	}
	for _, s := range found {
		out.ScanningConfigurations = append(out.ScanningConfigurations, ecr.RepositoryScanningConfiguration{
			RepositoryARN: s.Repository.ARN, RepositoryName: s.Repository.Name, ScanOnPush: s.OnPush,
			ScanFrequency: ecr.ScanFrequency(s.Frequency), AppliedScanFilters: wireScanFilters(s.Filters),
		})
	}
	for _, name := range missing {
		out.Failures = append(out.Failures, ecr.RepositoryScanningConfigurationFailure{
			RepositoryName: name, FailureCode: ecr.ScanningConfigurationFailureCodeRepositoryNotFound,
			FailureReason: string(ecr.ScanningConfigurationFailureCodeRepositoryNotFound),
		})
	}
	return out, nil
}

func wireScanConfig(c registry.ScanConfig) *ecr.RegistryScanningConfiguration {
	out := &ecr.RegistryScanningConfiguration{ScanType: ecr.ScanType(c.Type), Rules: []ecr.RegistryScanningRule{}}
	for _, r := range c.Rules {
		out.Rules = append(out.Rules, ecr.RegistryScanningRule{
			ScanFrequency: ecr.ScanFrequency(r.Frequency), RepositoryFilters: wireScanFilters(r.Filters),
		})
	}
	return out
}

func wireScanFilters(filters []string) []ecr.ScanningRepositoryFilter {
	out := []ecr.ScanningRepositoryFilter{}
	for _, f := range filters {
		out = append(out, ecr.ScanningRepositoryFilter{Filter: f, FilterType: ecr.ScanningRepositoryFilterTypeWildcard})
	}
	return out
}
