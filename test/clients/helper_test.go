package clients

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"berth/internal/server"
	"berth/internal/testkit"
)

// TestCredentialHelperOfAWS asks AWS's docker-credential-ecr-login for a
// password. It knows only registries with host names like those of AWS, and
// only over TLS; its endpoint and trust come from the environment.
func TestCredentialHelperOfAWS(t *testing.T) {
	t.Parallel()
	helper := newClient(t, "docker-credential-ecr-login")
	cert, key, trust := certificate(t)
	listen := net.JoinHostPort("127.0.0.1", strconv.Itoa(testkit.FreePort(t)))
	s := serve(t, server.Config{
		Listen: listen, Data: t.TempDir(), Region: "us-east-1", Database: "sqlite", Blobs: "file",
		RegistryHost: "%a.dkr.ecr.%r.amazonaws.com", TLSCert: cert, TLSKey: key,
	})
	const registry = "000000000000.dkr.ecr.us-east-1.amazonaws.com"

	helper.env = append(helper.env, "AWS_ENDPOINT_URL=https://"+listen, "AWS_CA_BUNDLE="+cert, "AWS_EC2_METADATA_DISABLED=true",
		"AWS_ACCESS_KEY_ID="+s.Root().AccessKeyID, "AWS_SECRET_ACCESS_KEY="+s.Root().SecretAccessKey)
	ask := helper.command([]string{"get"})
	ask.Stdin = registry
	var credentials struct{ Username, Secret string }
	if err := json.Unmarshal([]byte(ask.Run(t).Stdout), &credentials); err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trust}}}
	if status := statusAs(t, browser, "https://"+listen, credentials.Username, credentials.Secret); status != http.StatusOK {
		t.Errorf("the helper's password gets %d, expected 200", status)
	}
	if status := statusAs(t, browser, "https://"+listen, credentials.Username, wrongPassword); status != http.StatusUnauthorized {
		t.Errorf("a wrong password gets %d, expected 401", status)
	}

	// With a wrong secret there is no password; the helper says why in its log alone.
	home := t.TempDir() // the helper keeps its cache and its log there
	helper.env = append(helper.env, "AWS_SECRET_ACCESS_KEY=wrong", "HOME="+home)
	ask = helper.command([]string{"get"})
	ask.Stdin, ask.WantExit = registry, 1
	ask.Run(t)
	if log := string(readFile(t, filepath.Join(home, ".ecr", "log", "ecr-login.log"))); !strings.Contains(log, "InvalidSignatureException") {
		t.Errorf("the helper's log does not name the reason:\n%s", log)
	}
}

// serve runs a server of that configuration until the test ends.
func serve(t *testing.T, cfg server.Config) *server.Server {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s, err := server.New(ctx, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("stop the server: %v", err)
		}
	})
	return s
}

// certificate makes a certificate for 127.0.0.1 that is its own authority, as
// PEM files and as what clients trust.
func certificate(t *testing.T) (certFile, keyFile string, trust *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "berth test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	certFile = writeFile(t, filepath.Join(dir, "cert.pem"), string(text))
	keyFile = writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})))
	trust = x509.NewCertPool()
	if !trust.AppendCertsFromPEM(text) {
		t.Fatal("the certificate made cannot be read")
	}
	return certFile, keyFile, trust
}

// statusAs is what a user gets at the door of the Distribution API.
func statusAs(t *testing.T, browser *http.Client, endpoint, user, password string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, endpoint+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(user, password)
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}
