package registry

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// oracle is the same question put to package regexp.
func oracle(pattern, s string) bool {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\z`).MatchString(s)
}

func TestMatchWildcardAgainstRegexp(t *testing.T) {
	// A small alphabet makes overlaps frequent.
	pattern, text := rapid.StringMatching(`[ab.*-]{0,8}`), rapid.StringMatching(`[ab.*-]{0,10}`)
	rapid.Check(t, func(t *rapid.T) {
		p, s := pattern.Draw(t, "pattern"), text.Draw(t, "text")
		if got, want := matchWildcard(p, s), oracle(p, s); got != want {
			t.Fatalf("matchWildcard(%q, %q) = %v", p, s, got)
		}
	})
}

func TestMatchWildcard(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"latest", "latest", true}, {"latest", "latest2", false}, {"latest", "xlatest", false}, {"latest", "LATEST", false},
		{"*", "", true}, {"*", "anything", true}, {"a*", "a", true}, {"*a", "ba", true}, {"*a", "ab", false},
		{"ab*ab", "ab", false}, {"ab*ab", "abab", true}, {"a*a*a", "aa", false}, {"a*a*a", "aaa", true},
		{"v*.*", "v1.0", true}, {"v*.*", "v10", false}, {"a.c", "abc", false}, {"**", "x", true},
	} {
		if got := matchWildcard(tc.pattern, tc.s); got != tc.want {
			t.Errorf("matchWildcard(%q, %q) = %v", tc.pattern, tc.s, got)
		}
	}
}

func FuzzMatchWildcard(f *testing.F) {
	f.Add("v*.*", "v1.2")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 128 || len(s) > 300 {
			t.Skip("no filter and no tag is so long, and the oracle is slow")
		}
		if strings.ToValidUTF8(pattern, "") != pattern || strings.ToValidUTF8(s, "") != s {
			t.Skip("regexp, the oracle, reads UTF-8")
		}
		if got, want := matchWildcard(pattern, s), oracle(pattern, s); got != want {
			t.Fatalf("matchWildcard(%q, %q) = %v", pattern, s, got)
		}
	})
}
