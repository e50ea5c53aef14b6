package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"

	"berth/internal/testkit"
)

// A remote is a registry in another process, as its credentials file describes it.
type remote struct {
	endpoint string
	ecr      *ecr.Client
	login    string // Authorization header
}

// connect reads the credentials file of a data directory and logs in.
func connect(ctx context.Context, data string) (*remote, error) {
	text, err := os.ReadFile(filepath.Join(data, "credentials"))
	if err != nil {
		return nil, err
	}
	value := func(key string) string {
		if m := regexp.MustCompile(`(?m)^` + key + ` = (.*)$`).FindSubmatch(text); m != nil {
			return string(m[1])
		}
		return ""
	}
	r := &remote{endpoint: value("endpoint_url")}
	r.ecr = ecr.New(ecr.Options{
		BaseEndpoint: aws.String(r.endpoint), Region: value("region"), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(value("aws_access_key_id"), value("aws_secret_access_key"), ""),
	})
	out, err := r.ecr.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, err
	}
	r.login = "Basic " + *out.AuthorizationData[0].AuthorizationToken
	return r, nil
}

// do sends a request and expects a status. The headers come in pairs.
func (r *remote) do(ctx context.Context, status int, method, path string, body io.Reader, headers ...string) (_ http.Header, _ []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, r.endpoint+path, body)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", r.login)
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != status {
		err = fmt.Errorf("%s %s: %s, expected %d: %s", method, path, resp.Status, status, answer)
	}
	return resp.Header, answer, err
}

// push stores content and returns when the last 201 has come.
func (r *remote) push(ctx context.Context, repository, tag string, content testkit.Content) error {
	for b, manifest := range content.All() {
		d := b.Descriptor.Digest.String()
		var err error
		switch {
		case !manifest:
			_, _, err = r.do(ctx, http.StatusCreated, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest="+d, bytes.NewReader(b.Bytes))
		case d == content.Digest().String():
			_, _, err = r.do(ctx, http.StatusCreated, http.MethodPut, "/v2/"+repository+"/manifests/"+tag, bytes.NewReader(b.Bytes), "Content-Type", b.Descriptor.MediaType)
		default:
			_, _, err = r.do(ctx, http.StatusCreated, http.MethodPut, "/v2/"+repository+"/manifests/"+d, bytes.NewReader(b.Bytes), "Content-Type", b.Descriptor.MediaType)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holds compares what the registry serves with content, byte for byte.
func (r *remote) holds(ctx context.Context, repository, tag string, content testkit.Content) error {
	header, _, err := r.do(ctx, http.StatusOK, http.MethodHead, "/v2/"+repository+"/manifests/"+tag, nil)
	if err != nil {
		return err
	}
	if got := header.Get("Docker-Content-Digest"); got != content.Digest().String() {
		return fmt.Errorf("%s:%s is %s, pushed was %s", repository, tag, got, content.Digest())
	}
	for b, manifest := range content.All() {
		path := "/v2/" + repository + "/blobs/" + b.Descriptor.Digest.String()
		if manifest {
			path = "/v2/" + repository + "/manifests/" + b.Descriptor.Digest.String()
		}
		_, got, err := r.do(ctx, http.StatusOK, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		if !bytes.Equal(got, b.Bytes) {
			return fmt.Errorf("GET %s gives other bytes than those pushed", path)
		}
	}
	return nil
}
