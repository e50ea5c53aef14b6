package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
)

// registryClient is the HTTP client for the registry of a credentials file. It trusts the certificate that the file
// names, which is the registry's own (--tls-self-signed), and else those of the system.
func registryClient(values map[string]string) (*http.Client, error) {
	path := values["ca_bundle"]
	if path == "" {
		return http.DefaultClient, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the registry's own certificate: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the file %s has no certificate: start the registry again, which writes it anew", path)
	}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true, // one command asks once or twice
	}}, nil
}
