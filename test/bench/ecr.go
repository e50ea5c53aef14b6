package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// An ecrClient calls the ECR API over the load client's own connection, so that
// the time of a call has no client in it that takes longer than the server.
type ecrClient struct {
	addr string
	keys aws.Credentials
}

func newECR(addr, id, secret string) *ecrClient {
	return &ecrClient{addr, aws.Credentials{AccessKeyID: id, SecretAccessKey: secret}}
}

// sign makes the request of one call.
func (c *ecrClient) sign(ctx context.Context, operation string, input any) (request, error) {
	body, err := json.Marshal(input)
	if err != nil {
		return request{}, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.addr+"/", bytes.NewReader(body))
	if err != nil {
		return request{}, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921."+operation)
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, c.keys, r, hex.EncodeToString(sum[:]), "ecr", benchRegion, time.Now()); err != nil {
		return request{}, err
	}
	var headers strings.Builder
	for name, values := range r.Header {
		fmt.Fprintf(&headers, "%s: %s\r\n", name, values[0])
	}
	return request{method: "POST", target: "/", headers: headers.String(), src: &source{}, body: blob{size: int64(len(body)), end: body},
		keep: &bytes.Buffer{}}, nil
}

// call makes one call and returns how long the answer took.
func (c *ecrClient) call(ctx context.Context, w *wire, operation string, input, output any) (time.Duration, error) {
	q, err := c.sign(ctx, operation, input)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	resp, err := w.do(ctx, q)
	took := time.Since(began)
	if err != nil {
		return took, err
	}
	if resp.status != http.StatusOK {
		return took, fmt.Errorf("%s answered %d: %.300s", operation, resp.status, q.keep.Bytes())
	}
	return took, json.Unmarshal(q.keep.Bytes(), output)
}

// once makes a call on a connection of its own.
func (c *ecrClient) once(ctx context.Context, operation string, input, output any) error {
	w := newWire(c.addr)
	if _, err := c.call(ctx, w, operation, input, output); err != nil {
		return err
	}
	return w.close()
}

func (c *ecrClient) createRepository(ctx context.Context, name string) error {
	return c.once(ctx, "CreateRepository", map[string]any{"repositoryName": name}, &struct{}{})
}

// authorization is the token for Basic authentication.
func (c *ecrClient) authorization(ctx context.Context) (string, error) {
	var out struct {
		AuthorizationData []struct{ AuthorizationToken string }
	}
	if err := c.once(ctx, "GetAuthorizationToken", struct{}{}, &out); err != nil {
		return "", err
	}
	if len(out.AuthorizationData) != 1 {
		return "", fmt.Errorf("GetAuthorizationToken gave %d tokens", len(out.AuthorizationData))
	}
	return out.AuthorizationData[0].AuthorizationToken, nil
}
