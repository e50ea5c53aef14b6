package server

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"berth/internal/oidc"
)

// openIssuers makes what fetches the keys of identity providers.
func openIssuers(cfg Config, log *slog.Logger) (*oidc.Client, error) {
	networks, err := parseNetworks(cfg.PrivateNetworks)
	if err != nil {
		return nil, err
	}
	o := oidc.Options{Private: networks, Now: time.Now, Log: log}
	if cfg.OIDCCA != "" {
		if o.Roots, err = readCertificates(cfg.OIDCCA); err != nil {
			return nil, fmt.Errorf("read the certificates of --oidc-ca: %w", err)
		}
	}
	return oidc.New(o)
}

// parseNetworks reads networks with commas between them.
func parseNetworks(list string) (out []netip.Prefix, err error) {
	for text := range strings.SplitSeq(list, ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("private network %q is not of the form 10.0.0.0/8: see --private-networks", text)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// readCertificates reads a PEM file of certificates.
func readCertificates(path string) (out []*x509.Certificate, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("%s has a %s, and certificates are wanted only", path, block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s has no PEM certificate", path)
	}
	return out, nil
}
