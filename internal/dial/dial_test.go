package dial_test

import (
	"errors"
	"net/netip"
	"testing"

	"berth/internal/dial"
)

func TestPublic(t *testing.T) {
	inside := dial.Public([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")})
	for _, tc := range []struct {
		address             string
		public, withNetwork bool
	}{
		{"8.8.8.8:443", true, true},
		{"[2606:4700::1111]:443", true, true},
		{"[::ffff:8.8.8.8]:443", true, true},
		{"192.169.0.1:443", true, true},
		{"172.32.0.1:443", true, true},
		{"10.1.2.3:443", false, true},
		{"[::ffff:10.1.2.3]:443", false, true},
		{"[fd00::1]:443", false, true},
		{"[fd00::1%lo]:443", false, true},
		{"127.0.0.1:443", false, false},
		{"[::1]:443", false, false},
		{"[::]:443", false, false},
		{"0.0.0.0:443", false, false},
		{"[::ffff:127.0.0.1]:443", false, false},
		{"[::127.0.0.1]:443", false, false},
		{"169.254.169.254:80", false, false},
		{"[fe80::1%eth0]:443", false, false},
		{"100.100.100.200:80", false, false},
		{"172.31.255.255:443", false, false},
		{"192.168.1.1:443", false, false},
		{"198.18.0.1:443", false, false},
		{"224.0.0.1:443", false, false},
		{"255.255.255.255:443", false, false},
		{"[64:ff9b::7f00:1]:443", false, false},
		{"[64:ff9b:1::a00:1]:443", false, false},
		{"[2002:7f00:1::]:443", false, false},
		{"[2001:0:7f00:1::]:443", false, false},
		{"[ff02::1]:443", false, false},
	} {
		judge := func(control dial.Control, want bool) {
			err := control("tcp", tc.address, nil)
			var private *dial.PrivateError
			if (err == nil) != want || err != nil && !errors.As(err, &private) {
				t.Errorf("%s: %v, expected that it is let through: %t", tc.address, err, want)
			}
		}
		judge(dial.Public(nil), tc.public)
		judge(inside, tc.withNetwork)
	}
	for _, address := range []string{"", "localhost:443", "127.0.0.1", "999.1.1.1:1"} {
		if inside("tcp", address, nil) == nil {
			t.Errorf("%q is let through", address)
		}
	}
}
