package server

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/meta"
)

// leaf reads the certificate that the server shows.
func leaf(t *testing.T, s *selfSigned) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(s.path(selfSignedPair))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSelfSigned(t *testing.T) {
	now := time.Now()
	s := &selfSigned{
		dir: filepath.Join(t.TempDir(), "tls"), names: []string{"localhost", "127.0.0.1", "::1", "*.dkr.ecr.us-east-1.localhost"},
		now: func() time.Time { return now }, log: slog.New(slog.DiscardHandler),
	}
	ensure := func() {
		t.Helper()
		if err := s.ensure(); err != nil {
			t.Fatal(err)
		}
	}
	ensure()
	ca, first := read(t, s.path(selfSignedCA)), leaf(t, s)
	trusts := func(name string) error {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(read(t, s.path(selfSignedCA)))
		_, err := leaf(t, s).Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now})
		return err
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "123456789012.dkr.ecr.us-east-1.localhost"} {
		if err := trusts(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if trusts("example.com") == nil || trusts("10.0.0.1") == nil {
		t.Error("the certificate is good for any name")
	}
	err := filepath.WalkDir(s.dir, func(path string, e os.DirEntry, err error) error {
		info, err2 := e.Info()
		if err == nil {
			err = err2
		}
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %04o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}

	ensure()
	if !leaf(t, s).Equal(first) {
		t.Error("a second start made another certificate")
	}
	s.names = append(s.names, "registry.example.com")
	ensure()
	if err := trusts("registry.example.com"); err != nil {
		t.Error(err)
	}
	second := leaf(t, s)
	now = second.NotAfter.Add(-renewBefore - time.Minute)
	ensure()
	if !leaf(t, s).Equal(second) {
		t.Error("renewed too early")
	}
	now = now.Add(2 * time.Minute)
	ensure()
	if third := leaf(t, s); third.Equal(second) || trusts("localhost") != nil {
		t.Errorf("not renewed in time: until %s", third.NotAfter)
	}
	if !bytes.Equal(ca, read(t, s.path(selfSignedCA))) {
		t.Error("the authority was made anew, and clients would have to trust another")
	}
	now = now.Add(caLifetime)
	ensure()
	if bytes.Equal(ca, read(t, s.path(selfSignedCA))) || trusts("localhost") != nil {
		t.Error("the authority was not made anew at its end")
	}

	if err := os.WriteFile(s.path(selfSignedCA), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.ensure(); err == nil || !strings.Contains(err.Error(), "certificate authority") {
		t.Errorf("a damaged authority: %v", err)
	}
}

func TestCertificateNames(t *testing.T) {
	home := meta.Scope{Account: "000000000000", Region: "eu-west-1"}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5050}
	for what, tc := range map[string]struct {
		cfg  Config
		want []string
	}{
		"loopback":        {Config{Listen: "127.0.0.1:5050"}, []string{"*.dkr.ecr.eu-west-1.localhost"}},
		"a host":          {Config{Listen: "127.0.0.1:5050", RegistryHost: "registry.example.com"}, []string{"registry.example.com", "*.dkr.ecr.eu-west-1.registry.example.com"}},
		"a template":      {Config{Listen: "127.0.0.1:5050", RegistryHost: "%a.dkr.ecr.%r.example.com:8443"}, []string{"000000000000.dkr.ecr.eu-west-1.example.com", "*.dkr.ecr.eu-west-1.example.com"}},
		"another address": {Config{Listen: "192.0.2.7:5050", RegistryHost: "192.0.2.7:5050"}, []string{"192.0.2.7", "*.dkr.ecr.eu-west-1.localhost"}},
		"no wildcard":     {Config{Listen: "127.0.0.1:5050", RegistryHost: "r-%a.example.com"}, []string{"r-000000000000.example.com"}},
	} {
		got := newNaming(tc.cfg, home, addr).certificateNames(tc.cfg.Listen)
		for _, want := range append([]string{"localhost", "127.0.0.1", "::1"}, tc.want...) {
			if !slices.Contains(got, want) {
				t.Errorf("%s: %q lacks %s", what, got, want)
			}
		}
		for _, name := range got {
			if strings.Count(name, "*") > 1 || strings.Contains(strings.TrimPrefix(name, "*."), "*") || strings.Contains(name, "%") {
				t.Errorf("%s: %q is no name of a certificate", what, name)
			}
		}
	}
}
