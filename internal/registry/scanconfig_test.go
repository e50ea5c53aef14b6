package registry

import (
	"slices"
	"testing"
)

// The table of the ECR User Guide, "Using filters".
func TestMatchScanFilter(t *testing.T) {
	names := []string{"prod", "repo-prod", "prod-repo", "repo-prod-repo", "prodrepo"}
	for filter, want := range map[string][]string{
		"prod": names, "*prod": {"prod", "repo-prod"}, "prod*": {"prod", "prod-repo", "prodrepo"}, "*prod*": names,
		"prod*repo": {"prod-repo", "prodrepo"}, "*": names, "other": nil, "o*r": nil,
	} {
		var got []string
		for _, n := range names {
			if matchScanFilter(filter, n) {
				got = append(got, n)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s matches %v, want %v", filter, got, want)
		}
	}
}

func TestEffectiveScan(t *testing.T) {
	onPush, always := ScanRule{ScanOnPush, []string{"app", "a*"}}, ScanRule{ScanContinuously, []string{"app*"}}
	for _, tc := range []struct {
		what      string
		config    ScanConfig
		name      string
		own       bool
		frequency string
		onPush    bool
		filter    string
	}{
		{"nothing set", ScanConfig{ScanBasic, nil}, "app", false, ScanManual, false, ""},
		{"the repository's own", ScanConfig{ScanBasic, nil}, "app", true, ScanOnPush, true, ""},
		{"a rule", ScanConfig{ScanBasic, []ScanRule{onPush}}, "my-app", false, ScanOnPush, true, "app"},
		{"two filters", ScanConfig{ScanBasic, []ScanRule{onPush}}, "app", false, ScanOnPush, true, "a*"},
		{"no match", ScanConfig{ScanBasic, []ScanRule{onPush}}, "web", false, ScanManual, false, ""},
		{"no match, own", ScanConfig{ScanBasic, []ScanRule{onPush}}, "web", true, ScanOnPush, true, ""},
		{"enhanced, own does not count", ScanConfig{ScanEnhanced, nil}, "web", true, ScanManual, false, ""},
		{"continuous last", ScanConfig{ScanEnhanced, []ScanRule{onPush, always}}, "app", true, ScanContinuously, false, "app*"},
		{"continuous first", ScanConfig{ScanEnhanced, []ScanRule{always, onPush}}, "app", false, ScanContinuously, false, "app*"},
		{"only on push", ScanConfig{ScanEnhanced, []ScanRule{always, onPush}}, "my-app", false, ScanOnPush, true, "app"},
		{"no filters", ScanConfig{ScanEnhanced, []ScanRule{{ScanContinuously, nil}}}, "app", false, ScanManual, false, ""},
	} {
		got := tc.config.effective(tc.name, tc.own)
		var filters []string
		if tc.filter != "" {
			filters = []string{tc.filter}
		}
		if got.Frequency != tc.frequency || got.OnPush != tc.onPush || !slices.Equal(got.Filters, filters) {
			t.Errorf("%s: %+v", tc.what, got)
		}
	}
}
