package server

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files of the certificates that a server makes for itself, below the data
// directory; both keys are for their owner only.
const (
	selfSignedDir  = "tls"
	selfSignedCA   = "ca.pem"
	selfSignedKey  = "ca.key"
	selfSignedPair = "server.pem" // certificate and key in one file, so that they are replaced together
)

// How long the certificates last, and how long before their end they are made anew.
const (
	caLifetime   = 10 * 365 * 24 * time.Hour
	certLifetime = 397 * 24 * time.Hour // clients refuse longer ones
	renewBefore  = 30 * 24 * time.Hour
	renewEvery   = 12 * time.Hour
)

// A selfSigned is a certificate authority of one server, and its certificate.
type selfSigned struct {
	dir   string
	names []string // DNS names and addresses
	now   func() time.Time
	log   *slog.Logger
}

func (s selfSigned) path(name string) string { return filepath.Join(s.dir, name) }

// ensure makes what is missing, near its end, or for other names. The authority
// stays as long as it can, since clients were told to trust it.
func (s selfSigned) ensure() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of the server's own certificates: %w", err)
	}
	ca, key, err := s.authority()
	if err != nil {
		return fmt.Errorf("make the server's own certificate authority in %s: %w", s.dir, err)
	}
	if s.good(ca) {
		return nil
	}
	if err := s.issue(ca, key); err != nil {
		return fmt.Errorf("make the server's own certificate in %s: %w", s.dir, err)
	}
	s.log.Info("made a TLS certificate", "names", strings.Join(s.names, " "), "authority", s.path(selfSignedCA))
	return nil
}

// authority reads the authority, or makes it.
func (s selfSigned) authority() (*x509.Certificate, crypto.Signer, error) {
	pair, err := tls.LoadX509KeyPair(s.path(selfSignedCA), s.path(selfSignedKey))
	if err == nil {
		key, ok := pair.PrivateKey.(crypto.Signer)
		if ok && s.now().Add(renewBefore).Before(pair.Leaf.NotAfter) {
			return pair.Leaf, key, nil
		}
		s.log.Warn("the server's own certificate authority ends and is made anew: clients have to trust the new one", "file", s.path(selfSignedCA))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err // damaged: the operator decides whether clients shall trust another
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template, err := s.template("Berth "+rand.Text()[:8], caLifetime)
	if err != nil {
		return nil, nil, err
	}
	template.IsCA, template.MaxPathLenZero, template.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	text, err := keyPEM(key)
	if err == nil {
		err = replaceFile(s.path(selfSignedKey), text)
	}
	if err == nil {
		err = replaceFile(s.path(selfSignedCA), certPEM(der))
	}
	return ca, key, err
}

func (s selfSigned) template(name string, length time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Berth"}},
		NotBefore: s.now().Add(-time.Hour), NotAfter: s.now().Add(length), BasicConstraintsValid: true,
	}, nil
}

// good tells whether the certificate may stay.
func (s selfSigned) good(ca *x509.Certificate) bool {
	pair, err := tls.LoadX509KeyPair(s.path(selfSignedPair), s.path(selfSignedPair))
	if err != nil || !s.now().Add(renewBefore).Before(pair.Leaf.NotAfter) || pair.Leaf.CheckSignatureFrom(ca) != nil {
		return false
	}
	have := slices.Clone(pair.Leaf.DNSNames)
	for _, ip := range pair.Leaf.IPAddresses {
		have = append(have, ip.String())
	}
	return !slices.ContainsFunc(s.names, func(name string) bool { return !slices.Contains(have, name) })
}

// issue makes the certificate.
func (s selfSigned) issue(ca *x509.Certificate, signer crypto.Signer) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := s.template("berth", certLifetime)
	if err != nil {
		return err
	}
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range s.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	if template.NotAfter.After(ca.NotAfter) {
		template.NotAfter = ca.NotAfter
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, &key.PublicKey, signer)
	if err != nil {
		return err
	}
	text, err := keyPEM(key)
	if err != nil {
		return err
	}
	return replaceFile(s.path(selfSignedPair), slices.Concat(certPEM(der), certPEM(ca.Raw), text))
}

// renew makes the certificate anew before it ends, until ctx does. The server
// reads it by itself.
func (s selfSigned) renew(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := s.ensure(); err != nil {
				s.log.Error("renew the TLS certificate", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func keyPEM(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// certificateNames are the names under which a server is reached: loopback, what
// it listens on, and the hosts of registries, with any account in the home region.
func (n naming) certificateNames(listen string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	add := func(host string) {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip := net.ParseIP(strings.Trim(host, "[]"))
		if ip != nil {
			host = ip.String()
		}
		if host != "" && (ip == nil || !ip.IsUnspecified()) && !slices.Contains(names, host) {
			names = append(names, host)
		}
	}
	add(listen)
	if host, err := os.Hostname(); err == nil && !isLoopbackListen(listen) {
		add(strings.ToLower(host))
	}
	// Accounts are one label where they begin a name, and then a wildcard stands for all of them.
	for _, account := range []string{n.home.Account, "*"} {
		host := n.hostOf(n.home)
		if n.pattern != nil {
			host = strings.NewReplacer("%a", account, "%r", n.home.Region).Replace(n.host)
		}
		if !strings.Contains(host, "*") || strings.HasPrefix(host, "*.") && strings.Count(host, "*") == 1 {
			add(host)
		}
	}
	if n.pattern == nil {
		other := n.home
		other.Account = "*"
		add(n.hostOf(other))
	}
	slices.SortStableFunc(names, func(a, b string) int {
		return cmp.Compare(strings.Count(a, "*"), strings.Count(b, "*"))
	})
	return names
}

func isLoopbackListen(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	return err == nil && isLoopback(host)
}

// CA is the file of the certificate that clients have to trust; empty: the server
// makes none itself.
func (s *Server) CA() string {
	if !s.cfg.TLSSelfSigned {
		return ""
	}
	path := filepath.Join(s.cfg.Data, selfSignedDir, selfSignedCA)
	if abs, err := filepath.Abs(path); err == nil { // for shells in other directories
		return abs
	}
	return path
}

// secure puts TLS with a certificate of the server's own before its listener.
func (s *Server) secure() error {
	s.own = &selfSigned{dir: filepath.Join(s.cfg.Data, selfSignedDir), names: s.names.certificateNames(s.cfg.Listen), now: time.Now, log: s.log}
	if err := s.own.ensure(); err != nil {
		return err
	}
	l, err := withTLS(s.listener, s.own.path(selfSignedPair), s.own.path(selfSignedPair), s.log)
	if err == nil {
		s.listener = l
	}
	return err
}

// replaceFile writes a file that only its owner can read, as a whole.
func replaceFile(path string, text []byte) error {
	tmp := path + ".new"
	// What a crash left behind may have another mode, or lead elsewhere.
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNew(tmp, string(bytes.TrimSpace(text))+"\n"); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
