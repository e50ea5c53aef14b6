package server

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// lookInterval is how often the files of a certificate are looked at, at most.
const lookInterval = time.Second

// A certificate is that of the server, read anew when its files change, so that
// one that is renewed needs no restart.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger
	now               func() time.Time

	mu     sync.Mutex
	pair   *tls.Certificate
	looked time.Time
	stamp  string // of the files that were read last, also of those that made no pair
}

// loadCertificate reads a certificate, which must be good now.
func loadCertificate(certFile, keyFile string, log *slog.Logger, now func() time.Time) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, now: now, looked: now()}
	stamp, err := c.files()
	if err != nil {
		return nil, err
	}
	return c, c.read(stamp)
}

// files tells one version of the files from another.
func (c *certificate) files() (string, error) {
	stamp := ""
	for _, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return "", err
		}
		stamp += fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size(), " ")
	}
	return stamp, nil
}

func (c *certificate) read(stamp string) error {
	c.stamp = stamp
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err == nil {
		c.pair = &pair
	}
	return err
}

// get is for [tls.Config].GetCertificate. Files that make no certificate, as
// when only one of them is there yet, leave the one before in use.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := c.now(); now.Sub(c.looked) >= lookInterval {
		c.looked = now
		stamp, err := c.files()
		if err == nil && stamp != c.stamp {
			if err = c.read(stamp); err == nil {
				c.log.Info("read the TLS certificate anew", "file", c.certFile)
			}
		}
		if err != nil {
			c.log.Error("the TLS certificate cannot be read anew: the one before stays in use", "file", c.certFile, "key", c.keyFile, "err", err)
		}
	}
	return c.pair, nil
}
