package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"berth/internal/scan/vulndb"
	"berth/internal/server"
)

// serverFlags are the flags of the commands that run a registry.
type serverFlags struct {
	cfg       server.Config
	logFormat string
	logLevel  string
}

func (f *serverFlags) register(flags *pflag.FlagSet, data, logLevel string, createKeys bool) {
	c := &f.cfg
	flags.StringVar(&c.Listen, "listen", "127.0.0.1:5050", "address of every API; port 0 picks a free one")
	addStorageFlags(flags, c, data)
	flags.StringVar(&c.Account, "account", "", "home account, 12 digits (default: what the data directory was made with, 000000000000)")
	flags.StringVar(&c.Region, "region", "", "home region (default: what the data directory was made with, AWS_REGION or us-east-1)")
	flags.BoolVar(&c.NoRedirect, "no-redirect", false, "stream blobs that lie in S3 instead of sending clients there")
	flags.StringVar(&c.RegistryHost, "registry-host", "", "host in repository URIs; %a is the account, %r the region (default: from --listen)")
	flags.StringVar(&c.TLSCert, "tls-cert", "", "TLS certificate, PEM file")
	flags.StringVar(&c.TLSKey, "tls-key", "", "key of the TLS certificate, PEM file")
	flags.BoolVar(&c.TLSSelfSigned, "tls-self-signed", false, "TLS with a certificate of the server's own, in the data directory; for labs")
	flags.BoolVar(&c.Insecure, "insecure", false, "allow plain HTTP on addresses other than loopback")
	flags.StringVar(&c.Root.AccessKeyID, "root-access-key-id", "", "access key of the root user (default: made on the first start)")
	flags.StringVar(&c.Root.SecretAccessKey, "root-secret-access-key", "", "its secret; better given as BERTH_ROOT_SECRET_ACCESS_KEY")
	flags.BoolVar(&c.CreateKMSKeys, "create-kms-keys", createKeys, "make KMS keys that repositories name by ARN and that do not exist")
	flags.StringSliceVar(&c.Upstreams, "upstream", nil, "HOST=URL: where cache rules reach the upstream registry HOST; repeated or with commas")
	flags.DurationVar(&c.GC.Interval, "gc-interval", 0, "time between two garbage collections (default 1h; negative: never)")
	addGraceFlags(flags, &c.GC, "gc-")
	flags.IntVar(&c.MaxConnections, "max-connections", 0, "connections served at a time; more wait until one ends (default 10000; negative: any number)")
	flags.DurationVar(&c.Move.Interval, "archive-interval", 0, "time between two rounds that move the bytes of archived images (default 1h; negative: never, and only restores move bytes)")
	flags.DurationVar(&c.LifecycleInterval, "lifecycle-interval", 0, "time between two evaluations of a lifecycle policy (default 1h; negative: never)")
	flags.DurationVar(&c.Advisories.Every, "vulndb-update", 0, "time between two updates of the advisories that scans know, the first at the start (default: none)")
	flags.StringVar(&c.Advisories.URL, "vulndb-url", vulndb.DefaultURL, "where the archives of OSV lie")
	flags.StringSliceVar(&c.Advisories.Ecosystems, "vulndb-ecosystems", nil, "ecosystems of OSV to update (default: all whose packages are found in images)")
	flags.StringVar(&c.Admission.DenyAt, "deny-pulls-at", "", "SEVERITY from which on findings of its last scan keep an image from being pulled, but for who may ecr:BerthPullVulnerableImage: INFORMATIONAL, LOW, MEDIUM, HIGH or CRITICAL (default: none)")
	flags.BoolVar(&c.Admission.DenyUnscanned, "deny-unscanned-pulls", false, "do so with images of which no scan has found out what is in them")
	flags.DurationVar(&c.Scrub.Every, "scrub-every", 0, "time in which every layer is read and verified once (default 720h; negative: never)")
	flags.Int64Var(&c.Scrub.Rate, "scrub-rate", 0, "bytes per second that this reads at most (default 20 MiB)")
	flags.StringVar(&c.OrgID, "org-id", "", "id of the organisation that all accounts are of, for conditions on aws:PrincipalOrgID (default: of none)")
	flags.StringVar(&c.OIDCCA, "oidc-ca", "", "certificates that OIDC identity providers may be certified by besides the system's, PEM file")
	flags.StringVar(&c.PrivateNetworks, "private-networks", "", "networks such as 10.0.0.0/8, with commas between them, whose addresses may be called though they are not public")
	flags.StringVar(&c.AuditLog, "audit-log", "", "file that records every request: who, what, the decision; JSON lines, renamed at 100 MiB")
	flags.StringSliceVar(&c.Events.Sinks, "event-sink", nil, "where events of images are delivered to: file:PATH, https://HOST/PATH, eventbridge://BUS?region=REGION or securityhub://?region=REGION; repeated or with commas")
	flags.StringVar(&c.Events.SecretFile, "event-secret-file", "", "file with the secret under which webhooks are signed (default: BERTH_EVENT_SECRET)")
	flags.DurationVar(&c.Events.Retention, "event-retention", 0, "time for which events are kept, delivered or not (default 168h)")
	flags.StringVar(&f.logFormat, "log-format", "text", "format of the log: text or json")
	flags.StringVar(&f.logLevel, "log-level", logLevel, "least level of the log: debug, info, warn or error")
}

// open starts to listen. The caller runs or closes the server.
func (f *serverFlags) open(ctx context.Context, env *environment) (*server.Server, error) {
	log, err := f.logger(env)
	if err != nil {
		return nil, err
	}
	settleStorage(&f.cfg, env)
	f.cfg.Admission.DenyAt = strings.ToUpper(f.cfg.Admission.DenyAt)
	f.cfg.FirstRegion = env.getenv("AWS_REGION")
	if f.cfg.FirstRegion == "" {
		f.cfg.FirstRegion = env.getenv("AWS_DEFAULT_REGION")
	}
	f.cfg.Events.Secret = env.getenv("BERTH_EVENT_SECRET")
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program, which scans images in processes of its own: %w", err)
	}
	f.cfg.Scan.Command = []string{exe, scanWorkerCommand}
	s, err := server.New(ctx, f.cfg, log)
	if err != nil {
		return nil, err
	}
	if _, err = fmt.Fprintf(env.stderr, "listening on %s\n", s.Endpoint()); err == nil && s.CA() != "" {
		err = howToTrust(env.stderr, s)
	}
	return s, err
}

// howToTrust says how clients come to trust a server's own certificate.
func howToTrust(w io.Writer, s *server.Server) error {
	host, ca := s.RegistryHost(), shellQuote(s.CA())
	_, err := fmt.Fprintf(w, `clients have to trust %[2]s:
  docker:                 sudo mkdir -p /etc/docker/certs.d/%[1]s && sudo cp %[2]s /etc/docker/certs.d/%[1]s/ca.crt
  podman, buildah, skopeo: sudo mkdir -p /etc/containers/certs.d/%[1]s && sudo cp %[2]s /etc/containers/certs.d/%[1]s/ca.crt
  aws, Terraform:         export AWS_CA_BUNDLE=%[2]s
  crane, oras, helm:      export SSL_CERT_FILE=%[2]s
  curl:                   curl --cacert %[2]s %[3]s/healthz
`, host, ca, s.Endpoint())
	return err
}

func (f *serverFlags) logger(env *environment) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, &exitError{usageError, fmt.Errorf("log level %q is not debug, info, warn or error", f.logLevel)}
	}
	opt := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(env.stderr, opt)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(env.stderr, opt)), nil
	default:
		return nil, &exitError{usageError, fmt.Errorf("log format %q is not text or json", f.logFormat)}
	}
}

// newServeCommand is `berth serve`: the registry alone.
func newServeCommand(env *environment) *cobra.Command {
	var flags serverFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the registry",
		Long: `Runs the registry until it is interrupted. Prints "listening on URL" when it is ready, and leaves the root
user's access key in the file credentials of the data directory.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := flags.open(cmd.Context(), env)
			if err != nil {
				return err
			}
			return s.Run(cmd.Context())
		},
	}
	flags.register(cmd.Flags(), defaultServeData, "info", false)
	return cmd
}
