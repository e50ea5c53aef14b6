package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// one draws one of the values.
func one[T any](t *rapid.T, label string, values ...T) T {
	return rapid.SampledFrom(values).Draw(t, label)
}

// some draws a list of at least one.
func some[T any](t *rapid.T, label string, values ...T) []T {
	return rapid.SliceOfN(rapid.SampledFrom(values), 1, 3).Draw(t, label)
}

// drawStatement draws a statement out of names so few that statements often
// concern the same question.
func drawStatement(t *rapid.T) Statement {
	s := Statement{
		Effect:    one(t, "effect", Allow, Deny),
		Actions:   some(t, "actions", "ecr:PutImage", "ecr:BatchGetImage", "ecr:*Image", "ecr:put*", "*"),
		NotAction: rapid.Bool().Draw(t, "not action"),
		Principals: some(t, "principals", Everybody(), Principal{AWS, root(account).ARN}, Principal{AWS, ann.ARN}, Principal{AWS, roleARN},
			Principal{AWS, session("s").ARN}, Principal{Service, builder.Service}),
	}
	s.NotPrincipal = s.Effect == Deny && rapid.Bool().Draw(t, "not principal")
	if rapid.Bool().Draw(t, "resource") {
		s.Resources = some(t, "resources", "*", repoARN, "arn:aws:ecr:*:*:repository/${aws:username}/*", "arn:aws:ecr:*:*:*/b")
		s.NotResource = rapid.Bool().Draw(t, "not resource")
	}
	for range rapid.IntRange(0, 2).Draw(t, "conditions") {
		s.Conditions = append(s.Conditions, drawCondition(t))
	}
	return s
}

func drawCondition(t *rapid.T) Condition {
	c := Condition{
		Operator: Operator{
			Qualifier: one(t, "qualifier", None, None, ForAllValues, ForAnyValue),
			Name:      one(t, "operator", "StringEquals", "StringNotEquals", "StringLike", "ArnNotLike", "Null", "NumericLessThan", "IpAddress"),
			IfExists:  rapid.Bool().Draw(t, "if exists"),
		},
		Key: one(t, "key", "aws:username", "aws:TagKeys", "x:absent"),
	}
	switch c.Operator.Name {
	case "Null":
		c.Operator.IfExists = false
		c.Values = some(t, "values", "true", "false")
	case "NumericLessThan":
		c.Values = some(t, "values", "1", "10")
	case "IpAddress":
		c.Values = some(t, "values", "10.0.0.0/8", "::/0")
	default:
		c.Values = some(t, "values", "a", "team", "*", "${aws:username}", "arn:aws:*:*:*:x")
	}
	return c
}

func drawDocument(t *rapid.T) *Document {
	d := &Document{Version: one(t, "version", Version2008, Version2012)}
	for range rapid.IntRange(1, 5).Draw(t, "statements") {
		d.Statements = append(d.Statements, drawStatement(t))
	}
	return d
}

func drawQuery(t *rapid.T) Query {
	keys := MapKeys{}
	if rapid.Bool().Draw(t, "has a name") {
		keys.Set("aws:username", one(t, "name", "a", "team", "", "5"))
	}
	keys.Set("aws:TagKeys", rapid.SliceOfN(rapid.SampledFrom([]string{"a", "team", "10.1.2.3"}), 0, 2).Draw(t, "tag keys")...)
	return Query{
		Caller:   one(t, "caller", ann, root(account), session("s"), session("t"), user(stranger, "ann"), builder, Caller{}),
		Action:   one(t, "action", "ecr:PutImage", "ecr:BatchGetImage", "ecr:DescribeImages"),
		Resource: one(t, "resource", repoARN, "arn:aws:ecr:us-east-1:123456789012:repository/a/b", "*"),
		Keys:     keys,
	}
}

// grants orders decisions by how much they grant.
func grants(d Decision) int {
	switch {
	case d.Effect == Deny:
		return 0
	case d.Effect == Silent:
		return 1
	case d.Account:
		return 2
	}
	return 3
}

// Adding a Deny never grants. Removing an Allow never grants. Removing a
// statement never denies what was not denied.
func TestFewerStatementsProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, q := drawDocument(t), drawQuery(t)
		before := d.Evaluate(q)
		i := rapid.IntRange(0, len(d.Statements)-1).Draw(t, "removed")
		removed := d.Statements[i]
		d.Statements = slices.Delete(slices.Clone(d.Statements), i, i+1)
		after := d.Evaluate(q)
		if removed.Effect == Deny && grants(before) > grants(after) {
			t.Fatalf("with a Deny more: %+v, was %+v", before, after)
		}
		if removed.Effect == Allow && grants(after) > grants(before) {
			t.Fatalf("with an Allow less: %+v, was %+v", after, before)
		}
		if after.Effect == Deny && before.Effect != Deny {
			t.Fatalf("with a statement less: %+v, was %+v", after, before)
		}
	})
}

// The order of the statements, and of the lists in them, does not matter.
func TestOrderProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, q := drawDocument(t), drawQuery(t)
		want := d.Evaluate(q)
		other := &Document{Version: d.Version, Statements: rapid.Permutation(d.Statements).Draw(t, "order")}
		for i := range other.Statements {
			s := &other.Statements[i]
			s.Actions = rapid.Permutation(s.Actions).Draw(t, "actions")
			s.Principals = rapid.Permutation(s.Principals).Draw(t, "principals")
			s.Conditions = rapid.Permutation(s.Conditions).Draw(t, "conditions")
		}
		if got := other.Evaluate(q); got.Effect != want.Effect || got.Account != want.Account {
			t.Fatalf("got %+v, want %+v", got, want)
		}
	})
}

// A decision names a statement that by itself decides the same.
func TestDecisionNamesItsStatementProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d, q := drawDocument(t), drawQuery(t)
		got := d.Evaluate(q)
		if (got.Statement < 0) != (got.Effect == Silent) {
			t.Fatalf("got %+v", got)
		}
		for i, s := range d.Statements {
			alone := (&Document{Version: d.Version, Statements: []Statement{s}}).Evaluate(q)
			switch {
			case i == got.Statement && (alone.Effect != got.Effect || alone.Account != got.Account):
				t.Fatalf("statement %d alone: %+v, but %+v", i, alone, got)
			case alone.Effect == Deny && got.Effect != Deny, alone.Effect == Allow && got.Effect == Silent:
				t.Fatalf("statement %d alone: %+v, but %+v", i, alone, got)
			}
		}
	})
}

// A condition with its negation covers every request once, but for ForAllValues
// and ForAnyValue, where the negation of the one is the other.
func TestNegationProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := drawQuery(t)
		c := Condition{
			Operator: Operator{Name: one(t, "operator", "StringEquals", "StringLike", "ArnLike", "NumericEquals", "DateEquals", "IpAddress")},
			Key:      one(t, "key", "aws:username", "aws:TagKeys", "x:absent"),
		}
		switch c.Operator.Name {
		case "NumericEquals", "DateEquals":
			c.Values = some(t, "values", "1", "5")
		case "IpAddress":
			c.Values = some(t, "values", "10.0.0.0/8", "10.1.2.4")
		default:
			c.Values = some(t, "values", "a", "te*", "${aws:username}")
		}
		holds := func(qualifier Qualifier, negate bool) bool {
			n := c
			n.Operator.Qualifier = qualifier
			if negate {
				n.Operator.Name = strings.NewReplacer("StringE", "StringNotE", "Like", "NotLike", "cE", "cNotE", "teE", "teNotE", "Ip", "NotIp").Replace(c.Operator.Name)
			}
			compiled, ok := compileCondition(n, true)
			if !ok {
				t.Fatalf("not compiled: %+v", n)
			}
			return compiled.holds(q.Keys)
		}
		if holds(None, false) == holds(None, true) || holds(ForAllValues, false) == holds(ForAnyValue, true) ||
			holds(ForAnyValue, false) == holds(ForAllValues, true) {
			t.Fatalf("%+v is no opposite of its negation", c)
		}
	})
}

// What every parser accepts can be evaluated, and evaluates the same after it is
// written and read again.
func TestMarshalledEvaluatesTheSameProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(drawDocument(t))
		if err != nil {
			t.Fatal(err)
		}
		d, err := ParseRepositoryPolicy(string(text))
		if err != nil {
			t.Fatalf("%s\n%s", text, errors.Unwrap(err))
		}
		checkSameDecision(t, repositoryPolicy(), d, drawQuery(t))
	})
}

func checkSameDecision(t interface{ Fatalf(string, ...any) }, kind dialect, d *Document, q Query) {
	text, err := json.Marshal(d)
	if err != nil {
		t.Fatalf("marshal: %v", err)
	}
	again, f := kind.parse(string(text))
	if f != nil {
		t.Fatalf("accepted, but not what it marshals to: %v\n%s", f.reason, text)
	}
	if got, want := again.Evaluate(q), d.Evaluate(q); got != want {
		t.Fatalf("again %+v, first %+v\n%s", got, want, text)
	}
}

func FuzzEvaluate(f *testing.F) {
	for _, seed := range []string{
		with(effect, principal, action), with(deny, `"NotPrincipal":{"AWS":["123456789012"]}`, `"NotAction":["ecr:*"]`, `"NotResource":"*"`),
		with(effect, pulls, `"Resource":["arn:aws:ecr:*:*:repository/${aws:username}/?*","arn:aws:s3"]`,
			`"Condition":{"ForAllValues:StringLike":{"aws:TagKeys":["a*","${aws:x, 'y'}"]},"ArnLike":{"x:k":"arn:*:${aws:username}:?:*:*"}}`),
		with(effect, pulls, resource, `"Condition":{"IpAddress":{"x:k":["10.0.0.0/8","::1"]},"DateLessThan":{"x:k":"2026-01-01"},"NumericEquals":{"x:k":1},`+
			`"Bool":{"x:k":"${x:k}"},"BinaryEquals":{"x:k":"QQ=="},"Null":{"x:k":"false"}}`),
		with(effect, `"Principal":{"Federated":"token.actions.githubusercontent.com"}`, assume),
	} {
		f.Add(seed, "ecr:BatchGetImage", repoARN, ann.ARN, "aws:username", "ann")
	}
	f.Fuzz(func(t *testing.T, text, action, resource, arn, key, value string) {
		keys := MapKeys{}
		keys.Set("x:k", value, "10.0.0.1", "1", value+"x")
		keys.Set(key, value)
		q := Query{Caller: Caller{Account: account, ARN: arn, Role: roleARN}, Action: action, Resource: resource, Keys: keys}
		for _, kind := range []dialect{repositoryPolicy(), identityPolicy(), trustPolicy()} {
			d, err := kind.read(text)
			if err != nil {
				var e *Error
				if !errors.As(err, &e) || e.Line < 1 || e.Column < 1 || err.Error() == "" || len(e.Reason()) > 4096 {
					t.Fatalf("refused with %v", err)
				}
				continue
			}
			checkStableAs(t, kind, d)
			checkSameDecision(t, kind, d, q)
			q.Keys = nil
			checkSameDecision(t, kind, d, q)
			q.Keys = keys
		}
	})
}

// manyStatements is a policy of 100 statements of which the last but one allows.
func manyStatements(tb testing.TB) (*Document, Query) {
	var statements []string
	for i := range 100 {
		name := fmt.Sprintf("team%02d", i)
		s := []string{
			fmt.Sprintf(`"Sid":"s%d","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::%012d:root","arn:aws:iam::123456789012:user/%s"]}`, i, i, name),
			`"Action":["ecr:GetDownloadUrlForLayer","ecr:Batch*","ecr:Describe*"]`,
			`"Resource":["arn:aws:ecr:*:123456789012:repository/` + name + `/*"]`,
			`"Condition":{"StringLike":{"aws:PrincipalTag/team":["blue*","*red*"]},"IpAddress":{"aws:SourceIp":["10.0.0.0/8"]}}`,
		}
		if i%2 == 0 { // names everybody, so that the rest must tell
			s[0] = fmt.Sprintf(`"Sid":"s%d","Effect":"%s","Principal":"*"`, i, one2(i%4 == 0, Deny, Allow))
		}
		statements = append(statements, "{"+strings.Join(s, ",")+"}")
	}
	d, f := repositoryPolicy().parse(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)
	if f != nil {
		tb.Fatal(f.reason)
	}
	keys := MapKeys{}
	keys.Set("aws:PrincipalTag/team", "darkred")
	keys.Set("aws:SourceIp", "10.1.2.3")
	return d, Query{
		Caller: user(account, "team98"), Action: "ecr:BatchGetImage", Keys: keys,
		Resource: "arn:aws:ecr:us-east-1:123456789012:repository/team98/app",
	}
}

func one2[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

func TestManyStatements(t *testing.T) {
	d, q := manyStatements(t)
	if got := d.Evaluate(q); got != (Decision{Effect: Allow, Statement: 98, Sid: "s98"}) {
		t.Errorf("got %+v", got)
	}
	q.Resource = strings.ReplaceAll(q.Resource, "98", "96")
	if got := d.Evaluate(q); got != (Decision{Effect: Deny, Statement: 96, Sid: "s96"}) {
		t.Errorf("got %+v", got)
	}
}

// BenchmarkEvaluate decides against 100 statements, all of which are looked at.
func BenchmarkEvaluate(b *testing.B) {
	d, q := manyStatements(b)
	c := Compile(d)
	b.ReportAllocs()
	for b.Loop() {
		if c.Evaluate(q).Effect != Allow {
			b.Fatal("not allowed")
		}
	}
}

// BenchmarkCompile says what it costs to ask a document only once.
func BenchmarkCompile(b *testing.B) {
	d, _ := manyStatements(b)
	b.ReportAllocs()
	for b.Loop() {
		Compile(d)
	}
}
