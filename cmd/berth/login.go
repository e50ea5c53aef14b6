package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/spf13/cobra"

	"berth/internal/login"
)

// newLoginCommand is `berth login`: a docker login without the aws CLI.
func newLoginCommand(env *environment) *cobra.Command {
	var data, authFile string
	cmd := &cobra.Command{
		Use:   "login",
		Short: "Log docker, podman and the other container tools in to the registry",
		Long: `Asks the registry for a password, good for 12 hours, and stores it where container tools look for it:
docker's config.json (DOCKER_CONFIG), and the file of podman, buildah and skopeo (REGISTRY_AUTH_FILE, or
$XDG_RUNTIME_DIR/containers/auth.json when it exists). The same as
aws ecr get-login-password | docker login, without the aws CLI.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			l, err := requestLogin(cmd.Context(), env, data)
			if err != nil {
				return err
			}
			files := []string{authFile}
			if authFile == "" {
				home, err := os.UserHomeDir()
				if err != nil {
					return fmt.Errorf("find the home directory: %w: name a file with --auth-file", err)
				}
				files = login.Files(env.getenv, home)
			}
			for _, f := range files {
				if err := login.Store(f, l.host, l.user, l.password); err != nil {
					return err
				}
				if _, err := fmt.Fprintf(env.stdout, "Logged in to %s until %s (%s)\n", l.host, l.expires, f); err != nil {
					return err
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the registry (default: ./.berth, else /var/lib/berth)")
	cmd.Flags().StringVar(&authFile, "auth-file", "", "store the login in this file alone")
	return cmd
}

// A registryLogin is a password for one registry.
type registryLogin struct{ host, user, password, expires string }

// requestLogin asks the registry whose data directory is given for a password.
func requestLogin(ctx context.Context, env *environment, data string) (l registryLogin, err error) {
	_, c, err := readCredentials(env, data)
	if err != nil {
		return l, err
	}
	web, err := registryClient(c)
	if err != nil {
		return l, err
	}
	client := ecr.New(ecr.Options{
		HTTPClient:   web,
		BaseEndpoint: aws.String(c["endpoint_url"]), Region: c["region"], RetryMaxAttempts: 2,
		Credentials: credentials.NewStaticCredentialsProvider(c["aws_access_key_id"], c["aws_secret_access_key"], ""),
	})
	out, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return l, fmt.Errorf("ask the registry at %s for a password (is it running?): %w", c["endpoint_url"], err)
	}
	if len(out.AuthorizationData) == 0 {
		return l, fmt.Errorf("the registry at %s gave no password", c["endpoint_url"])
	}
	token := out.AuthorizationData[0]
	b, err := base64.StdEncoding.DecodeString(aws.ToString(token.AuthorizationToken))
	if err != nil {
		return l, fmt.Errorf("read the password of the registry: %w", err)
	}
	var ok bool
	if l.user, l.password, ok = strings.Cut(string(b), ":"); !ok {
		return l, errors.New("the password of the registry is not of the form user:password")
	}
	l.host = hostOf(aws.ToString(token.ProxyEndpoint))
	l.expires = aws.ToTime(token.ExpiresAt).Local().Format("2006-01-02 15:04")
	return l, nil
}

// hostOf is the host of a URL, or of what docker calls a server: a bare host.
func hostOf(url string) string {
	_, rest, ok := strings.Cut(url, "://")
	if !ok {
		rest = url
	}
	host, _, _ := strings.Cut(rest, "/")
	return host
}

// newCredentialHelperCommand is `berth credential-helper`, which docker runs
// when a program called docker-credential-NAME starts it.
func newCredentialHelperCommand(env *environment) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "credential-helper get|store|erase|list",
		Short: "Give docker a fresh password each time, as a credential helper",
		Long: `Speaks docker's credential helper protocol. Put an executable file called docker-credential-berth on the PATH:

  #!/bin/sh
  exec berth credential-helper --data /var/lib/berth "$@"

and name it in docker's config.json: {"credHelpers": {"127.0.0.1:5050": "berth"}}`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"get", "store", "erase", "list"},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "get":
				return helperGet(cmd.Context(), env, data)
			case "list":
				return helperList(cmd.Context(), env, data)
			default:
				return nil // passwords are made when they are asked for: there is nothing to store or erase
			}
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the registry (default: ./.berth, else /var/lib/berth)")
	return cmd
}

// errNotFoundByHelper is what docker expects for a server that a helper does
// not know (docker-credential-helpers, credentials.NewErrCredentialsNotFound).
var errNotFoundByHelper = errors.New("credentials not found in native keychain")

func helperGet(ctx context.Context, env *environment, data string) error {
	line, err := bufio.NewReader(env.stdin).ReadString('\n')
	server := strings.TrimSpace(line)
	if server == "" {
		return fmt.Errorf("no server was named on standard input: %w", err)
	}
	l, err := requestLogin(ctx, env, data)
	if err != nil {
		return err
	}
	if hostOf(server) != l.host {
		if _, err := fmt.Fprintln(env.stdout, errNotFoundByHelper); err != nil {
			return err
		}
		return &exitError{code: 1}
	}
	return json.NewEncoder(env.stdout).Encode(struct{ ServerURL, Username, Secret string }{server, l.user, l.password})
}

func helperList(ctx context.Context, env *environment, data string) error {
	l, err := requestLogin(ctx, env, data)
	if err != nil {
		return err
	}
	return json.NewEncoder(env.stdout).Encode(map[string]string{l.host: l.user})
}
