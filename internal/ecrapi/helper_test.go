package ecrapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/opencontainers/go-digest"

	"berth/internal/ecr"
	"berth/internal/server/servertest"
)

// A client signs requests by hand, so that it can send what an SDK would not.
type client struct {
	*servertest.Server
	t      testing.TB
	region string
	at     time.Time
	id     string
	secret string
}

func newClient(t testing.TB) *client {
	s := servertest.Start(t)
	return &client{Server: s, t: t, region: s.Region, at: time.Now(), id: s.Root.AccessKeyID, secret: s.Root.SecretAccessKey}
}

// in is the same client for another region.
func (c *client) in(region string) *client {
	d := *c
	d.region = region
	return &d
}

func (c *client) request(operation, body string) *http.Request {
	c.t.Helper()
	req, err := http.NewRequest("POST", c.Endpoint+"/", strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	req.Header.Set("X-Amz-Target", ecr.TargetPrefix+"."+operation)
	return req
}

func (c *client) sign(req *http.Request, body string) *http.Request {
	c.t.Helper()
	hash := digest.FromString(body).Encoded()
	err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: c.id, SecretAccessKey: c.secret}, req, hash, "ecr", c.region, c.at)
	if err != nil {
		c.t.Fatal(err)
	}
	return req
}

// answer is a whole response.
type answer struct {
	t      testing.TB
	what   string
	status int
	header http.Header
	body   string
}

func (c *client) send(req *http.Request) answer {
	c.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		c.t.Fatal(err)
	}
	return answer{c.t, req.Header.Get("X-Amz-Target") + " in " + c.region, resp.StatusCode, resp.Header, string(b)}
}

func (c *client) call(operation, body string) answer {
	c.t.Helper()
	return c.send(c.sign(c.request(operation, body), body))
}

// ok fails unless the call succeeded, and gives its members.
func (a answer) ok() map[string]any {
	a.t.Helper()
	a.form()
	var out map[string]any
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 200 {
		a.t.Fatalf("%s: %d %s %v", a.what, a.status, a.body, err)
	}
	return out
}

// form checks what every answer has.
func (a answer) form() {
	a.t.Helper()
	if ct := a.header.Get("Content-Type"); ct != "application/x-amz-json-1.1" {
		a.t.Errorf("%s: content type %q", a.what, ct)
	}
	if len(a.header.Get("X-Amzn-Requestid")) != 36 {
		a.t.Errorf("%s: request id %q", a.what, a.header.Get("X-Amzn-Requestid"))
	}
}

// refused fails unless the answer is the exception in its modelled form; the
// message must contain text.
func (a answer) refused(status int, exception, text string) map[string]any {
	a.t.Helper()
	a.form()
	var out map[string]any
	dec := json.NewDecoder(bytes.NewReader([]byte(a.body)))
	if err := dec.Decode(&out); err != nil {
		a.t.Errorf("%s: %d %q: %v", a.what, a.status, a.body, err)
		return nil
	}
	message, _ := out["message"].(string)
	if a.status != status || out["__type"] != exception || a.header.Get("X-Amzn-Errortype") != exception || !strings.Contains(message, text) {
		a.t.Errorf("%s: %d %s %s\nwant %d %s with %q", a.what, a.status, a.header.Get("X-Amzn-Errortype"), a.body, status, exception, text)
	}
	return out
}

func (c *client) create(names ...string) {
	c.t.Helper()
	for _, n := range names {
		c.call("CreateRepository", `{"repositoryName":"`+n+`"}`).ok()
	}
}
