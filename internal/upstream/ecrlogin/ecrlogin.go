// Package ecrlogin logs in at private registries of Amazon ECR, or of another
// Berth, by the ECR API: with the server's own AWS identity, or a role that it
// assumes.
//
// Source: API_GetAuthorizationToken; ECR User Guide, "IAM policies required for
// cross-account ECR to ECR pull through cache".
package ecrlogin

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"berth/internal/upstream"
)

// keepFor is how long a password is used at most; those of ECR last twelve hours.
const keepFor = time.Hour

// timeout is how long a login may take.
const timeout = 20 * time.Second

// sessionName is that of sessions of assumed roles.
const sessionName = "berth-pull-through-cache"

// maxKept bounds how many passwords are kept.
const maxKept = 1000

// host is that of a private registry, with the region in it.
var host = regexp.MustCompile(`^\d{12}\.dkr[.-]ecr(?:-fips)?\.([a-z0-9-]+)\.(?:amazonaws\.com(?:\.cn)?|on\.aws)$`)

// A Login makes passwords, and keeps them for a while. Its methods may be called at
// the same time.
type Login struct {
	load    func(ctx context.Context) (aws.Config, error)
	mapping upstream.Mapping
	now     func() time.Time

	mu   sync.Mutex
	kept map[key]password
}

type key struct{ host, role string }

type password struct {
	who   upstream.Credentials
	until time.Time
}

// New makes a login. load gives the server's own AWS configuration; a host that is
// mapped to a URL has the APIs of ECR and STS there too, as a Berth has.
func New(load func(ctx context.Context) (aws.Config, error), mapping upstream.Mapping, now func() time.Time) *Login {
	return &Login{load: load, mapping: mapping, now: now, kept: map[key]password{}}
}

// Credentials are a user name and a password for a private registry. role is the
// ARN of a role that is assumed for it; empty: none is. What AWS refuses is an
// *[upstream.Error].
func (l *Login) Credentials(ctx context.Context, name, role string) (upstream.Credentials, error) {
	name = strings.ToLower(name)
	k := key{name, role}
	l.mu.Lock()
	have, ok := l.kept[k]
	l.mu.Unlock()
	if ok && l.now().Before(have.until) {
		return have.who, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	fresh, err := l.fetch(ctx, name, role)
	if err != nil {
		return upstream.Credentials{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) >= maxKept {
		clear(l.kept)
	}
	l.kept[k] = fresh
	return fresh.who, nil
}

func (l *Login) fetch(ctx context.Context, name, role string) (password, error) {
	parts := host.FindStringSubmatch(name)
	if parts == nil {
		return password{}, fmt.Errorf("%s is not the host of a private registry of ECR", name)
	}
	cfg, err := l.load(ctx)
	if err != nil {
		return password{}, fmt.Errorf("load the AWS configuration for the upstream registry %s: %w", name, err)
	}
	cfg.Region = parts[1]
	if at := l.mapping[name]; at != nil {
		cfg.BaseEndpoint = aws.String((&url.URL{Scheme: at.Scheme, Host: at.Host}).String())
	}
	if role != "" {
		out, err := sts.NewFromConfig(cfg).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: &role, RoleSessionName: aws.String(sessionName)})
		if err != nil || out.Credentials == nil {
			return password{}, refusal(name, "did not let us assume the role "+role, err)
		}
		c := out.Credentials
		cfg.Credentials = credentials.NewStaticCredentialsProvider(aws.ToString(c.AccessKeyId), aws.ToString(c.SecretAccessKey), aws.ToString(c.SessionToken))
	}
	out, err := ecr.NewFromConfig(cfg).GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil || len(out.AuthorizationData) == 0 {
		return password{}, refusal(name, "gave no password", err)
	}
	data := out.AuthorizationData[0]
	text, err := base64.StdEncoding.DecodeString(aws.ToString(data.AuthorizationToken))
	user, secret, ok := strings.Cut(string(text), ":")
	if err != nil || !ok {
		return password{}, &upstream.Error{Kind: upstream.Malformed, Host: name, Message: "gave a password that is none"}
	}
	until := l.now().Add(keepFor)
	if end := data.ExpiresAt; end != nil && end.Add(-5*time.Minute).Before(until) {
		until = end.Add(-5 * time.Minute)
	}
	return password{upstream.Credentials{Username: user, Password: secret}, until}, nil
}

// refusal is what AWS answered, without what only its support understands.
func refusal(name, what string, err error) error {
	var api smithy.APIError
	kind, reason := upstream.Unavailable, "no answer came: are there AWS credentials where the server runs?"
	switch {
	case errors.As(err, &api):
		kind, reason = upstream.Denied, api.ErrorCode()+": "+api.ErrorMessage()
	case err == nil:
		kind, reason = upstream.Malformed, "the answer is empty"
	}
	return &upstream.Error{Kind: kind, Host: name, Message: what + " (" + reason + ")", Err: err}
}
