package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"berth/internal/access"
	"berth/internal/audit"
	"berth/internal/blob/file"
	"berth/internal/event"
	"berth/internal/iam"
	"berth/internal/meta"
	"berth/internal/registry"
	"berth/internal/upstream"
)

// Config is what an operator decides. See docs/design.md, section 2.2.
type Config struct {
	Listen       string          // host:port; port 0 picks one
	Data         string          // data directory
	Account      string          // home account, 12 digits; empty: that of the data directory
	Region       string          // home region; empty: that of the data directory
	FirstRegion  string          // home region of a new data directory when Region is empty; empty: us-east-1
	Database     string          // "sqlite": in the data directory; or a PostgreSQL URL, which may hold a password
	Blobs        string          // "file": in the data directory; or the URL of an S3 bucket
	ArchiveBlobs string          // a directory or the URL of an S3 bucket, for layers that only archived images list; empty: they stay in Blobs
	S3           iam.Credentials // of the bucket; empty: the standard chain of the AWS SDKs
	NoRedirect   bool            // stream blobs that lie in S3 instead of sending clients there
	RegistryHost string          // host in URIs; %a account, %r region; empty: from Listen
	TLSCert      string
	TLSKey       string
	// TLSSelfSigned makes a certificate authority and a certificate in the data
	// directory, for places without one.
	TLSSelfSigned bool
	Insecure      bool // allow plain HTTP beyond loopback
	Root          iam.Credentials
	MasterKey     string // file of the master key, or ARN of a key of KMS; empty: in the data directory
	KMS           string // where the KMS keys of repositories are; empty: BuiltinKMS
	// VaultToken gives the token of now, when KMS is Vault.
	VaultToken func(context.Context) (string, error)
	// CreateKMSKeys makes KMS keys that repositories name by their ARN and that
	// do not exist, so that the configuration of another place can be applied.
	CreateKMSKeys bool
	GC            GC
	Scan          Scan
	Advisories    Advisories
	Admission     registry.Admission // which images not everybody may pull
	// MaxConnections is how many connections are served at a time; more wait until
	// one ends. 0: 10,000; negative: any number.
	MaxConnections int
	// LifecycleInterval is the time between two evaluations of a lifecycle policy;
	// 0: an hour; negative: never.
	LifecycleInterval time.Duration
	// Move says when the bytes of archived images are moved. Zero fields take the
	// defaults; its Lease is that of GC.
	Move audit.MoveOptions
	// OrgID is the id of the organisation that all accounts are of; empty: of none.
	OrgID string
	// OIDCCA is a PEM file of certificates that identity providers may be
	// certified by besides the system's; empty: none.
	OIDCCA string
	// PrivateNetworks are the networks, with commas between them, whose addresses
	// the server may call though they are not public; empty: none.
	PrivateNetworks string
	AuditLog        string             // file that records every request; empty: none
	AuditLogSize    int64              // bytes from which on it is renamed; 0 is 100 MiB
	Scrub           audit.ScrubOptions // zero fields take the defaults; a negative Every: never
	// Upstreams say where upstream registries are reached that are not at their
	// own name, each as HOST=URL; private addresses are refused without.
	Upstreams []string
	Events    Events
	// FileSystem is that of the blob store; nil is the machine's. Tests put one
	// in its place that fails.
	FileSystem file.FS
	// S3Client, when not nil, sends the requests to S3, for tests too.
	S3Client aws.HTTPClient
	// WrapDatabase, when not nil, puts something around the database engine, for
	// tests too.
	WrapDatabase func(meta.Backend) meta.Backend
}

// GC says when garbage is collected. Zero fields take the defaults.
type GC struct {
	Interval time.Duration // between two collections; default an hour, negative: never
	Lease    time.Duration // a blob stays for so long after its upload, mount or last probe; default a day
	Grace    time.Duration // bytes stay for so long after their row died; default an hour
}

// Events says where events are delivered to.
type Events struct {
	Sinks      []string      // as event.ParseTarget reads them
	Retention  time.Duration // events are kept for so long; 0: event.DefaultRetention
	Secret     string        // under which webhooks are signed
	SecretFile string        // holds it instead; empty: none
}

// Scan says how images are scanned.
type Scan struct {
	// Command is a program with its arguments that calls worker.Serve. None:
	// scans wait for a server that has one.
	Command  []string
	Parallel int // scans at the same time; 0 is 1
	Temp     string
}

// WithDefaults fills in what is left zero.
func (g GC) WithDefaults() GC {
	g.Interval = cmp.Or(g.Interval, time.Hour)
	g.Lease = cmp.Or(g.Lease, 24*time.Hour)
	g.Grace = cmp.Or(g.Grace, time.Hour)
	return g
}

var regionPattern = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)

// orgPattern is the form of ids (AWS Organizations API reference, Organization).
var orgPattern = regexp.MustCompile(`^o-[a-z0-9]{10,32}$`)

// hostTemplate is a host name or address with an optional port, in which %a and
// %r may stand for account and region.
var hostTemplate = regexp.MustCompile(`^(?:\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9_-]|%[ar])(?:[A-Za-z0-9._-]|%[ar])*)(?::[0-9]{1,5})?$`)

// Validate finds what is wrong with a configuration before anything is opened.
func (c Config) Validate() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen address %q is not of the form host:port", c.Listen)
	}
	if err := c.ValidateStorage(); err != nil {
		return err
	}
	if err := c.Admission.Validate(); err != nil {
		return fmt.Errorf("--deny-pulls-at: %w", err)
	}
	_, networks := parseNetworks(c.PrivateNetworks)
	if _, err := upstream.ParseMapping(c.Upstreams); err != nil {
		return err
	}
	for _, sink := range c.Events.Sinks {
		if _, err := event.ParseTarget(sink); err != nil {
			return err
		}
	}
	switch {
	case c.Events.Retention < 0:
		return errors.New("events cannot be kept for a negative time: see --event-retention")
	case c.Account != "" && !access.IsAccountID(c.Account):
		return fmt.Errorf("account %q must have 12 digits", c.Account)
	case c.Region != "" && !regionPattern.MatchString(c.Region):
		return fmt.Errorf("region %q is not the name of a region such as us-east-1", c.Region)
	case c.RegistryHost != "" && !hostTemplate.MatchString(c.RegistryHost):
		return fmt.Errorf("registry host %q is not of the form host or host:port, without a scheme or path; %%a and %%r stand for account and region", c.RegistryHost)
	case c.OrgID != "" && !orgPattern.MatchString(c.OrgID):
		return fmt.Errorf("organisation id %q is not of the form o- and 10 to 32 lower-case letters and digits: see --org-id", c.OrgID)
	case networks != nil:
		return networks
	case (c.TLSCert == "") != (c.TLSKey == ""):
		return errors.New("TLS needs both a certificate and its key: give --tls-cert and --tls-key")
	case c.TLSSelfSigned && c.TLSCert != "":
		return errors.New("a server has one certificate: give --tls-self-signed, or --tls-cert and --tls-key")
	case c.TLSCert == "" && !c.TLSSelfSigned && !c.Insecure && !isLoopback(host):
		return fmt.Errorf("listening on %s without TLS would send passwords in the clear: give --tls-cert and --tls-key, or --insecure if something else protects the connection", c.Listen)
	}
	return nil
}

// ValidateStorage finds what is wrong with the part that says where bytes and
// rows are.
func (c Config) ValidateStorage() error {
	switch {
	case c.Data == "":
		return errors.New("no data directory is given: set --data")
	case !knownDatabase(c.Database):
		return errDatabase
	case c.Blobs != FileBlobs && !isS3(c.Blobs):
		return fmt.Errorf("blob store %q is neither file nor the URL of a bucket such as s3://bucket/prefix: see --blobs", c.Blobs)
	case strings.Contains(c.ArchiveBlobs, "://") && !isS3(c.ArchiveBlobs):
		return fmt.Errorf("archive store %q is neither a directory nor the URL of a bucket such as s3://bucket/prefix: see --archive-blobs", c.ArchiveBlobs)
	case c.ArchiveBlobs != "" && (c.ArchiveBlobs == c.Blobs || samePath(c.ArchiveBlobs, c.Data)):
		return errors.New("the store of archived images is that of all others: give --archive-blobs another directory or bucket, or leave it out")
	}
	return nil
}

// samePath tells whether two directories are one by their names.
func samePath(a, b string) bool { return filepath.Clean(a) == filepath.Clean(b) }

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// A naming gives the hosts and URLs under which registries are reached.
type naming struct {
	home    meta.Scope
	scheme  string
	host    string         // of the home registry, or a template with %a and %r
	pattern *regexp.Regexp // hosts made from a template; nil when host is none
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
	if c.TLSCert != "" || c.TLSSelfSigned {
		n.scheme = "https"
	}
	if n.host == "" {
		n.host = listenHost(c.Listen, addr)
	}
	if isTemplate(n.host) {
		n.pattern = hostPattern(n.host)
	}
	return n
}

func isTemplate(host string) bool {
	return strings.Contains(host, "%a") || strings.Contains(host, "%r")
}

// hostPattern matches the hosts that a template gives, with any port or none,
// since a proxy may stand before this server.
func hostPattern(template string) *regexp.Regexp {
	host, _, err := net.SplitHostPort(template)
	if err != nil {
		host = template
	}
	text := regexp.QuoteMeta(strings.ToLower(host))
	text = strings.Replace(text, "%a", `(?P<account>\d{12})`, 1)
	text = strings.Replace(text, "%r", `(?P<region>[a-z0-9-]+)`, 1)
	text = strings.NewReplacer("%a", `\d{12}`, "%r", `[a-z0-9-]+`).Replace(text)
	return regexp.MustCompile(`^` + text + `(?::\d+)?$`)
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
	if n.pattern != nil {
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
	host = strings.ToLower(host)
	if n.pattern != nil {
		if m := n.pattern.FindStringSubmatch(host); m != nil {
			return meta.Scope{
				Account: part(m, n.pattern.SubexpIndex("account"), n.home.Account),
				Region:  part(m, n.pattern.SubexpIndex("region"), n.home.Region),
			}
		}
	}
	if m := virtualHost.FindStringSubmatch(host); m != nil {
		return meta.Scope{Account: m[1], Region: m[2]}
	}
	return n.home
}

// part is one submatch, or what holds when the pattern does not have it.
func part(match []string, i int, otherwise string) string {
	if i < 0 {
		return otherwise
	}
	return match[i]
}

func (c Config) lifecycleInterval() time.Duration {
	if c.LifecycleInterval == 0 {
		return time.Hour
	}
	return c.LifecycleInterval
}

const defaultConnections = 10_000

func (c Config) maxConnections() int {
	if c.MaxConnections == 0 {
		return defaultConnections
	}
	return c.MaxConnections
}
