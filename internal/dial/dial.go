// Package dial judges the addresses that the server calls on behalf of others:
// of upstream registries and of identity providers. It is the one rule against
// requests that only this server could make (server-side request forgery).
package dial

import (
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// special are the networks that belong to no public host: of this machine, of
// private networks, of clouds' metadata services, and what leads to them (IANA
// IPv4 and IPv6 Special-Purpose Address Registries).
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("224.0.0.0/4"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("3fff::/20"), netip.MustParsePrefix("5f00::/16"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("ff00::/8"),
}

// A Control is net.Dialer's: it sees the address that is about to be connected
// to, whatever a name resolved to before.
type Control = func(network, address string, c syscall.RawConn) error

// Public lets connections through to public addresses and to the networks that
// are named besides. All others fail with a [PrivateError].
func Public(besides []netip.Prefix) Control {
	return func(_, address string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("the address %s cannot be judged: %w", address, err)
		}
		a := ap.Addr().Unmap().WithZone("")
		if holds(besides, a) || a.IsValid() && !holds(special, a) {
			return nil
		}
		return &PrivateError{a}
	}
}

func holds(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// A PrivateError says that a name led to an address that is not public.
type PrivateError struct{ Address netip.Addr }

func (e *PrivateError) Error() string {
	return fmt.Sprintf("the address %s is not a public one", e.Address)
}
