package policy

import (
	"strings"
	"testing"
)

const (
	account  = "123456789012"
	stranger = "210987654321"
	repoARN  = "arn:aws:ecr:us-east-1:123456789012:repository/team/app"
	roleARN  = "arn:aws:iam::123456789012:role/ci/deploy"
)

func user(account, name string) Caller {
	return Caller{Account: account, ARN: "arn:aws:iam::" + account + ":user/" + name}
}

func session(name string) Caller {
	return Caller{Account: account, Role: roleARN, ARN: "arn:aws:sts::123456789012:assumed-role/deploy/" + name}
}

func root(account string) Caller {
	return Caller{Account: account, ARN: "arn:aws:iam::" + account + ":root"}
}

var (
	ann     = user(account, "ann")
	builder = Caller{Service: "codebuild.amazonaws.com"}
	github  = Caller{Federated: "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"}
)

// ask evaluates a repository policy of these statements, each a list of members.
func ask(t *testing.T, q Query, statements ...string) Decision {
	t.Helper()
	d, err := ParseRepositoryPolicy(`{"Version":"2012-10-17","Statement":[{` + strings.Join(statements, "},{") + `}]}`)
	if err != nil {
		t.Fatal(err.(*Error).Reason())
	}
	return d.Evaluate(q)
}

func pull(c Caller) Query { return Query{Caller: c, Action: "ecr:BatchGetImage", Resource: repoARN} }

func allowed(s string) string { return effect + "," + action + "," + s }
func denied(s string) string  { return deny + "," + action + "," + s }

// IAM User Guide, "AWS JSON policy elements: Principal".
func TestPrincipals(t *testing.T) {
	const (
		no      = "no"
		account = "by account"
		yes     = "yes"
	)
	everyone := []Caller{ann, root("123456789012"), session("s"), user(stranger, "ann"), builder, github, {}}
	for _, tc := range []struct {
		principal string
		want      map[string][]Caller // all others of everyone: no
	}{
		{`"*"`, map[string][]Caller{yes: everyone}},
		{`{"AWS":"*"}`, map[string][]Caller{yes: everyone}},
		{`{"AWS":"123456789012"}`, map[string][]Caller{yes: {root("123456789012")}, account: {ann, session("s")}}},
		{`{"AWS":"arn:aws:iam::123456789012:root"}`, map[string][]Caller{yes: {root("123456789012")}, account: {ann, session("s")}}},
		{`{"AWS":"arn:aws:iam::123456789012:user/ann"}`, map[string][]Caller{yes: {ann}, no: {user("123456789012", "Ann")}}},
		{`{"AWS":"arn:aws:iam::123456789012:role/ci/deploy"}`, map[string][]Caller{yes: {session("s"), session("t")}}},
		// The path is part of the role's name here, and not of the session's.
		{`{"AWS":"arn:aws:iam::123456789012:role/deploy"}`, nil},
		{`{"AWS":"arn:aws:sts::123456789012:assumed-role/deploy/s"}`, map[string][]Caller{yes: {session("s")}, no: {session("t")}}},
		{`{"AWS":["arn:aws:iam::123456789012:user/ann","123456789012"]}`,
			map[string][]Caller{yes: {root("123456789012"), ann}, account: {session("s")}}},
		{`{"AWS":"arn:aws:sts::123456789012:federated-user/bob"}`,
			map[string][]Caller{yes: {{Account: "123456789012", ARN: "arn:aws:sts::123456789012:federated-user/bob"}}}},
		{`{"Service":"codebuild.amazonaws.com"}`, map[string][]Caller{yes: {builder}, no: {{Service: "lambda.amazonaws.com"}}}},
		{`{"Federated":"arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"}`, map[string][]Caller{yes: {github}}},
		// A name counts only among the principals of its own type.
		{`{"Service":"codebuild.amazonaws.com","AWS":"210987654321"}`,
			map[string][]Caller{yes: {builder}, account: {user(stranger, "ann")}, no: {{Federated: "codebuild.amazonaws.com"}, {ARN: "codebuild.amazonaws.com"}}}},
	} {
		seen := map[Caller]bool{}
		check := func(c Caller, want string) {
			seen[c] = true
			allow := ask(t, pull(c), allowed(`"Principal":`+tc.principal))
			got := no
			if allow.Effect == Allow {
				got = yes
				if allow.Account {
					got = account
				}
			}
			if got != want {
				t.Errorf("%s allows %+v: %s, want %s", tc.principal, c, got, want)
			}
			// A deny holds for everybody in the account that it names.
			if got := ask(t, pull(c), denied(`"Principal":`+tc.principal)); (got.Effect == Deny) != (want != no) {
				t.Errorf("%s denies %+v: %+v", tc.principal, c, got)
			}
		}
		for want, callers := range tc.want {
			for _, c := range callers {
				check(c, want)
			}
		}
		for _, c := range everyone {
			if !seen[c] {
				check(c, no)
			}
		}
	}
}

// IAM User Guide, "AWS JSON policy elements: NotPrincipal": the exception must
// name the account, the role and the session.
func TestNotPrincipal(t *testing.T) {
	const (
		accountARN = `"arn:aws:iam::123456789012:root"`
		annARN     = `"arn:aws:iam::123456789012:user/ann"`
		role       = `"arn:aws:iam::123456789012:role/ci/deploy"`
		sessionARN = `"arn:aws:sts::123456789012:assumed-role/deploy/s"`
	)
	for _, tc := range []struct {
		name, list string
		c          Caller
		denied     bool
	}{
		{"user and account", `{"AWS":[` + annARN + `,` + accountARN + `]}`, ann, false},
		{"another user of the account", `{"AWS":[` + annARN + `,` + accountARN + `]}`, user(account, "bob"), true},
		{"user alone", `{"AWS":` + annARN + `}`, ann, true},
		{"account alone", `{"AWS":"123456789012"}`, ann, true},
		{"its root user", `{"AWS":"123456789012"}`, root(account), false},
		{"the root user of another", `{"AWS":"123456789012"}`, root(stranger), true},
		{"session, role and account", `{"AWS":[` + sessionARN + `,` + role + `,` + accountARN + `]}`, session("s"), false},
		{"another session", `{"AWS":[` + sessionARN + `,` + role + `,` + accountARN + `]}`, session("t"), true},
		{"without the role", `{"AWS":[` + sessionARN + `,` + accountARN + `]}`, session("s"), true},
		{"without the session", `{"AWS":[` + role + `,` + accountARN + `]}`, session("s"), true},
		{"service", `{"Service":"codebuild.amazonaws.com"}`, builder, false},
		{"another service", `{"Service":"codebuild.amazonaws.com"}`, Caller{Service: "lambda.amazonaws.com"}, true},
		{"a service is no account", `{"AWS":"123456789012"}`, builder, true},
		{"everybody", `{"AWS":"*"}`, ann, false},
		{"nobody is named", `{"AWS":"123456789012"}`, Caller{}, true},
	} {
		d := ask(t, pull(tc.c), allowed(principal), denied(`"NotPrincipal":`+tc.list))
		if (d.Effect == Deny) != tc.denied {
			t.Errorf("%s: %+v", tc.name, d)
		}
	}
}

func TestActions(t *testing.T) {
	for _, tc := range []struct {
		pattern, action string
		want            bool
	}{
		{"ecr:BatchGetImage", "ecr:BatchGetImage", true},
		{"ECR:batchgetimage", "ecr:BatchGetImage", true},
		{"ecr:Batch*", "ecr:BatchGetImage", true},
		{"ecr:*Image", "ecr:BatchGetImage", true},
		{"ecr:*", "ecr:BatchGetImage", true},
		{"*", "ecr:BatchGetImage", true},
		{"ecr:PutImag?", "ecr:PutImage", true},
		{"ecr:PutImage?", "ecr:PutImage", false},
		{"ecr:PutImage", "ecr:PutImageTagMutability", false},
		{"ecr:Get*", "ecr:BatchGetImage", false},
		{"ecr:*", "ecr-public:BatchGetImage", false},
		{"ecr:*", "s3:GetObject", false},
		{"s3:*", "s3:GetObject", true},
		{"*:Get*", "s3:GetObject", true},
	} {
		for _, name := range []string{"Action", "NotAction"} {
			d, err := ParseIdentityPolicy(with(effect, `"`+name+`":["iam:PassRole","`+tc.pattern+`"]`, resource))
			if err != nil {
				t.Fatal(err)
			}
			got := d.Evaluate(Query{Caller: ann, Action: tc.action, Resource: repoARN})
			if (got.Effect == Allow) != (tc.want == (name == "Action")) {
				t.Errorf("%s %s on %s: %+v", name, tc.pattern, tc.action, got)
			}
		}
	}
}

func TestResources(t *testing.T) {
	for _, tc := range []struct {
		pattern, resource string
		want              bool
	}{
		{"*", repoARN, true},
		{"*", "*", true},
		{repoARN, repoARN, true},
		{"arn:aws:ecr:us-east-1:123456789012:repository/Team/app", repoARN, false},
		{"arn:aws:ecr:us-east-1:123456789012:repository/team/*", repoARN, true},
		{"arn:aws:ecr:us-east-1:123456789012:repository/*", repoARN, true}, // over "/"
		{"arn:aws:ecr:*:123456789012:repository/team/app", repoARN, true},
		{"arn:aws:ecr:*:app", repoARN, false},
		{"arn:aws:ecr:*/app", repoARN, false}, // completed with fields
		{"arn:*:*:*:*:*app", repoARN, true},
		{"arn:aws:ecr:us-east-1:*/app", repoARN, false},
		{"arn:aws:ecr:us-east-?:123456789012:repository/team/ap?", repoARN, true},
		{"arn:aws:ecr", repoARN, true}, // arn:aws:ecr:*:*:*
		{"arn:aws:ecr:us-east-1", repoARN, true},
		{"arn:aws:s3", repoARN, false},
		{"arn:aws:e", repoARN, false},
		{"arn:*", "*", false}, // an operation on no resource needs "*"
		{"arn:aws:ecr:us-east-1:123456789012:repository/team", repoARN, false},
		{"arn:aws:ecr:us-east-1:123456789012:repository/${aws:PrincipalTag/team}/*", repoARN, true},
		{"arn:aws:ecr:us-east-1:123456789012:repository/${aws:PrincipalTag/none}/*", repoARN, false},
		{"arn:aws:ecr:us-east-1:123456789012:repository/${aws:PrincipalTag/none, 'team'}/*", repoARN, true},
		{"arn:aws:ecr:us-east-1:123456789012:repository/${aws:PrincipalTag/star}", repoARN, false}, // its value is no wildcard
		{"arn:aws:ecr:us-east-1:${aws:PrincipalAccount}:repository/*", repoARN, false},             // only after the fifth colon
	} {
		keys := MapKeys{}
		keys.Set("aws:PrincipalTag/Team", "team")
		keys.Set("aws:PrincipalTag/star", "*")
		keys.Set("aws:PrincipalAccount", account)
		for _, name := range []string{"Resource", "NotResource"} {
			d, err := ParseIdentityPolicy(with(effect, action, `"`+name+`":["arn:aws:ecr:eu-west-1:123456789012:repository/x","`+tc.pattern+`"]`))
			if err != nil {
				t.Fatal(err)
			}
			got := d.Evaluate(Query{Caller: ann, Action: "ecr:BatchGetImage", Resource: tc.resource, Keys: keys})
			if (got.Effect == Allow) != (tc.want == (name == "Resource")) {
				t.Errorf("%s %s on %s: %+v", name, tc.pattern, tc.resource, got)
			}
		}
	}
	// A repository policy without Resource means the repository; with one, it counts.
	if d := ask(t, pull(ann), allowed(principal)); d.Effect != Allow {
		t.Errorf("without Resource: %+v", d)
	}
	if d := ask(t, pull(ann), allowed(principal+`,"Resource":"arn:aws:ecr:us-east-1:123456789012:repository/b"`)); d.Effect != Silent {
		t.Errorf("another Resource: %+v", d)
	}
}

// IAM User Guide, "Policy evaluation logic".
func TestDecisions(t *testing.T) {
	byAccount := `"Sid":"account",` + allowed(`"Principal":{"AWS":"123456789012"}`)
	byName := `"Sid":"name",` + allowed(`"Principal":{"AWS":"arn:aws:iam::123456789012:user/ann"}`)
	star := `"Sid":"star",` + allowed(principal)
	no := `"Sid":"no",` + denied(`"Principal":{"AWS":"123456789012"}`)
	other := `"Sid":"other",` + deny + `,` + principal + `,"Action":"ecr:PutImage"`
	for _, tc := range []struct {
		name       string
		statements []string
		want       Decision
	}{
		{"nothing applies", []string{other}, Decision{Statement: -1}},
		{"by account", []string{other, byAccount}, Decision{Allow, 1, "account", true, false}},
		{"by account twice", []string{byAccount, byAccount}, Decision{Allow, 0, "account", true, false}},
		{"by account, then by name", []string{byAccount, other, byName}, Decision{Allow, 2, "name", false, false}},
		{"by name, then by account", []string{byName, byAccount}, Decision{Allow, 0, "name", false, false}},
		{"the first of two", []string{star, byName}, Decision{Allow, 0, "star", false, false}},
		{"deny last", []string{byName, star, no}, Decision{Deny, 2, "no", false, false}},
		{"deny first", []string{no, byName}, Decision{Deny, 0, "no", false, false}},
		{"deny between", []string{byAccount, no, byName}, Decision{Deny, 1, "no", false, false}},
	} {
		if got := ask(t, pull(ann), tc.statements...); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// A session that is named by its role's ARN is not named itself.
func TestDecisionsAboutRoles(t *testing.T) {
	session := Caller{Account: account, ARN: "arn:aws:sts::123456789012:assumed-role/ci/s1", Role: "arn:aws:iam::123456789012:role/ci"}
	byAccount := `"Sid":"account",` + allowed(`"Principal":{"AWS":"123456789012"}`)
	byRole := `"Sid":"role",` + allowed(`"Principal":{"AWS":"arn:aws:iam::123456789012:role/ci"}`)
	bySession := `"Sid":"session",` + allowed(`"Principal":{"AWS":"arn:aws:sts::123456789012:assumed-role/ci/s1"}`)
	star := `"Sid":"star",` + allowed(principal)
	for _, tc := range []struct {
		name       string
		statements []string
		want       Decision
	}{
		{"by role", []string{byRole}, Decision{Allow, 0, "role", false, true}},
		{"by account, then by role", []string{byAccount, byRole}, Decision{Allow, 1, "role", false, true}},
		{"by role, then by account", []string{byRole, byAccount}, Decision{Allow, 0, "role", false, true}},
		{"by role, then itself", []string{byRole, bySession}, Decision{Allow, 1, "session", false, false}},
		{"by role, then as everybody", []string{byRole, star}, Decision{Allow, 1, "star", false, false}},
	} {
		if got := ask(t, pull(session), tc.statements...); got != tc.want {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// Twelve digits mean the account in every partition, and its root user is named
// by them as well.
func TestPartitions(t *testing.T) {
	rootCN := Caller{Account: account, ARN: "arn:aws-cn:iam::123456789012:root"}
	if got := ask(t, pull(rootCN), allowed(`"Principal":{"AWS":"123456789012"}`)); got.Effect != Allow || got.Account {
		t.Errorf("root: %+v", got)
	}
	if got := ask(t, pull(rootCN), denied(`"NotPrincipal":{"AWS":"123456789012"}`)); got.Effect != Silent {
		t.Errorf("all but root: %+v", got)
	}
	userCN := Caller{Account: account, ARN: "arn:aws-cn:iam::123456789012:user/ann"}
	if got := ask(t, pull(userCN), allowed(`"Principal":{"AWS":"123456789012"}`)); got.Effect != Allow || !got.Account {
		t.Errorf("user: %+v", got)
	}
}

// A request may have no keys at all.
func TestNoKeys(t *testing.T) {
	c := `"Condition":{"Null":{"aws:username":"true"}},"Resource":["arn:aws:ecr:*:*:${aws:username}","*"]`
	if got := ask(t, pull(ann), allowed(principal+","+c)); got.Effect != Allow {
		t.Errorf("got %+v", got)
	}
}

func TestTrustPolicyDecides(t *testing.T) {
	d, err := ParseTrustPolicy(with(effect, `"Principal":{"Federated":"`+github.Federated+`"}`, `"Action":"sts:AssumeRoleWithWebIdentity"`,
		`"Condition":{"StringEquals":{"token.actions.githubusercontent.com:aud":"sts.amazonaws.com"},`+
			`"StringLike":{"token.actions.githubusercontent.com:sub":"repo:acme/*:ref:refs/heads/main"}}`))
	if err != nil {
		t.Fatal(err)
	}
	keys := MapKeys{}
	keys.Set("token.actions.githubusercontent.com:aud", "sts.amazonaws.com")
	keys.Set("token.actions.githubusercontent.com:sub", "repo:acme/app:ref:refs/heads/main")
	q := Query{Caller: github, Action: "sts:AssumeRoleWithWebIdentity", Resource: roleARN, Keys: keys}
	if got := d.Evaluate(q); got.Effect != Allow || got.Account {
		t.Errorf("main: %+v", got)
	}
	keys.Set("token.actions.githubusercontent.com:sub", "repo:acme/app:ref:refs/heads/x")
	if got := d.Evaluate(q); got.Effect != Silent {
		t.Errorf("a branch: %+v", got)
	}
	q.Action = "sts:AssumeRole"
	if got := d.Evaluate(q); got.Effect != Silent {
		t.Errorf("another action: %+v", got)
	}
}

// Documents that no parser has seen deny rather than allow.
func TestUnparsedDocuments(t *testing.T) {
	base := Statement{Effect: Allow, Principals: []Principal{Everybody()}, Actions: []string{"*"}}
	change := func(f func(*Statement)) Statement {
		s := base
		f(&s)
		return s
	}
	condition := func(name string, values ...string) func(*Statement) {
		return func(s *Statement) {
			s.Conditions = []Condition{{Operator: Operator{Name: name}, Key: "aws:username", Values: values}}
		}
	}
	if got := (&Document{Statements: []Statement{base}}).Evaluate(pull(ann)); got.Effect != Allow {
		t.Fatalf("got %+v", got)
	}
	for name, f := range map[string]func(*Statement){
		"unknown operator":     condition("StringIs", "x"),
		"no values":            condition("StringNotEquals"),
		"unreadable number":    condition("NumericNotEquals", "x"),
		"unreadable address":   condition("NotIpAddress", "x"),
		"variable in a number": condition("NumericNotEquals", "${aws:username}"),
	} {
		s := change(f)
		if got := (&Document{Version: Version2012, Statements: []Statement{s}}).Evaluate(pull(ann)); got.Effect != Silent {
			t.Errorf("%s in an Allow: %+v", name, got)
		}
		s.Effect = Deny
		if got := (&Document{Version: Version2012, Statements: []Statement{s}}).Evaluate(pull(ann)); got.Effect != Deny {
			t.Errorf("%s in a Deny: %+v", name, got)
		}
	}
	s := change(condition("Bool", "${aws:username}"))
	if got := (&Document{Version: Version2008, Statements: []Statement{s}}).Evaluate(pull(ann)); got.Effect != Silent {
		t.Errorf("a variable in version 2008: %+v", got)
	}
	for name, f := range map[string]func(*Statement){
		"allow but": func(s *Statement) { s.NotPrincipal, s.Principals = true, []Principal{{Service, "x"}} },
		"no name":   func(s *Statement) { s.Principals = []Principal{{Service, ""}, {AWS, ""}} },
		"effect":    func(s *Statement) { s.Effect = "allow" },
	} {
		if got := (&Document{Statements: []Statement{change(f)}}).Evaluate(pull(ann)); got.Effect != Silent {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := (&Document{}).Evaluate(Query{}); got != (Decision{Statement: -1}) {
		t.Errorf("empty: %+v", got)
	}
}
