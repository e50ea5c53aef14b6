package server

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"

	"berth/internal/access"
	"berth/internal/iam"
	"berth/internal/meta"
)

// Config is what an operator decides. See docs/design.md, section 2.2.
type Config struct {
	Listen       string // host:port; port 0 picks one
	Data         string // data directory
	Account      string // home account, 12 digits; empty: that of the data directory
	Region       string // home region; empty: that of the data directory
	FirstRegion  string // home region of a new data directory when Region is empty; empty: us-east-1
	Database     string // "sqlite": in the data directory
	Blobs        string // "file": in the data directory
	RegistryHost string // host in URIs; %a account, %r region; empty: from Listen
	TLSCert      string
	TLSKey       string
	Insecure     bool // allow plain HTTP beyond loopback
	Root         iam.Credentials
}

var regionPattern = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)

// Validate finds what is wrong with a configuration before anything is opened.
func (c Config) Validate() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen address %q is not of the form host:port", c.Listen)
	}
	switch {
	case c.Data == "":
		return errors.New("no data directory is given: set --data")
	case c.Account != "" && !access.IsAccountID(c.Account):
		return fmt.Errorf("account %q must have 12 digits", c.Account)
	case c.Region != "" && !regionPattern.MatchString(c.Region):
		return fmt.Errorf("region %q is not the name of a region such as us-east-1", c.Region)
	case c.Database != "sqlite":
		return fmt.Errorf("database %q is not supported by this version: use sqlite", c.Database)
	case c.Blobs != "file":
		return fmt.Errorf("blob store %q is not supported by this version: use file", c.Blobs)
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("TLS needs both a certificate and its key: give --tls-cert and --tls-key")
	case c.TLSCert == "" && !c.Insecure && !isLoopback(host):
		return fmt.Errorf("listening on %s without TLS would send passwords in the clear: give --tls-cert and --tls-key, or --insecure if something else protects the connection", c.Listen)
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// A naming gives the hosts and URLs under which registries are reached.
type naming struct {
	home   meta.Scope
	scheme string
	host   string // of the home registry, or a template with %a and %r
}

// The home of a new data directory.
const (
	defaultAccount = "000000000000"
	defaultRegion  = "us-east-1"
)

// firstHome is the home registry that a new data directory gets.
func (c Config) firstHome() meta.Scope {
	s := meta.Scope{Account: defaultAccount, Region: defaultRegion}
	if c.Account != "" {
		s.Account = c.Account
	}
	if regionPattern.MatchString(c.FirstRegion) {
		s.Region = c.FirstRegion
	}
	if c.Region != "" {
		s.Region = c.Region
	}
	return s
}

func newNaming(c Config, home meta.Scope, addr net.Addr) naming {
	n := naming{home: home, scheme: "http", host: c.RegistryHost}
	if c.TLSCert != "" {
		n.scheme = "https"
	}
	if n.host == "" {
		n.host = listenHost(c.Listen, addr)
	}
	return n
}

// listenHost is the address clients on this machine use: the one listened on,
// with the real port, and localhost for "every address".
func listenHost(listen string, addr net.Addr) string {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return listen
	}
	host, _, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// hostOf is the host of a registry: the home registry's own, or for any other
// the virtual form <account>.dkr.ecr.<region>.<host>, which says what it is.
func (n naming) hostOf(s meta.Scope) string {
	if strings.Contains(n.host, "%a") || strings.Contains(n.host, "%r") {
		return strings.NewReplacer("%a", s.Account, "%r", s.Region).Replace(n.host)
	}
	if s == n.home {
		return n.host
	}
	host, port, err := net.SplitHostPort(n.host)
	if err != nil {
		host, port = n.host, ""
	}
	if net.ParseIP(host) != nil {
		host = "localhost" // an address has no subdomains
	}
	virtual := s.Account + ".dkr.ecr." + s.Region + "." + host
	if port != "" {
		virtual += ":" + port
	}
	return virtual
}

// endpoint is the base URL of a registry.
func (n naming) endpoint(s meta.Scope) string { return n.scheme + "://" + n.hostOf(s) }

// virtualHost is the host form that names a registry, as on AWS.
var virtualHost = regexp.MustCompile(`^(\d{12})\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.`)

// scopeOf is the registry that a request's host stands for.
func (n naming) scopeOf(host string) meta.Scope {
	if m := virtualHost.FindStringSubmatch(strings.ToLower(host)); m != nil {
		return meta.Scope{Account: m[1], Region: m[2]}
	}
	return n.home
}
