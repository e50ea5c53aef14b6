package upstream

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"syscall"
)

// errPrivate refuses a connection.
var errPrivate = errors.New("the address is not a public one")

// reserved are networks that are not public, beyond those that netip knows
// (IANA IPv4 and IPv6 Special-Purpose Address Registries). Some of them lead to
// IPv4 addresses, which may be anything.
func reserved() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),       // this network (RFC 791)
		netip.MustParsePrefix("100.64.0.0/10"),   // shared by carriers (RFC 6598)
		netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments (RFC 6890)
		netip.MustParsePrefix("192.0.2.0/24"),    // documentation (RFC 5737)
		netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks (RFC 2544)
		netip.MustParsePrefix("198.51.100.0/24"), // documentation (RFC 5737)
		netip.MustParsePrefix("203.0.113.0/24"),  // documentation (RFC 5737)
		netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and broadcast (RFC 1112)
		netip.MustParsePrefix("64:ff9b::/96"),    // IPv4 behind NAT64 (RFC 6052)
		netip.MustParsePrefix("64:ff9b:1::/48"),  // the same, local (RFC 8215)
		netip.MustParsePrefix("100::/64"),        // discarded (RFC 6666)
		netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo among them (RFC 2928)
		netip.MustParsePrefix("2001:db8::/32"),   // documentation (RFC 3849)
		netip.MustParsePrefix("2002::/16"),       // 6to4 (RFC 3056)
		netip.MustParsePrefix("fec0::/10"),       // site-local (RFC 3879)
	}
}

// public reports whether an address is one of the Internet.
func public(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsGlobalUnicast() && !a.IsPrivate() && !slices.ContainsFunc(reserved(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// guard decides about each connection, when its address is known.
func (c *Client) guard(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("read the address of the connection: %w", err)
	}
	a := at.Addr().Unmap().WithZone("")
	if public(a) || slices.ContainsFunc(c.allow, func(p netip.Prefix) bool { return p.Contains(a) }) {
		return nil
	}
	return errPrivate
}
