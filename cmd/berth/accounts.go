package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/spf13/cobra"
)

// newAccountsCommand is `berth accounts`: the accounts of a running registry.
func newAccountsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "accounts",
		Short: "Make, list and delete accounts of a running registry",
		Long: `An account has repositories, users and roles of its own, and a root user whose key is printed once. The commands
sign with the root key of the home account, from the credentials file of the data directory.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newAccountCommand(env, "create ACCOUNT_ID", "Make an account and print the key of its root user", "BerthCreateAccount"),
		newAccountCommand(env, "list", "List the accounts", "BerthListAccounts"),
		newAccountCommand(env, "delete ACCOUNT_ID", "Delete an account without repositories, with its users, roles and keys", "BerthDeleteAccount"),
		newAccountCommand(env, "rotate-keys ACCOUNT_ID", "Give the root user of an account a new key; the one before ends at once", "BerthRotateRootKey"),
	)
	return cmd
}

func newAccountCommand(env *environment, use, short, action string) *cobra.Command {
	var data string
	var asJSON bool
	arguments := cobra.NoArgs
	if strings.Contains(use, "ACCOUNT_ID") {
		arguments = cobra.ExactArgs(1)
	}
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  arguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			form := url.Values{"Action": {action}, "Version": {"2010-05-08"}}
			if len(args) == 1 {
				form.Set("AccountId", args[0])
			}
			var a accountsAnswer
			if err := askIAM(cmd.Context(), env, data, form, &a); err != nil {
				return err
			}
			return printAccounts(env.stdout, action, args, a, asJSON)
		},
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory of the registry (default: ./.berth, else /var/lib/berth)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

// An accountEntry is an account; its key is there when it was just made.
type accountEntry struct {
	AccountID       string `xml:"AccountId" json:"accountId"`
	AccessKeyID     string `xml:"AccessKeyId" json:"accessKeyId,omitempty"`
	SecretAccessKey string `xml:"SecretAccessKey" json:"secretAccessKey,omitempty"`
	CreateDate      string `xml:"CreateDate" json:"createdAt,omitempty"`
}

// accountsAnswer is what the operations on accounts answer.
type accountsAnswer struct {
	Created accountEntry   `xml:"BerthCreateAccountResult>Account"`
	Rotated accountEntry   `xml:"BerthRotateRootKeyResult>Account"`
	All     []accountEntry `xml:"BerthListAccountsResult>Accounts>member"`
}

// refusal is what the IAM API answers in place of what was asked.
type refusal struct {
	Code    string `xml:"Error>Code"`
	Message string `xml:"Error>Message"`
}

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 20

// askIAM sends one request to the IAM API, signed by the home account's root user, and reads the answer.
func askIAM(ctx context.Context, env *environment, data string, form url.Values, answer any) error {
	path, values, err := readCredentials(env, data)
	if err != nil {
		return err
	}
	endpoint := values["endpoint_url"]
	if endpoint == "" {
		return fmt.Errorf("the credentials file %s has no endpoint_url: start the registry once more, it writes the file anew", path)
	}
	body := form.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(endpoint, "/")+"/", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(body))
	keys := aws.Credentials{AccessKeyID: values["aws_access_key_id"], SecretAccessKey: values["aws_secret_access_key"]}
	if err := v4.NewSigner().SignHTTP(ctx, keys, req, hex.EncodeToString(sum[:]), "iam", values["region"], time.Now()); err != nil {
		return fmt.Errorf("sign the request: %w", err)
	}
	client, err := registryClient(values)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("reach the registry that %s names: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return fmt.Errorf("read the answer of the registry: %w", err)
	}
	var refused refusal
	into := answer
	if resp.StatusCode != http.StatusOK {
		into = &refused
	}
	if err := xml.Unmarshal(text, into); err != nil {
		return fmt.Errorf("the registry answered %s and no XML: check that %s is a berth", resp.Status, endpoint)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the registry refused: %s (%s)", refused.Message, refused.Code)
	}
	return nil
}

func printAccounts(w io.Writer, action string, args []string, a accountsAnswer, asJSON bool) error {
	switch action {
	case "BerthListAccounts":
		if asJSON {
			if a.All == nil {
				a.All = []accountEntry{}
			}
			return printJSON(w, a.All)
		}
		for _, e := range a.All {
			if _, err := fmt.Fprintf(w, "%s  %s\n", e.AccountID, e.CreateDate); err != nil {
				return err
			}
		}
		return nil
	case "BerthDeleteAccount":
		if asJSON {
			return printJSON(w, accountEntry{AccountID: args[0]})
		}
		_, err := fmt.Fprintf(w, "deleted the account %s\n", args[0])
		return err
	}
	e := a.Created
	if action == "BerthRotateRootKey" {
		e = a.Rotated
	}
	if asJSON {
		return printJSON(w, e)
	}
	_, err := fmt.Fprintf(w, "accountId        %s\naccessKeyId      %s\nsecretAccessKey  %s\nKeep the secret: it is not shown again.\n",
		e.AccountID, e.AccessKeyID, e.SecretAccessKey)
	return err
}
