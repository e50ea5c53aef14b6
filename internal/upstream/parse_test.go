package upstream

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": true, "1.1.1.1": true, "2606:4700::1111": true, "::ffff:8.8.8.8": true, "172.15.0.1": true, "172.32.0.1": true, "100.63.255.255": true,
		"127.0.0.1": false, "::1": false, "10.1.2.3": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "fe80::1": false, "fe80::1%eth0": false, "fd00:ec2::254": false, "0.0.0.0": false, "::": false, "0.1.2.3": false,
		"100.64.0.1": false, "100.127.255.255": false, "192.0.0.170": false, "198.18.0.1": false, "198.19.255.255": false, "224.0.0.1": false,
		"240.0.0.1": false, "255.255.255.255": false, "ff02::1": false, "::ffff:10.0.0.1": false, "::ffff:127.0.0.1": false, "64:ff9b::7f00:1": false,
		"64:ff9b:1::1": false, "2002:7f00:1::": false, "2001:0:1::1": false, "2001:db8::1": false, "192.0.2.1": false, "203.0.113.9": false, "198.51.100.1": false,
		"100::1": false, "fec0::1": false,
	} {
		if got := public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is public: %t, want %t", text, got, want)
		}
	}
}

func TestParseChallenge(t *testing.T) {
	for header, want := range map[string]string{
		`Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`: "bearer map[realm:https://auth.docker.io/token service:registry.docker.io]",
		`bearer  Realm = "r" ,	scope=a:b`:                                          "bearer map[realm:r scope:a:b]",
		`Bearer realm="a\"b\\c,d=e",error=x`:                                       `bearer map[error:x realm:a"b\c,d=e]`,
		`Bearer realm="open`:                                                       "bearer map[realm:open]",
		`Bearer realm="open\`:                                                      "bearer map[realm:open]",
		`Bearer realm="1",realm="2"`:                                               "bearer map[realm:1]",
		`Basic`:                                                                    "basic map[]",
		`Bearer token68==`:                                                         "bearer map[token68:=]",
		``:                                                                         " map[]",
		` , ,`:                                                                     ", map[]",
	} {
		c := parseChallenge(header)
		if got := fmt.Sprint(c.scheme, " ", c.params); got != want {
			t.Errorf("%s gives %s, want %s", header, got, want)
		}
	}
}

func FuzzParseChallenge(f *testing.F) {
	for _, seed := range []string{`Bearer realm="https://a/t",service="s"`, `Basic realm=x`, `Bearer realm="\`, "=,=", `a "b"="c"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		total := 0
		for name, value := range parseChallenge(header).params {
			total += len(name) + len(value)
		}
		if total > 3*len(header) { // lower case can be longer than what it was made of
			t.Errorf("%q gives more than it has", header)
		}
	})
}
