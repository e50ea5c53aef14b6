package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/internal/blob"
	"berth/internal/blob/blobtest"
	"berth/internal/testkit"
)

// TestRequests says what each step costs, for the shapes of upload that clients make. No step lists keys.
func TestRequests(t *testing.T) {
	server, p := testkit.S3(t), &proxy{}
	s := open(t, server, "requests", p)
	expect := func(step, want string) {
		t.Helper()
		if got := p.take(); got != want {
			t.Errorf("%s: %q, want %q", step, got, want)
		}
	}
	p.take()

	small := blobtest.Append(t, s, blobtest.New("small"), blobtest.Bytes(4096))
	expect("append 4 KiB", "Put 1")
	c := blobtest.Commit(t, s, small)
	expect("commit 4 KiB", "Head 1")
	blobtest.Read(t, s, c)
	expect("read 4 KiB", "Get 1")
	if err := s.Discard(context.Background(), small); err != nil {
		t.Fatal(err)
	}
	expect("discard 4 KiB", "")
	if err := s.Delete(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	expect("delete", "Delete 1")

	empty := blobtest.Append(t, s, blobtest.New("empty"), nil)
	expect("a round without bytes", "")
	blobtest.Commit(t, s, empty)
	expect("commit no bytes", "Put 1")

	two := blobtest.Append(t, s, small1(t, s, p), blobtest.Bytes(100))
	expect("a second small round", "Get 1, Put 1")
	blobtest.Commit(t, s, two)
	expect("commit two small rounds", "Delete 1, Get 1, Put 1")

	large := blobtest.Append(t, s, blobtest.New("large"), blobtest.Bytes(64<<20))
	expect("append 64 MiB", "Create 1, Part 12, Put 1")
	c = blobtest.Commit(t, s, large)
	expect("commit 64 MiB", "Complete 1, Delete 1, Get 1, Part 1")
	blobtest.Read(t, s, c)
	expect("read 64 MiB", "Get 1")
	r, err := s.Open(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Seek(-100, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	expect("read the end of 64 MiB", "Get 2")

	whole := blobtest.Append(t, s, blobtest.New("whole"), blobtest.Bytes(10<<20))
	expect("append 10 MiB", "Create 1, Part 2")
	blobtest.Commit(t, s, whole)
	expect("commit 10 MiB", "Complete 1")
	dropped := blobtest.Append(t, s, blobtest.New("dropped"), blobtest.Bytes(6<<20))
	p.take()
	if err := s.Discard(context.Background(), dropped); err != nil {
		t.Fatal(err)
	}
	expect("discard 6 MiB", "Abort 1, Delete 1")
	if _, err := s.Append(context.Background(), blobtest.New("a/b")); err == nil {
		t.Error("a hostile name is taken")
	}
	expect("a hostile name", "")
}

func small1(t *testing.T, s *Store, p *proxy) blob.Stage {
	t.Helper()
	st := blobtest.Append(t, s, blobtest.New("two"), blobtest.Bytes(100))
	p.take()
	return st
}

// TestEncryptionHeaders: what S3 is told about encryption goes with every object and multipart upload. The server of
// the tests encrypts nothing, so the headers are looked at on their way and taken off.
func TestEncryptionHeaders(t *testing.T) {
	server := testkit.S3(t)
	names := []string{"X-Amz-Server-Side-Encryption", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"}
	for _, c := range []struct {
		name           string
		options        func(*Options)
		mode, key, err string
	}{
		{"none", func(*Options) {}, "", "", ""},
		{"AES256", func(o *Options) { o.SSE = "AES256" }, "AES256", "", ""},
		{"KMS", func(o *Options) { o.SSE, o.KMSKeyID = "aws:kms", "key-1" }, "aws:kms", "key-1", ""},
		{"by domain", func(o *Options) {
			o.SSE = "AES256"
			o.Encryption = func(_ context.Context, domain string) (string, string, error) {
				return "aws:kms:dsse", "key-of-" + domain[:12], nil
			}
		}, "aws:kms:dsse", "key-of-" + blobtest.New("x").Domain[:12], ""},
		{"refused", func(o *Options) {
			o.Encryption = func(context.Context, string) (string, string, error) {
				return "", "", errors.New("the key is disabled")
			}
		}, "", "", "the key is disabled"},
		{"nonsense", func(o *Options) {
			o.Encryption = func(context.Context, string) (string, string, error) { return "rot13", "", nil }
		}, "", "", "rot13"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &proxy{}
			s := open(t, server, "sse-"+strings.ReplaceAll(c.name, " ", "-"), p)
			c.options(&s.options)
			writes := 0
			p.set(func(op string, _ int, r *http.Request) (*http.Response, error) {
				mode, key := r.Header.Get(names[0]), r.Header.Get(names[1])
				if op != "Put" && op != "Create" {
					if mode != "" || key != "" {
						t.Errorf("%s says %q, %q", op, mode, key)
					}
					return nil, nil
				}
				writes++
				if mode != c.mode || key != c.key {
					t.Errorf("%s says %q, %q", op, mode, key)
				}
				if mode == "" {
					return nil, nil
				}
				// The headers are signed, so the request cannot go on without them.
				response := respond(r, http.StatusOK, "")
				if response.Header.Set("ETag", `"x"`); op == "Create" {
					response.Body = io.NopCloser(strings.NewReader(`<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>`))
					response.ContentLength = -1
				}
				return response, nil
			}, nil)
			w, err := s.Append(context.Background(), blobtest.New("up-1"))
			if err != nil {
				t.Fatal(err)
			}
			_, err = w.Write([]byte("x"))
			_, closeErr := w.Close()
			err = errors.Join(err, closeErr)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || errors.Is(err, blob.ErrUnavailable) {
					t.Errorf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			create := &staged{s: s, ctx: context.Background(), stage: blobtest.New("up-2")}
			if err := create.create(false); err != nil {
				t.Fatal(err)
			}
			if writes != 2 {
				t.Errorf("%d writes were seen", writes)
			}
		})
	}
}

// TestURL: anyone can fetch a copy by its URL for a while, and what the URL says is the copy.
func TestURL(t *testing.T) {
	server := testkit.S3(t)
	s := open(t, server, "url", nil)
	c := blobtest.Put(t, s, "up-1", blobtest.Bytes(100_000))
	u, err := s.URL(context.Background(), c, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(u, server.SecretKey) || !strings.Contains(u, "X-Amz-Expires=60") {
		t.Errorf("the URL is %s", u)
	}
	response, err := http.Get(u)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil || response.StatusCode != http.StatusOK || string(b) != string(blobtest.Bytes(100_000)) {
		t.Errorf("the URL gives %s and %d bytes (%v)", response.Status, len(b), err)
	}
	for _, valid := range []time.Duration{0, -time.Second, 8 * 24 * time.Hour} {
		if _, err := s.URL(context.Background(), c, valid); err == nil {
			t.Errorf("a URL valid for %s was signed", valid)
		}
	}
}
