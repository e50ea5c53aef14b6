package policy

import (
	"strings"
	"unicode/utf8"
)

// pattern is text of a policy with its policy variables taken out.
type pattern struct {
	glob
	vars []variable
}

// variable is one ${key} or ${key, 'default'}.
type variable struct {
	at       int // where in the text the value goes
	key      string
	fallback string
	optional bool // it has a fallback
}

// literal compiles text in which only variables have a meaning, wild also takes
// wildcards. Version 2008-10-17 knows no variables: "${" is text there.
//
// Source: IAM User Guide, "IAM policy elements: Variables and tags".
func literal(s string, variables bool) pattern {
	return compileText(s, variables, func(s string) string { return s })
}

func wild(s string, variables bool) pattern { return compileText(s, variables, wildcards) }

func compileText(s string, variables bool, encode func(string) string) pattern {
	if !variables || !strings.Contains(s, "${") {
		return pattern{glob: newGlob(encode(s))}
	}
	var p pattern
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "${")
		b.WriteString(encode(before))
		if !found {
			break
		}
		v, n := parseVariable(after)
		switch {
		case n == 0: // not a variable: plain text
			b.WriteString("${")
		case v.key == "*" || v.key == "?" || v.key == "$":
			b.WriteString(v.key)
		default:
			v.at = b.Len()
			p.vars = append(p.vars, v)
		}
		s = after[n:]
	}
	p.glob = newGlob(b.String())
	return p
}

// parseVariable reads what follows "${" and returns the length of the variable
// with its closing brace, or 0 when there is none.
func parseVariable(s string) (v variable, n int) {
	end := strings.IndexAny(s, ",}")
	if end < 0 {
		return variable{}, 0
	}
	v.key = strings.ToLower(strings.TrimSpace(s[:end]))
	if v.key == "" || strings.ContainsAny(v.key, "${'") && v.key != "$" {
		return variable{}, 0
	}
	if s[end] == '}' {
		return v, end + 1
	}
	rest := strings.TrimLeft(s[end+1:], " ")
	if !strings.HasPrefix(rest, "'") {
		return variable{}, 0
	}
	value, rest, ok := strings.Cut(rest[1:], "'")
	rest = strings.TrimLeft(rest, " ")
	if !ok || !strings.HasPrefix(rest, "}") {
		return variable{}, 0
	}
	v.fallback, v.optional = value, true
	return v, len(s) - len(rest) + 1
}

// resolve puts the values of the keys into the text. ok is false when a variable
// has no value: then nothing is equal to the text or like it.
func (p *pattern) resolve(keys Keys) (text string, ok bool) {
	if len(p.vars) == 0 {
		return p.text, true
	}
	var b strings.Builder
	start := 0
	for i := range p.vars {
		v := &p.vars[i]
		value, ok := v.value(keys)
		if !ok {
			return "", false
		}
		b.WriteString(p.text[start:v.at])
		b.WriteString(value)
		start = v.at
	}
	b.WriteString(p.text[start:])
	return b.String(), true
}

// matches reports whether s is like the pattern.
func (p *pattern) matches(s string, keys Keys) bool {
	if len(p.vars) == 0 {
		return p.match(s)
	}
	text, ok := p.resolve(keys)
	return ok && match(text, s)
}

// value is never taken from a key with several values, which has none to choose.
// An empty value counts as none: put between wildcards it would match everything.
func (v *variable) value(keys Keys) (string, bool) {
	// Text that is not UTF-8 could pass for a wildcard.
	if values := keys.Lookup(v.key); len(values) == 1 && values[0] != "" && utf8.ValidString(values[0]) {
		return values[0], true
	}
	return v.fallback, v.optional
}

// splitARN splits text at its first five colons, but not inside variables.
func splitARN(s string) []string {
	var fields []string
	start := 0
	for i := 0; i < len(s) && len(fields) < arnFields-1; i++ {
		switch {
		case s[i] == ':':
			fields = append(fields, s[start:i])
			start = i + 1
		case strings.HasPrefix(s[i:], "${"):
			if _, n := parseVariable(s[i+2:]); n > 0 {
				i += 1 + n
			}
		}
	}
	return append(fields, s[start:])
}

// arnFields is how many fields an ARN has: arn, partition, service, region,
// account and resource.
const arnFields = 6

// compileResource compiles one resource. An ARN that lacks fields is completed
// with wildcards, and a variable has a meaning only in the last field (IAM User
// Guide, "IAM JSON policy elements: Resource" and "Variables and tags").
func compileResource(s string, variables bool) pattern {
	if s == "*" {
		return pattern{glob: newGlob(anyText)}
	}
	fields := strings.SplitN(s, ":", arnFields)
	if len(fields) < arnFields {
		return pattern{glob: newGlob(wildcards(s + strings.Repeat(":*", arnFields-len(fields))))}
	}
	head := wildcards(strings.Join(fields[:arnFields-1], ":") + ":")
	tail := wild(fields[arnFields-1], variables)
	for i := range tail.vars {
		tail.vars[i].at += len(head)
	}
	return pattern{glob: newGlob(head + tail.text), vars: tail.vars}
}
