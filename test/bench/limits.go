package main

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A limitKind names the limit of the machine that a workload runs into.
type limitKind string

const (
	byDisk     limitKind = "disk"     // every byte pushed is written and flushed
	byFsync    limitKind = "fsync"    // every blob and manifest pushed is durable by itself
	byBytes    limitKind = "bytes"    // a bare server that sends bytes
	byRequests limitKind = "requests" // a bare server that checks a password
)

// limits are what this machine can do at most, in the same run.
type limits struct {
	SHA256   float64 `json:"sha256_mb_per_second_core"`
	AESGCM   float64 `json:"aes256gcm_mb_per_second_core"`
	Disk     float64 `json:"disk_mb_per_second"`
	Fsync1   float64 `json:"fsyncs_per_second_1_writer"`
	Fsync4   float64 `json:"fsyncs_per_second_4_writers"`
	Requests float64 `json:"bare_requests_per_second"`
	Bytes    float64 `json:"bare_mb_per_second"`
}

// share tells how much of its limit a sample reached; 1 is all. A blob is
// pushed in four requests and durable with the last of them.
func (l limits) share(k limitKind, s sample) float64 {
	requests := float64(s.Requests) / s.Seconds
	switch k {
	case byDisk:
		return s.Rate / l.Disk
	case byFsync:
		return requests / 4 / l.Fsync4
	case byBytes:
		return s.Rate / l.Bytes
	default:
		return requests / l.Requests
	}
}

func measureLimits(ctx context.Context, sc scale, dirs *dirs, src *source, bare func(context.Context, string) (*server, error)) (l limits, err error) {
	l.SHA256 = throughput(sc.limit, func(b []byte) { sha256.Sum256(b) })
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		return l, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return l, err
	}
	nonce, sealed := make([]byte, gcm.NonceSize()), make([]byte, 0, mib+gcm.Overhead())
	l.AESGCM = throughput(sc.limit, func(b []byte) { gcm.Seal(sealed, nonce, b, nil) })
	err = dirs.with("limits", func(dir string) (err error) {
		if l.Disk, err = flushes(dir, 4, sc.medium, sc.limit); err != nil {
			return err
		}
		if l.Fsync1, err = fsyncs(dir, 1, sc.limit); err != nil {
			return err
		}
		if l.Fsync4, err = fsyncs(dir, 4, sc.limit); err != nil {
			return err
		}
		s, err := bare(ctx, dir)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, s.stop()) }()
		s.src = src
		small, err := drive(ctx, s, 8, budget{time: sc.limit}, func(ctx context.Context, c *client, _ int) (float64, error) {
			_, err := c.do(ctx, request{method: "GET", target: "/small"}, http.StatusOK)
			return 1, err
		})
		if err != nil {
			return err
		}
		large, err := drive(ctx, s, 4, budget{time: sc.limit}, func(ctx context.Context, c *client, _ int) (float64, error) {
			resp, err := c.do(ctx, request{method: "GET", target: "/large"}, http.StatusOK)
			return float64(resp.size) / 1e6, err
		})
		l.Requests, l.Bytes = small.Rate, large.Rate
		return err
	})
	return l, err
}

// throughput is how many MB fn gets through in a second on one core.
func throughput(d time.Duration, fn func([]byte)) float64 {
	b := make([]byte, mib)
	began, n := time.Now(), 0
	for time.Since(began) < d {
		fn(b)
		n++
	}
	return float64(n) * mib / 1e6 / time.Since(began).Seconds()
}

// flushes writes files of the size given and syncs each, over and over: how
// many MB/s the disk takes from a program that does nothing else.
func flushes(dir string, writers int, size int64, d time.Duration) (float64, error) {
	began := time.Now()
	n, err := together(writers, func(i int) (n int64, err error) {
		b := make([]byte, size)
		rand.Read(b) // never fails (crypto/rand); a disk may be good at zeros
		for k := 0; err == nil && time.Since(began) < d; k++ {
			name := filepath.Join(dir, fmt.Sprintf("flush%d-%d", i, k))
			if err = writeSynced(name, b); err == nil {
				n += size
			}
		}
		return n, err
	})
	return float64(n) / 1e6 / time.Since(began).Seconds(), err
}

func writeSynced(name string, b []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// together runs fn n times at once and adds up what it counts.
func together(n int, fn func(i int) (int64, error)) (int64, error) {
	var (
		sum   atomic.Int64
		group sync.WaitGroup
		errs  = make([]error, n)
	)
	for i := range n {
		group.Go(func() {
			count, err := fn(i)
			sum.Add(count)
			errs[i] = err
		})
	}
	group.Wait()
	return sum.Load(), errors.Join(errs...)
}

// fsyncs appends 4 KiB to a file and syncs it, over and over.
func fsyncs(dir string, writers int, d time.Duration) (float64, error) {
	began := time.Now()
	n, err := together(writers, func(i int) (n int64, err error) {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("sync%d", i)))
		if err != nil {
			return 0, err
		}
		b := make([]byte, 4*kib)
		for err == nil && time.Since(began) < d {
			if _, err = f.Write(b); err == nil {
				err = f.Sync()
			}
			n++
		}
		return n, errors.Join(err, f.Close())
	})
	return float64(n) / time.Since(began).Seconds(), err
}

// bareKey is of no value: the bare server has nothing to protect.
const bareKey = "bare"

// bareServer starts this program as the bare server.
func bareServer(ctx context.Context, dir string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s, _, err := startListening(ctx, "bare server", self, "bare", dir)
	if err == nil {
		s.headers = bareHeaders()
	}
	return s, err
}

func bareHeaders() string {
	password := hmac.New(sha256.New, []byte(bareKey))
	password.Write([]byte("AWS"))
	return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("AWS:"+hex.EncodeToString(password.Sum(nil)))) + "\r\n"
}

// serveBare is the least that a registry in Go can do for an answer: it checks
// a password by HMAC and sends a body, from memory or from a file.
func serveBare(dir string, ready func(addr string)) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	h, err := bareHandler(dir)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	ready(l.Addr().String())
	return (&http.Server{Handler: h, ReadHeaderTimeout: patience}).Serve(l)
}

func bareHandler(dir string) (http.Handler, error) {
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, 4*mib), 0o600); err != nil {
		return nil, err
	}
	small := make([]byte, kib)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		mac := hmac.New(sha256.New, []byte(bareKey))
		mac.Write([]byte(user))
		if given, err := hex.DecodeString(password); err != nil || !hmac.Equal(given, mac.Sum(nil)) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/large" {
			http.ServeFile(w, r, large)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", strconv.Itoa(len(small)))
		_, _ = w.Write(small) // a client that has gone is its own affair
	}), nil
}
