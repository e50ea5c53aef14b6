package policy

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// holds evaluates one condition, {operator: {x:k: values}}, on values of the key.
func holds(t *testing.T, operator, policyValues string, key []string) bool {
	t.Helper()
	d, err := ParseIdentityPolicy(with(effect, action, resource, fmt.Sprintf(`"Condition":{%q:{"X:K":%s}}`, operator, policyValues)))
	if err != nil {
		t.Fatal(err.(*Error).Reason())
	}
	keys := MapKeys{}
	keys.Set("aws:username", "ann")
	keys.Set("aws:PrincipalTag/arn", "arn:aws:iam::123456789012:role/ci")
	keys.Set("aws:PrincipalTag/field", "a:b")
	keys.Set("aws:SecureTransport", "true")
	if key != nil {
		keys.Set("x:k", key...)
	}
	return d.Evaluate(Query{Caller: ann, Action: "ecr:BatchGetImage", Resource: repoARN, Keys: keys}).Effect == Allow
}

// IAM User Guide, "IAM JSON policy elements: Condition operators". Each operator
// with a negation is checked with its negation, which says the opposite.
func TestOperators(t *testing.T) {
	negation := map[string]string{
		"StringEquals": "StringNotEquals", "StringEqualsIgnoreCase": "StringNotEqualsIgnoreCase", "StringLike": "StringNotLike",
		"NumericEquals": "NumericNotEquals", "DateEquals": "DateNotEquals", "IpAddress": "NotIpAddress",
		"ArnEquals": "ArnNotEquals", "ArnLike": "ArnNotLike",
	}
	for _, tc := range []struct{ operator, values, yes, no string }{ // yes and no: values of the key, separated by blanks
		{"StringEquals", `"Blue"`, "Blue", "blue Blu Blue* *"},
		{"StringEquals", `"B*"`, "B*", "Blue B"},
		{"StringEquals", `["a","b"]`, "a b", "c ab"},
		{"StringEquals", `"${aws:username}"`, "ann", "${aws:username} bob"},
		{"StringEquals", `"${aws:nothing}"`, "", "ann ${aws:nothing}"},
		{"StringEquals", `"${aws:nothing, 'x'}"`, "x", "ann"},
		{"StringEqualsIgnoreCase", `"Blue"`, "Blue blue BLUE", "Blu"},
		{"StringLike", `"B?u*"`, "Blue Bluebird Blu", "blue Blx"},
		{"StringLike", `["a*","*z"]`, "a az z", "b"},
		{"StringLike", `"${*}?"`, "*x", "xx **x"},
		{"StringLike", `"home/${aws:username}/*"`, "home/ann/ home/ann/a/b", "home/bob/ home/ann"},
		{"StringLike", `"arn:aws:someservice:*:111122223333:finance/*"`,
			"arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt", "x"},

		{"NumericEquals", `"10"`, "10 10.0 1e1 +10", "9 x -10 0xa"},
		{"NumericEquals", `[1,2.5]`, "1 2.5", "2"},
		{"NumericLessThan", `"10"`, "9 -1 9.99", "10 11 x"},
		{"NumericLessThanEquals", `"10"`, "9 10", "10.1 x"},
		{"NumericGreaterThan", `"10"`, "11 10.01", "10 9 x"},
		{"NumericGreaterThanEquals", `"10"`, "11 10", "9.9 x"},

		{"DateEquals", `"2026-01-02T03:04:05Z"`, "2026-01-02T03:04:05Z 2026-01-02T04:04:05+01:00 1767323045", "2026-01-02 x"},
		{"DateLessThan", `"2026-01-02"`, "2026-01-01T23:59:59Z 1767311999", "2026-01-02 2026-01-02T00:00:00Z 1767312000 x"},
		{"DateLessThanEquals", `"2026-01-02"`, "2026-01-02 2026-01-01", "2026-01-02T00:00:01Z x"},
		{"DateGreaterThan", `"1767312000"`, "2026-01-02T00:00:01Z 2026-02", "2026-01-02 x"},
		{"DateGreaterThanEquals", `"2026-01-02T00:00Z"`, "2026-01-02 2027-01-01", "2026-01-01T23:59:59.999Z x"},

		{"Bool", `"true"`, "true TRUE", "false x"},
		{"Bool", `false`, "false", "true x"},
		{"Bool", `"${aws:SecureTransport}"`, "true", "false"},
		{"Bool", `"${aws:username}"`, "", "ann true"}, // "ann" is no truth value
		{"BinaryEquals", `"QmluYXJ5"`, "Binary", "binary QmluYXJ5"},

		{"IpAddress", `"203.0.113.0/24"`, "203.0.113.0 203.0.113.255 ::ffff:203.0.113.7", "203.0.114.1 2001:db8::1 x"},
		{"IpAddress", `"203.0.113.9/24"`, "203.0.113.1", "203.0.112.9"},
		{"IpAddress", `"203.0.113.7"`, "203.0.113.7", "203.0.113.8"},
		{"IpAddress", `"::ffff:203.0.113.0/120"`, "203.0.113.7", "203.0.114.7"},
		{"IpAddress", `"::ffff:203.0.113.7"`, "203.0.113.7 ::ffff:203.0.113.7", "203.0.113.8"},
		{"IpAddress", `["10.0.0.0/8","2001:DB8:1234:5678::/64"]`, "10.1.2.3 2001:db8:1234:5678::9", "11.0.0.1 2001:db8:1234:5679::"},
		{"IpAddress", `"2001:db8::1"`, "2001:db8::1 2001:db8::1%eth0", "2001:db8::2"},
		{"IpAddress", `"0.0.0.0/0"`, "8.8.8.8", "2001:db8::1 x"},

		{"ArnEquals", `"arn:aws:sns:us-east-1:123456789012:topic"`, "arn:aws:sns:us-east-1:123456789012:topic", "arn:aws:sns:us-east-1:123456789012:topics topic"},
		{"ArnEquals", `"arn:aws:sns:*:123456789012:t?pic*"`, "arn:aws:sns:us-east-1:123456789012:topic:x", "arn:aws:sns:a:b:123456789012:topic"},
		{"ArnLike", `"arn:aws:someservice:*:111122223333:finance/*"`, "arn:aws:someservice:us-east-2:111122223333:finance/document.txt",
			"arn:aws:someservice:us-east-2:999999999999:store/abc:111122223333:finance/document.txt ARN:aws:someservice:r:111122223333:finance/x"},
		{"ArnLike", `"*"`, "arn:aws:iam::123456789012:role/ci", ""},
		{"ArnLike", `"${aws:PrincipalTag/arn}"`, "arn:aws:iam::123456789012:role/ci", "arn:aws:iam::123456789012:role/x"},
		{"ArnLike", `"arn:aws:sns:*:*:*"`, "arn:aws:sns:::", "arn:aws:sns arn:aws:sns::"},
		// The value of a variable stays in its field.
		{"ArnLike", `"arn:aws:x:${aws:username}:*:*"`, "arn:aws:x:ann:b:c", "arn:aws:x:bob:b:c"},
		{"ArnLike", `"arn:aws:x:${aws:PrincipalTag/field}:*:*"`, "", "arn:aws:x:a:b:c arn:aws:x:a:b:c:d"},
		{"ArnLike", `"arn:aws:x:r:1:${aws:PrincipalTag/field}"`, "arn:aws:x:r:1:a:b", "arn:aws:x:r:1:a"},
	} {
		for _, list := range []struct {
			values string
			want   bool
		}{{tc.yes, true}, {tc.no, false}} {
			for _, v := range strings.Fields(list.values) {
				if got := holds(t, tc.operator, tc.values, []string{v}); got != list.want {
					t.Errorf("%s %s on %q: %v", tc.operator, tc.values, v, got)
				}
				if not := negation[tc.operator]; not != "" && holds(t, not, tc.values, []string{v}) == list.want {
					t.Errorf("%s %s on %q: %v", not, tc.values, v, list.want)
				}
			}
		}
	}
}

// A key that the request does not have (IAM User Guide, "Condition operators",
// "…IfExists" and "Set operators for multivalued context keys").
func TestMissingKeys(t *testing.T) {
	value := map[string]string{"Numeric": `"1"`, "Date": `"2026-01-01"`, "Bool": `"true"`, "Binary": `"QQ=="`, "IpAddr": `"10.0.0.0/8"`, "NotIpA": `"10.0.0.0/8"`}
	for _, name := range []string{
		"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
		"NumericEquals", "NumericNotEquals", "NumericLessThan", "NumericLessThanEquals", "NumericGreaterThan", "NumericGreaterThanEquals",
		"DateEquals", "DateNotEquals", "DateLessThan", "DateLessThanEquals", "DateGreaterThan", "DateGreaterThanEquals",
		"Bool", "BinaryEquals", "IpAddress", "NotIpAddress", "ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike",
	} {
		v := `"arn:aws:sns:us-east-1:123456789012:topic"`
		for prefix, of := range value {
			if strings.HasPrefix(name, prefix) {
				v = of
			}
		}
		for operator, want := range map[string]bool{
			name:                               strings.Contains(name, "Not"),
			name + "IfExists":                  true,
			"ForAllValues:" + name:             true,
			"ForAnyValue:" + name:              false,
			"ForAnyValue:" + name + "IfExists": true,
		} {
			for _, none := range [][]string{nil, {}} {
				if got := holds(t, operator, v, none); got != want {
					t.Errorf("%s on %#v: %v", operator, none, got)
				}
			}
		}
	}
}

func TestNull(t *testing.T) {
	for _, tc := range []struct {
		values          string
		absent, present bool
	}{
		{`"true"`, true, false}, {`"false"`, false, true}, {`true`, true, false}, {`"False"`, false, true}, {`["true","false"]`, true, true},
	} {
		if holds(t, "Null", tc.values, nil) != tc.absent || holds(t, "Null", tc.values, []string{"x"}) != tc.present ||
			holds(t, "Null", tc.values, []string{""}) != tc.present {
			t.Errorf("Null %s", tc.values)
		}
	}
}

// IAM User Guide, "Set operators for multivalued context keys".
func TestSetOperators(t *testing.T) {
	for _, tc := range []struct {
		operator, values, key string
		want                  bool
	}{
		{"ForAllValues:StringEquals", `["a","b"]`, "a", true},
		{"ForAllValues:StringEquals", `["a","b"]`, "a b", true},
		{"ForAllValues:StringEquals", `["a","b"]`, "a c", false},
		{"ForAnyValue:StringEquals", `["a","b"]`, "c a", true},
		{"ForAnyValue:StringEquals", `["a","b"]`, "c d", false},
		{"ForAllValues:StringNotEquals", `["a","b"]`, "c d", true},
		{"ForAllValues:StringNotEquals", `["a","b"]`, "c a", false},
		{"ForAnyValue:StringNotEquals", `["a","b"]`, "c a", true},
		{"ForAnyValue:StringNotEquals", `["a","b"]`, "b a", false},
		{"ForAllValues:StringLike", `"key*"`, "key1 key2", true},
		{"ForAllValues:NumericLessThan", `"3"`, "1 2", true},
		{"ForAllValues:NumericLessThan", `"3"`, "1 3", false},
		{"ForAllValues:StringEqualsIfExists", `"a"`, "b", false},
		// Without a qualifier: any value for the positive, none for the negated.
		{"StringEquals", `"a"`, "b a", true},
		{"StringNotEquals", `"a"`, "b a", false},
		{"StringNotEquals", `["a","b"]`, "c", true},
	} {
		key := strings.Fields(tc.key)
		if got := holds(t, tc.operator, tc.values, key); got != tc.want {
			t.Errorf("%s %s on %q: %v", tc.operator, tc.values, key, got)
		}
		slices.Reverse(key)
		if got := holds(t, tc.operator, tc.values, key); got != tc.want {
			t.Errorf("%s %s on %q: %v", tc.operator, tc.values, key, got)
		}
	}
	// An empty string is an empty set, for the set operators only.
	empty := []string{""}
	if !holds(t, "ForAllValues:StringEquals", `"a"`, empty) || holds(t, "ForAnyValue:StringNotEquals", `"a"`, empty) ||
		holds(t, "ForAnyValue:StringEqualsIfExists", `"a"`, empty) || holds(t, "StringEquals", `"a"`, empty) || !holds(t, "StringEquals", `""`, empty) {
		t.Error("empty string")
	}
}

// Keys and operators are joined by AND, names of keys ignore case, variables
// need version 2012-10-17.
func TestConditionBlocks(t *testing.T) {
	d, err := ParseIdentityPolicy(with(effect, action, resource,
		`"Condition":{"StringEquals":{"AWS:username":"ann","aws:PrincipalTag/TEAM":["blue","red"]},"Bool":{"aws:SecureTransport":"true"}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, team, tls string
		want            Effect
	}{
		{"ann", "red", "true", Allow}, {"bob", "red", "true", Silent}, {"ann", "green", "true", Silent}, {"ann", "red", "false", Silent},
	} {
		keys := MapKeys{}
		keys.Set("aws:UserName", tc.name)
		keys.Set("aws:principaltag/Team", tc.team)
		keys.Set("aws:SecureTransport", tc.tls)
		if got := d.Evaluate(Query{Action: "ecr:BatchGetImage", Keys: keys}); got.Effect != tc.want {
			t.Errorf("%+v: %+v", tc, got)
		}
	}

	old := strings.Replace(with(effect, action, resource, `"Condition":{"StringLike":{"aws:username":"${aws:username}"}}`), Version2012, Version2008, 1)
	if d, err = ParseIdentityPolicy(old); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]Effect{"ann": Silent, "${aws:username}": Allow} {
		keys := MapKeys{}
		keys.Set("aws:username", name)
		if got := d.Evaluate(Query{Action: "ecr:BatchGetImage", Keys: keys}); got.Effect != want {
			t.Errorf("version 2008 on %q: %+v", name, got)
		}
	}
}
