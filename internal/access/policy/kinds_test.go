package policy

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
)

const (
	resource   = `"Resource":"*"`
	assume     = `"Action":"sts:AssumeRole"`
	pulls      = `"Action":["ecr:BatchGetImage","ecr:GetDownloadUrlForLayer"]`
	anyService = `"Action":["*","s3:Get*","ECR:*","lex-v2.x:?o","*:*"]`
)

func TestIdentityPolicyAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"plain":            with(effect, pulls, resource),
		"any service":      with(effect, anyService, resource),
		"without version":  `{"Statement":[{"Effect":"Deny","NotAction":"iam:*","NotResource":"arn:aws:iam::*:user/x"}]}`,
		"short arns":       with(effect, pulls, `"Resource":["arn:aws:ecr","arn:aws:s3:::bucket/*","arn:*"]`),
		"empty sids twice": `{"Statement":[{"Sid":"",` + effect + `,` + pulls + `,` + resource + `},{"Sid":"",` + deny + `,` + pulls + `,` + resource + `}]}`,
		"condition":        with(effect, pulls, resource, `"Condition":{"StringEquals":{"aws:PrincipalTag/team":"${aws:ResourceTag/team}"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := ParseIdentityPolicy(text)
			if err != nil {
				t.Fatal(err, errors.Unwrap(err))
			}
			checkStableAs(t, identityPolicy(), d)
		})
	}
}

func TestTrustPolicyAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"account":   with(effect, `"Principal":{"AWS":"123456789012"}`, assume),
		"service":   with(effect, `"Principal":{"Service":["codebuild.amazonaws.com","ecs-tasks.amazonaws.com"]}`, `"Action":["sts:AssumeRole","sts:TagSession"]`),
		"any":       with(effect, `"Principal":{"AWS":"*"}`, `"Action":"sts:*"`),
		"condition": with(effect, `"Principal":{"AWS":"arn:aws:iam::123456789012:role/a"}`, assume, `"Condition":{"StringEquals":{"sts:ExternalId":"x"}}`),
		"github": with(effect, `"Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"}`,
			`"Action":"STS:AssumeRoleWithWebIdentity"`, `"Condition":{"StringLike":{"token.actions.githubusercontent.com:sub":"repo:a/b:*"}}`),
	} {
		t.Run(name, func(t *testing.T) {
			d, err := ParseTrustPolicy(text)
			if err != nil {
				t.Fatal(err, errors.Unwrap(err))
			}
			checkStableAs(t, trustPolicy(), d)
		})
	}
}

func checkStableAs(t interface{ Fatalf(string, ...any) }, kind dialect, d *Document) {
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	again, f := kind.parse(string(text))
	if f != nil {
		t.Fatalf("accepted, but not what it marshals to: %v\n%s", f.reason, text)
	}
	if !reflect.DeepEqual(d, again) {
		t.Fatalf("got  %+v\nwant %+v", again, d)
	}
}

// The text is IAM's, the reason tells the place and what is wrong.
func TestIdentityAndTrustPolicyRefused(t *testing.T) {
	aws := `"Principal":{"AWS":"123456789012"}`
	twice := func(sid string, members ...string) string {
		s := `{"Sid":"` + sid + `",` + strings.Join(members, ",") + `}`
		return `{"Statement":[` + s + `,` + s + `]}`
	}
	for _, tc := range []struct {
		name          string
		parse         func(string) (*Document, error)
		doc           string
		text, because string
	}{
		{"not JSON", ParseIdentityPolicy, "{", "Syntax errors in policy.", "line 1, column 1: not JSON"},
		{"twice", ParseIdentityPolicy, `{"Statement":[],"Statement":[]}`, "Syntax errors in policy.", `member "Statement" occurs twice`},
		{"effect", ParseIdentityPolicy, with(`"Effect":"allow"`, pulls, resource), "Syntax errors in policy.", `Effect must be`},
		{"principal", ParseIdentityPolicy, with(effect, principal, pulls, resource), "Policy document should not specify a principal.", "must not have Principal"},
		{"not principal", ParseIdentityPolicy, with(deny, `"NotPrincipal":{"AWS":"*"}`, pulls, resource),
			"Policy document should not specify a principal.", "must not have NotPrincipal"},
		{"no resource", ParseIdentityPolicy, with(effect, pulls), "Policy statement must contain resources.", "the statement has no Resource"},
		{"no action", ParseIdentityPolicy, with(effect, resource), "Policy statement must contain actions.", "the statement has no Action"},
		{"resource", ParseIdentityPolicy, with(effect, pulls, `"Resource":"bucket"`), `Resource bucket must be in ARN format or "*".`, `resource "bucket" is neither`},
		{"vendor", ParseIdentityPolicy, with(effect, `"Action":"GetObject"`, resource),
			"Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.", "names no service"},
		{"colons", ParseIdentityPolicy, with(effect, `"Action":"s3:Get:Object"`, resource), "Actions/Condition can contain only one colon.", "more than one colon"},
		{"vendor characters", ParseIdentityPolicy, with(effect, `"Action":"s3*:GetObject"`, resource), "Vendor s3* is not valid", "does not begin"},
		{"no vendor", ParseIdentityPolicy, with(effect, `"Action":":GetObject"`, resource), "Vendor  is not valid", "does not begin"},
		{"no operation", ParseIdentityPolicy, with(effect, `"Action":"s3:"`, resource), "Syntax errors in policy.", "names no operation"},
		{"long", ParseIdentityPolicy, with(effect, `"Action":"s3:`+strings.Repeat("a", 129)+`"`, resource), "Syntax errors in policy.", "too long"},
		{"sid twice", ParseIdentityPolicy, twice("a", effect, pulls, resource),
			"Statement IDs (SID) in a single policy must be unique.", `Sid "a" occurs twice`},
		{"sid", ParseIdentityPolicy, with(`"Sid":"a b"`, effect, pulls, resource),
			"Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*", "other than letters and digits"},
		{"variable in a number", ParseIdentityPolicy, with(effect, pulls, resource, `"Condition":{"NumericEquals":{"a:b":"${c:d}"}}`),
			"Syntax errors in policy.", `NumericEquals cannot read the value "${c:d}"`},

		{"trust: resource", ParseTrustPolicy, with(effect, aws, assume, resource), "Has prohibited field Resource", "must not have Resource"},
		{"trust: not resource", ParseTrustPolicy, with(effect, aws, assume, `"NotResource":"*"`), "Has prohibited field NotResource", ""},
		{"trust: not principal", ParseTrustPolicy, with(deny, `"NotPrincipal":{"AWS":"*"}`, assume), "Has prohibited field NotPrincipal", ""},
		{"trust: not action", ParseTrustPolicy, with(effect, aws, `"NotAction":"sts:AssumeRole"`), "Has prohibited field NotAction", ""},
		{"trust: no action", ParseTrustPolicy, with(effect, aws), "Missing required field Action", "has no Action"},
		{"trust: no principal", ParseTrustPolicy, with(effect, assume), "Invalid principal in policy: com.amazon.balsa.error.InvalidPolicyException: " +
			"The passed in policy has a statement with no principals!", "has no Principal"},
		{"trust: action", ParseTrustPolicy, with(effect, aws, `"Action":"ecr:*"`), "AssumeRole policy may only specify STS AssumeRole actions.", "assumes no role"},
		{"trust: star", ParseTrustPolicy, with(effect, aws, `"Action":"*"`), "AssumeRole policy may only specify STS AssumeRole actions.", "assumes no role"},
		{"trust: other sts", ParseTrustPolicy, with(effect, aws, `"Action":"sts:GetCallerIdentity"`),
			"AssumeRole policy may only specify STS AssumeRole actions.", "assumes no role"},
		{"trust: bad principal", ParseTrustPolicy, with(effect, `"Principal":{"AWS":"arn:aws:iam::123456789012:user/*"}`, assume),
			`Invalid principal in policy: "AWS":"arn:aws:iam::123456789012:user/*"`, "wildcards are not allowed"},
		{"trust: bad service", ParseTrustPolicy, with(effect, `"Principal":{"Service":"x"}`, assume), `Invalid principal in policy: "Service":"x"`, "is not a service"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tc.parse(tc.doc)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if err.Error() != tc.text {
				t.Errorf("text   %q\nwant   %q", err, tc.text)
			}
			if !strings.Contains(e.Reason(), tc.because) || !strings.HasPrefix(e.Reason(), "line ") {
				t.Errorf("reason %q\nwant   %q", e.Reason(), tc.because)
			}
		})
	}
}
