package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"berth/internal/server"
)

// newEnvCommand is `berth env`: what a shell needs to reach the registry.
func newEnvCommand(env *environment) *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print export lines with which aws, terraform and docker login reach the registry",
		Long: `Prints export lines for the endpoint, the region and the root user's keys of the registry whose data
directory is given, so that AWS tools need no flags:

  eval "$(berth env)"`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			lines, err := exportLines(env, data)
			if err != nil {
				return err
			}
			return printAll(env.stdout, "", lines)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the registry (default: ./.berth, else /var/lib/berth)")
	return cmd
}

// exportLines turns the credentials file of a registry into shell lines.
func exportLines(env *environment, data string) ([]string, error) {
	path, values, err := readCredentials(env, data)
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, v := range []struct{ key, names string }{
		{"endpoint_url", "AWS_ENDPOINT_URL"}, {"region", "AWS_REGION AWS_DEFAULT_REGION"},
		{"aws_access_key_id", "AWS_ACCESS_KEY_ID"}, {"aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"},
	} {
		if values[v.key] == "" {
			return nil, fmt.Errorf("the credentials file %s has no %s: start the registry again, which writes it anew", path, v.key)
		}
		for name := range strings.FieldsSeq(v.names) {
			lines = append(lines, "export "+name+"="+shellQuote(values[v.key]))
		}
	}
	if ca := values["ca_bundle"]; ca != "" {
		lines = append(lines, "export AWS_CA_BUNDLE="+shellQuote(ca))
	}
	// What these hold would win over the lines above.
	return append(lines, "unset AWS_SESSION_TOKEN AWS_PROFILE AWS_ENDPOINT_URL_ECR AWS_ENDPOINT_URL_STS AWS_ENDPOINT_URL_IAM"), nil
}

// readCredentials reads the file that a registry leaves in its data directory.
func readCredentials(env *environment, data string) (path string, values map[string]string, err error) {
	candidates := []string{data}
	if data == "" {
		candidates = []string{"./.berth", "/var/lib/berth"}
	}
	for _, dir := range candidates {
		path = filepath.Join(pathIn(env, dir), server.CredentialsFile)
		f, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return path, nil, fmt.Errorf("read the credentials file: %w", err)
		}
		values, err := parseCredentials(f)
		return path, values, errors.Join(err, f.Close())
	}
	return path, nil, fmt.Errorf("no credentials file in %s: start a registry with berth up or berth serve first, or name its data directory with --data",
		strings.Join(candidates, " or "))
}

// parseCredentials reads the default profile of an AWS credentials file.
func parseCredentials(f *os.File) (map[string]string, error) {
	values := map[string]string{}
	in := false
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "[") {
			in = line == "[default]"
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if in && ok && !strings.HasPrefix(line, "#") {
			values[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return values, lines.Err()
}

// shellQuote makes one word of s for a POSIX shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
