package policy

import (
	"encoding/base64"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// condition is a Condition ready to be asked.
type condition struct {
	key       string
	qualifier Qualifier
	ifExists  bool
	negated   bool
	// matches reports whether a value of the key matches any value of the policy.
	matches test
	// exists is set for Null in place of matches: it is told whether the key exists.
	exists func(bool) bool
}

type test func(value string, keys Keys) bool

// holds follows the IAM User Guide, "Condition operators" and "Set operators for
// multivalued context keys":
//
//   - a key without a value matches nothing, which makes the negated operators
//     true, and so does …IfExists; ForAllValues is true of no values, ForAnyValue
//     false, and for both an empty string is no value;
//   - several values in the policy are joined by OR, or by NOR when negated;
//   - a key with several values under an operator without qualifier is not
//     defined by IAM: here any value may match, and for the negated none may.
func (c *condition) holds(keys Keys) bool {
	values := keys.Lookup(c.key)
	if c.exists != nil {
		return c.exists(len(values) > 0)
	}
	if len(values) == 0 && c.ifExists {
		return true
	}
	if c.qualifier != None && len(values) == 1 && values[0] == "" {
		values = nil
	}
	switch c.qualifier {
	case ForAllValues:
		for _, v := range values {
			if c.matches(v, keys) == c.negated {
				return false
			}
		}
		return true
	case ForAnyValue:
		for _, v := range values {
			if c.matches(v, keys) != c.negated {
				return true
			}
		}
		return false
	}
	for _, v := range values {
		if c.matches(v, keys) {
			return !c.negated
		}
	}
	return c.negated
}

// compileCondition returns false for a condition that no parser accepts.
func compileCondition(c Condition, variables bool) (condition, bool) {
	out := condition{
		key: strings.ToLower(c.Key), qualifier: c.Operator.Qualifier, ifExists: c.Operator.IfExists,
		negated: strings.Contains(c.Operator.Name, "Not"),
	}
	valid := valueTest(c.Operator.Name)
	if valid == nil || len(c.Values) == 0 {
		return condition{}, false
	}
	variables = variables && hasVariables(c.Operator.Name)
	for _, v := range c.Values {
		if !valid(v) && !(variables && strings.Contains(v, "${")) {
			return condition{}, false
		}
	}
	if c.Operator.Name == "Null" {
		out.exists = nullTest(c.Values)
		return out, true
	}
	tests := make([]test, len(c.Values))
	for i, v := range c.Values {
		tests[i] = compileTest(c.Operator.Name, v, variables)
	}
	if len(tests) == 1 {
		out.matches = tests[0]
		return out, true
	}
	out.matches = func(value string, keys Keys) bool {
		return slices.ContainsFunc(tests, func(t test) bool { return t(value, keys) })
	}
	return out, true
}

func nullTest(values []string) func(exists bool) bool {
	isTrue := func(s string) bool { return strings.EqualFold(s, "true") }
	absent := slices.ContainsFunc(values, isTrue)
	present := slices.ContainsFunc(values, func(s string) bool { return !isTrue(s) })
	return func(exists bool) bool { return exists && present || !exists && absent }
}

// compileTest compiles the comparison with one value, which the operator can
// read. The negation is not its concern.
func compileTest(name, value string, variables bool) test {
	switch name = strings.Replace(name, "Not", "", 1); {
	case name == "StringEquals":
		return textTest(literal(value, variables), func(want, got string) bool { return want == got })
	case name == "StringEqualsIgnoreCase":
		return textTest(literal(value, variables), strings.EqualFold)
	case name == "StringLike":
		return likeTest(wild(value, variables))
	case name == "Bool":
		return textTest(literal(value, variables), func(want, got string) bool { return isBool(got) && strings.EqualFold(want, got) })
	case strings.HasPrefix(name, "Arn"):
		return arnTest(value, variables)
	case name == "IpAddress":
		return addressTest(value)
	case name == "BinaryEquals":
		return binaryTest(value)
	}
	if relation, ok := strings.CutPrefix(name, "Numeric"); ok {
		want, _ := parseNumber(value)
		return func(got string, _ Keys) bool {
			n, ok := parseNumber(got)
			return ok && compares(relation, n < want, n == want)
		}
	}
	relation := strings.TrimPrefix(name, "Date")
	want, _ := parseDate(value)
	return func(got string, _ Keys) bool {
		t, ok := parseDate(got)
		return ok && compares(relation, t.Before(want), t.Equal(want))
	}
}

// compares applies the name of a relation.
func compares(relation string, less, equal bool) bool {
	switch relation {
	case "LessThan":
		return less
	case "LessThanEquals":
		return less || equal
	case "GreaterThan":
		return !less && !equal
	case "GreaterThanEquals":
		return !less
	}
	return equal
}

func textTest(p pattern, compare func(want, got string) bool) test {
	if len(p.vars) == 0 {
		return func(value string, _ Keys) bool { return compare(p.text, value) }
	}
	return func(value string, keys Keys) bool {
		text, ok := p.resolve(keys)
		return ok && compare(text, value)
	}
}

func likeTest(p pattern) test { return p.matches }

// arnTest compares the six fields of an ARN one by one, so that a star stays
// within its field. ArnEquals and ArnLike are the same. A value without the
// fields, as "*" or "${aws:PrincipalArn}", is compared as a whole.
func arnTest(value string, variables bool) test {
	fields := splitARN(value)
	if len(fields) < arnFields {
		return likeTest(wild(value, variables))
	}
	patterns := make([]pattern, arnFields)
	for i, f := range fields {
		patterns[i] = wild(f, variables)
	}
	return func(got string, keys Keys) bool {
		for i := range patterns {
			field, rest, more := strings.Cut(got, ":")
			if i == arnFields-1 {
				field = got
			} else if !more {
				return false
			}
			if !patterns[i].matches(field, keys) {
				return false
			}
			got = rest
		}
		return true
	}
}

func addressTest(value string) test {
	want, _ := parseNetwork(value)
	return func(got string, _ Keys) bool {
		addr, err := netip.ParseAddr(got)
		return err == nil && want.Contains(addr.Unmap().WithZone(""))
	}
}

// binaryTest compares the bytes of the key with base64 in the policy.
func binaryTest(value string) test {
	raw, _ := base64.StdEncoding.DecodeString(value)
	want := string(raw)
	return func(got string, _ Keys) bool { return got == want }
}

func isNumber(s string) bool {
	_, ok := parseNumber(s)
	return ok
}

func parseNumber(s string) (float64, bool) {
	if strings.Trim(s, "+-.0123456789eE") != "" {
		return 0, false // no hexadecimal, no Inf
	}
	n, err := strconv.ParseFloat(s, 64)
	return n, err == nil
}

func isNetwork(s string) bool {
	_, ok := parseNetwork(s)
	return ok
}

// parseNetwork reads an address or a network. An IPv4 address written as IPv6 is
// an IPv4 address, in the policy as in the request.
func parseNetwork(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, false
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p, err == nil
}

func isDate(s string) bool {
	_, ok := parseDate(s)
	return ok
}

// parseDate reads the W3C profile of ISO 8601 and seconds since 1970.
func parseDate(s string) (time.Time, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return time.Unix(n, 0), true
	}
	for _, layout := range []string{"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02T15:04:05", "2006-01-02", "2006-01"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
