// Package wire is a small client of the registry for the tests that break it: it tells an answer from no answer, which
// is all that counts there, and retries nothing.
package wire

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/opencontainers/go-digest"

	"berth/internal/testkit"
)

// ErrNoAnswer says that a request may have been done or not.
var ErrNoAnswer = errors.New("no answer")

// Client speaks to one server as its root user.
type Client struct {
	ECR      *ecr.Client
	endpoint string
	login    string
	http     *http.Client
}

// Dial makes a client and logs in.
func Dial(ctx context.Context, endpoint, region, accessKey, secret string) (*Client, error) {
	c := &Client{endpoint: endpoint, http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: time.Minute}}
	c.ECR = ecr.New(ecr.Options{
		BaseEndpoint: aws.String(endpoint), Region: region, Retryer: aws.NopRetryer{}, HTTPClient: c.http,
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, secret, ""),
	})
	out, err := c.ECR.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, err
	}
	if _, err := base64.StdEncoding.DecodeString(*out.AuthorizationData[0].AuthorizationToken); err != nil {
		return nil, err
	}
	c.login = "Basic " + *out.AuthorizationData[0].AuthorizationToken
	return c, nil
}

// Close drops the client's connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// An Answer is a whole response.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends one request; headers come in pairs. Any failure to get the whole
// answer is [ErrNoAnswer].
func (c *Client) Do(ctx context.Context, method, path string, body io.Reader, headers ...string) (Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.endpoint+path, body)
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("Authorization", c.login)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return Answer{resp.StatusCode, resp.Header, b}, nil
}

// Want sends one request and fails on another status than the one wanted.
func (c *Client) Want(ctx context.Context, status int, method, path string, body []byte, headers ...string) (Answer, error) {
	a, err := c.Do(ctx, method, path, bytes.NewReader(body), headers...)
	if err == nil && a.Status != status {
		err = &StatusError{Request: method + " " + path, Want: status, Answer: a}
	}
	return a, err
}

// A StatusError is an answer that was not expected.
type StatusError struct {
	Request string
	Want    int
	Answer
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: status %d where %d is expected: %s", e.Request, e.Status, e.Want, e.Body)
}

// PutBlob pushes a blob in one request.
func (c *Client) PutBlob(ctx context.Context, repository string, b testkit.Blob) error {
	_, err := c.Want(ctx, http.StatusCreated, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+b.Descriptor.Digest.String(), b.Bytes)
	return err
}

// PutManifest pushes a manifest under a tag or its digest.
func (c *Client) PutManifest(ctx context.Context, repository, ref string, m testkit.Blob) error {
	_, err := c.Want(ctx, http.StatusCreated, http.MethodPut, "/v2/"+repository+"/manifests/"+ref, m.Bytes, "Content-Type", m.Descriptor.MediaType)
	return err
}

// Pull reads a whole image or index and compares every byte of it.
func (c *Client) Pull(ctx context.Context, repository, ref string, want testkit.Content) error {
	for b, manifest := range want.All() {
		d := b.Descriptor.Digest
		path := "/v2/" + repository + "/blobs/" + d.String()
		switch {
		case manifest && d == want.Digest():
			path = "/v2/" + repository + "/manifests/" + ref
		case manifest:
			path = "/v2/" + repository + "/manifests/" + d.String()
		}
		a, err := c.Want(ctx, http.StatusOK, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		if !bytes.Equal(a.Body, b.Bytes) {
			return fmt.Errorf("GET %s gives other bytes than those pushed (%s, %d bytes, where %s, %d bytes, were)",
				path, digest.FromBytes(a.Body), len(a.Body), d, len(b.Bytes))
		}
	}
	return nil
}
