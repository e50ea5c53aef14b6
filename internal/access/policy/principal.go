package policy

import (
	"fmt"
	"regexp"
	"strings"

	"berth/internal/access"
)

// Forms of principals (IAM User Guide, "AWS JSON policy elements: Principal").
// Wildcards inside an ARN are refused: IAM does not match them, and a policy that
// seems to name many principals would name none.
const (
	iamName    = `[\w+=,.@-]+`
	iamPath    = `(?:[!-.0-~]+/)*`
	principals = `^arn:aws(?:-[a-z]+)*:(?:` +
		`iam::\d{12}:(?:root|(?:user|role)/` + iamPath + iamName + `)` +
		`|sts::\d{12}:(?:assumed-role/` + iamName + `/` + iamName + `|federated-user/` + iamName + `))$`
	providers = `^arn:aws(?:-[a-z]+)*:iam::\d{12}:(?:saml-provider/[\w._-]+|oidc-provider/[\w.:/-]+)$`
	hosts     = `^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)+$`
	services  = `^(?:[a-z0-9-]+\.)+amazonaws\.com(?:\.cn)?$`
)

const maxPrincipal = 2048

// principalForm returns the check and normalisation of one principal type.
func principalForm(t PrincipalType) (func(string) (string, error), bool) {
	switch t {
	case AWS:
		return awsPrincipal, true
	case Service:
		return matching("a service such as lambda.amazonaws.com", services), true
	case Federated:
		return matching("an identity provider's host or ARN", providers, hosts), true
	}
	return nil, false
}

func awsPrincipal(s string) (string, error) {
	switch {
	case s == "*":
		return s, nil
	case access.IsAccountID(s):
		return access.Root(s, "").ARN, nil
	case strings.HasPrefix(s, "arn:") && strings.ContainsAny(s, "*?"):
		return "", fmt.Errorf("principal %q: wildcards are not allowed in a principal's ARN; name the account's root, or use \"*\" with a condition", clip(s))
	}
	return matching("an account number, or the ARN of an account's root, a user, a role or a session", principals)(s)
}

// matching accepts what one of the expressions matches whole. They are compiled
// on use: a policy is set rarely, and names few principals.
func matching(what string, expressions ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if len(s) <= maxPrincipal && !strings.ContainsAny(s, "*?") {
			for _, e := range expressions {
				if regexp.MustCompile(e).MatchString(s) {
					return s, nil
				}
			}
		}
		return "", fmt.Errorf("principal %q is not %s", clip(s), what)
	}
}
