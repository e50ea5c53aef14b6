package ecrapi

import (
	"testing"

	"berth/internal/meta"
	"berth/internal/registry"
)

// exploitAvailable goes by the list of CISA, and is unknown without it.
func TestExploitAvailable(t *testing.T) {
	for _, c := range []struct {
		exploit meta.Exploit
		listed  bool
		want    string
	}{
		{meta.Exploit{}, false, ""}, {meta.Exploit{Score: 0.9}, true, "NO"}, {meta.Exploit{Exploited: "2026-11-03"}, true, "YES"},
	} {
		f := registry.Finding{Name: "CVE-2020-1", Package: "zlib1g", Version: "1", Manager: "OS", Exploit: c.exploit}
		if got := wireEnhanced(call{}, "app", registry.ScanView{ExploitsListed: c.listed}, f).ExploitAvailable; got != c.want {
			t.Errorf("%+v: %q, want %q", c, got, c.want)
		}
	}
}
