package upstream

import "strings"

// A challenge is how a registry asks for credentials.
type challenge struct {
	scheme string // lower case
	params map[string]string
}

// parseChallenge reads one challenge of a WWW-Authenticate header (RFC 9110,
// section 11.6.1). Names are in lower case; a name that comes twice has its first
// value. What does not have the form is left out.
func parseChallenge(header string) challenge {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(header), " ")
	c := challenge{strings.ToLower(scheme), map[string]string{}}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		name, after, found := strings.Cut(rest, "=")
		if !found {
			return c
		}
		var value string
		value, rest = parseValue(strings.TrimLeft(after, " \t"))
		name = strings.ToLower(strings.TrimSpace(name))
		if _, again := c.params[name]; !again {
			c.params[name] = value
		}
	}
}

// parseValue reads a token, or a quoted string with its escapes.
func parseValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexAny(s, ", \t"); i >= 0 {
			return s[:i], s[i:]
		}
		return s, ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			i++
			if i == len(s) {
				return b.String(), ""
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
