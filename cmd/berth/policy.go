package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/spf13/cobra"
)

// accessDenied is the exit code of policy explain when the request would be denied.
const accessDenied = 2

// newPolicyCommand is `berth policy`: what the policies of a running registry decide.
func newPolicyCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Say why a request is allowed or denied",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newExplainCommand(env))
	return cmd
}

// explainFlags are the question of policy explain.
type explainFlags struct{ data, principal, action, resource, sourceIP string }

func newExplainCommand(env *environment) *cobra.Command {
	var f explainFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Say how a request would be decided, and by which statement of which policy",
		Long: `Asks a running registry how it would decide a request that came now, by the code that decides requests. Prints the
decision, what each policy says that says something, and what is missing.

The principal is a root user, a user, a role or a session of a role. Policies that were given to one session only are not
known. Conditions see the tags of the principal and of the repository, the time, and the address of --source-ip; tags that
a request would set, and its user agent, are not there. It signs with the root key of the home account, from the
credentials file of the data directory.

Exit codes: 0 allowed, 1 failed, 2 denied.`,
		Example: `  berth policy explain --principal arn:aws:iam::000000000000:user/ci --action ecr:BatchGetImage \
    --resource arn:aws:ecr:us-east-1:000000000000:repository/app`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.principal == "" || f.action == "" || f.resource == "" {
				return errors.New("a question needs a principal, an action and a resource: pass --principal, --action and --resource")
			}
			form := url.Values{
				"Action": {"BerthExplainAccess"}, "Version": {"2010-05-08"},
				"PrincipalArn": {f.principal}, "ActionName": {f.action}, "ResourceArn": {f.resource},
			}
			if f.sourceIP != "" {
				form.Set("SourceIp", f.sourceIP)
			}
			var a explainAnswer
			if err := askIAM(cmd.Context(), env, f.data, form, &a); err != nil {
				return err
			}
			return reportExplanation(env.stdout, a.Explanation, asJSON)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.principal, "principal", "", "`ARN` of who asks: a root user, a user, a role or a session of a role")
	flags.StringVar(&f.action, "action", "", "`NAME` of the operation with its service, such as ecr:BatchGetImage")
	flags.StringVar(&f.resource, "resource", "", "`ARN` of what it is about; * for operations that are about no resource")
	flags.StringVar(&f.sourceIP, "source-ip", "", "`IP` address that the request comes from (default: none, so conditions on it do not hold)")
	flags.StringVar(&f.data, "data", "", "data directory of the registry (default: ./.berth, else /var/lib/berth)")
	flags.BoolVar(&asJSON, "json", false, "print as JSON, with the policies that say nothing")
	return cmd
}

// explainAnswer is what BerthExplainAccess answers.
type explainAnswer struct {
	Explanation explanation `xml:"BerthExplainAccessResult"`
}

type explanation struct {
	Decision string          `xml:"Decision" json:"decision"`
	Message  string          `xml:"Message" json:"message,omitempty"`
	Missing  string          `xml:"Missing" json:"missing,omitempty"`
	Findings []policyFinding `xml:"Findings>member" json:"findings"`
}

// A policyFinding is what one policy says; its statements are counted from 1.
type policyFinding struct {
	Policy    string `xml:"Policy" json:"policy"`
	Effect    string `xml:"Effect" json:"effect"`
	Statement int    `xml:"Statement" json:"statement,omitempty"`
	Sid       string `xml:"Sid" json:"sid,omitempty"`
	Note      string `xml:"Note" json:"note,omitempty"`
}

// reportExplanation prints an explanation; a denial is the exit code.
func reportExplanation(w io.Writer, e explanation, asJSON bool) error {
	var err error
	if asJSON {
		if e.Findings == nil {
			e.Findings = []policyFinding{}
		}
		err = printJSON(w, e)
	} else {
		err = explanationText(w, e)
	}
	switch {
	case err != nil:
		return err
	case e.Decision == "Allowed":
		return nil
	case e.Decision == "Denied":
		return &exitError{code: accessDenied}
	}
	return fmt.Errorf("the registry answered with the decision %q: update berth here or there, so that both are of one version", e.Decision)
}

func explanationText(w io.Writer, e explanation) error {
	lines := []string{e.Decision}
	if e.Message != "" {
		lines[0] += ": " + e.Message
	}
	for _, f := range e.Findings {
		line := fmt.Sprintf("  %-6s  %s", f.Effect, f.Policy)
		if f.Statement > 0 {
			line += fmt.Sprintf(", statement %d", f.Statement)
		}
		if f.Sid != "" {
			line += " (" + f.Sid + ")"
		}
		if f.Note != "" {
			line += ": " + f.Note
		}
		if f.Effect != "Silent" || f.Note != "" {
			lines = append(lines, line)
		}
	}
	if e.Missing != "" {
		lines = append(lines, "Missing: "+e.Missing)
	}
	return printAll(w, "", lines)
}
