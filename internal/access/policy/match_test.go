package policy

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMatchFold(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"*", "", true}, {"", "", true}, {"", "a", false}, {"a*", "ABC", true}, {"*c", "abc", true}, {"*b*", "abc", true},
		{"a?c", "aXc", true}, {"a?c", "ac", false}, {"a**c", "ac", true}, {"*a*b*c*", "xaxbx", false}, {"?", "", false},
		{"a*a", "a", false}, {"*?", "", false}, {"?*", "é", true}, {"??", "é", false}, {"*?é", "éé", true}, {"*??", "é", false},
		{strings.Repeat("*a", 60), strings.Repeat("a", 59), false},
	} {
		if got := matchFold(tc.pattern, tc.s); got != tc.want {
			t.Errorf("matchFold(%q, %q) = %v", tc.pattern, tc.s, got)
		}
	}
}

// match agrees with the regular expression a pattern stands for.
func TestMatchOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`[aAbé*?]{0,9}`).Draw(t, "pattern")
		s := rapid.StringMatching(`[aAbé]{0,9}`).Draw(t, "s")
		e := strings.NewReplacer("*", ".*", "?", ".").Replace(pattern)
		if got, want := match(wildcards(pattern), s), regexp.MustCompile("^"+e+"$").MatchString(s); got != want {
			t.Fatalf("match(%q, %q) = %v", pattern, s, got)
		}
		if g := newGlob(wildcards(pattern)); g.match(s) != match(g.text, s) {
			t.Fatalf("glob %q on %q: %v", pattern, s, g.match(s))
		}
		if got, want := matchFold(pattern, s), regexp.MustCompile("(?i)^"+e+"$").MatchString(s); got != want {
			t.Fatalf("matchFold(%q, %q) = %v", pattern, s, got)
		}
	})
}

// Bytes that encode wildcards are nothing special in what is matched.
func TestMatchBytes(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"a", anyText, false}, {"*", anyText, true}, {"?", oneRune, true}, {"??", anyText + oneRune, true}, {"*a", oneRune + "a", true},
	} {
		if got := match(wildcards(tc.pattern), tc.s); got != tc.want {
			t.Errorf("match(%q, %q) = %v", tc.pattern, tc.s, got)
		}
	}
}

// A pattern that makes backtracking matchers run for ages.
func TestMatchTakesLinearTime(t *testing.T) {
	s := strings.Repeat("a", 1<<20)
	start := time.Now()
	for _, pattern := range []string{strings.Repeat("a*", 5000) + "b", strings.Repeat("*a", 5000) + "*b*", strings.Repeat("*?", 1000) + "b"} {
		if match(wildcards(pattern), s) {
			t.Errorf("%.20q matches", pattern)
		}
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestVariables(t *testing.T) {
	keys := MapKeys{}
	keys.Set("aws:username", "ann")
	keys.Set("aws:PrincipalTag/Team", "blue*")
	keys.Set("aws:TagKeys", "a", "b")
	keys.Set("x:empty", "")
	keys.Set("x:bytes", "a\xffb")
	for _, tc := range []struct {
		text, want string
		ok         bool
	}{
		{"plain", "plain", true},
		{"${aws:username}", "ann", true},
		{"a/${AWS:UserName}/b/${ aws:username }", "a/ann/b/ann", true},
		{"${aws:PrincipalTag/team}*", "blue*\xff", true},
		{"${*}${?}${$}{x}", "*?${x}", true},
		{"${aws:userid}", "", false},
		{"${aws:userid, 'nobody'}", "nobody", true},
		{"${aws:userid,'no}body*'}?", "no}body*\xfe", true},
		{"${aws:username, 'nobody'}", "ann", true},
		{"${aws:userid, ''}", "", true},
		// Several values, none, and bytes that could pass for wildcards.
		{"${aws:TagKeys}", "", false},
		{"${aws:TagKeys, 'x'}", "x", true},
		{"${x:empty}", "", false},
		{"${x:bytes}", "", false},
		// What is no variable is text.
		{"${aws:username", "${aws:username", true},
		{"${}", "${}", true},
		{"${a, b}", "${a, b}", true},
		{"${a, 'b}", "${a, 'b}", true},
		{"${a, 'b' c}", "${a, 'b' c}", true},
		{"${a${aws:username}", "${aann", true},
		{"$aws:username}", "$aws:username}", true},
	} {
		p := wild(tc.text, true)
		if got, ok := p.resolve(keys); got != tc.want || ok != tc.ok {
			t.Errorf("%s: %q, %v; want %q, %v", tc.text, got, ok, tc.want, tc.ok)
		}
		old := literal(tc.text, false)
		if got, ok := old.resolve(keys); got != tc.text || !ok {
			t.Errorf("%s in version 2008: %q, %v", tc.text, got, ok)
		}
	}
}
