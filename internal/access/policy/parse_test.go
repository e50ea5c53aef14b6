package policy

import (
	"errors"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"berth/internal/access"
	"berth/internal/ecr"
)

const wireText = "Invalid parameter at 'PolicyText' failed to satisfy constraint: 'Invalid repository policy provided'"

// with returns a policy with one statement made of these members.
func with(members ...string) string {
	return `{"Version":"2012-10-17","Statement":{` + strings.Join(members, ",") + `}}`
}

const (
	effect    = `"Effect":"Allow"`
	deny      = `"Effect":"Deny"`
	principal = `"Principal":"*"`
	action    = `"Action":"ecr:BatchGetImage"`
)

func TestNormalForm(t *testing.T) {
	const text = `{
  "Version": "2012-10-17",
  "Id": "pull",
  "Statement": [
    {
      "Sid": "any text, even twice",
      "Effect": "Allow",
      "Principal": {
        "Service": "codebuild.amazonaws.com",
        "AWS": ["123456789012", "arn:aws:iam::123456789012:root", "arn:aws:iam::210987654321:role/team/deploy"]
      },
      "Action": ["ecr:BatchGetImage", "ECR:Get*"],
      "Condition": {
        "StringLike": {"aws:SourceArn": "arn:aws:codebuild:us-east-1:123456789012:project/*"},
        "ForAnyValue:StringEqualsIfExists": {"aws:TagKeys": ["a", "b"]},
        "Bool": {"aws:SecureTransport": true},
        "NumericLessThan": {"aws:MultiFactorAuthAge": 3600}
      }
    },
    {"Effect": "Deny", "NotPrincipal": {"AWS": "123456789012"}, "NotAction": "ecr:Describe*", "Resource": "*"}
  ]
}`
	want := &Document{Version: Version2012, ID: "pull", Statements: []Statement{
		{
			SID: "any text, even twice", Effect: Allow,
			Principals: []Principal{
				{AWS, "arn:aws:iam::123456789012:root"}, {AWS, "arn:aws:iam::210987654321:role/team/deploy"},
				{Service, "codebuild.amazonaws.com"},
			},
			Actions: []string{"ecr:BatchGetImage", "ECR:Get*"},
			Conditions: []Condition{
				{Operator{Name: "Bool"}, "aws:SecureTransport", []string{"true"}},
				{Operator{ForAnyValue, "StringEquals", true}, "aws:TagKeys", []string{"a", "b"}},
				{Operator{Name: "NumericLessThan"}, "aws:MultiFactorAuthAge", []string{"3600"}},
				{Operator{Name: "StringLike"}, "aws:SourceArn", []string{"arn:aws:codebuild:us-east-1:123456789012:project/*"}},
			},
		},
		{Effect: Deny, Principals: []Principal{{AWS, access.Root("123456789012", "").ARN}}, NotPrincipal: true,
			Actions: []string{"ecr:Describe*"}, NotAction: true, Resources: []string{"*"}},
	}}
	got, err := ParseRepositoryPolicy(text)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	checkStable(t, got)
}

func TestAccepted(t *testing.T) {
	for name, text := range map[string]string{
		"no version":            `{"Statement":{` + effect + `,` + principal + `,` + action + `}}`,
		"old version":           `{"Version":"2008-10-17","Statement":[{` + effect + `,` + principal + `,` + action + `}]}`,
		"everything":            with(effect, `"Principal":{"AWS":"*"}`, `"Action":"*"`),
		"ecr:*":                 with(effect, principal, `"Action":"ecr:*"`),
		"actions in lower case": with(effect, principal, `"Action":["ecr:batchgetimage","ecr:put?mage"]`),
		"permission only":       with(effect, principal, `"Action":["ecr:ReplicateImage","ecr:BatchImportUpstreamImage"]`),
		"all actions but one":   with(deny, principal, `"NotAction":"ecr:DescribeImages"`),
		"resource":              with(effect, principal, action, `"Resource":["*","arn:aws:ecr:*:*:repository/a*"]`),
		"user":                  with(effect, `"Principal":{"AWS":"arn:aws:iam::123456789012:user/division/bob+x@example.com"}`, action),
		"sessions": with(effect, `"Principal":{"AWS":["arn:aws:sts::123456789012:assumed-role/r/s=1","arn:aws-cn:sts::123456789012:federated-user/f"]}`,
			action),
		"services": with(effect, `"Principal":{"Service":["lambda.amazonaws.com","replication.ecr.amazonaws.com","ec2.amazonaws.com.cn"]}`, action),
		"federated": with(effect, `"Principal":{"Federated":["arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com","cognito-identity.amazonaws.com"]}`,
			action),
		"empty condition": with(effect, principal, action, `"Condition":{}`),
		"conditions": with(effect, principal, action, `"Condition":{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","2001:db8::1"]},`+
			`"DateLessThan":{"aws:CurrentTime":["2026-01-01T00:00:00Z","2026-01-01","1767225600"]},"Null":{"aws:PrincipalOrgID":"false"},`+
			`"BinaryEquals":{"k:b":"QmluYXJ5"},"NumericEquals":{"k:n":["-1.5e3",2]},"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"},`+
			`"Bool":{"k:b":"${aws:SecureTransport}"},"StringNotEqualsIfExists":{"aws:PrincipalOrgID":"o-1"}}`),
		"sids twice": `{"Statement":[{"Sid":"a",` + effect + `,` + principal + `,` + action + `},{"Sid":"a",` + deny + `,` + principal + `,` + action + `}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			d, err := ParseRepositoryPolicy(text)
			if err != nil {
				t.Fatal(errors.Unwrap(err))
			}
			checkStable(t, d)
		})
	}
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct{ name, text, reason string }{
		{"empty", "", "line 1, column 1: not JSON: unexpected end of JSON input"},
		{"text", "hello", "line 1, column 1: not JSON: invalid character 'h' looking for beginning of value"},
		{"comma", "{\n  \"Version\": \"2012-10-17\",\n}", "line 3, column 1: not JSON: invalid character '}' looking for beginning of object key string"},
		{"two documents", with(effect, principal, action) + "{}", "column 101: not JSON: invalid character '{' after top-level value"},
		{"list", "[]", "line 1, column 1: the policy must be an object, not an array"},
		{"null", "null", "the policy must be an object, not null"},
		{"too long", strings.Repeat("é", MaxTextLength+1), "the policy has 10241 characters; at most 10240 are allowed"},
		{"not UTF-8", "\xff", "the policy is not valid UTF-8"},
		{"deep", strings.Repeat("[", 20) + strings.Repeat("]", 20), "column 13: nested deeper than 12 levels"},
		{"unknown member", `{"Version":"2012-10-17","Statements":[]}`, `column 25: unknown member "Statements" in the policy`},
		{"lower case", `{"version":"2012-10-17","Statement":[]}`, `unknown member "version"; it is spelled "Version"`},
		{"twice", `{"Statement":[],"Statement":[]}`, `column 17: member "Statement" occurs twice`},
		{"version", `{"Version":"2013-01-01","Statement":[]}`, `column 12: Version must be "2012-10-17" or "2008-10-17"`},
		{"id", `{"Id":1,"Statement":[]}`, "Id must be a string, not a number"},
		{"no statement", `{"Version":"2012-10-17"}`, "the policy has no Statement"},
		{"no statements", `{"Statement":[]}`, "Statement is empty"},
		{"statement a string", `{"Statement":"x"}`, "Statement must be an object or a list of objects, not a string"},
		{"statement in list a string", `{"Statement":["x"]}`, "a statement must be an object, not a string"},
		{"sid", with(`"Sid":true`), "Sid must be a string, not a boolean"},
		{"no effect", with(principal, action), "the statement has no Effect"},
		{"effect", with(`"Effect":"allow"`, principal, action), `Effect must be "Allow" or "Deny"`},
		{"no principal", with(effect, action), "the statement has no Principal"},
		{"both principals", with(deny, principal, `"NotPrincipal":{"AWS":"*"}`, action), "the statement has both Principal and NotPrincipal"},
		{"allow all but", with(effect, `"NotPrincipal":{"AWS":"123456789012"}`, action), `NotPrincipal goes only with Effect "Deny"`},
		{"not principal star", with(deny, `"NotPrincipal":"*"`, action), "NotPrincipal must be an object"},
		{"principal text", with(effect, `"Principal":"123456789012"`, action), `Principal must be "*" or an object such as {"AWS": "123456789012"}`},
		{"principal empty", with(effect, `"Principal":{}`, action), "Principal is an empty object"},
		{"principal list empty", with(effect, `"Principal":{"AWS":[]}`, action), "Principal AWS is an empty list"},
		{"principal number", with(effect, `"Principal":{"AWS":123456789012}`, action), "Principal AWS must be a string or a list of strings, not a number"},
		{"principal type", with(effect, `"Principal":{"CanonicalUser":"x"}`, action), `principal type "CanonicalUser" is not AWS, Service or Federated`},
		// terraform-provider-aws#3924
		{"wildcard account", with(effect, `"Principal":{"AWS":"arn:aws:iam::123456789012:*"}`, action),
			`principal "arn:aws:iam::123456789012:*": wildcards are not allowed in a principal's ARN`},
		{"wildcard user", with(effect, `"Principal":{"AWS":"arn:aws:iam::123456789012:user/*"}`, action), "wildcards are not allowed"},
		{"short account", with(effect, `"Principal":{"AWS":"12345"}`, action), `principal "12345" is not an account number`},
		{"unique id", with(effect, `"Principal":{"AWS":"AIDAJQABLZS4A3QDU576Q"}`, action), "is not an account number"},
		{"group", with(effect, `"Principal":{"AWS":"arn:aws:iam::123456789012:group/g"}`, action), "is not an account number"},
		{"service star", with(effect, `"Principal":{"Service":"*"}`, action), `principal "*" is not a service`},
		{"service host", with(effect, `"Principal":{"Service":"example.com"}`, action), "is not a service"},
		{"federated", with(effect, `"Principal":{"Federated":"x"}`, action), "is not an identity provider"},
		{"no action", with(effect, principal), "the statement has no Action"},
		{"both actions", with(effect, principal, action, `"NotAction":"ecr:*"`), "the statement has both Action and NotAction"},
		{"action list empty", with(effect, principal, `"Action":[]`), "Action is an empty list"},
		{"action number", with(effect, principal, `"Action":[1]`), "Action must hold strings, not a number"},
		{"other service", with(effect, principal, `"Action":"s3:GetObject"`), `action "s3:GetObject" is not an action of ecr`},
		{"any service", with(effect, principal, `"Action":"*:*"`), `action "*:*" is not an action of ecr`},
		{"misspelled", with(effect, principal, `"Action":["ecr:BatchGetImage","ecr:PullImage"]`), `action "ecr:PullImage" matches no operation of ecr`},
		{"pattern of nothing", with(effect, principal, `"Action":"ecr:Pull*"`), `action "ecr:Pull*" matches no operation of ecr`},
		{"empty operation", with(effect, principal, `"Action":"ecr:"`), `matches no operation`},
		// cloudposse/terraform-aws-ecr#67
		{"token", with(effect, principal, `"Action":"ecr:GetAuthorizationToken"`), `action "ecr:GetAuthorizationToken" cannot be granted by a repository policy`},
		{"resource", with(effect, principal, action, `"Resource":"repository/a"`), `resource "repository/a" is neither "*" nor an ARN`},
		{"both resources", with(effect, principal, action, `"Resource":"*","NotResource":"*"`), "the statement has both Resource and NotResource"},
		{"condition list", with(effect, principal, action, `"Condition":[]`), "Condition must be an object, not an array"},
		{"operator", with(effect, principal, action, `"Condition":{"StringIs":{"a:b":"c"}}`), `unknown condition operator "StringIs"`},
		{"operator case", with(effect, principal, action, `"Condition":{"stringequals":{"a:b":"c"}}`), "unknown condition operator"},
		{"qualifier", with(effect, principal, action, `"Condition":{"ForSome:StringLike":{"a:b":"c"}}`), "unknown condition operator"},
		{"null if exists", with(effect, principal, action, `"Condition":{"NullIfExists":{"a:b":"true"}}`), "unknown condition operator"},
		{"operator value", with(effect, principal, action, `"Condition":{"Bool":"true"}`), "Bool must be an object of condition keys, not a string"},
		{"key", with(effect, principal, action, `"Condition":{"Bool":{"SecureTransport":"true"}}`), `condition key "SecureTransport" is not of the form service:name`},
		{"key value", with(effect, principal, action, `"Condition":{"Bool":{"a:b":{"c":1}}}`), `condition key "a:b" must hold strings, not an object`},
		{"no values", with(effect, principal, action, `"Condition":{"Bool":{"a:b":[]}}`), `condition key "a:b" has an empty list`},
		{"bool", with(effect, principal, action, `"Condition":{"Bool":{"a:b":"yes"}}`), `Bool cannot read the value "yes"`},
		{"network", with(effect, principal, action, `"Condition":{"IpAddress":{"a:b":"10.0.0.0/33"}}`), "IpAddress cannot read"},
		{"number", with(effect, principal, action, `"Condition":{"NumericEquals":{"a:b":"0x1"}}`), "NumericEquals cannot read"},
		{"date", with(effect, principal, action, `"Condition":{"DateEquals":{"a:b":"tomorrow"}}`), "DateEquals cannot read"},
		{"variable", with(effect, principal, action, `"Condition":{"IpAddress":{"aws:SourceIp":"${aws:SourceIp}"}}`), "IpAddress cannot read"},
		{"binary", with(effect, principal, action, `"Condition":{"BinaryEquals":{"a:b":"%"}}`), "BinaryEquals cannot read"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseRepositoryPolicy(tc.text)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if err.Error() != wireText {
				t.Errorf("text %q", err)
			}
			if !strings.Contains(e.Reason(), tc.reason) {
				t.Errorf("reason %q\nwant   %q", e.Reason(), tc.reason)
			}
			if u := errors.Unwrap(err); u == nil || !strings.HasSuffix(e.Reason(), u.Error()) {
				t.Errorf("unwraps to %v", u)
			}
		})
	}
}

// Every operation of the API except the one ECR refuses can be named in a
// policy, so that the list here cannot fall behind the model.
func TestActionsFollowTheModel(t *testing.T) {
	for _, op := range ecr.Operations() {
		_, err := ParseRepositoryPolicy(with(effect, principal, `"Action":"ecr:`+op.Name+`"`))
		if refused := err != nil; refused != (op.Name == "GetAuthorizationToken") {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
}

// The seed's own cross-account snippet is a valid policy.
func TestSeedPolicy(t *testing.T) {
	seed, err := os.ReadFile("../../../docs/seed.md")
	if err != nil {
		t.Fatal(err)
	}
	// The HCL object between jsonencode({ and }) becomes JSON by quoting names.
	m := regexp.MustCompile(`(?s)jsonencode\((\{.*?\n\s*\})\)`).FindSubmatch(seed)
	if m == nil {
		t.Fatal("no jsonencode in the seed")
	}
	text := regexp.MustCompile(`(?m)^(\s*)(\w+)\s*=`).ReplaceAllString(string(m[1]), `$1"$2":`)
	text = regexp.MustCompile(`(["\]}])(\s*\n\s*")`).ReplaceAllString(text, `$1,$2`)
	text = strings.ReplaceAll(text, ",,", ",")
	d, err := ParseRepositoryPolicy(text)
	if err != nil {
		var e *Error
		errors.As(err, &e)
		t.Fatalf("%s\n%s", e.Reason(), text)
	}
	if len(d.Statements) == 0 || d.Statements[0].Principals[0].Type != AWS {
		t.Errorf("got %+v", d)
	}
}

func checkStable(t interface{ Fatalf(string, ...any) }, d *Document) {
	checkStableAs(t, repositoryPolicy(), d) // without the limit on length
}

func FuzzParseRepositoryPolicy(f *testing.F) {
	for _, seed := range []string{
		"", "{}", with(effect, principal, action), with(deny, `"NotPrincipal":{"AWS":["123456789012"]}`, `"NotAction":["ecr:*"]`, `"NotResource":"*"`),
		with(effect, `"Principal":{"Service":"lambda.amazonaws.com","AWS":"*"}`, action, `"Condition":{"ForAllValues:StringLikeIfExists":{"aws:x":["a",1,true]}}`),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseRepositoryPolicy(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || err.Error() != wireText || len(e.Reason()) > 4096 {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		for _, s := range d.Statements {
			if len(s.Principals) == 0 || len(s.Actions) == 0 || (s.Effect != Allow && s.Effect != Deny) || (s.NotPrincipal && s.Effect != Deny) {
				t.Fatalf("accepted %+v", s)
			}
		}
		checkStable(t, d)
	})
}
