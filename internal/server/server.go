package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"berth/internal/access"
	"berth/internal/access/sigv4"
	"berth/internal/access/token"
	"berth/internal/audit"
	"berth/internal/collect"
	"berth/internal/ecrapi"
	"berth/internal/event"
	"berth/internal/iam"
	"berth/internal/iamapi"
	"berth/internal/kmsapi"
	"berth/internal/meta"
	"berth/internal/ociapi"
	"berth/internal/pullthrough"
	"berth/internal/registry"
	"berth/internal/scan"
	"berth/internal/scan/worker"
	"berth/internal/secretsapi"
	"berth/internal/trail"
	"berth/internal/upstream/ecrlogin"
)

// Server is a registry ready to serve.
type Server struct {
	cfg      Config
	log      *slog.Logger
	names    naming
	lock     *dirLock
	storage  *Storage
	registry *registry.Registry
	garbage  *collect.Collector
	mover    *audit.Mover
	cache    *pullthrough.Cache // nil before it is made
	ecrLogin *ecrlogin.Login
	events   *event.Runner
	listener net.Listener
	http     *http.Server
	fresh    freshConns
	root     iam.Credentials
	own      *selfSigned // nil: the server makes no certificate itself
	trail    *trail.Log  // nil: there is no audit log
	record   *trail.File
}

// Limits on connections. Bodies and answers may take as long as they need,
// provided that they keep moving (stall.go).
const (
	headerTimeout  = 20 * time.Second
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	drainTimeout   = 20 * time.Second
)

// An audit log's file is renamed at 100 MiB, and ten older ones stay.
const (
	auditLogSize = 100 << 20
	auditLogKeep = 10
)

// New opens the stores, makes every part and starts to listen. On an error
// nothing stays open.
func New(ctx context.Context, cfg Config, log *slog.Logger) (_ *Server, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.lock, err = lockDir(cfg.Data); err != nil {
		return nil, err
	}
	if s.listener, err = listen(cfg, log); err != nil {
		return nil, err
	}
	if s.storage, err = OpenStorage(ctx, cfg); err != nil {
		return nil, err
	}
	s.storage.holder = s.lock.id
	if err := s.storage.checkSecondHolds(ctx); err != nil {
		return nil, err
	}
	if cfg.AuditLog != "" {
		if s.record, err = trail.OpenFile(cfg.AuditLog, cmp.Or(cfg.AuditLogSize, auditLogSize), auditLogKeep); err != nil {
			return nil, err
		}
		s.trail = trail.New(s.record, log, time.Now)
	}
	if err := s.storage.Upgrade(ctx, cfg.Data, log); err != nil {
		return nil, err
	}
	home, err := s.openHome(ctx)
	if err != nil {
		return nil, err
	}
	s.names = newNaming(cfg, home, s.listener.Addr())
	if cfg.TLSSelfSigned {
		if err := s.secure(); err != nil {
			return nil, err
		}
	}
	handler, err := s.build(ctx)
	if err != nil {
		return nil, err
	}
	s.http = &http.Server{
		Handler: handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		ConnState: s.fresh.note,
		ErrorLog:  slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return s, s.writeCredentials()
}

// build makes the domain and the doors.
func (s *Server) build(ctx context.Context) (http.Handler, error) {
	tokens, err := token.New(s.storage.signing, time.Now)
	if err != nil {
		return nil, err
	}
	users := iam.New(s.storage.DB, tokens, s.storage.secrets, time.Now)
	users.CheckPolicy, users.CheckTrustPolicy = iam.CheckIdentityPolicy, iam.CheckRoleTrust
	if users.Issuers, err = openIssuers(s.cfg, s.log); err != nil {
		return nil, err
	}
	if s.root, err = users.EnsureRoot(ctx, s.names.home.Account, s.cfg.Root); err != nil {
		return nil, err
	}
	gc := s.cfg.GC.WithDefaults()
	s.registry = registry.New(registry.Options{
		DB: s.storage.DB, Blobs: s.storage.Blobs, Seal: s.storage.Ring, KMS: s.storage.keys, Cursors: tokens,
		Lease: gc.Lease, Redirect: !s.cfg.NoRedirect, Log: s.log, Now: time.Now, Host: s.names.hostOf,
		Admission: s.cfg.Admission,
	})
	s.garbage = collect.New(collect.Options{
		DB: s.storage.DB, Blobs: s.storage.Blobs, Log: s.log, Now: time.Now, Lease: gc.Lease, Grace: gc.Grace,
		Holder: s.lock.id,
	})
	move := s.cfg.Move
	move.Lease = gc.Lease
	s.mover = s.storage.Auditor(s.log).NewMover(move)
	if err := s.openCache(); err != nil {
		return nil, err
	}
	if err := s.openEvents(ctx); err != nil {
		return nil, err
	}
	rules := access.Rules{
		Identity: users.Permissions(), Resource: resources{s.registry.Permissions(), s.storage.KMS.Permissions(), users.TrustPolicies()},
		Organization: s.cfg.OrgID, PrincipalTags: users.PrincipalTags,
		ResourceTags: func(ctx context.Context, arn string) ([]access.Tag, error) { return s.resourceTags(ctx, users, arn) },
	}
	authorize := trail.Authorizer(rules)
	verifier, guesses := sigv4.New(users, time.Now, sigv4.Options{}), newThrottle(time.Now)
	ecrDoor, err := ecrapi.New(ecrapi.Options{
		Registry: s.registry, Cache: s.cache, Authenticate: signatures{verifier.ForService("ecr"), guesses}, Authorize: authorize, Tokens: tokens,
		Log: s.log, Endpoint: s.names.endpoint, Advisories: s.advisories(), Home: s.names.home.Account,
	})
	if err != nil {
		return nil, err
	}
	ociDoor, err := ociapi.New(ociapi.Options{
		Registry: s.registry, Cache: s.cache, Authenticate: passwords{users, guesses}, Authorize: authorize, Log: s.log,
		Scope: s.names.scopeOf, Endpoint: s.names.endpoint,
	})
	if err != nil {
		return nil, err
	}
	verify := func(service string, r *http.Request, body []byte) (sigv4.Identity, error) {
		return signatures{verifier.ForService(service), guesses}.Verify(r, body)
	}
	kmsDoor, err := kmsapi.New(kmsapi.Options{Service: s.storage.KMS, Verify: verify, Authorize: authorize, Log: s.log})
	if err != nil {
		return nil, err
	}
	secretsDoor, err := secretsapi.New(secretsapi.Options{
		Store: s.storage.Secrets, Keys: s.storage.keys, Verify: verify, Authorize: authorize, Log: s.log,
	})
	if err != nil {
		return nil, err
	}
	iamDoor := iamapi.New(iamapi.Options{
		Verify: verify, Guesses: guesses, Authorize: authorize, Explain: rules, Store: users, Home: s.names.home.Account, Log: s.log,
	})
	return s.handler(doors{ecr: ecrDoor, kms: kmsDoor, secrets: secretsDoor, oci: ociDoor, iam: iamDoor}), nil
}

// openHome finds the home registry. The data directory keeps the one it was
// made with: a shell with another AWS_REGION must not seem to lose everything.
func (s *Server) openHome(ctx context.Context) (meta.Scope, error) {
	first, err := json.Marshal(s.cfg.firstHome())
	if err != nil {
		return meta.Scope{}, err
	}
	var stored []byte
	err = s.storage.DB.Update(ctx, func(tx *meta.Tx) (err error) {
		stored, err = tx.EnsureSetting("home", first)
		return err
	})
	if err != nil {
		return meta.Scope{}, err
	}
	var home meta.Scope
	if err := json.Unmarshal(stored, &home); err != nil {
		return meta.Scope{}, fmt.Errorf("read the home registry of the data directory %s: %w", s.cfg.Data, err)
	}
	if s.cfg.Account != "" {
		home.Account = s.cfg.Account
	}
	if s.cfg.Region != "" {
		home.Region = s.cfg.Region
	}
	return home, nil
}

func listen(cfg Config, log *slog.Logger) (net.Listener, error) {
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s (%w): stop what uses the port or choose another with --listen", cfg.Listen, cause(err))
	}
	if most := cfg.maxConnections(); most > 0 {
		l = netutil.LimitListener(l, most)
	}
	if cfg.TLSCert == "" {
		return l, nil
	}
	secure, err := withTLS(l, cfg.TLSCert, cfg.TLSKey, log)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return secure, nil
}

// withTLS puts TLS before a listener.
func withTLS(l net.Listener, certFile, keyFile string, log *slog.Logger) (net.Listener, error) {
	cert, err := loadCertificate(certFile, keyFile, log, time.Now)
	if err != nil {
		return nil, fmt.Errorf("load the TLS certificate %s and key %s: %w", certFile, keyFile, err)
	}
	return tls.NewListener(l, &tls.Config{GetCertificate: cert.get, MinVersion: tls.VersionTLS12}), nil
}

// cause is the system's own words for a network error.
func cause(err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		return sys.Err
	}
	return err
}

// Endpoint is the base URL of every API.
func (s *Server) Endpoint() string {
	return s.names.scheme + "://" + listenHost(s.cfg.Listen, s.listener.Addr())
}

// RegistryHost is the host of the home registry, with its port: what stands
// before repositories in names of images.
func (s *Server) RegistryHost() string { return s.names.hostOf(s.names.home) }

// Region is the home region.
func (s *Server) Region() string { return s.names.home.Region }

// Root is the key of the home account's root user.
func (s *Server) Root() iam.Credentials { return s.root }

// Run serves until ctx ends, then finishes running requests (for a bounded
// time), records what is pending and closes everything.
func (s *Server) Run(ctx context.Context) error {
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	var idle sync.WaitGroup
	idle.Go(func() { s.registry.Run(background) })
	idle.Go(func() { s.destroyKeys(background) })
	idle.Go(func() { s.events.Run(background) })
	if every := s.cfg.lifecycleInterval(); every > 0 {
		idle.Go(func() { s.applyLifecycles(background, every) })
	}
	if s.own != nil {
		idle.Go(func() { s.own.renew(background) })
	}
	idle.Go(func() { s.cache.Run(background) })
	if gc := s.cfg.GC.WithDefaults(); gc.Interval > 0 {
		idle.Go(func() { s.garbage.Run(background, gc.Interval) })
	}
	idle.Go(func() { s.mover.Run(background) })
	if s.cfg.Scrub.Every >= 0 {
		idle.Go(func() { s.storage.Auditor(s.log).NewScrubber(s.cfg.Scrub).Run(background) })
	}
	if len(s.cfg.Scan.Command) > 0 {
		idle.Go(func() { s.newScanner().Run(background) })
	}
	if a := s.cfg.Advisories; a.Every > 0 {
		idle.Go(func() { s.updateAdvisories(background, a) })
	}
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()

	var err error
	select {
	case err = <-served:
		err = fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
		s.fresh.end()
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		err = s.http.Shutdown(drain)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			err = s.http.Close() // clients that hold on are cut off; their uploads can be continued
		}
	}
	stopBackground()
	idle.Wait()
	return errors.Join(err, s.close())
}

// applyLifecycles applies lifecycle policies until ctx ends. It looks more often
// than each is due, so that one that was set meanwhile need not wait long.
func (s *Server) applyLifecycles(ctx context.Context, every time.Duration) {
	tick := time.NewTicker(max(every/6, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if err := s.registry.SweepLifecycles(ctx, every); err != nil && ctx.Err() == nil {
			s.log.Error("apply lifecycle policies", "err", err)
		}
	}
}

// newScanner makes what works on the queue of scans.
func (s *Server) newScanner() *scan.Scanner {
	return scan.New(scan.Options{
		DB: s.storage.DB, Registry: s.registry, Log: s.log, Parallel: s.cfg.Scan.Parallel,
		Worker: worker.Options{Command: s.cfg.Scan.Command, Temp: s.cfg.Scan.Temp, Limits: worker.DefaultLimits},
	})
}

// destroyKeys destroys KMS keys and secrets when their time has come, until ctx
// ends.
func (s *Server) destroyKeys(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := s.storage.KMS.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("destroy KMS keys whose deletion is due", "err", err)
		}
		if err := s.storage.Secrets.Sweep(ctx); err != nil && ctx.Err() == nil {
			s.log.Error("destroy secrets whose deletion is due", "err", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Close ends a server that was never run.
func (s *Server) Close() error { return s.close() }

func (s *Server) close() error {
	var errs []error
	if s.listener != nil {
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if s.cache != nil {
		s.cache.Close()
	}
	if s.storage != nil {
		errs = append(errs, s.storage.Close())
	}
	if s.record != nil {
		errs = append(errs, s.record.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.release())
	}
	return errors.Join(errs...)
}
