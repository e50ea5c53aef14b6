package server

import (
	"net"
	"strings"
	"testing"

	"berth/internal/meta"
)

func good() Config {
	return Config{Listen: "127.0.0.1:0", Data: "x", Database: "sqlite", Blobs: "file"}
}

func TestConfigValidate(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Config)
		want   string // part of the refusal; empty: accepted
	}{
		"as it is":            {func(*Config) {}, ""},
		"localhost":           {func(c *Config) { c.Listen = "localhost:5050" }, ""},
		"IPv6 loopback":       {func(c *Config) { c.Listen = "[::1]:5050" }, ""},
		"another loopback":    {func(c *Config) { c.Listen = "127.8.9.1:5050" }, ""},
		"no port":             {func(c *Config) { c.Listen = "127.0.0.1" }, "host:port"},
		"empty":               {func(c *Config) { c.Listen = "" }, "host:port"},
		"every address":       {func(c *Config) { c.Listen = ":5050" }, "--insecure"},
		"every IPv4 address":  {func(c *Config) { c.Listen = "0.0.0.0:5050" }, "--insecure"},
		"every IPv6 address":  {func(c *Config) { c.Listen = "[::]:5050" }, "--insecure"},
		"a name":              {func(c *Config) { c.Listen = "example.com:5050" }, "--insecure"},
		"looks like loopback": {func(c *Config) { c.Listen = "127.0.0.1.example.com:5050" }, "--insecure"},
		"open on purpose":     {func(c *Config) { c.Listen, c.Insecure = ":5050", true }, ""},
		"open with TLS":       {func(c *Config) { c.Listen, c.TLSCert, c.TLSKey = ":5050", "c", "k" }, ""},
		"TLS of its own":      {func(c *Config) { c.Listen, c.TLSSelfSigned = ":5050", true }, ""},
		"TLS twice":           {func(c *Config) { c.TLSCert, c.TLSKey, c.TLSSelfSigned = "c", "k", true }, "--tls-self-signed"},
		"half of TLS":         {func(c *Config) { c.TLSCert = "c" }, "--tls-key"},
		"other half of TLS":   {func(c *Config) { c.TLSKey = "k" }, "--tls-cert"},
		"no data":             {func(c *Config) { c.Data = "" }, "--data"},
		"account":             {func(c *Config) { c.Account = "123456789012" }, ""},
		"short account":       {func(c *Config) { c.Account = "12345" }, "12 digits"},
		"account of letters":  {func(c *Config) { c.Account = "12345678901a" }, "12 digits"},
		"region":              {func(c *Config) { c.Region = "us-gov-west-1" }, ""},
		"not a region":        {func(c *Config) { c.Region = "Europe" }, "region"},
		"path as region":      {func(c *Config) { c.Region = "../us-east-1" }, "region"},
		"database":            {func(c *Config) { c.Database = "oracle" }, "--database"},
		"blobs":               {func(c *Config) { c.Blobs = "tape" }, "tape"},
		"registry host":       {func(c *Config) { c.RegistryHost = "registry.example.com" }, ""},
		"with port":           {func(c *Config) { c.RegistryHost = "reg_1:5000" }, ""},
		"template":            {func(c *Config) { c.RegistryHost = "%a.dkr.ecr.%r.example.com" }, ""},
		"address as host":     {func(c *Config) { c.RegistryHost = "[::1]:5000" }, ""},
		"URL as host":         {func(c *Config) { c.RegistryHost = "https://registry.example.com" }, "registry host"},
		"path in host":        {func(c *Config) { c.RegistryHost = "registry.example.com/x" }, "registry host"},
		"other placeholder":   {func(c *Config) { c.RegistryHost = "%x.example.com" }, "registry host"},
		"an organisation":     {func(c *Config) { c.OrgID = "o-a1b2c3d4e5" }, ""},
		"no organisation":     {func(c *Config) { c.OrgID = "acme" }, "--org-id"},
		"private networks":    {func(c *Config) { c.PrivateNetworks = "10.0.0.0/8, fd00::/8" }, ""},
		"an address alone":    {func(c *Config) { c.PrivateNetworks = "10.0.0.1" }, "--private-networks"},
		"quote in host":       {func(c *Config) { c.RegistryHost = `a"b` }, "registry host"},
	} {
		t.Run(name, func(t *testing.T) {
			c := good()
			tc.change(&c)
			err := c.Validate()
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got %v, want a refusal with %q", err, tc.want)
			case err != nil && strings.ContainsAny(err.Error(), "\n"):
				t.Errorf("more than one sentence: %v", err)
			}
		})
	}
}

func TestFirstHome(t *testing.T) {
	for _, tc := range []struct {
		c    Config
		want meta.Scope
	}{
		{Config{}, meta.Scope{Account: "000000000000", Region: "us-east-1"}},
		{Config{FirstRegion: "eu-west-1"}, meta.Scope{Account: "000000000000", Region: "eu-west-1"}},
		{Config{FirstRegion: "nonsense"}, meta.Scope{Account: "000000000000", Region: "us-east-1"}},
		{Config{FirstRegion: "eu-west-1", Region: "us-west-2", Account: "123456789012"}, meta.Scope{Account: "123456789012", Region: "us-west-2"}},
	} {
		if got := tc.c.firstHome(); got != tc.want {
			t.Errorf("%+v: %v", tc.c, got)
		}
	}
}

func TestNaming(t *testing.T) {
	home := meta.Scope{Account: "111111111111", Region: "us-east-1"}
	other := meta.Scope{Account: "222222222222", Region: "eu-west-1"}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5050}
	for _, tc := range []struct {
		name, listen, host, cert string
		home, other              string // endpoints
	}{
		{"address", "127.0.0.1:0", "", "", "http://127.0.0.1:5050", "http://222222222222.dkr.ecr.eu-west-1.localhost:5050"},
		{"every address", ":0", "", "", "http://localhost:5050", "http://222222222222.dkr.ecr.eu-west-1.localhost:5050"},
		{"IPv6", "[::1]:0", "", "", "http://[::1]:5050", "http://222222222222.dkr.ecr.eu-west-1.localhost:5050"},
		{"TLS and a name", ":0", "registry.example.com", "c", "https://registry.example.com", "https://222222222222.dkr.ecr.eu-west-1.registry.example.com"},
		{"name and port", ":0", "registry.example.com:8443", "", "http://registry.example.com:8443", "http://222222222222.dkr.ecr.eu-west-1.registry.example.com:8443"},
		{"template of AWS", ":0", "%a.dkr.ecr.%r.example.com", "", "http://111111111111.dkr.ecr.us-east-1.example.com", "http://222222222222.dkr.ecr.eu-west-1.example.com"},
		{"own template", ":0", "reg-%r.%a.example.com:444", "", "http://reg-us-east-1.111111111111.example.com:444", "http://reg-eu-west-1.222222222222.example.com:444"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNaming(Config{Listen: tc.listen, RegistryHost: tc.host, TLSCert: tc.cert}, home, addr)
			for s, want := range map[meta.Scope]string{home: tc.home, other: tc.other} {
				if got := n.endpoint(s); got != want {
					t.Errorf("%v is at %s, want %s", s, got, want)
				}
				// What a URI says is where a request to it goes.
				for _, host := range []string{n.hostOf(s), strings.ToUpper(n.hostOf(s))} {
					if got := n.scopeOf(host); got != s {
						t.Errorf("a request to %s goes to %v, want %v", host, got, s)
					}
				}
			}
		})
	}
}

func TestScopeOfUnknownHosts(t *testing.T) {
	home := meta.Scope{Account: "111111111111", Region: "us-east-1"}
	for _, template := range []string{"", "%a.registry.%r.example.com"} {
		n := newNaming(Config{Listen: "127.0.0.1:0", RegistryHost: template}, home, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1})
		for host, want := range map[string]meta.Scope{
			"":                                                    home,
			"localhost:5050":                                      home,
			"evil.example.com":                                    home,
			"1.dkr.ecr.us-east-1.localhost":                       home,
			"x222222222222.dkr.ecr.eu-west-1.host":                home,
			"222222222222.dkr.ecr.eu-west-1":                      home,
			"222222222222.dkr.ecr.eu_west.host":                   home,
			"222222222222.dkr.ecr.eu-west-1.localhost:1":          {Account: "222222222222", Region: "eu-west-1"},
			"222222222222.dkr-ecr.eu-west-1.on.aws":               {Account: "222222222222", Region: "eu-west-1"},
			"222222222222.dkr.ecr-fips.eu-west-1.amazonaws.com:1": {Account: "222222222222", Region: "eu-west-1"},
		} {
			if got := n.scopeOf(host); got != want {
				t.Errorf("template %q, host %q: %v, want %v", template, host, got, want)
			}
		}
	}
	half := newNaming(Config{Listen: "127.0.0.1:0", RegistryHost: "%a.example.com"}, home, &net.TCPAddr{Port: 1})
	if got := half.scopeOf("222222222222.example.com"); got != (meta.Scope{Account: "222222222222", Region: home.Region}) {
		t.Errorf("a template of the account alone: %v", got)
	}
}

func FuzzScopeOf(f *testing.F) {
	home := meta.Scope{Account: "111111111111", Region: "us-east-1"}
	n := newNaming(Config{Listen: "127.0.0.1:0", RegistryHost: "%a.registry.%r.example.com"}, home, &net.TCPAddr{Port: 1})
	f.Add("222222222222.dkr.ecr.eu-west-1.localhost:5050")
	f.Add("222222222222.registry.eu-west-1.example.com")
	f.Fuzz(func(t *testing.T, host string) {
		s := n.scopeOf(host)
		if s == home {
			return
		}
		if len(s.Account) != 12 || strings.Trim(s.Account, "0123456789") != "" || strings.Trim(s.Region, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || s.Region == "" {
			t.Fatalf("%q became %+v", host, s)
		}
	})
}
