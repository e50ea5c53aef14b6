package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

const benchSecret = "bench-secret-of-no-value" // the server lives as long as the measurement, on loopback

// startBerth starts a server on a fresh directory.
func startBerth(ctx context.Context, binary string) (*subject, error) {
	dir, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "serve", "--listen", "127.0.0.1:0", "--data", filepath.Join(dir, "data"),
		"--root-access-key-id", "BENCH", "--root-secret-access-key", benchSecret, "--log-level", "error")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("berth said nothing: %w", err)
	}
	go func() { _, _ = io.Copy(os.Stderr, stderr) }()
	s := &subject{name: "berth", endpoint: strings.TrimSpace(strings.TrimPrefix(line, "listening on ")), cmd: cmd, dir: dir}
	client := ecr.New(ecr.Options{
		BaseEndpoint: aws.String(s.endpoint), Region: "us-east-1",
		Credentials: credentials.NewStaticCredentialsProvider("BENCH", benchSecret, ""),
	})
	token, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, err
	}
	r := http.Request{Header: http.Header{"Authorization": {"Basic " + *token.AuthorizationData[0].AuthorizationToken}}}
	s.user, s.password, _ = r.BasicAuth()
	s.prepare = func(ctx context.Context, repository string) error {
		_, err := client.CreateRepository(ctx, &ecr.CreateRepositoryInput{RepositoryName: aws.String(repository)})
		return err
	}
	return s, nil
}

// startDistribution starts CNCF distribution on a fresh directory, without
// authentication, which is to its advantage.
func startDistribution(ctx context.Context, binary string) (*subject, error) {
	dir, err := os.MkdirTemp("", "distribution-bench-")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: %s\n  delete:\n    enabled: true\nhttp:\n  addr: %s\n", filepath.Join(dir, "data"), addr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, binary, "serve", config)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	cmd.Stderr = io.Discard
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &subject{name: "distribution", endpoint: "http://" + addr, cmd: cmd, dir: dir,
		prepare: func(context.Context, string) error { return nil }}
	return s, waitReady(ctx, s.endpoint)
}

func waitReady(ctx context.Context, endpoint string) error {
	var last error
	for range 100 {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/v2/", nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		last = err
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s does not answer: %w", endpoint, last)
}
