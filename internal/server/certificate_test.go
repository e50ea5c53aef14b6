package server

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writePair puts a certificate with a serial number and its key into files.
func writePair(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificateIsReadAnew(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	now := time.Now()
	clock := func() time.Time { return now }
	if _, err := loadCertificate(certFile, keyFile, log, clock); err == nil {
		t.Error("files that are not there were loaded")
	}
	writePair(t, certFile, keyFile, 1)
	c, err := loadCertificate(certFile, keyFile, log, clock)
	if err != nil {
		t.Fatal(err)
	}
	serial := func() int64 {
		t.Helper()
		pair, err := c.get(&tls.ClientHelloInfo{})
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	writePair(t, certFile, keyFile, 22)
	if got := serial(); got != 1 {
		t.Errorf("within the interval: certificate %d", got)
	}
	now = now.Add(lookInterval)
	if got := serial(); got != 22 {
		t.Errorf("after the interval: certificate %d", got)
	}
	if err := os.WriteFile(certFile, []byte("half a cert"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		now = now.Add(lookInterval)
		if got := serial(); got != 22 {
			t.Errorf("with a broken file: certificate %d", got)
		}
	}
	if n := strings.Count(said.String(), "cannot be read anew"); n != 1 {
		t.Errorf("said %d times:\n%s", n, said.String())
	}
	writePair(t, certFile, keyFile, 333)
	now = now.Add(lookInterval)
	if got := serial(); got != 333 {
		t.Errorf("mended: certificate %d", got)
	}
}
