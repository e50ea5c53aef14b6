package upstream

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"
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

// isPublic reports whether an address may belong to a public host.
func isPublic(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return a.IsValid() && !slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// publicOnly refuses addresses that are not public, as net.Dialer's Control: it
// sees the address that is about to be connected to, after names were resolved.
func publicOnly(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("the address %s cannot be judged: %w", address, err)
	}
	if !isPublic(a.Addr()) {
		return &privateError{a.Addr()}
	}
	return nil
}

// A privateError says that a name led to an address that is not public.
type privateError struct{ address netip.Addr }

func (e *privateError) Error() string {
	return fmt.Sprintf("the address %s is not a public one: map the host to a URL with --upstream to allow it", e.address)
}

const connectTimeout = 10 * time.Second

func dialer(control func(network, address string, c syscall.RawConn) error) func(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second, Control: control}
	return d.DialContext
}

// A Mapping says where hosts are reached that are not at their own name: base
// URLs, by host in lower case.
type Mapping map[string]*url.URL

// ParseMapping reads mappings of the form HOST=URL. The URL is http or https and
// has a host and nothing behind it.
func ParseMapping(list []string) (Mapping, error) {
	m := Mapping{}
	for _, text := range list {
		host, raw, ok := strings.Cut(text, "=")
		u, err := url.Parse(raw)
		if !ok || host == "" || strings.ContainsAny(host, "/@ ") || err != nil || u.Host == "" || u.User != nil ||
			(u.Scheme != "http" && u.Scheme != "https") || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("the upstream mapping %q is not of the form HOST=URL, such as registry-1.docker.io=https://mirror.example.com", text)
		}
		m[strings.ToLower(host)] = &url.URL{Scheme: u.Scheme, Host: u.Host}
	}
	return m, nil
}
